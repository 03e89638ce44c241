"""Labels of texts, against transformers' pipeline. Run: pytest tests/test_pipelines_text_classification.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tiny import finetune_tiny, make_workplace
from tiny_families import FAMILIES, TEXTS, numbered, save_tiny
from unmask import pipeline, predict
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("bad", "fair", "good")
PAIR = {"text": TEXTS[0], "text_pair": TEXTS[1]}
LONG = "this dog sleep near the house . " * 9


def theirs_of(folder: Path, **options: Any) -> Any:
    import transformers

    return transformers.pipeline("text-classification", model=str(folder), device="cpu", **options)


def assert_alike(ours: Any, theirs: Any) -> None:
    """The same lists, labels and, to 1e-5, scores."""
    assert type(ours) is type(theirs)
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    else:
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_gives(tmp_path: Path, family: str) -> None:
    folder = save_tiny(tmp_path / "model", family, "sequence-classification", id2label=numbered(LABELS))
    ours, theirs = pipeline("text-classification", folder, device="cpu"), theirs_of(folder)
    assert_alike(ours(TEXTS[0]), theirs(TEXTS[0]))
    assert_alike(ours(TEXTS), theirs(TEXTS))
    for top_k in (1, 2, None):
        assert_alike(ours(TEXTS[0], top_k=top_k), theirs(TEXTS[0], top_k=top_k))
        assert_alike(ours(TEXTS[:3], top_k=top_k), theirs(TEXTS[:3], top_k=top_k))
    for function in ("sigmoid", "softmax", "none"):
        options = {"function_to_apply": function, "top_k": None}
        assert_alike(ours(TEXTS[:3], **options), theirs(TEXTS[:3], **options))
    if family != "gpt2":  # which has no token between two texts
        assert_alike(ours([PAIR]), theirs([PAIR]))
        assert_alike(ours(PAIR), theirs(PAIR))
        assert set(ours(PAIR)) == {"label", "score"}
    assert_alike(ours(TEXTS, batch_size=2), theirs(TEXTS))


def test_options_given_once_hold_for_all_calls(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "sequence-classification", id2label=numbered(LABELS))
    ours = pipeline("sentiment-analysis", folder, device="cpu", top_k=None)
    assert_alike(ours(TEXTS[0]), theirs_of(folder, top_k=None)(TEXTS[0]))
    assert_alike(ours(TEXTS[0], top_k=1), theirs_of(folder)(TEXTS[0], top_k=1))


@pytest.mark.parametrize(
    ("problem", "labels"),
    [("multi_label_classification", LABELS), ("regression", ("score",)), (None, ("LABEL_0",))],
)
def test_problems_that_are_not_one_of_several(tmp_path: Path, problem: str | None, labels: tuple[str, ...]) -> None:
    extra = {} if problem is None else {"problem_type": problem}
    folder = save_tiny(tmp_path / "model", "bert", "sequence-classification", id2label=numbered(labels), extra=extra)
    ours, theirs = pipeline("text-classification", folder, device="cpu"), theirs_of(folder)
    assert_alike(ours(TEXTS[:5], top_k=None), theirs(TEXTS[:5], top_k=None))
    assert_alike(ours(TEXTS[0]), theirs(TEXTS[0]))
    if problem == "regression":
        assert not all(0 <= one["score"] <= 1 for one in ours(TEXTS))  # a number of its own, and no probability


def test_pairs_and_texts_in_any_order(tmp_path: Path) -> None:
    """In one list, each answered as alone; a pair also as two texts in a list."""
    folder = save_tiny(tmp_path / "model", "bert", "sequence-classification", id2label=numbered(LABELS))
    ours = pipeline("text-classification", folder, device="cpu")
    pairs = [{"text": one, "text_pair": other} for one, other in zip(TEXTS[:3], TEXTS[3:6], strict=True)]
    mixed = [TEXTS[7], pairs[0], pairs[1], TEXTS[8], [TEXTS[2], TEXTS[5]]]
    alone = [ours([one])[0] for one in (TEXTS[7], pairs[0], pairs[1], TEXTS[8], pairs[2])]
    assert_alike(ours(mixed), alone)
    assert len({round(one["score"], 4) for one in alone}) == 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on short texts, whose dev set asked for a temperature."""
    place = make_workplace(tmp_path_factory.mktemp("place"))
    with pytest.MonkeyPatch.context() as patch:  # drawing the plots takes longer than the run
        patch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        assert finetune_tiny(place, place / "run", "--max-seq-length", 9) == 0
    config = json.loads((place / "run" / "model" / "config.json").read_text())
    config["unmask_task"]["temperature"] = 0.37
    (place / "run" / "model" / "config.json").write_text(json.dumps(config))
    return place / "run"


class TestFineTuned:
    def test_probabilities_are_those_of_predict(self, run: Path) -> None:
        ours = pipeline(None, run)
        assert ours.task == "text-classification"
        for one, answer in zip(ours(TEXTS, top_k=None), predict(run, TEXTS), strict=True):
            assert {entry["label"]: entry["score"] for entry in one} == pytest.approx(answer.probabilities, abs=1e-6)
        without = ours(TEXTS, top_k=None, function_to_apply="softmax")  # asked for, it is that of the logits
        logits = np.array([[entry["score"] for entry in one] for one in ours(TEXTS, top_k=None)])
        assert np.abs(logits - np.array([[entry["score"] for entry in one] for one in without])).max() > 0.01

    def test_a_long_text_is_cut_as_in_training_unless_told(self, run: Path, caplog: pytest.LogCaptureFixture) -> None:
        ours = pipeline("text-classification", run)
        cut = "this dog sleep near the house ."  # [CLS], seven words, [SEP]
        assert_alike(ours(LONG), ours(cut))
        assert "1 text was cut to 9 tokens" in caplog.text
        with pytest.raises(TooLongError, match=r"inputs, line 2: the text has 65 tokens, and the model reads 9"):
            ours([cut, LONG], truncation=False)


def test_a_long_text_for_a_model_of_others(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "sequence-classification")
    ours = pipeline("text-classification", folder, device="cpu")
    with pytest.raises(DataError, match=r"65 tokens, and the model reads 40: shorten it, or say truncation=True"):
        ours(LONG)
    assert_alike(ours(LONG, truncation=True), theirs_of(folder)(LONG, truncation=True, max_length=40))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"top_k": 0}, "top_k is 0: it must be 1 or more, or None"),
        ({"top_k": True}, "top_k is True"),
        ({"function_to_apply": "tanh"}, "function_to_apply is 'tanh': it must be one of softmax, sigmoid, none"),
        ({"topk": 2}, "text-classification has no option 'topk'; it has top_k, function_to_apply, truncation"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "sequence-classification")
    with pytest.raises(SettingsError, match=problem):
        pipeline("text-classification", folder, device="cpu", **options)


def test_a_model_without_a_classifier(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "masked-lm")
    with pytest.raises(
        CheckpointError, match=r"\(BertForMaskedLM\) has no sequence-classification head, which text-cl"
    ):
        pipeline("text-classification", folder)
