"""How sure a score is: bootstrap intervals.

A score on N texts is an estimate. Draw N of them with replacement, again and again, and see how far the score moves
(Efron 1979, "Bootstrap methods: another look at the jackknife"; Berg-Kirkpatrick et al. 2012,
aclanthology.org/D12-1091, for this field). What is drawn is a pure function of (seed, resample, N) (`unmask.counted`),
so every interval repeats, and two scores of the same texts are resampled alike.

Many scores are functions of sums over texts: a mean, accuracy, F1 of spans, even Pearson's correlation. For them
all resamples are one matrix product (`bootstrap_sums`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Interval", "bootstrap_interval", "bootstrap_mean", "bootstrap_sums", "check_statistics", "draw_counts"]

_BLOCK = 4_000_000  # numbers drawn at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """A score and the range that resampling its texts puts it in.

    Args:
        value: the score on the texts themselves.
        low: lower end.
        high: upper end.
        level: share of the resamples that lie between them, such as 0.95.
        num_resamples: how many were drawn.
    """

    value: float
    low: float
    high: float
    level: float
    num_resamples: int

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def bootstrap_interval(
    metric: Callable[..., float], *columns: ArrayLike, num_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of any metric: `bootstrap_interval(spearman, labels, predictions)`.

    The metric is called once per resample; where it is a function of sums, `bootstrap_sums` gives the same interval
    much sooner. For the difference of two models give both: `lambda y, a, b: pearson(y, a) - pearson(y, b)`. What does
    not fit in an array can be looked up: give `numpy.arange(n)`, and the metric gets the indices drawn.

    Args:
        metric: from the columns, resampled alike, to the score.
        columns: each array-like with N rows.
        num_resamples: how many to draw; 1,000 settle an end of the interval to about a tenth of its width.
        level: share of resamples inside, in (0, 1).
        seed: what to draw; equal seeds and N give equal resamples, here and in `bootstrap_sums`.

    Raises:
        ValueError: columns are missing, empty or of different lengths; the metric is not finite on a resample; fewer
            than 1 resample; level outside (0, 1).
    """
    arrays = [np.asarray(column) for column in columns]
    if not arrays or len({len(array) for array in arrays}) != 1:
        raise ValueError(f"columns of {[len(array) for array in arrays]} rows: give at least one, all of one length")
    values = (
        metric(*(array[indices] for array in arrays))
        for block in _resample(len(arrays[0]), num_resamples, seed)
        for indices in block
    )
    resampled = np.fromiter(values, np.float64)
    return _interval(float(metric(*arrays)), resampled, level)


def bootstrap_sums(
    metric: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    statistics: ArrayLike,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a function of sums over texts, such as F1 of the spans of each.

    Args:
        metric: from sums (R, K), one row per resample, to scores (R,).
        statistics: (N, K), of each text what is summed, such as its true, predicted and correct spans.
        num_resamples, level, seed: as `bootstrap_interval`, with the same resamples.

    Raises:
        ValueError: as `bootstrap_interval`; statistics are not (N, K).
    """
    statistics = check_statistics(statistics)
    sums = [times @ statistics for times in draw_counts(len(statistics), num_resamples, seed)]
    value = metric(statistics.sum(0, keepdims=True))[0]
    return _interval(float(value), metric(np.concatenate(sums)), level)


def bootstrap_mean(scores: ArrayLike, *, num_resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of the mean of scores (N,): accuracy from right and wrong, EM and F1 of answers.

    Raises:
        ValueError: as `bootstrap_interval`.
    """
    column = np.asarray(scores, np.float64)
    return bootstrap_sums(
        lambda sums: sums[:, 0] / len(column),
        column[:, None],
        num_resamples=num_resamples,
        level=level,
        seed=seed,
    )


def check_statistics(statistics: ArrayLike) -> NDArray[np.float64]:
    """What is summed over texts as float64 (N, K); ValueError if it has another shape, no text, or no finite number."""
    array = np.asarray(statistics, np.float64)
    if array.ndim != 2 or not len(array):
        raise ValueError(f"statistics of shape {array.shape}: give (N, K), one row per text, and at least one")
    if not np.isfinite(array).all():
        raise ValueError("scores or statistics are not all finite numbers")
    return array


def draw_counts(size: int, num_resamples: int, seed: int, *, width: int = 1) -> Iterator[NDArray[np.float64]]:
    """How often each text is drawn, resample by resample: (some, size) at a time, each row of sum `size`.

    Args:
        size: number of texts, N.
        num_resamples: how many to draw in all.
        seed: what to draw.
        width: numbers that are made of each resample; of many, fewer resamples are drawn at a time.

    Raises:
        ValueError: there are no texts, or fewer than 1 resample.
    """
    for block in _resample(size, num_resamples, seed, width=width):
        rows = np.arange(len(block))[:, None] * size
        yield np.bincount((block + rows).ravel(), minlength=block.size).reshape(block.shape).astype(np.float64)


def _resample(size: int, num_resamples: int, seed: int, *, width: int = 1) -> Iterator[NDArray[np.int64]]:
    """Indices drawn with replacement, (some, size) at a time."""
    if size < 1:
        raise ValueError("no texts: there is nothing to resample")
    if num_resamples < 1:
        raise ValueError(f"{num_resamples} resamples: draw at least 1")
    step = max(1, _BLOCK // max(size, width))
    for first in range(0, num_resamples, step):
        which = np.arange(first, min(first + step, num_resamples))
        numbers = counted.uniform(counted.keys(seed, which)[:, None], np.arange(size))
        yield (numbers * size).astype(np.int64)


def _interval(value: float, resampled: NDArray[np.float64], level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie between 0 and 1, such as 0.95")
    if not (np.isfinite(value) and np.isfinite(resampled).all()):
        raise ValueError("the metric is not a finite number for some resample: give 0 where it is not defined")
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level, num_resamples=len(resampled))
