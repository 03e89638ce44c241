"""RoBERTa, ALBERT and ELECTRA with their tokenizers: filled, fine-tuned, and loaded by transformers.

Run: .venv/bin/python -m pytest tests/test_workflows_families.py
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tiny import SIZES, VOCABULARY, finetune_tiny, sentences, write_rows
from unmask import fill, load, predict, save_pretrained
from unmask.errors import CheckpointError
from unmask.models.registry import FAMILIES, build_model
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from unmask.models.config import ModelConfig

TEXTS = [text for text, _ in sentences(97, seed=5)]
SPECIAL_TOKENS = {"roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}
SPECIAL_TOKENS["albert"] = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer_of(model_type: str, folder: Path) -> Tokenizer:
    """The kind of tokenizer the family has, trained on `TEXTS`."""
    if model_type == "electra":
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
        return Tokenizer.from_vocab(folder / "vocab.txt")
    specials = SPECIAL_TOKENS[model_type]
    if model_type == "roberta":
        backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=331,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(TEXTS, trainer)
        backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    else:
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = normalizers.Lowercase()
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=83, special_tokens=specials, unk_token="<unk>", show_progress=False
        )
        backend.train_from_iterator(TEXTS, trainer)
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    backend.add_special_tokens([AddedToken(specials[-1], lstrip=True, special=True)])  # as the published ones have it
    return Tokenizer(backend)


def config_of(model_type: str, vocab_size: int) -> ModelConfig:
    differences: dict[str, dict[str, Any]] = {
        "roberta": {"type_vocab_size": 1},
        "albert": {"embedding_size": 12, "num_hidden_layers": 3},
        "electra": {"embedding_size": 12},
    }
    sizes = {**SIZES, "vocab_size": vocab_size, **differences[model_type]}
    return FAMILIES[model_type].config(initializer_range=0.3, **sizes)


@pytest.fixture(params=["roberta", "albert", "electra"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model that fills masks, in Hugging Face's layout, named after its family."""
    tokenizer = tokenizer_of(request.param, tmp_path)
    config = dataclasses.replace(config_of(request.param, tokenizer.vocab_size), pad_token_id=tokenizer.pad_token_id)
    save_pretrained(build_model(config, "masked-lm", seed=3), tokenizer, tmp_path / request.param)
    return tmp_path / request.param


def test_a_folder_of_ours_fills_masks_as_in_transformers(folder: Path) -> None:
    import transformers

    pipeline = transformers.pipeline("fill-mask", model=str(folder), device="cpu")
    tokenizer = pipeline.tokenizer
    text = f"this {tokenizer.mask_token} sleep near the house."
    theirs = pipeline(text, top_k=7)
    [ours] = fill(text, model=str(folder), top_k=7)
    assert [guess.token_id for guess in ours] == [guess["token"] for guess in theirs]
    assert [guess.probability for guess in ours] == pytest.approx([guess["score"] for guess in theirs], abs=1e-5)
    assert any(guess.text.startswith("this ") for guess in ours)  # a word of its own
    for guess in ours:
        assert guess.text.endswith(" sleep near the house.")
        assert not set("Ġ▁#") & set(guess.text)
    encoded = load(folder).tokenizer.encode("these dogs", "run now")
    assert tokenizer("these dogs", "run now")["input_ids"] == encoded.input_ids


def test_fine_tuned_it_labels_as_in_transformers(folder: Path, no_report: None) -> None:
    import transformers

    place = folder.parent
    write_rows(place / "train.tsv", sentences(61, seed=1))
    write_rows(place / "dev.tsv", sentences(17, seed=2))
    assert finetune_tiny(place, place / "run", "--model", folder, "--weight-decay", "0.3", "--temperature", "1") == 0
    model = load(place / "run")
    before, after = load(folder).model.encoder, model.model.encoder
    assert after.embeddings.word.weight.shape == before.embeddings.word.weight.shape
    assert not torch.equal(after.embeddings.word.weight, before.embeddings.word.weight)
    texts = TEXTS[:11]
    ours = predict(place / "run", texts)
    pipeline = transformers.pipeline(
        "text-classification", model=str(place / "run" / "model"), device="cpu", top_k=None
    )
    for prediction, theirs in zip(ours, pipeline(texts), strict=True):
        scores = {entry["label"]: entry["score"] for entry in theirs}
        assert prediction.probabilities == pytest.approx(scores, abs=1e-5)


def test_how_long_a_text_may_be(folder: Path) -> None:
    reach = 40 - (2 if folder.name == "roberta" else 0)  # RoBERTa skips pad_token_id + 1 positions
    assert load(folder).max_seq_length == reach


@pytest.mark.parametrize(
    ("model_type", "head", "saved"),
    [
        ("roberta", "encoder", "RobertaModel"),
        ("electra", "replaced-token", "ElectraForPreTraining"),
        ("gpt2", "causal-lm", "GPT2LMHeadModel"),
    ],
)
def test_a_model_that_cannot_fill_says_so(tmp_path: Path, model_type: str, head: str, saved: str) -> None:
    config = FAMILIES[model_type].config(**SIZES)
    save_pretrained(build_model(config, head), tokenizer_of("electra", tmp_path), tmp_path / "model")
    with pytest.raises(CheckpointError, match=rf"this checkpoint \({saved}\) has no masked LM head"):
        fill("[MASK]", model=str(tmp_path / "model"))
