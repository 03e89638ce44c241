"""Published sizes and the arithmetic of a forward pass, against papers and transformers, on the meta device.

Run: .venv/bin/python -m pytest tests/test_models_sizes.py
"""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unmask.errors import CheckpointError
from unmask.models.albert import AlbertConfig
from unmask.models.bert import BertConfig
from unmask.models.flops import forward_flops
from unmask.models.gpt import GPTConfig, OpenAIGPTConfig
from unmask.models.registry import FAMILIES, empty_model
from unmask.models.sizes import PUBLISHED_NAMES, published_config

# Parameters without heads, with the pooler where Hugging Face's class has one. Papers say 4.4, 11.3, 29.1 and 41.7
# million for the small BERTs and 12, 18, 60 and 235 for ALBERT, rounded; 14, 110 and 335 for ELECTRA.
TOTALS = {
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "bert-base-multilingual-cased": 177_853_440,
    "bert-large-uncased": 335_141_888,
    "bert-large-cased": 333_579_264,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "albert-base-v2": 11_683_584,
    "albert-large-v2": 17_683_968,
    "albert-xlarge-v2": 58_724_864,
    "albert-xxlarge-v2": 222_595_584,
    "electra-base-discriminator": 108_891_648,
    "electra-large-discriminator": 334_092_288,
    "openai-gpt": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", TOTALS)
def test_totals_that_are_known(name: str) -> None:
    config = published_config(name)
    assert config is not None
    assert count(empty_model(config, "encoder")) == TOTALS[name]


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_transformers_counts_the_same(name: str) -> None:
    import transformers

    config = published_config(name)
    assert config is not None
    assert published_config(name.partition("/")[2]) == config
    theirs = transformers.AutoConfig.for_model(**config.to_dict())
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(theirs)
    assert model.num_parameters() == count(empty_model(config, "encoder"))


def test_names_that_are_not_published() -> None:
    for name in ("bert", "someone/bert-base-uncased", "base-uncased", "", "/gpt2"):
        assert published_config(name) is None


HEADS = {
    "encoder": "Model",
    "sequence-classification": "ForSequenceClassification",
    "masked-lm": "ForMaskedLM",
    "next-sentence": "ForNextSentencePrediction",
    "pre-training": "ForPreTraining",
    "causal-lm": "LMHeadModel",
}


@pytest.mark.parametrize(
    ("name", "head", "theirs"),
    [
        *(("bert-base-uncased", head, f"Bert{HEADS[head]}") for head in list(HEADS)[:5]),
        *(("roberta-base", head, f"Roberta{HEADS[head]}") for head in list(HEADS)[:3]),
        *(("albert-base-v2", head, f"Albert{HEADS[head]}") for head in ("encoder", "masked-lm", "pre-training")),
        ("electra-small-discriminator", "replaced-token", "ElectraForPreTraining"),
        ("electra-base-generator", "masked-lm", "ElectraForMaskedLM"),
        *(("gpt2", head, f"GPT2{HEADS[head]}") for head in ("encoder", "sequence-classification", "causal-lm")),
        ("openai-gpt", "causal-lm", "OpenAIGPTLMHeadModel"),
    ],
)
def test_flops_are_those_torch_counts_in_transformers(name: str, head: str, theirs: str) -> None:
    import transformers

    config = published_config(name)
    assert config is not None
    num_texts, length = 3, 37
    settings = transformers.AutoConfig.for_model(**config.to_dict(), attn_implementation="eager")
    settings.pad_token_id = 0
    with torch.device("meta"):
        model = getattr(transformers, theirs)(settings).eval()
        ids = torch.ones((num_texts, length), dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            # Given a mask, these look at no values, of which there are none on this device; the others are the reverse.
            model(ids, **({"attention_mask": torch.ones_like(ids)} if "GPT" in theirs else {}))
    flops = forward_flops(config, head, prediction_rate=1.0)  # they compute every logit
    expected = counter.get_total_flops()
    if flops.is_causal:  # they compute the scores they mask
        expected -= num_texts * (length * (length - 1) // 2) * flops.per_score
    if theirs == "GPT2ForSequenceClassification":  # they classify every token, then choose one
        expected -= num_texts * (length - 1) * flops.per_sequence
    assert flops.total([length] * num_texts) == expected
    assert flops.per_token_at(length) == pytest.approx(expected / num_texts / length)


class TestFlops:
    def test_by_hand(self) -> None:
        sizes = {"vocab_size": 13, "hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 5}
        flops = forward_flops(BertConfig(**sizes, num_hidden_layers=3), "pre-training")
        # Four D x D, twice D x I; a score is D products, and D more with its value.
        assert flops.per_token == 3 * 2 * (4 * 6 * 6 + 2 * 6 * 5)
        assert flops.per_score == 3 * 2 * 2 * 6
        assert flops.per_sequence == 2 * (6 * 6 + 6 * 2)
        assert flops.per_prediction == 2 * (6 * 6 + 6 * 13)
        assert flops.prediction_rate == 0.15
        expected = 1224 * 11 + 72 * (16 + 49) + 96 * 2
        assert flops.total([4, 7], num_predictions=2) == expected + 228 * 2
        assert flops.total([4, 7]) == pytest.approx(expected + 228 * 1.65)
        assert forward_flops(BertConfig(**sizes), "encoder").total([4], num_predictions=9) > 0

    def test_a_causal_model_sees_half(self) -> None:
        sizes = {"vocab_size": 13, "hidden_size": 6, "num_attention_heads": 2, "num_hidden_layers": 3}
        for config in (GPTConfig(**sizes), OpenAIGPTConfig(**sizes, intermediate_size=24)):
            flops = forward_flops(config, "causal-lm")
            assert flops.prediction_rate == 1
            assert flops.total([4]) == 4 * (flops.per_token + flops.per_prediction) + (1 + 2 + 3 + 4) * flops.per_score

    def test_shared_layers_cost_what_others_do(self) -> None:
        sizes = {"vocab_size": 13, "hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 5}
        bert = forward_flops(BertConfig(**sizes, num_hidden_layers=4))
        albert = forward_flops(AlbertConfig(**sizes, num_hidden_layers=4, embedding_size=3))
        assert albert.per_token == bert.per_token + 2 * 3 * 6
        twice = forward_flops(AlbertConfig(**sizes, num_hidden_layers=4, embedding_size=3, inner_group_num=2))
        assert twice.per_token - 2 * 3 * 6 == 2 * bert.per_token

    def test_a_head_the_family_lacks(self) -> None:
        with pytest.raises(CheckpointError, match="gpt2 has no 'masked-lm' head"):
            forward_flops(GPTConfig(), "masked-lm")

    def test_every_head_of_every_family_is_counted(self) -> None:
        for family in FAMILIES.values():
            config = family.config()
            encoder = forward_flops(config).total([7])
            for head in family.heads:
                assert forward_flops(config, head).total([7]) > encoder - 2 * config.hidden_size**2 or head == "encoder"
