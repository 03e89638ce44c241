"""Whether two models differ, and how much one recipe varies: paired tests, and summaries over seeds.

Paired tests ask how often two models that are equally good would differ as much on these very texts: McNemar's for
right and wrong, the permutation test for every score (Dror et al. 2018, aclanthology.org/P18-1128, say which when).
What is drawn is a pure function of the seed (`unmask.counted`), so every number here repeats.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask import counted
from unmask.metrics.bootstrap import check_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "McNemarTest",
    "PairedTest",
    "SeedSummary",
    "is_collapsed",
    "mcnemar_test",
    "paired_permutation_test",
    "summarize_seeds",
]

_BLOCK = 4_000_000  # swaps drawn, or sums made of them, at a time


@dataclass(frozen=True)
class McNemarTest:
    """Which texts two models get right.

    Args:
        both_right: number of texts that both get right.
        only_first: number of texts that only the first gets right.
        only_second: number of texts that only the second gets right.
        both_wrong: number of texts that neither gets right.
        p_value: probability of so uneven a split of the texts on which they differ, or a more uneven one, if each were
            a toss of a coin; two-sided, exact.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PairedTest:
    """Whether two models' scores differ on the same texts.

    Args:
        first: score of the first.
        second: score of the second.
        p_value: share of the ways to swap the two models' results, text by text, that make a difference at least as
            large, in either direction.
        num_examples: number of texts.
        num_differing: number of texts on which the two have different results; swapping the others changes nothing.
        num_resamples: number of ways tried.
        is_exact: all ways were tried; otherwise they were drawn, and the one that is the case was counted with them.
    """

    first: float
    second: float
    p_value: float
    num_examples: int
    num_differing: int
    num_resamples: int
    is_exact: bool

    @property
    def difference(self) -> float:
        """Score of the first less that of the second."""
        return self.first - self.second

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return {**asdict(self), "difference": self.difference}


@dataclass(frozen=True)
class SeedSummary:
    """One score of the same recipe under several seeds.

    Args:
        values: the scores, in the order given.
        mean: their mean.
        std: their standard deviation as a sample of all seeds, divided by n - 1; None with one seed, which tells
            nothing.
        min: the lowest.
        max: the highest.
    """

    values: tuple[float, ...]
    mean: float
    std: float | None
    min: float
    max: float

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {**asdict(self), "values": list(self.values)}


def mcnemar_test(first_is_right: ArrayLike, second_is_right: ArrayLike) -> McNemarTest:
    """McNemar's test of two classifiers on the same texts, exact by the binomial distribution.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; Dietterich 1998,
    "Approximate statistical tests for comparing supervised classification learning algorithms", section 3.1. Only texts
    that one model alone gets right speak; p is twice the smaller tail of n tosses of a fair coin, at most 1.

    Args:
        first_is_right: bool (N,), whether the first model was right.
        second_is_right: bool (N,), likewise.

    Raises:
        ValueError: there are no texts, or the shapes differ.
    """
    first, second = np.asarray(first_is_right, np.bool_), np.asarray(second_is_right, np.bool_)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"outcomes of shapes {first.shape} and {second.shape}: there must be one of each per text")
    if not len(first):
        raise ValueError("no texts: there is nothing to compare")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    number = only_first + only_second
    ways, tail = 1, 0  # whole numbers, so nothing is rounded
    for k in range(min(only_first, only_second) + 1):
        tail += ways
        ways = ways * (number - k) // (k + 1)
    return McNemarTest(
        both_right=int((first & second).sum()),
        only_first=only_first,
        only_second=only_second,
        both_wrong=int((~first & ~second).sum()),
        p_value=min(1.0, 2 * tail / 2**number),
    )


