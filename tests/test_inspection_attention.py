"""Attention maps and their figures, against transformers'. Run: pytest tests/test_inspection_attention.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tiny import SIZES, VOCABULARY, save_tiny_bert
from unmask.errors import DataError
from unmask.models.albert import AlbertConfig
from unmask.models.gpt import GPTConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer
from unmask.workflows.inspect import inspect_attention
from unmask.workflows.loading import load, save_pretrained

if TYPE_CHECKING:
    from pathlib import Path

TEXT, PAIR = "the dogs sleep near this house.", "is that not a river?"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with bert/, albert/ and gpt/, random."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert", "masked-lm", initializer_range=0.3)
    (place / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    for name, config, head in (
        (
            "albert",
            AlbertConfig(**SIZES | {"num_hidden_layers": 3}, embedding_size=7, initializer_range=0.3),
            "encoder",
        ),
        ("gpt", GPTConfig(**SIZES, initializer_range=0.3), "causal-lm"),
    ):
        save_pretrained(build_model(config, head), Tokenizer.from_vocab(place / "vocab.txt"), place / name)
    return place


@pytest.mark.parametrize(("name", "model"), [("bert", "Bert"), ("albert", "Albert"), ("gpt", "GPT2")])
def test_maps_are_those_of_transformers(place, name, model):
    import transformers

    found = inspect_attention(place / name, TEXT, PAIR)
    encoding = load(place / name).tokenizer.encode(TEXT, PAIR)
    assert found.tokens == tuple(encoding.tokens)
    reference = getattr(transformers, f"{model}Model").from_pretrained(place / name, attn_implementation="eager").eval()
    types = {} if name == "gpt" else {"token_type_ids": torch.tensor([encoding.token_type_ids])}
    with torch.no_grad():
        attentions = reference(torch.tensor([encoding.input_ids]), output_attentions=True, **types).attentions
    expected = np.stack([attention[0].numpy() for attention in attentions])
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    np.testing.assert_allclose(found.maps.sum(-1), 1, atol=1e-5)


def test_figures_of_a_head_are_those_of_its_map(place):
    found = inspect_attention(place / "bert", TEXT, PAIR)
    length, cls, seps = len(found.tokens), 0, [at for at, token in enumerate(found.tokens) if token == "[SEP]"]
    assert len(seps) == 2
    assert [(head.layer, head.head) for head in found.heads] == [(la, he) for la in (1, 2) for he in (1, 2, 3, 4)]
    for head in found.heads:
        rows = found.maps[head.layer - 1, head.head - 1].astype(np.float64)
        assert found.head(head.layer, head.head) is head
        assert head.entropy == pytest.approx(np.mean([-sum(p * np.log(p) for p in row) for row in rows]), rel=1e-5)
        assert head.to_cls == pytest.approx(np.mean([row[cls] for row in rows]), rel=1e-5)
        assert head.to_sep == pytest.approx(np.mean([row[seps[0]] + row[seps[1]] for row in rows]), rel=1e-5)
        assert head.to_previous == pytest.approx(np.mean([rows[at, at - 1] for at in range(1, length)]), rel=1e-5)
        assert head.to_next == pytest.approx(np.mean([rows[at, at + 1] for at in range(length - 1)]), rel=1e-5)
        assert head.to_self == pytest.approx(np.mean([rows[at, at] for at in range(length)]), rel=1e-5)
        received = [np.mean(rows[:, at]) for at in range(length)]
        assert head.most_attended_position == int(np.argmax(received))
        assert head.most_attended == found.tokens[head.most_attended_position]
        assert head.most_attended_share == pytest.approx(max(received), rel=1e-5)
    assert "maps" not in found.to_dict()
    assert len(found.to_dict()["heads"]) == 8


def test_a_model_that_looks_back_only(place):
    """Its first token sees itself alone, and there is nothing after any."""
    tokenizer = Tokenizer.from_vocab(place / "vocab.txt")
    found = inspect_attention(place / "gpt", TEXT)
    assert all(head.to_next == 0 for head in found.heads)
    np.testing.assert_allclose(found.maps[:, :, 0, 0], 1)
    assert found.tokens == tuple(tokenizer.encode(TEXT).tokens)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((" ",), "the text is empty"),
        ((TEXT, ""), "the text is empty"),
        (("a " * 50,), "has 52 tokens, the model takes 40"),
    ],
)
def test_texts_that_cannot_be_read(place, texts, message):
    with pytest.raises(DataError, match=message):
        inspect_attention(place / "bert", *texts)
