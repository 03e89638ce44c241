"""The card of a pretrained model says what it is, truly. Run: pytest tests/test_workflows_model_card.py."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from unmask.models.registry import FAMILIES
from unmask.workflows.model_card import pretraining_card
from unmask.workflows.pretrain_settings import PretrainSettings

DATA = {"train": {"documents": 1_301, "text_tokens": 15_000_017, "tokens": 15_300_017}, "dev": {}}
EVALUATION = {
    "data": "dev",
    "loss": 3.25,
    "metrics": {"mlm_loss": 2.75, "nsp_accuracy": 0.8125},
    "step": 1_201,
    "unigram_cross_entropy": 6.9,
}


def card_of(head: str, *, family: str, model_type: str, mask_token: str | None = "[MASK]", **changes: Any) -> str:
    settings = PretrainSettings(family=family, corpus=("books", "wiki.txt"), max_steps=1_301, **changes)
    return pretraining_card(
        settings.for_family(family, is_new=True),
        FAMILIES[model_type].config(vocab_size=8_009, hidden_size=48, num_attention_heads=12, intermediate_size=192),
        head=head,
        num_parameters=1_234_567,
        mask_token=mask_token,
        data=DATA,
        evaluation=EVALUATION,
        command="unmask pretrain --corpus books wiki.txt",
    )


def test_a_bert_says_what_it_is_learnt_from_and_how_well():
    card = card_of("pre-training", family="bert", model_type="bert")
    front = yaml.safe_load(card.split("---")[1])
    assert front == {
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "fill-mask",
        "tags": ["unmask", "bert"],
        "metrics": ["perplexity"],
    }
    for said in (
        "# A bert pretrained from scratch",
        "1,234,567 parameters: 12 layers, hidden size 48, 12 attention heads, feed-forward 192, a vocabulary of 8,009,",
        "It learnt masked language modelling (mlm) and next sentence prediction (nsp) from raw text.",
        "| loss | 3.2500 |",
        "| nsp accuracy | 0.8125 |",
        "after step 1,201",
        "without reading, loses 6.9000 nats",
        "`books`, `wiki.txt`; 1,301 documents, 15,000,017 tokens. Sequences are segment-pair, up to 128 tokens.",
        "15% of the tokens are chosen, by token: 80% of these are seen as the mask and 10% as a random token, anew",
        "At most 1,301 steps of about 8,192 tokens each",
        "unmask pretrain --corpus books wiki.txt",
        'unmask fill "Once upon a [MASK]." --model FOLDER',
        "unmask finetune classification --model FOLDER",
    ):
        assert said in card


@pytest.mark.parametrize(
    ("family", "model_type", "head", "mask_token", "there", "absent"),
    [
        ("roberta", "roberta", "masked-lm", "<mask>", "Once upon a <mask>.", "generate"),
        ("gpt", "gpt2", "causal-lm", None, 'pipeline("text-generation", model="FOLDER")', "are chosen"),
        ("electra", "electra", "replaced-token", "[MASK]", 'AutoModel.from_pretrained("FOLDER")', "fill"),
        ("electra", "electra", "masked-lm", "[MASK]", "pretrained from scratch (the generator)", "AutoModel"),
        ("albert", "albert", "pre-training", "[MASK]", "hidden size 48 (embeddings 128)", "(the generator)"),
    ],
)
def test_each_family_is_used_in_its_own_way(family, model_type, head, mask_token, there, absent):
    card = card_of(head, family=family, model_type=model_type, mask_token=mask_token)
    assert there in card
    assert absent not in card


def test_a_model_trained_further_in_fixed_ways_of_masking():
    settings = PretrainSettings(model="minilm", corpus=("a",), language="none", static_copies=7, batch_tokens=None)
    card = pretraining_card(
        settings.for_family("bert", is_new=False),
        FAMILIES["bert"].config(),
        head="pre-training",
        num_parameters=1,
        mask_token="[MASK]",
        data=DATA,
        evaluation=EVALUATION,
        command="",
    )
    assert "# minilm, pretrained further" in card
    assert "in 7 fixed ways." in card
    assert "of 32 sequences each" in card
    assert "language" not in yaml.safe_load(card.split("---")[1])