def paired_permutation_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    metric: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    num_resamples: int = 10_000,
    exact_up_to: int = 16,
    seed: int = 0,
) -> PairedTest:
    """Whether two models differ, by swapping their results text by text (Fisher 1935; Dror et al. 2018, section 3.2).

    If both are equally good, it is as likely that either gave either result. For a mean this flips the signs of the
    differences. Where few texts differ all ways to swap are tried, 2 to the power of their number; otherwise they are
    drawn, and p = (1 + number at least as extreme) / (1 + number drawn), which is never 0.

    Args:
        first: the first model's score of each text, (N,); or with a metric its statistics, (N, K).
        second: the second's, of the same texts in the same order. Also the scores of two recipes, seed by seed.
        metric: from sums (R, K) to scores (R,), as in `bootstrap_sums`; None: the mean of (N,).
        num_resamples: how many ways to draw where not all are tried.
        exact_up_to: try all ways up to this number of differing texts, at most 24.
        seed: what to draw.

    Raises:
        ValueError: there are no texts, the shapes differ or do not fit the metric, a score is not finite, fewer than 1
            resample, or `exact_up_to` above 24.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"scores of shapes {a.shape} and {b.shape}: there must be one of each per text")
    if metric is None:
        if a.ndim != 1:
            raise ValueError(f"scores of shape {a.shape}: without a metric give (N,)")
        a, b = a[:, None], b[:, None]
    a, b = check_statistics(a), check_statistics(b)
    if exact_up_to > 24:
        raise ValueError(f"exact_up_to {exact_up_to} would try {2.0**exact_up_to:.0e} ways: at most 24")
    size = len(a)
    score = metric or (lambda sums: sums[:, 0] / size)
    swapped = (b - a)[(a != b).any(1)]  # what swapping a text adds to the first model's sums
    is_exact = len(swapped) <= exact_up_to
    observed = score(a.sum(0, keepdims=True))[0], score(b.sum(0, keepdims=True))[0]
    # Ways that make the same difference may differ in the last digits, as sums do in another order.
    at_least = abs(observed[0] - observed[1]) - 1e-12 * (abs(observed[0]) + abs(observed[1]))
    num_extreme = num_tried = 0
    for is_swapped in _swaps(len(swapped), num_resamples, is_exact, seed, width=a.shape[1]):
        added = is_swapped.astype(np.float64) @ swapped
        differences = score(a.sum(0) + added) - score(b.sum(0) - added)
        if not np.isfinite(differences).all():
            raise ValueError("the metric is not a finite number for some way to swap: give 0 where it is not defined")
        num_extreme += int((np.abs(differences) >= at_least).sum())
        num_tried += len(differences)
    return PairedTest(
        first=float(observed[0]),
        second=float(observed[1]),
        p_value=num_extreme / num_tried if is_exact else (1 + num_extreme) / (1 + num_tried),
        num_examples=size,
        num_differing=len(swapped),
        num_resamples=num_tried,
        is_exact=is_exact,
    )


def summarize_seeds(values: Sequence[float]) -> SeedSummary:
    """Mean, standard deviation (n - 1), lowest and highest of one score over seeds.

    Raises:
        ValueError: there are none, or one is not finite.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError("no scores: there is nothing to summarize")
    if not np.isfinite(array).all():
        raise ValueError(f"score {int(np.flatnonzero(~np.isfinite(array))[0])} is not a finite number")
    return SeedSummary(
        values=tuple(array.tolist()),
        mean=float(array.mean()),
        std=float(array.std(ddof=1)) if len(array) > 1 else None,
        min=float(array.min()),
        max=float(array.max()),
    )


def is_collapsed(predictions: Sequence[Hashable], labels: Sequence[Hashable] | None = None) -> bool:
    """Whether a classifier gives all texts one label, as a run does that has learned nothing but the most frequent one.

    Args:
        predictions: label ids or names, one per text.
        labels: the true ones; if they too are all the same, answering so is right and not a collapse.

    Raises:
        ValueError: there are no predictions.
    """
    if not predictions:
        raise ValueError("no predictions: there is nothing to judge")
    return len(set(predictions)) == 1 and (labels is None or len(set(labels)) > 1)


def _swaps(number: int, num_resamples: int, is_exact: bool, seed: int, *, width: int) -> Iterator[NDArray[np.uint8]]:
    """Which of the texts to swap, 0 or 1, (some, number) at a time: all ways, or some drawn.

    Of each way `width` sums are made, so that of many fewer ways are given at a time.
    """
    if num_resamples < 1:
        raise ValueError(f"{num_resamples} resamples: draw at least 1")
    total = 2**number if is_exact else num_resamples
    step = max(1, _BLOCK // max(number, width, 1))
    num_words = -(-number // 64)  # 64 swaps in each number drawn
    for first in range(0, total, step):
        which = np.arange(first, min(first + step, total), dtype=np.uint64)
        if is_exact:
            yield (which[:, None] >> np.arange(number, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)
        else:
            words = counted.keys(seed, which[:, None], np.arange(num_words))
            yield np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=number, bitorder="little")
