"""Integrated gradients, against a sum over transformers' gradients. Run: pytest tests/test_inspection_gradients.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import SIZES, VOCABULARY, save_tiny_bert
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.models.albert import AlbertConfig
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer
from unmask.workflows.inspect import inspect_gradients
from unmask.workflows.loading import load, save_pretrained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT, PAIR = "the dogs sleep near this house.", "that is not a river?"
SPECIAL_IDS = range(5)
LABELS = {0: "good", 1: "bad", 2: "odd"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with models of different heads, random and sharp."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "lm", "masked-lm", initializer_range=0.25)
    save_tiny_bert(place / "encoder")
    tokenizer = Tokenizer.from_vocab(place / "lm-vocab.txt")
    for name, changes in (
        ("classifier", {"id2label": LABELS}),
        ("multi", {"id2label": LABELS, "extra": {"problem_type": "multi_label_classification"}}),
        ("regression", {"id2label": {0: "score"}}),
    ):
        config = BertConfig(**SIZES, initializer_range=0.2, **changes)
        save_pretrained(build_model(config, "sequence-classification", seed=3), tokenizer, place / name)
    albert = AlbertConfig(**SIZES, embedding_size=8, initializer_range=0.25)
    save_pretrained(build_model(albert, "pre-training", seed=3), tokenizer, place / "albert")
    return place


def by_hand(
    model: Any, encoding: Any, value_of: Callable[[Any], torch.Tensor], *, baseline: torch.Tensor | None = None
) -> tuple[np.ndarray, float, float]:
    """The same integral as a sum over 2,000 midpoints of transformers' gradients, and F at both ends."""
    ids = torch.tensor(encoding.input_ids)
    table = model.get_input_embeddings().weight.detach()
    end = table[ids]
    nothing = torch.zeros_like(end) if baseline is None else baseline.expand_as(end)
    start = torch.where(torch.tensor([int(i) in SPECIAL_IDS for i in ids])[:, None], end, nothing)
    places = (torch.arange(2000) + 0.5) / 2000
    embedded = (start + places[:, None, None] * (end - start)).requires_grad_()
    types = torch.tensor([encoding.token_type_ids])

    def values(embeds: torch.Tensor) -> torch.Tensor:
        return value_of(model(inputs_embeds=embeds, token_type_ids=types.expand(len(embeds), -1)).logits)

    [gradient] = torch.autograd.grad(values(embedded).sum(), embedded)
    with torch.no_grad():
        first, last = values(start[None])[0].item(), values(end[None])[0].item()
    return (gradient.double().mean(0) * (end - start).double()).sum(-1).numpy(), last, first


def check(found: Any, expected: tuple[np.ndarray, float, float]) -> None:
    attributions, prediction, baseline_prediction = expected
    assert found.prediction == pytest.approx(prediction, abs=1e-5)
    assert found.baseline_prediction == pytest.approx(baseline_prediction, abs=1e-5)
    change = prediction - baseline_prediction
    assert abs(change) > 0.01  # or there would be nothing to explain
    np.testing.assert_allclose(found.attributions, attributions, atol=2e-3 * abs(change))
    assert sum(found.attributions) == pytest.approx(change, abs=1e-3 * abs(change) + 1e-5)
    assert found.completeness_error == pytest.approx(sum(found.attributions) - change, abs=1e-5)
    assert found.is_complete
    assert all(found.attributions[at] == 0 for at, token in enumerate(found.tokens) if token.startswith("["))


@pytest.mark.parametrize("target", [None, "good", "odd"])
def test_a_label(place, target):
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(place / "classifier").eval()
    found = inspect_gradients(place / "classifier", TEXT, PAIR, target=target)
    encoding = load(place / "classifier").tokenizer.encode(TEXT, PAIR)
    with torch.no_grad():
        logits = model(
            torch.tensor([encoding.input_ids]), token_type_ids=torch.tensor([encoding.token_type_ids])
        ).logits
    best = int(logits.argmax())
    label = best if target is None else list(LABELS.values()).index(target)
    assert (found.target, found.output) == (LABELS[label], "probability")
    assert found.tokens == tuple(encoding.tokens)
    check(found, by_hand(model, encoding, lambda logits: logits.softmax(-1)[:, label]))


