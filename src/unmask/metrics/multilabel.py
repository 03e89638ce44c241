"""Scores of a model that gives each text any number of labels.

Each label is a question of its own with the answers yes and no. Micro scores count all yeses together; macro scores are
means over the labels, each counting the same however rare. A score with nothing to divide by is 0, so a label that
occurs nowhere and is predicted nowhere pulls the macro scores down, as scikit-learn has it with `zero_division=0`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.metrics.classification import ClassScores
from unmask.metrics.ratios import divide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from rich.table import Table

__all__ = ["MultilabelReport", "multilabel_metrics", "multilabel_report"]


@dataclass(frozen=True)
class MultilabelReport:
    """All that is to be said about one set of predicted label sets.

    Args:
        metrics: what `multilabel_metrics` gives.
        labels: one entry per label, in the order of the label ids; its support is the number of texts that have it.
        num_predicted: of each label, the number of texts that were given it.
        num_examples: number of texts that were judged.
    """

    metrics: dict[str, float]
    labels: tuple[ClassScores, ...]
    num_predicted: tuple[int, ...]
    num_examples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; `from_dict` reads them back."""
        return {
            "num_examples": self.num_examples,
            "metrics": dict(self.metrics),
            "labels": [asdict(label) for label in self.labels],
            "num_predicted": list(self.num_predicted),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> MultilabelReport:
        """The report that `to_dict` wrote; keys of other writers are passed over."""
        return cls(
            metrics=dict(content["metrics"]),
            labels=tuple(ClassScores(**label) for label in content["labels"]),
            num_predicted=tuple(content["num_predicted"]),
            num_examples=content["num_examples"],
        )

    def to_table(self) -> Table:
        """The scores per label, for the terminal; the caption holds the scores of all labels together."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(caption="  ".join(f"{name} {value:.3f}" for name, value in self.metrics.items()))
        table.add_column("label")
        for column in ("precision", "recall", "f1", "support", "predicted"):
            table.add_column(column, justify="right")
        for label, predicted in zip(self.labels, self.num_predicted, strict=True):
            scores = (f"{score:.3f}" for score in (label.precision, label.recall, label.f1))
            table.add_row(escape(label.name), *scores, f"{label.support:,}", f"{predicted:,}")
        return table


def multilabel_metrics(labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Exact match, and precision, recall and F1 over all labels.

    Args:
        labels: (N, L), true or 1 where text n has label l, else false or 0.
        predictions: (N, L) likewise.

    Returns:
        `exact_match`: share of texts whose labels are all right, also called subset accuracy.
        `hamming_accuracy`: share of single answers, yes or no, that are right.
        `micro_precision`, `micro_recall`, `micro_f1`: all labels counted together.
        `macro_precision`, `macro_recall`, `macro_f1`: means over the L labels.

    Raises:
        ValueError: the arrays are empty, differ in shape or hold anything but 0 and 1.
    """
    labels, predictions = _check(labels, predictions)
    precision, recall, f1 = _scores(labels, predictions, axis=0)
    micro = _scores(labels, predictions, axis=None)
    return {
        "exact_match": float((labels == predictions).all(1).mean()),
        "hamming_accuracy": float((labels == predictions).mean()),
        "micro_precision": float(micro[0]),
        "micro_recall": float(micro[1]),
        "micro_f1": float(micro[2]),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
    }


def multilabel_report(labels: ArrayLike, predictions: ArrayLike, *, label_names: Sequence[str]) -> MultilabelReport:
    """Judge predicted label sets label by label.

    Args:
        labels, predictions: as `multilabel_metrics`.
        label_names: the name of each of the L labels.

    Raises:
        ValueError: as `multilabel_metrics`; not L names.
    """
    labels, predictions = _check(labels, predictions)
    if len(label_names) != labels.shape[1]:
        raise ValueError(f"{len(label_names)} label names for {labels.shape[1]} columns of labels")
    columns = (*_scores(labels, predictions, axis=0), labels.sum(0))
    return MultilabelReport(
        metrics=multilabel_metrics(labels, predictions),
        labels=tuple(ClassScores(*row) for row in zip(label_names, *(c.tolist() for c in columns), strict=True)),
        num_predicted=tuple(predictions.sum(0).tolist()),
        num_examples=len(labels),
    )


def _scores(
    labels: NDArray[np.bool_], predictions: NDArray[np.bool_], *, axis: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 over an axis, or over everything."""
    true, predicted = np.asarray(labels.sum(axis)), np.asarray(predictions.sum(axis))
    correct = np.asarray((labels & predictions).sum(axis))
    return divide(correct, predicted), divide(correct, true), divide(2 * correct, true + predicted)


def _check(labels: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 2:
        raise ValueError(
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}: "
            "there must be one row of each per text, with a column for each label"
        )
    if not labels.size:
        raise ValueError("no labels: there is nothing to score")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"{name} hold {values[~np.isin(values, (0, 1))][0]}: write 1 where a text has the label, else 0"
            )
    return labels.astype(np.bool_), predictions.astype(np.bool_)
