"""Scores of a model that gives each text a number, such as how similar two sentences are.

A correlation with a constant has no value: nothing divides by nothing. Here it is 0, no better than chance, and the
report names it in `undefined`, so that a model which answers one number for all is seen and not mistaken for a poor
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from rich.table import Table

__all__ = ["RegressionReport", "pearson", "rank_with_ties", "regression_metrics", "regression_report", "spearman"]


@dataclass(frozen=True)
class RegressionReport:
    """All that is to be said about one set of predicted numbers.

    Args:
        metrics: what `regression_metrics` gives.
        undefined: names of the metrics that have no value and are given as 0, because labels or predictions are
            constant.
        num_examples: number of texts that were judged.
        labels: mean, standard deviation (divided by N), lowest and highest of the labels: keys mean, std, min, max.
        predictions: likewise of the predictions.
    """

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    num_examples: int
    labels: dict[str, float]
    predictions: dict[str, float]

    @property
    def mse_of_mean(self) -> float:
        """Mean squared error of always answering the labels' mean: the one to beat."""
        return self.labels["std"] ** 2

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; `from_dict` reads them back."""
        return {
            "num_examples": self.num_examples,
            "metrics": dict(self.metrics),
            "undefined": list(self.undefined),
            "labels": dict(self.labels),
            "predictions": dict(self.predictions),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> RegressionReport:
        """The report that `to_dict` wrote; keys of other writers are passed over."""
        return cls(
            metrics=dict(content["metrics"]),
            undefined=tuple(content["undefined"]),
            num_examples=content["num_examples"],
            labels=dict(content["labels"]),
            predictions=dict(content["predictions"]),
        )

    def to_table(self) -> Table:
        """Labels and predictions side by side, for the terminal; the caption holds the scores."""
        from rich.table import Table

        shown = (f"{name} {'undefined' if name in self.undefined else f'{x:.3f}'}" for name, x in self.metrics.items())
        table = Table(caption="  ".join(shown))
        table.add_column("")
        for column in ("mean", "std", "min", "max"):
            table.add_column(column, justify="right")
        for name, summary in (("labels", self.labels), ("predictions", self.predictions)):
            table.add_row(name, *(f"{summary[column]:.3f}" for column in ("mean", "std", "min", "max")))
        return table


def regression_metrics(labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Errors and correlations of predicted numbers.

    Args:
        labels: the true numbers, (N,).
        predictions: the predicted ones, in the same order.

    Returns:
        `mse`: mean squared error. `mae`: mean absolute error.
        `pearson`: linear correlation, in [-1, 1]. `spearman`: correlation of the ranks, in [-1, 1].
        A correlation is 0 where labels or predictions are constant.

    Raises:
        ValueError: the arrays are empty, differ in length or hold what is not a finite number.
    """
    labels, predictions = _check(labels, predictions)
    errors = predictions - labels
    return {
        "mse": float(np.mean(errors**2)),
        "mae": float(np.mean(np.abs(errors))),
        "pearson": pearson(labels, predictions),
        "spearman": spearman(labels, predictions),
    }


def regression_report(labels: ArrayLike, predictions: ArrayLike) -> RegressionReport:
    """Judge predicted numbers; arguments and errors as `regression_metrics`."""
    labels, predictions = _check(labels, predictions)
    is_constant = bool(np.ptp(labels) == 0 or np.ptp(predictions) == 0)
    return RegressionReport(
        metrics=regression_metrics(labels, predictions),
        undefined=("pearson", "spearman") if is_constant else (),
        num_examples=len(labels),
        labels=_summarize(labels),
        predictions=_summarize(predictions),
    )


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Linear correlation of two arrays (N,), in [-1, 1]; 0 where one of them is constant.

    Raises:
        ValueError: as `regression_metrics`.
    """
    x, y = _check(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    # Very small and large numbers are brought near 1, so that their squares stay in range; by a power of two, which
    # rounds nothing.
    units = []
    for values in (x, y):
        scaled = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
        deviations = scaled - scaled.mean()
        deviations /= np.abs(deviations).max()
        units.append(deviations / np.sqrt(np.sum(deviations**2)))
    return float(np.clip(np.sum(units[0] * units[1]), -1, 1))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Correlation of the ranks of two arrays (N,), in [-1, 1]; equal values share their mean rank; 0 for a constant.

    Raises:
        ValueError: as `regression_metrics`.
    """
    x, y = _check(x, y)
    return pearson(rank_with_ties(x), rank_with_ties(y))


def rank_with_ties(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, float64 (N,); equal values share the mean of the ranks they take up: 10, 20, 20 -> 1, 2.5, 2.5."""
    _, which, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _summarize(values: NDArray[np.float64]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _check(labels: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}: "
            "there must be one number of each per text"
        )
    if not len(labels):
        raise ValueError("no labels: there is nothing to score")
    for name, values in (("label", labels), ("prediction", predictions)):
        if not np.isfinite(values).all():
            index = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"{name} {index} is {values[index]}, not a finite number")
    return labels, predictions
