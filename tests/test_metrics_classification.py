"""Scores against hand-computed values, and the cases where a score is not defined."""

from __future__ import annotations

import json
from math import sqrt

import pytest

from unmask.metrics import ClassificationReport, classification_metrics, classification_report

# label 1: 5 texts, 4 found; label 0: 3 texts, 1 found -> TP 4, FN 1, FP 2, TN 1
LABELS = [1, 1, 1, 1, 1, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 1, 0, 1, 1, 0]


def test_binary_scores_by_hand() -> None:
    scores = classification_metrics(LABELS, PREDICTIONS, num_labels=2)
    assert list(scores) == ["accuracy", "mcc", "f1"]
    assert scores["accuracy"] == pytest.approx(5 / 8)
    assert scores["mcc"] == pytest.approx((4 * 1 - 2 * 1) / sqrt(6 * 5 * 3 * 2))
    assert scores["f1"] == pytest.approx(2 * 4 / (2 * 4 + 2 + 1))


def test_f1_is_that_of_label_1_and_not_of_label_0() -> None:
    flipped = classification_metrics([1 - x for x in LABELS], [1 - x for x in PREDICTIONS], num_labels=2)
    assert flipped["f1"] == pytest.approx(2 * 1 / (2 * 1 + 2 + 1))
    assert flipped["mcc"] == pytest.approx(classification_metrics(LABELS, PREDICTIONS, num_labels=2)["mcc"])


def test_multiclass_f1_is_the_mean_over_labels_that_occur() -> None:
    # F1 of 0: 2*2/(2*2+0+1) = 4/5; of 1: 2*1/(2+2+0) = 1/2; of 2: 0/(0+0+1) = 0; label 3 occurs nowhere
    scores = classification_metrics([0, 0, 0, 1, 2], [0, 0, 1, 1, 1], num_labels=4)
    assert scores["f1"] == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    assert scores["accuracy"] == pytest.approx(3 / 5)


@pytest.mark.parametrize("constant", [0, 1])
def test_one_predicted_class_scores_no_correlation(constant: int) -> None:
    scores = classification_metrics(LABELS, [constant] * 8, num_labels=2)
    assert scores["mcc"] == 0
    assert scores["f1"] == pytest.approx(constant * 2 * 5 / (2 * 5 + 3))


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_in_both_is_no_warning(only: int) -> None:
    assert classification_metrics([only] * 3, [only] * 3, num_labels=2) == {"accuracy": 1, "mcc": 0, "f1": only}


def test_report_per_label_by_hand() -> None:
    report = classification_report(LABELS, PREDICTIONS, label_names=["bad", "good"])
    bad, good = report.classes
    assert (bad.name, bad.precision, bad.recall, bad.support) == ("bad", 1 / 2, 1 / 3, 3)
    assert (good.name, good.precision, good.recall, good.support) == ("good", 4 / 6, 4 / 5, 5)
    assert good.f1 == pytest.approx(report.metrics["f1"])
    assert report.confusion_matrix == ((1, 2), (1, 4))
    assert (report.num_examples, report.num_correct, report.most_frequent) == (8, 5, good)


def test_report_lists_a_label_that_never_occurs() -> None:
    report = classification_report([0, 1, 0], [0, 1, 1], label_names=["a", "b", "c"])
    assert report.confusion_matrix == ((1, 1, 0), (0, 1, 0), (0, 0, 0))
    c = report.classes[2]
    assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 0)


def test_report_survives_json() -> None:
    report = classification_report(LABELS, PREDICTIONS, label_names=["나쁨", "좋음"])
    content = {"data": "test.tsv", **report.to_dict()}
    assert ClassificationReport.from_dict(json.loads(json.dumps(content))) == report


def test_table_shows_names_as_they_are() -> None:
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as capture:
        console.print(classification_report(LABELS, PREDICTIONS, label_names=["[red]bad", "good"]).to_table())
    shown = capture.get()
    assert "[red]bad" in shown
    assert "0.667" in shown
    assert "mcc 0.149" in shown


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], "2 labels and 1 predictions: there must be one of each per text"),
        ([], [], "no labels: there is nothing to score"),
        ([0, 2], [0, 1], "label 2 is not one of the 2 label ids 0 to 1"),
        ([0, 1], [0, -100], "prediction -100 is not one of the 2 label ids 0 to 1"),
    ],
)
def test_what_cannot_be_scored(labels: list[int], predictions: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, predictions, num_labels=2)
