"""Scores of a classifier that gives each text one label, by scikit-learn.

Where a score is not defined it is 0, as scikit-learn defines it, and no warning is given: the precision of a label that
was never predicted, the recall of a label that never occurs, and the Matthews correlation when all predictions, or all
labels, are the same. The last is what a model scores that has learned nothing but the most frequent label.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

__all__ = ["ClassScores", "ClassificationReport", "classification_metrics", "classification_report"]


@dataclass(frozen=True)
class ClassScores:
    """How well one label was found.

    Args:
        name: the label's name.
        precision: of the texts given this label, the share that has it; in [0, 1].
        recall: of the texts that have this label, the share that was given it; in [0, 1].
        f1: harmonic mean of the two.
        support: number of texts that have this label.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """All that is to be said about one set of predictions.

    Args:
        metrics: what `classification_metrics` gives.
        classes: one entry per label, in the order of the label ids.
        confusion_matrix: counts; row = label of the text, column = prediction.
    """

    metrics: dict[str, float]
    classes: tuple[ClassScores, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]

    @property
    def num_examples(self) -> int:
        """Number of texts that were judged."""
        return sum(label.support for label in self.classes)

    @property
    def num_correct(self) -> int:
        """Number of texts that were given the label they have."""
        return sum(row[label] for label, row in enumerate(self.confusion_matrix))

    @property
    def most_frequent(self) -> ClassScores:
        """The label that most texts have: always answering it is the score to beat."""
        return max(self.classes, key=lambda label: label.support)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; `from_dict` reads them back."""
        return {
            "num_examples": self.num_examples,
            "metrics": dict(self.metrics),
            "classes": [asdict(label) for label in self.classes],
            "confusion_matrix": [list(row) for row in self.confusion_matrix],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ClassificationReport:
        """The report that `to_dict` wrote; keys of other writers are passed over."""
        return cls(
            metrics=dict(content["metrics"]),
            classes=tuple(ClassScores(**label) for label in content["classes"]),
            confusion_matrix=tuple(tuple(row) for row in content["confusion_matrix"]),
        )

    def to_table(self) -> Table:
        """The scores per label, for the terminal; the caption holds the scores of all labels together."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(caption="  ".join(f"{name} {value:.3f}" for name, value in self.metrics.items()))
        table.add_column("label")
        for column in ("precision", "recall", "f1", "support"):
            table.add_column(column, justify="right")
        for label in self.classes:
            scores = (f"{score:.3f}" for score in (label.precision, label.recall, label.f1))
            table.add_row(escape(label.name), *scores, f"{label.support:,}")
        return table


def classification_metrics(labels: Sequence[int], predictions: Sequence[int], *, num_labels: int) -> dict[str, float]:
    """Accuracy, Matthews correlation coefficient and F1.

    Args:
        labels: the true label ids, each in [0, num_labels).
        predictions: the predicted label ids, in the same order.
        num_labels: number of labels the model knows, at least 2; not all of them need occur.

    Returns:
        `accuracy`: share of texts that were given their label, in [0, 1].
        `mcc`: Matthews correlation in [-1, 1]: 1 is perfect, 0 is no better than chance.
        `f1`: with two labels, the F1 of label 1; with more, the mean over the labels which occur in either list.

    Raises:
        ValueError: the lists are empty or differ in length, or an id lies outside [0, num_labels).
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    _check(labels, predictions, num_labels)
    one_class_only = len({*labels, *predictions}) == 1  # the correlation of two constants, of which sklearn would warn
    averaged = [1] if num_labels == 2 else None
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "mcc": 0.0 if one_class_only else float(matthews_corrcoef(labels, predictions)),
        "f1": float(f1_score(labels, predictions, labels=averaged, average="macro", zero_division=0.0)),
    }


def classification_report(
    labels: Sequence[int], predictions: Sequence[int], *, label_names: Sequence[str]
) -> ClassificationReport:
    """Judge predictions label by label.

    Args:
        labels: the true label ids, each in [0, len(label_names)).
        predictions: the predicted label ids, in the same order.
        label_names: the name of each id.

    Raises:
        ValueError: as `classification_metrics`.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    metrics = classification_metrics(labels, predictions, num_labels=len(label_names))
    ids = range(len(label_names))
    scores = precision_recall_fscore_support(labels, predictions, labels=ids, zero_division=0.0)
    return ClassificationReport(
        metrics=metrics,
        classes=tuple(
            ClassScores(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(label_names, *scores, strict=True)
        ),
        confusion_matrix=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(labels, predictions, labels=ids)
        ),
    )


def _check(labels: Sequence[int], predictions: Sequence[int], num_labels: int) -> None:
    if len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels and {len(predictions)} predictions: there must be one of each per text")
    if not len(labels):
        raise ValueError("no labels: there is nothing to score")
    for name, ids in (("label", labels), ("prediction", predictions)):
        if outside := [value for value in ids if not 0 <= value < num_labels]:
            raise ValueError(f"{name} {outside[0]} is not one of the {num_labels} label ids 0 to {num_labels - 1}")
