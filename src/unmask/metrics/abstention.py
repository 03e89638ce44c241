"""When a classifier should rather not answer, and leave a text to a person.

*Coverage* is the share of texts it answers, *risk* the share of errors among those. It answers the surest first, so the
curve of one against the other, and the area under it (AURC), say how well its confidence tells right from wrong
(Geifman and El-Yaniv 2017, arXiv:1705.08500; Geifman et al. 2019, arXiv:1805.08206).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Abstention", "CoverageRisk", "choose_abstention", "coverage_risk"]


@dataclass(frozen=True)
class CoverageRisk:
    """Coverage against risk: tuples with one entry per distinct confidence, from the surest text to all texts.

    Args:
        threshold: texts of at least this confidence are answered.
        coverage: share of texts answered, rising to 1.
        risk: share of errors among the texts answered; the last is the error rate.
        aurc: mean risk over coverages 1/N, 2/N, ..., 1; lower is better. Equally sure texts count in every order alike.
        best_aurc: the same if all right predictions were surer than all wrong ones: what `aurc` could be at best.
    """

    threshold: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    best_aurc: float


@dataclass(frozen=True)
class Abstention:
    """When to answer, given what errors and abstaining cost. A right answer costs nothing.

    Args:
        threshold: texts of at least this confidence are answered: 0 answers all, above the highest answers none.
        cost: mean cost per text with that threshold.
        cost_of_all: mean cost per text if every text is answered.
        coverage: share of texts answered.
        risk: share of errors among those answered; 0 if none is.
    """

    threshold: float
    cost: float
    cost_of_all: float
    coverage: float
    risk: float


def coverage_risk(confidence: ArrayLike, is_right: ArrayLike) -> CoverageRisk:
    """The curve of coverage against risk, and the area under it.

    Args:
        confidence: (N,), how sure the model is; any scale, higher is surer.
        is_right: bool (N,), whether it was right.

    Raises:
        ValueError: there are no texts, the shapes differ, or a confidence is not finite.
    """
    confidence, is_right = _check_confidence(confidence, is_right)
    distinct, answered, errors = _answered(confidence, is_right)
    # Errors among the k surest texts, k = 1..N; within equally sure texts, the mean over all their orders.
    k = np.arange(1, len(confidence) + 1)
    expected = np.interp(k, np.concatenate([[0], answered]), np.concatenate([[0], errors]))
    num_right = int(is_right.sum())
    return CoverageRisk(
        threshold=tuple(distinct.tolist()),
        coverage=tuple((answered / len(confidence)).tolist()),
        risk=tuple((errors / answered).tolist()),
        aurc=float((expected / k).mean()),
        best_aurc=float((np.maximum(k - num_right, 0) / k).mean()),
    )


def choose_abstention(
    confidence: ArrayLike, is_right: ArrayLike, *, cost_of_error: float, cost_of_abstaining: float
) -> Abstention:
    """The confidence from which on to answer, so that the mean cost of these texts is lowest.

    With perfectly calibrated probabilities it would be 1 - cost_of_abstaining / cost_of_error (Chow 1970, "On optimum
    recognition error and reject tradeoff"); here it is found by trying all. It lies midway between two confidences, so
    that rounding does not matter. Of equally good thresholds the one that answers most is chosen.

    Args:
        confidence, is_right: as `coverage_risk`.
        cost_of_error: what a wrong answer costs, in any unit, at least 0.
        cost_of_abstaining: what it costs not to answer, in the same unit, at least 0.

    Raises:
        ValueError: as `coverage_risk`; a cost is negative or not finite.
    """
    confidence, is_right = _check_confidence(confidence, is_right)
    for name, cost in (("an error", cost_of_error), ("abstaining", cost_of_abstaining)):
        if not 0 <= cost < np.inf:
            raise ValueError(f"the cost of {name} is {cost}: give a number of at least 0")
    distinct, answered, errors = _answered(confidence, is_right)
    size = len(confidence)
    answered, errors = np.concatenate([[0], answered]), np.concatenate([[0], errors])
    costs = (cost_of_error * errors + cost_of_abstaining * (size - answered)) / size
    best = len(costs) - 1 - int(np.argmin(costs[::-1]))  # how many distinct confidences are answered
    if best == 0:
        threshold = float(np.nextafter(distinct[0], np.inf))
    elif best == len(distinct):
        threshold = min(0.0, float(distinct[-1]))
    else:
        high, low = float(distinct[best - 1]), float(distinct[best])
        middle = low + (high - low) / 2
        threshold = middle if middle > low else high
    return Abstention(
        threshold=threshold,
        cost=float(costs[best]),
        cost_of_all=float(costs[-1]),
        coverage=float(answered[best] / size),
        risk=float(errors[best] / answered[best]) if best else 0.0,
    )


def _answered(
    confidence: NDArray[np.float64], is_right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct confidences from high to low; how many texts are at least as sure, and how many of them are wrong."""
    distinct, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, ~is_right, minlength=len(distinct)).astype(np.int64)
    return distinct[::-1], np.cumsum(counts[::-1]), np.cumsum(wrong[::-1])


def _check_confidence(confidence: ArrayLike, is_right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidence, is_right = np.asarray(confidence, np.float64), np.asarray(is_right, np.bool_)
    if confidence.shape != is_right.shape or confidence.ndim != 1:
        raise ValueError(
            f"confidence of shape {confidence.shape} and outcomes of shape {is_right.shape}: one each a text"
        )
    if not len(confidence):
        raise ValueError("no texts: there is nothing to score")
    if not np.isfinite(confidence).all():
        raise ValueError("a confidence is not a finite number")
    return confidence, is_right
