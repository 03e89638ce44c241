"""Two recipes on the same examples, each trained with one seed or several, by any score that is a function of sums.

A mean, accuracy, Matthews correlation, F1 of labels or spans and Pearson's correlation are functions of what is summed
over examples. Of such a score this room tells how sure its difference is. Axes: N examples, K terms of the sums, R
resamples, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask import counted
from unmask.metrics.bootstrap import Interval, draw_counts
from unmask.metrics.comparison import PairedTest, paired_permutation_test
from unmask.metrics.ratios import divide

__all__ = [
    "FromSums",
    "SummedScore",
    "bootstrap_difference",
    "correlation_score",
    "label_scores",
    "mean_score",
    "permute_recipes",
    "ratio_score",
    "score_of_seeds",
]

Numbers = NDArray[np.float64]
FromSums = Callable[[Numbers], Numbers]


@dataclass(frozen=True)
class SummedScore:
    """A score that is a function of sums over examples.

    Args:
        terms: what is summed: from N things that say what was answered, such as lines of a file, to float64 (N, K).
        from_sums: from sums, (R, K), to scores, (R,); 0 where it is not defined.
        greater_is_better: whether a greater score is the better one.
        is_mean: whether it is the mean of the first term.
    """

    terms: Callable[[Sequence[Any]], Numbers]
    from_sums: FromSums
    greater_is_better: bool = True
    is_mean: bool = False


def mean_score(of: Callable[[Any], float], *, greater_is_better: bool = True) -> SummedScore:
    """The mean over examples of a number that each has."""
    mean = ratio_score(lambda thing: (of(thing), 1.0))
    return replace(mean, greater_is_better=greater_is_better, is_mean=True)


def ratio_score(of: Callable[[Any], tuple[float, float]]) -> SummedScore:
    """One sum over another: words right over words, or twice the spans right over those true and predicted."""
    return SummedScore(
        terms=lambda things: np.array([of(thing) for thing in things], np.float64),
        from_sums=lambda sums: divide(sums[:, 0], sums[:, 1]),
    )


def correlation_score(of: Callable[[Any], tuple[float, float]]) -> SummedScore:
    """Pearson's correlation of two numbers that each example has; 0 where one of them is the same for all.

    What is summed are the numbers, their squares and their product. The first number is the right one and the same for
    all models: its mean is taken off both before, so that the digits that matter are kept.
    """

    def terms(things: Sequence[Any]) -> Numbers:
        x, y = np.array([of(thing) for thing in things], np.float64).T
        x, y = x - x.mean(), y - x.mean()
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def from_sums(sums: Numbers) -> Numbers:
        count, x, y, xx, yy, xy = sums.T
        spreads = (xx - x * x / count, yy - y * y / count)
        is_constant = (spreads[0] <= 1e-12 * xx) | (spreads[1] <= 1e-12 * yy)  # what rounding leaves of nothing
        root = np.sqrt(np.where(is_constant, 0.0, spreads[0] * spreads[1]))
        return np.clip(divide(xy - x * y / count, root), -1, 1)

    return SummedScore(terms=terms, from_sums=from_sums)


def label_scores(
    of: Callable[[Any], tuple[Sequence[str], Sequence[str]]], labels: Sequence[str]
) -> dict[str, SummedScore]:
    """Scores of answers that are labels.

    Args:
        of: from an example to its right labels and those it was given.
        labels: all there are, in the order of their ids.

    Returns:
        "mcc", for examples of one label: Matthews correlation, after Gorodkin 2004 for more than two labels. "f1": of
        the second label where there are two, else the mean over those that occur. "micro_f1" and "macro_f1": of all
        labels together, and the mean over all. Each is what `unmask.metrics` gives under its name.
    """
    column, number = {label: place for place, label in enumerate(labels)}, len(labels)

    def terms(things: Sequence[Any]) -> Numbers:  # of each label whether it is right and given, right, given
        rows = np.zeros((len(things), 3, number))
        for row, thing in zip(rows, things, strict=True):
            right, given = of(thing)
            row[0, [column[label] for label in {*right} & {*given}]] = 1
            row[1, [column[label] for label in right]] = 1
            row[2, [column[label] for label in given]] = 1
        return rows.reshape(len(things), 3 * number)

    def parts(sums: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        both, right, given = np.moveaxis(sums.reshape(len(sums), 3, number), 1, 0)
        return both, right, given

    def mcc(sums: Numbers) -> Numbers:
        both, right, given = parts(sums)
        count, hits = right.sum(1), both.sum(1)
        spread = (count**2 - (given**2).sum(1)) * (count**2 - (right**2).sum(1))
        return divide(hits * count - (right * given).sum(1), np.sqrt(spread))

    def f1(sums: Numbers) -> Numbers:
        both, right, given = parts(sums)
        each = divide(2 * both, right + given)
        return each[:, 1] if number == 2 else divide(each.sum(1), ((right + given) > 0).sum(1).astype(np.float64))

    def micro_f1(sums: Numbers) -> Numbers:
        both, right, given = (part.sum(1) for part in parts(sums))
        return divide(2 * both, right + given)

    def macro_f1(sums: Numbers) -> Numbers:
        both, right, given = parts(sums)
        return divide(2 * both, right + given).mean(1)

    makers: dict[str, FromSums] = {"mcc": mcc, "f1": f1, "micro_f1": micro_f1, "macro_f1": macro_f1}
    return {name: SummedScore(terms=terms, from_sums=from_sums) for name, from_sums in makers.items()}


def score_of_seeds(from_sums: FromSums, num_seeds: int) -> FromSums:
    """Make of a score the mean of it over seeds, whose sums stand side by side: from (R, S * K) to (R,)."""

    def mean(sums: Numbers) -> Numbers:
        each = from_sums(sums.reshape(len(sums) * num_seeds, -1))
        return each.reshape(len(sums), num_seeds).mean(1)

    return mean


def permute_recipes(
    first: Sequence[Numbers], second: Sequence[Numbers], from_sums: FromSums, *, num_resamples: int = 10_000
) -> PairedTest:
    """Whether these models differ on these examples: swap what the two recipes answer, example by example.

    An example's answers of all seeds are swapped together, and the score is the mean over seeds. Where the two have
    different numbers of seeds, each is repeated until both have as many, which changes neither mean.

    Args:
        first: the terms of each seed's model of the first recipe, (N, K).
        second: of the second recipe, of the same examples in the same order.
        from_sums: as `SummedScore` has it.
        num_resamples: how many ways to swap are drawn where not all are tried.
    """
    number = math.lcm(len(first), len(second))
    sides = [np.concatenate([side[seed % len(side)] for seed in range(number)], axis=1) for side in (first, second)]
    return paired_permutation_test(*sides, metric=score_of_seeds(from_sums, number), num_resamples=num_resamples)


def bootstrap_difference(
    first: Sequence[Numbers],
    second: Sequence[Numbers],
    from_sums: FromSums,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the difference of two recipes' mean scores, over examples and over seeds.

    Each resample draws N examples, the same for both, and as many seeds as each recipe has, for each on its own; a
    recipe with one seed always has that one, so that the interval then is of these models and not of the recipes.

    Args:
        first, second, from_sums: as `permute_recipes`.
        num_resamples: how many to draw.
        level: share of the resamples inside, in (0, 1).
        seed: what to draw.

    Raises:
        ValueError: there are no examples, the two have different ones, fewer than 1 resample, or level outside (0, 1).
    """
    sizes = {len(terms) for terms in (*first, *second)}
    if len(sizes) != 1 or not min(sizes):
        raise ValueError(f"{sorted(sizes)} examples: give each model the same, and at least one")
    if num_resamples < 1 or not 0 < level < 1:
        raise ValueError(f"{num_resamples} resamples and a level of {level}: draw at least 1, at a level in (0, 1)")
    size, width = sizes.pop(), max(terms.shape[1] for terms in (*first, *second))
    differences: list[Numbers] = []
    begin = 0
    for times in draw_counts(size, num_resamples, seed, width=width):
        which = counted.keys(seed, np.arange(begin, begin := begin + len(times)))
        means = []
        for number, side in enumerate((first, second), start=1):
            scores = np.stack([from_sums(times @ terms) for terms in side], axis=1)  # (R, S)
            seeds = counted.uniform(which[:, None], np.arange(number * size, number * size + len(side))) * len(side)
            means.append(np.take_along_axis(scores, seeds.astype(np.int64), axis=1).mean(1))
        differences.append(means[0] - means[1])
    values = np.concatenate(differences)
    ends = [np.mean([from_sums(terms.sum(0, keepdims=True))[0] for terms in side]) for side in (first, second)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=float(ends[0] - ends[1]), low=float(low), high=float(high), level=level, num_resamples=num_resamples
    )
