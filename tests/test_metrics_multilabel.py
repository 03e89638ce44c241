"""Scores of sets of labels by hand and against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unmask.metrics import MultilabelReport, multilabel_metrics, multilabel_report

# label 0: TP 1, FN 1, FP 0; label 1: TP 1, FN 0, FP 1; label 2: TP 0, FN 1, FP 1
LABELS = [[1, 1, 0], [1, 0, 1], [0, 0, 0]]
PREDICTIONS = [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_scores_by_hand() -> None:
    assert multilabel_metrics(LABELS, PREDICTIONS) == pytest.approx(
        {
            "exact_match": 1 / 3,
            "hamming_accuracy": 5 / 9,
            "micro_precision": 2 / 4,
            "micro_recall": 2 / 4,
            "micro_f1": 2 / 4,
            "macro_precision": (1 + 1 / 2 + 0) / 3,
            "macro_recall": (1 / 2 + 1 + 0) / 3,
            "macro_f1": (2 / 3 + 2 / 3 + 0) / 3,
        }
    )


def test_report_by_hand_and_through_json() -> None:
    report = multilabel_report(LABELS, PREDICTIONS, label_names=["[a]", "b", "c"])
    a, b, c = report.labels
    assert (a.name, a.precision, a.recall, a.support) == ("[a]", 1, 1 / 2, 2)
    assert (b.precision, b.recall, b.support) == (1 / 2, 1, 1)
    assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 1)
    assert report.num_predicted == (1, 2, 1)
    assert report.num_examples == 3
    assert MultilabelReport.from_dict(json.loads(json.dumps({"kind": "x", **report.to_dict()}))) == report


def test_table_shows_names_as_they_are() -> None:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as capture:
        console.print(multilabel_report(LABELS, PREDICTIONS, label_names=["[a]", "b", "c"]).to_table())
    assert "[a]" in capture.get()
    assert "exact_match 0.333" in capture.get()


def test_equal_to_scikit_learn_on_random_sets() -> None:
    from sklearn.metrics import accuracy_score, hamming_loss, precision_recall_fscore_support

    rng = np.random.default_rng(7)
    for _ in range(200):
        shape = (int(rng.integers(1, 12)), int(rng.integers(2, 13)))
        rate = rng.random()
        labels, predictions = rng.random((2, *shape)) < rate * rng.random(shape[1])
        report = multilabel_report(labels, predictions, label_names=[str(i) for i in range(shape[1])])
        for average in ("micro", "macro"):
            expected = precision_recall_fscore_support(labels, predictions, average=average, zero_division=0.0)
            ours = tuple(report.metrics[f"{average}_{name}"] for name in ("precision", "recall", "f1"))
            assert ours == pytest.approx(expected[:3])
        assert report.metrics["exact_match"] == pytest.approx(accuracy_score(labels, predictions))
        assert report.metrics["hamming_accuracy"] == pytest.approx(1 - hamming_loss(labels, predictions))
        per_label = precision_recall_fscore_support(labels, predictions, average=None, zero_division=0.0)
        for label, *scores in zip(report.labels, *per_label, strict=True):
            assert (label.precision, label.recall, label.f1, label.support) == pytest.approx(tuple(scores))


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2,\)"):
        multilabel_metrics([0, 1], [0, 1])
    with pytest.raises(ValueError, match=r"predictions of shape \(1, 2\)"):
        multilabel_metrics([[0, 1, 0]], [[0, 1]])
    with pytest.raises(ValueError, match="predictions hold 2: write 1 where a text has the label"):
        multilabel_metrics([[0, 1]], [[0, 2]])
    with pytest.raises(ValueError, match="no labels: there is nothing to score"):
        multilabel_metrics(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="1 label names for 2 columns"):
        multilabel_report([[0, 1]], [[0, 1]], label_names=["a"])
