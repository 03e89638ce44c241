"""Words behind masks, against transformers' pipeline. Run: pytest tests/test_pipelines_fill_mask.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tiny_families import save_tiny
from unmask import pipeline
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = ("bert", "roberta", "albert", "electra")


def assert_alike(ours: list[Any], theirs: list[Any]) -> None:
    """The same pieces and texts in the same order, scores to 1e-5."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, list):
            assert_alike(one, other)
        else:
            assert one == {**other, "score": pytest.approx(other["score"], abs=1e-5)}
            assert list(one) == list(other)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_gives(tmp_path: Path, family: str) -> None:
    import transformers

    folder = save_tiny(tmp_path / "model", family, "masked-lm")
    ours = pipeline("fill-mask", folder, device="cpu")
    theirs = transformers.pipeline("fill-mask", model=str(folder), device="cpu")
    mask = ours.tokenizer.mask_token
    one, two = f"this {mask} sleep near the house.", f"the {mask} dogs {mask} now."
    assert_alike(ours(one), theirs(one))
    assert_alike(ours(one, top_k=13), theirs(one, top_k=13))
    assert_alike(ours(two), theirs(two))
    assert_alike(ours([two, one]), theirs([two, one]))
    targets = [ours.tokenizer.id_to_token(token_id) for token_id in (9, 31, 17)]
    assert_alike(ours(one, targets=targets), theirs(one, targets=targets))
    assert len(ours(one, targets=[*targets, targets[0]], top_k=2)) == 2


def test_masks_as_people_write_them(tmp_path: Path) -> None:
    ours = pipeline("fill-mask", save_tiny(tmp_path / "model", "roberta", "masked-lm"))
    assert ours("this [MASK] sleep") == ours("this <mask> sleep")


def test_a_pretraining_checkpoint_and_a_generator_fill_too(tmp_path: Path) -> None:
    ours = pipeline(None, save_tiny(tmp_path / "pretraining", "bert", "pre-training"))
    assert ours.task == "fill-mask"
    assert len(ours("this [MASK] sleep")) == 5
    electra = tmp_path / "electra"
    save_tiny(electra / "model", "electra", "replaced-token")
    generator = save_tiny(electra / "generator", "electra", "masked-lm")
    expected = pipeline("fill-mask", generator)("this [MASK] sleep")
    assert_alike(pipeline("fill-mask", electra / "model")("this [MASK] sleep"), expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no mask here", r"inputs, line 1: the text has no \[MASK\]: put it where a word is to be guessed"),
        (" ", "inputs, line 1: the text is empty"),
        (7, r"inputs, line 1: the text is a number \(7\): it must be text"),
        ({"sentence": "[MASK]"}, "text is missing: give an object with text"),
    ],
)
def test_texts_that_cannot_be_filled(tmp_path: Path, text: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        pipeline("fill-mask", save_tiny(tmp_path / "model", "bert", "masked-lm"))(text)


def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    ours = pipeline("fill-mask", save_tiny(tmp_path / "model", "bert", "masked-lm"))
    with pytest.raises(TooLongError, match=r"line 2: the text has 43 tokens, and the model reads 40: shorten it$"):
        ours(["this [MASK]", "this [MASK]" + " dog" * 39])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"top_k": 0}, "top_k is 0: it must be 1 or more"),
        ({"targets": []}, "targets is empty"),
        ({"targets": ["dog", "dog cat"]}, "targets has 'dog cat', which is no piece of the vocabulary"),
        ({"targets": "xylophone"}, "targets has 'xylophone', which is no piece of the vocabulary"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    ours = pipeline("fill-mask", save_tiny(tmp_path / "model", "bert", "masked-lm"))
    with pytest.raises(SettingsError, match=problem):
        ours("this [MASK] sleep", **options)


@pytest.mark.parametrize(("family", "head"), [("bert", "encoder"), ("electra", "replaced-token")])
def test_a_model_without_the_head(tmp_path: Path, family: str, head: str) -> None:
    with pytest.raises(CheckpointError, match=r"has no masked-lm head, which fill-mask asks: give a checkpoint"):
        pipeline("fill-mask", save_tiny(tmp_path / "model", family, head))
