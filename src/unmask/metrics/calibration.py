"""Whether a classifier's probabilities can be believed.

A classifier is calibrated if, of the texts it gives a label with probability 0.8, it is right about 80 %. Fine-tuned
models are usually too sure. *Temperature scaling* (Guo et al. 2017, arXiv:1706.04599, section 4.2) divides the logits
by one number T, fitted on texts the model was not trained on; no prediction changes, only how sure the model is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from unmask.logits import log_softmax, softmax
from unmask.metrics.abstention import CoverageRisk, coverage_risk

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Binning",
    "CalibrationReport",
    "ReliabilityBins",
    "TemperatureFit",
    "brier_score",
    "calibration_report",
    "expected_calibration_error",
    "fit_temperature",
    "log_loss",
    "reliability_bins",
]

Binning = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True)
class TemperatureFit:
    """The temperature that makes the labels most likely.

    Args:
        temperature: divide logits by it; above 1 the model was too sure, below 1 not sure enough.
        nll_before: mean negative log likelihood of the labels, in nats, with the logits as they are.
        nll_after: the same with logits over temperature.
        is_at_bound: the best temperature lies outside the range allowed, so its end was taken: every text is right (the
            likelihood grows for ever as T falls), or the logits say no more than chance. Logits that are all equal keep
            1.
    """

    temperature: float
    nll_before: float
    nll_after: float
    is_at_bound: bool


@dataclass(frozen=True)
class ReliabilityBins:
    """Texts grouped by how sure the model was: tuples with one entry per bin, bins without texts included.

    Args:
        lower: the bin's lower edge (`equal_width`), or its lowest confidence (`equal_mass`).
        upper: its upper edge, which belongs to it, or its highest confidence.
        confidence: mean probability of the predicted labels; None in an empty bin.
        accuracy: share of right predictions; None in an empty bin.
        count: number of texts.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    count: tuple[int, ...]

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean over texts of their bin's |accuracy - confidence|; in [0, 1]."""
        return sum(gap * count for gap, count in self._gaps()) / sum(self.count)

    @property
    def largest_error(self) -> float:
        """Maximum calibration error: the largest |accuracy - confidence| of any bin; in [0, 1]."""
        return max(gap for gap, _ in self._gaps())

    def _gaps(self) -> list[tuple[float, int]]:
        rows = zip(self.accuracy, self.confidence, self.count, strict=True)
        return [(abs(acc - conf), count) for acc, conf, count in rows if acc is not None and conf is not None]