def test_one_of_several_labels_and_a_number(place):
    import transformers

    encoding = load(place / "multi").tokenizer.encode(TEXT)
    model = transformers.BertForSequenceClassification.from_pretrained(place / "multi").eval()
    check(
        inspect_gradients(place / "multi", TEXT, target="bad"),
        by_hand(model, encoding, lambda logits: logits.sigmoid()[:, 1]),
    )
    model = transformers.BertForSequenceClassification.from_pretrained(place / "regression").eval()
    found = inspect_gradients(place / "regression", TEXT)
    assert (found.target, found.output) == ("score", "score")
    check(found, by_hand(model, encoding, lambda logits: logits[:, 0]))


@pytest.mark.parametrize("target", [None, "river"])
@pytest.mark.parametrize("name", ["lm", "albert"])
def test_a_guess(place, name, target):
    import transformers

    text = "the [MASK] sleep near this house."
    found = inspect_gradients(place / name, text.replace("[MASK]", "<mask>"), target=target, baseline="mask")
    encoding = load(place / name).tokenizer.encode(text)
    architecture = {"lm": "BertForMaskedLM", "albert": "AlbertForMaskedLM"}[name]
    model = getattr(transformers, architecture).from_pretrained(place / name).eval()
    row = encoding.tokens.index("[MASK]")
    with torch.no_grad():
        best = int(model(torch.tensor([encoding.input_ids])).logits[0, row].argmax())
    word = VOCABULARY[best] if target is None else target
    assert found.target == word.removeprefix("##")
    mask = model.get_input_embeddings().weight.detach()[VOCABULARY.index("[MASK]")]
    chances = VOCABULARY.index(word)
    expected = by_hand(model, encoding, lambda logits: logits.softmax(-1)[:, row, chances], baseline=mask)
    if abs(expected[1] - expected[2]) > 0.01:
        check(found, expected)
    else:
        np.testing.assert_allclose(found.attributions, expected[0], atol=2e-5)


def test_few_points_are_told_to_be_too_few(place):
    rough = inspect_gradients(place / "classifier", TEXT, num_points=1)
    fine = inspect_gradients(place / "classifier", TEXT)
    assert (rough.num_points, rough.is_complete) == (1, False)
    assert fine.num_points >= 16
    assert abs(fine.completeness_error) < abs(rough.completeness_error)
    assert rough.to_dict()["is_complete"] is False


def test_looking_leaves_no_trace(place):
    pretrained = load(place / "classifier")
    before = {name: parameter.clone() for name, parameter in pretrained.model.named_parameters()}
    first = inspect_gradients(pretrained, TEXT)
    assert inspect_gradients(pretrained, TEXT) == first
    for name, parameter in pretrained.model.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    ("name", "text", "settings", "error", "message"),
    [
        ("classifier", TEXT, {"target": "fine"}, SettingsError, "target is 'fine': the labels are good, bad, odd"),
        ("regression", TEXT, {"target": "good"}, SettingsError, "predicts one number; leave target out"),
        ("lm", TEXT, {}, DataError, r"the text has no \[MASK\]"),
        ("lm", "a [MASK]", {"target": "dogs"}, SettingsError, r"it has 2 pieces \(dog ##s\), and a mask hides one"),
        ("lm", "a [MASK]", {"target": "zebra"}, DataError, "'zebra' is unknown to the vocabulary"),
        ("encoder", TEXT, {}, CheckpointError, "head encoder has no one prediction to explain"),
        ("classifier", TEXT, {"baseline": "noise"}, SettingsError, "baseline is 'noise': it must be one of zero, mask"),
        ("classifier", TEXT, {"num_points": 0}, SettingsError, "num_points is 0"),
    ],
)
def test_what_cannot_be_explained(place, name, text, settings, error, message):
    with pytest.raises(error, match=message):
        inspect_gradients(place / name, text, **settings)
