"""How far a classifier's probabilities can be believed, and when it had better not answer.

Fine-tuned models are mostly too sure. Dividing the logits by one number, the *temperature*, mends that and changes no
answer (Guo et al. 2017, arXiv:1706.04599, section 4.2). It is fitted on the dev set, which was not trained on. A set
flatters what was fitted on it, so the dev set is judged by halves: each with the temperature fitted on the other.

Once probabilities can be believed, costs say when to answer: where a mistake costs m and no answer costs a, answering
with probability p costs (1 - p) m on average, so it pays if 1 - p <= a / m (Chow 1970, "On optimum recognition error
and reject tradeoff").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.counted import keys
from unmask.errors import SettingsError
from unmask.logits import softmax
from unmask.metrics import calibration_report, choose_abstention, fit_temperature, log_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Abstaining", "TemperatureOnDev", "calibration_entry", "fit_on_dev"]

_HALVES = int.from_bytes(b"halves")  # the purpose of the draws that part a dev set
_COSTS = (2, 5, 10, 20, 50, 100)  # of a mistake, in abstentions
_POINTS = 200  # of a curve, at most


@dataclass(frozen=True, kw_only=True)
class Abstaining:
    """When a classifier leaves a text to a person, in place of answering it.

    Args:
        abstain_below: give no label to texts whose most probable one is less probable than this, from 0 to 1.
        mistake_cost: what a wrong label costs, in any unit: texts go without one where that is cheaper.
        abstain_cost: what it costs to give no label, in the same unit; None is 1.

    Raises:
        SettingsError: a value outside its range, or a threshold and costs, or the one cost without the other.
    """

    abstain_below: float | None = None
    mistake_cost: float | None = None
    abstain_cost: float | None = None

    def __post_init__(self) -> None:
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise SettingsError(f"abstain_below is {self.abstain_below}: it must be a probability, from 0 to 1")
        for name in ("mistake_cost", "abstain_cost"):
            cost = getattr(self, name)
            if cost is not None and not 0 < cost < math.inf:
                raise SettingsError(f"{name} is {cost}: it must be above 0, and finite")
        if self.mistake_cost is None and self.abstain_cost is not None:
            raise SettingsError(f"abstain_cost is {self.abstain_cost}, and mistake_cost is missing: give both")
        if self.mistake_cost is not None and self.abstain_below is not None:
            raise SettingsError(
                f"abstain_below is {self.abstain_below} and mistake_cost is {self.mistake_cost}: give the threshold, "
                "or the costs that make one"
            )

    @property
    def threshold(self) -> float | None:
        """The least probability that is answered, in [0, 1]; None answers all."""
        if self.mistake_cost is None:
            return self.abstain_below
        return max(0.0, 1 - (1.0 if self.abstain_cost is None else self.abstain_cost) / self.mistake_cost)


@dataclass(frozen=True)
class TemperatureOnDev:
    """A temperature, and what the dev set is to be judged with.

    Args:
        temperature: what logits are divided by.
        cross_fitted: for each dev text the temperature that the half it is not in gave, float64, (N,).
    """

    temperature: float
    cross_fitted: NDArray[np.float64]


def fit_on_dev(logits: NDArray[Any], labels: NDArray[np.int64]) -> TemperatureOnDev:
    """Fit the temperature, on logits (N, C) and label ids (N,) of a dev set.

    It stays 1 unless that is worth it: what each half of the texts gives must lower the log loss of the other half.
    """
    ones = np.ones(len(labels))
    is_first = _first_half(labels)
    if is_first.all():
        return TemperatureOnDev(1.0, ones)
    cross_fitted = np.where(
        is_first, _fit(logits[~is_first], labels[~is_first]), _fit(logits[is_first], labels[is_first])
    )
    if log_loss(softmax(logits / cross_fitted[:, None]), labels) >= log_loss(softmax(logits), labels):
        return TemperatureOnDev(1.0, ones)
    return TemperatureOnDev(_fit(logits, labels), cross_fitted)


def calibration_entry(
    logits: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    temperature: float,
    cross_fitted: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Judge the probabilities of one set, as `evaluation.json` keeps it.

    Args:
        logits: (N, C), as the model gives them.
        labels: the true label ids, (N,).
        temperature: what the model's logits are divided by.
        cross_fitted: for each text the temperature to judge it with, (N,); None is that of the model.

    Returns:
        "temperature"; whether texts are judged "cross_fitted"; "before" it and "after" it the "metrics" and "bins" of a
        `CalibrationReport`; "curve", of coverage against risk, at the temperature itself; and "thresholds": for several
        costs of a mistake, in abstentions, what answering from the threshold that follows from the cost comes to, and
        what the one would that is best on these very texts.
    """
    divisors = np.full(len(labels), temperature) if cross_fitted is None else cross_fitted
    scaled = logits / divisors[:, None]
    before, after = (calibration_report(values, labels).to_dict() for values in (logits, scaled))
    # Two temperatures would mix up which texts are surest, so the curve is that of the model's own.
    curve = calibration_report(logits, labels, temperature=temperature).to_dict()["curve"]
    after["metrics"]["aurc"] = curve["aurc"]
    shown = np.unique(np.linspace(0, len(curve["risk"]) - 1, _POINTS).round().astype(np.int64))
    for name in ("threshold", "coverage", "risk"):
        curve[name] = [curve[name][i] for i in shown]
    return {
        "temperature": temperature,
        "cross_fitted": cross_fitted is not None,
        "before": {name: before[name] for name in ("metrics", "bins")},
        "after": {name: after[name] for name in ("metrics", "bins")},
        "curve": curve,
        "thresholds": _thresholds(softmax(scaled).max(1), logits.argmax(1) == labels),
    }


def _thresholds(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> list[dict[str, float]]:
    rows = []
    for cost in _COSTS:
        threshold = 1 - 1 / cost
        best = choose_abstention(confidence, is_right, cost_of_error=cost, cost_of_abstaining=1)
        is_answered = confidence >= threshold
        num_wrong = int((is_answered & ~is_right).sum())
        rows.append(
            {
                "mistake_cost": cost,
                "threshold": threshold,
                "coverage": float(is_answered.mean()),
                "risk": num_wrong / max(int(is_answered.sum()), 1),
                "cost": float((cost * num_wrong + (~is_answered).sum()) / len(is_right)),
                "cost_of_all": best.cost_of_all,
                "best_threshold": best.threshold,
                "best_coverage": best.coverage,
                "best_cost": best.cost,
            }
        )
    return rows


def _fit(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    fit = fit_temperature(logits, labels)
    # Where every text is right, the likelihood grows for ever as T falls: they do not tell how sure is too sure.
    return 1.0 if fit.is_at_bound and fit.temperature < 1 else fit.temperature


def _first_half(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Part texts into halves, each label's too, at random; always alike for the same number of texts."""
    order = np.argsort(keys(_HALVES, np.arange(len(labels))), kind="stable")
    is_first = np.zeros(len(labels), np.bool_)
    is_first[order[np.argsort(labels[order], kind="stable")][::2]] = True
    return is_first