@dataclass(frozen=True)
class CalibrationReport:
    """All that is to be said about the probabilities of one set of predictions.

    Args:
        temperature: by which the logits were divided.
        metrics: `accuracy`, `mean_confidence`, `nll`, `brier`, `ece` (equal width), `ece_equal_mass`, `mce` (equal
            width), `aurc`.
        bins: equal width, for the reliability plot.
        curve: coverage against risk.
        num_examples: number of texts that were judged.
    """

    temperature: float
    metrics: dict[str, float]
    bins: ReliabilityBins
    curve: CoverageRisk
    num_examples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON."""
        return {
            "num_examples": self.num_examples,
            "temperature": self.temperature,
            "metrics": dict(self.metrics),
            "bins": _with_lists(asdict(self.bins)),
            "curve": _with_lists(asdict(self.curve)),
        }


def fit_temperature(
    logits: ArrayLike, labels: ArrayLike, *, bounds: tuple[float, float] = (0.05, 20.0)
) -> TemperatureFit:
    """Fit the one number by which logits are divided, on texts the model was not trained on.

    Guo et al. 2017, section 4.2. With b = 1/T the negative log likelihood, mean of log sum_c exp(b z_c) - b z_label, is
    convex in b. Its slope, the mean of E_p[z] - z_label, is found to be 0 by bisection, to the last digit.

    Args:
        logits: (N, C), of any float type. For yes-or-no logits z of a multi-label model give the columns [0, z].
        labels: the true label ids, (N,), each in [0, C).
        bounds: lowest and highest temperature allowed.

    Raises:
        ValueError: there are no texts, shapes do not fit, a label is outside [0, C), a logit is not finite, or the
            bounds are not 0 < lowest < highest.
    """
    logits, labels = _check(logits, labels, "logits")
    if not 0 < bounds[0] < bounds[1]:
        raise ValueError(f"bounds {bounds}: the lowest temperature must be above 0 and below the highest")
    centred = logits - logits.max(1, keepdims=True)
    of_label = centred[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        expected = (softmax(centred * inverse) * centred).sum(1)
        return float((expected - of_label).mean())

    low, high = 1 / bounds[1], 1 / bounds[0]
    is_at_bound = not slope(low) < 0 < slope(high)
    if not centred.any():
        inverse = min(max(1.0, low), high)
    elif is_at_bound:
        inverse = low if slope(low) >= 0 else high
    else:
        while low < (inverse := (low + high) / 2) < high:
            low, high = (inverse, high) if slope(inverse) < 0 else (low, inverse)
    temperature = 1 / inverse
    return TemperatureFit(
        temperature=temperature,
        nll_before=_nll(logits, labels, 1.0),
        nll_after=_nll(logits, labels, temperature),
        is_at_bound=is_at_bound,
    )


def log_loss(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log probability of the true labels, in nats; probabilities (N, C) below 1e-300 count as that."""
    probabilities, labels = _check(probabilities, labels, "probabilities")
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance between probabilities and truth: mean over texts of sum_c (p_c - y_c)^2, in [0, 2].

    Brier 1950, "Verification of forecasts expressed in terms of probability". With two classes this is
    twice the (p - y)^2 that is often given for yes-or-no questions.

    Args:
        probabilities: (N, C), rows that sum to 1.
        labels: the true label ids, (N,).

    Raises:
        ValueError: there are no texts, shapes do not fit, labels are outside [0, C), or these are no probabilities.
    """
    probabilities, labels = _check(probabilities, labels, "probabilities")
    truth = np.arange(probabilities.shape[1]) == labels[:, None]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, *, num_bins: int = 15, binning: Binning = "equal_width"
) -> float:
    """Mean over texts of their bin's |accuracy - confidence|, in [0, 1]; Guo et al. 2017, equation 3 (M = 15).

    Arguments and errors as `reliability_bins`.
    """
    return reliability_bins(probabilities, labels, num_bins=num_bins, binning=binning).expected_error


def reliability_bins(
    probabilities: ArrayLike, labels: ArrayLike, *, num_bins: int = 15, binning: Binning = "equal_width"
) -> ReliabilityBins:
    """Group texts by confidence, which is the probability of the predicted label, and count who is right.

    Args:
        probabilities: (N, C), rows that sum to 1; the highest is the prediction, the first of equal ones.
        labels: the true label ids, (N,).
        num_bins: at least 1.
        binning: `equal_width`: bins ((m - 1) / M, m / M], confidence 0 in the first. `equal_mass`: as many texts in
            each bin as can be, by rank; equally sure texts stay together, so that their order does not matter.

    Raises:
        ValueError: as `brier_score`; fewer than 1 bin; no such binning.
    """
    probabilities, labels = _check(probabilities, labels, "probabilities")
    if num_bins < 1:
        raise ValueError(f"{num_bins} bins: there must be at least 1")
    if binning not in get_args(Binning):
        raise ValueError(f"{binning!r} is no way to bin: choose {' or '.join(get_args(Binning))}")
    confidence = probabilities.max(1)
    is_right = probabilities.argmax(1) == labels
    edges = np.arange(num_bins + 1) / num_bins
    if binning == "equal_width":
        which = np.searchsorted(edges[1:-1], confidence, side="left")
        lower, upper = edges[:-1], edges[1:]
    else:
        distinct, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts + 1) / 2  # mean rank of each group, from 0
        bin_of_group = (middle * num_bins / len(confidence)).astype(np.int64)
        which = bin_of_group[group]
        lower = np.full(num_bins, np.nan)
        upper = lower.copy()
        for index in np.unique(bin_of_group):
            lower[index], upper[index] = distinct[bin_of_group == index][[0, -1]]
        # an empty bin has no width, where the one before it ends
        for index in range(num_bins):
            if np.isnan(lower[index]):
                lower[index] = upper[index] = upper[index - 1] if index else distinct[0]
    count = np.bincount(which, minlength=num_bins)
    confidences, shares_right = (
        tuple(
            float(total / n) if n else None
            for total, n in zip(np.bincount(which, of_text, num_bins), count, strict=True)
        )
        for of_text in (confidence, is_right)
    )
    return ReliabilityBins(
        lower=tuple(lower.tolist()),
        upper=tuple(upper.tolist()),
        confidence=confidences,
        accuracy=shares_right,
        count=tuple(count.tolist()),
    )


def calibration_report(
    logits: ArrayLike, labels: ArrayLike, *, temperature: float = 1.0, num_bins: int = 15
) -> CalibrationReport:
    """Judge the probabilities softmax(logits / temperature); before and after a fit, call it twice.

    Args:
        logits, labels: as `fit_temperature`.
        temperature: above 0.
        num_bins: of the calibration errors.

    Raises:
        ValueError: as `fit_temperature` and `reliability_bins`; the temperature is not above 0.
    """
    logits, labels = _check(logits, labels, "logits")
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")
    probabilities = softmax(logits, temperature=temperature)
    confidence, is_right = probabilities.max(1), logits.argmax(1) == labels
    bins = reliability_bins(probabilities, labels, num_bins=num_bins)
    curve = coverage_risk(confidence, is_right)
    return CalibrationReport(
        temperature=temperature,
        metrics={
            "accuracy": float(is_right.mean()),
            "mean_confidence": float(confidence.mean()),
            "nll": _nll(logits, labels, temperature),
            "brier": brier_score(probabilities, labels),
            "ece": bins.expected_error,
            "ece_equal_mass": expected_calibration_error(
                probabilities, labels, num_bins=num_bins, binning="equal_mass"
            ),
            "mce": bins.largest_error,
            "aurc": curve.aurc,
        },
        bins=bins,
        curve=curve,
        num_examples=len(labels),
    )


def _nll(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    return float(-log_softmax(logits, temperature=temperature)[np.arange(len(labels)), labels].mean())


def _check(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"{name} of shape {scores.shape} and labels of shape {labels.shape}: give (N, C) and (N,)")
    if not scores.size:
        raise ValueError("no texts: there is nothing to score")
    if not np.isfinite(scores).all():
        raise ValueError(f"{name} are not all finite numbers")
    labels = labels.astype(np.int64)
    if outside := [int(label) for label in labels if not 0 <= label < scores.shape[1]]:
        raise ValueError(f"label {outside[0]} is not one of the {scores.shape[1]} label ids 0 to {scores.shape[1] - 1}")
    if name == "probabilities" and not (np.all(scores >= 0) and np.allclose(scores.sum(1), 1, atol=1e-4)):
        raise ValueError(
            "these are no probabilities: each row must be at least 0 and sum to 1; logits need softmax first"
        )
    return scores, labels


def _with_lists(content: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}
