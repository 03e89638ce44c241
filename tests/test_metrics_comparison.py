"""Intervals and tests by hand, against scipy, by enumeration, and by how often they are right."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from unmask.metrics import (
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_sums,
    is_collapsed,
    mcnemar_test,
    paired_permutation_test,
    pearson,
    read_spans,
    summarize_seeds,
    tagging_metrics,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def span_f1(counts: Any) -> NDArray[np.float64]:
    """F1 of counts of spans, (..., 3): true, predicted, in both."""
    true, predicted, correct = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return 2 * correct / (true + predicted)


# --- bootstrap --------------------------------------------------------------------------------------------------------


def test_interval_of_a_mean_is_that_of_its_distribution() -> None:
    """With right or wrong, the mean of a resample is binomial: the ends are its quantiles, up to the drawing."""
    from scipy.stats import binom

    is_right = np.arange(400) < 320
    interval = bootstrap_mean(is_right, num_resamples=20_000, level=0.9, seed=3)
    assert (interval.value, interval.level, interval.num_resamples) == (0.8, 0.9, 20_000)
    assert interval.low == pytest.approx(binom.ppf(0.05, 400, 0.8) / 400, abs=1 / 400)
    assert interval.high == pytest.approx(binom.ppf(0.95, 400, 0.8) / 400, abs=1 / 400)


def test_interval_against_scipy() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    labels = rng.normal(size=80)
    predictions = labels + rng.normal(size=80)
    ours = bootstrap_interval(pearson, labels, predictions, num_resamples=4000)
    theirs = bootstrap(
        (labels, predictions),
        lambda x, y, axis: (
            np.array([pearson(a, b) for a, b in zip(x, y, strict=True)]) if x.ndim > 1 else pearson(x, y)
        ),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.value == pearson(labels, predictions)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.high - ours.low > 0.1


def test_sums_and_columns_give_the_same_interval() -> None:
    rng = np.random.default_rng(4)
    kinds = ["O", "B-A", "I-A", "B-B"]
    tags = [rng.choice(kinds, rng.integers(1, 9)).tolist() for _ in range(40)]
    predictions = [[tag if rng.random() < 0.7 else str(rng.choice(kinds)) for tag in sequence] for sequence in tags]
    counts = []
    for sequences in zip(tags, predictions, strict=True):
        true, found = (set(read_spans(sequence, "bio")) for sequence in sequences)
        counts.append([len(true), len(found), len(true & found)])
    fast = bootstrap_sums(span_f1, counts, num_resamples=200, seed=5)

    def f1(indices: NDArray[np.int64]) -> float:
        drawn = [tags[i] for i in indices], [predictions[i] for i in indices]
        return tagging_metrics(*drawn, scheme="bio")["f1"]

    slow = bootstrap_interval(f1, np.arange(40), num_resamples=200, seed=5)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), rel=1e-12)
    assert 0 < fast.low < fast.value < fast.high < 1


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(6).random(50)
    first = bootstrap_mean(scores, seed=1)
    assert bootstrap_mean(scores, seed=1) == first
    assert bootstrap_mean(scores, seed=2) != first
    monkeypatch.setattr("unmask.metrics.bootstrap._BLOCK", 333)  # a few resamples at a time
    in_blocks = bootstrap_mean(scores, seed=1)
    assert (in_blocks.low, in_blocks.high) == pytest.approx((first.low, first.high), rel=1e-12)
    assert in_blocks.num_resamples == 1000


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for case in range(300):
        interval = bootstrap_mean(rng.random(100) < 0.7, num_resamples=300, level=0.8, seed=case)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.72 * 300 < hits < 0.88 * 300


def test_what_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="no texts: there is nothing to resample"):
        bootstrap_interval(np.mean, [])
    with pytest.raises(ValueError, match=r"columns of \[2, 3\] rows"):
        bootstrap_interval(pearson, [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="give at least one"):
        bootstrap_interval(np.mean)
    with pytest.raises(ValueError, match="0 resamples: draw at least 1"):
        bootstrap_mean([1, 2], num_resamples=0)
    with pytest.raises(ValueError, match="level 95 must lie between 0 and 1"):
        bootstrap_mean([1, 2], level=95)
    with pytest.raises(ValueError, match="not a finite number for some resample"):
        bootstrap_interval(lambda x: float("nan") if x.min() == x.max() else 1.0, [1, 2])
    with pytest.raises(ValueError, match=r"statistics of shape \(2,\): give \(N, K\)"):
        bootstrap_sums(span_f1, [1, 2])


# --- two models -------------------------------------------------------------------------------------------------------


def test_mcnemar_by_hand() -> None:
    # 5 texts only the first gets right, 1 only the second: 2 (C(6, 0) + C(6, 1)) / 2^6
    first = [1] * 5 + [0] + [1] * 3 + [0] * 2
    second = [0] * 5 + [1] + [1] * 3 + [0] * 2
    test = mcnemar_test(first, second)
    assert (test.both_right, test.only_first, test.only_second, test.both_wrong) == (3, 5, 1, 2)
    assert test.p_value == 2 * 7 / 64
    assert mcnemar_test(first, first).p_value == 1
    assert mcnemar_test([1, 0], [0, 1]).p_value == 1
    assert json.loads(json.dumps(test.to_dict()))["only_first"] == 5


def test_mcnemar_equals_scipys_binomial_test() -> None:
    from scipy.stats import binomtest

    rng = np.random.default_rng(9)
    for size in (1, 10, 100, 3000):
        for _ in range(20):
            first, second = rng.random((2, size)) < rng.random(2)[:, None]
            test = mcnemar_test(first, second)
            number = test.only_first + test.only_second
            expected = binomtest(test.only_first, number).pvalue if number else 1.0
            assert test.p_value == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_exact_permutation_by_hand() -> None:
    # differences 1, 2, 3 (and 0): sums of +-1 +-2 +-3 as far from 0 as 6: 2 of 8; as far as 4 (1 less): 4 of 8
    test = paired_permutation_test([1, 2, 3, 5], [0, 0, 0, 5])
    assert (test.p_value, test.is_exact, test.num_resamples) == (2 / 8, True, 8)
    assert (test.first, test.second, test.difference) == (11 / 4, 5 / 4, 6 / 4)
    assert (test.num_examples, test.num_differing) == (4, 3)
    assert paired_permutation_test([0, 2, 3], [1, 0, 0]).p_value == 4 / 8
    assert paired_permutation_test([1, 2], [1, 2]).p_value == 1
    assert json.loads(json.dumps(test.to_dict()))["difference"] == 1.5


def test_exact_permutation_equals_enumeration_and_scipy() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(10)
    for case in range(30):
        first, second = rng.random((2, int(rng.integers(2, 10))))
        if case % 2:  # many ways make the same difference
            first, second = np.round(first, 1), np.round(second, 1)
        differences = first - second
        signs = np.array(list(itertools.product([1, -1], repeat=len(first))))
        means = np.abs((signs * differences).mean(1))
        test = paired_permutation_test(first, second)
        assert test.p_value == np.mean(means >= abs(differences.mean()) - 1e-12)
        theirs = permutation_test(
            (first, second), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf
        )
        assert test.p_value == pytest.approx(theirs.pvalue)


def test_drawn_permutations_come_near_the_exact_ones() -> None:
    rng = np.random.default_rng(11)
    first = rng.random(14)
    second = first + rng.normal(0, 0.3, 14)
    exact = paired_permutation_test(first, second)
    drawn = paired_permutation_test(first, second, exact_up_to=0, num_resamples=20_000, seed=3)
    assert (exact.is_exact, exact.num_resamples, drawn.is_exact, drawn.num_resamples) == (True, 2**14, False, 20_000)
    assert 0.05 < exact.p_value < 0.9
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.015)
    assert paired_permutation_test(first, second, exact_up_to=0, num_resamples=20_000, seed=3) == drawn
    assert paired_permutation_test(first, second, exact_up_to=0, num_resamples=20_000, seed=4) != drawn


def test_drawn_permutations_of_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    first = rng.random(1000)
    better = paired_permutation_test(first + 0.1, first + rng.normal(0, 0.3, 1000), num_resamples=999)
    assert better.p_value == 1 / 1000  # never 0
    alike = paired_permutation_test(first, first + rng.normal(0, 0.3, 1000), num_resamples=2000)
    assert alike.p_value > 0.02
    monkeypatch.setattr("unmask.metrics.comparison._BLOCK", 7000)
    assert paired_permutation_test(first + 0.1, first, num_resamples=100).num_resamples == 100


def test_equal_models_are_told_apart_as_seldom_as_they_should() -> None:
    rng = np.random.default_rng(13)
    p_values = [
        paired_permutation_test(*rng.normal(size=(2, 40)), num_resamples=200, seed=case).p_value for case in range(300)
    ]
    assert np.mean(np.array(p_values) <= 0.2) == pytest.approx(0.2, abs=0.07)


def test_permutation_of_statistics_swaps_whole_texts() -> None:
    """F1 of spans, which is no mean over texts, against all ways to swap written out."""
    rng = np.random.default_rng(14)
    true = rng.integers(1, 5, 8)
    runs = []
    for _ in range(2):
        correct = rng.integers(0, true + 1)
        runs.append(np.stack([true, correct + rng.integers(0, 3, 8), correct], 1))
    first, second = runs
    observed = abs(span_f1(first.sum(0)) - span_f1(second.sum(0)))
    num_extreme = 0
    for swaps in itertools.product([False, True], repeat=8):
        swapped = np.array(swaps)[:, None]
        one, other = np.where(swapped, second, first).sum(0), np.where(swapped, first, second).sum(0)
        num_extreme += abs(span_f1(one) - span_f1(other)) >= observed - 1e-12
    test = paired_permutation_test(first, second, metric=span_f1)
    assert test.p_value == num_extreme / 2**8
    assert (test.first, test.second) == (float(span_f1(first.sum(0))), float(span_f1(second.sum(0))))


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (([1, 2], [1]), {}, r"scores of shapes \(2,\) and \(1,\)"),
        (([[1, 2]], [[1, 3]]), {}, r"scores of shape \(1, 2\): without a metric give \(N,\)"),
        (([1, 2], [1, 3]), {"metric": span_f1}, r"statistics of shape \(2,\)"),
        (([], []), {}, "and at least one"),
        (([1.0], [float("nan")]), {}, "not all finite numbers"),
        (([1], [2]), {"exact_up_to": 30}, "exact_up_to 30 would try 1e\\+09 ways"),
        (([1], [2]), {"num_resamples": 0}, "0 resamples: draw at least 1"),
    ],
)
def test_what_cannot_be_compared(arguments: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_permutation_test(*arguments, **settings)


@pytest.mark.parametrize("num_examples", [10, 40])  # all ways, and some drawn
def test_many_sums_of_each_way_are_made_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, num_examples: int) -> None:
    """Of 450 sums a seed, as of 150 labels, and several seeds, all ways at once would take gigabytes."""
    rng = np.random.default_rng(2)
    first, second = rng.random((2, num_examples, 500))
    sizes: list[int] = []

    def metric(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes.append(sums.size)
        return sums[:, :3].mean(1)

    expected = paired_permutation_test(first, second, metric=metric, num_resamples=1000)
    assert max(sizes) > 400_000
    sizes.clear()
    monkeypatch.setattr("unmask.metrics.comparison._BLOCK", 50_000)
    assert paired_permutation_test(first, second, metric=metric, num_resamples=1000) == expected
    assert max(sizes) <= 50_000


def test_what_mcnemar_cannot_compare() -> None:
    with pytest.raises(ValueError, match=r"outcomes of shapes \(1,\) and \(2,\)"):
        mcnemar_test([1], [1, 0])
    with pytest.raises(ValueError, match="no texts: there is nothing to compare"):
        mcnemar_test([], [])


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_summary_over_seeds_by_hand() -> None:
    summary = summarize_seeds([0.5, 0.7, 0.9])
    assert summary.values == (0.5, 0.7, 0.9)
    assert (summary.mean, summary.std) == pytest.approx((0.7, 0.2))  # sqrt((0.04 + 0 + 0.04) / 2)
    assert (summary.min, summary.max) == (0.5, 0.9)
    assert json.loads(json.dumps(summary.to_dict()))["values"] == [0.5, 0.7, 0.9]
    assert summarize_seeds([0.5]).std is None
    with pytest.raises(ValueError, match="no scores: there is nothing to summarize"):
        summarize_seeds([])
    with pytest.raises(ValueError, match="score 1 is not a finite number"):
        summarize_seeds([0.5, float("nan")])


def test_collapse_to_one_label() -> None:
    assert is_collapsed([1, 1, 1])
    assert is_collapsed(["O", "O"], ["O", "B-X"])
    assert not is_collapsed([1, 1, 0])
    assert not is_collapsed([1, 1, 1], [1, 1, 1])  # nothing else to answer
    with pytest.raises(ValueError, match="no predictions"):
        is_collapsed([])


def test_one_long_answer_among_many_costs_no_memory() -> None:
    """As an array of equal widths these answers would take 400 MB."""
    answers = [*map(str, range(5000)), "x" * 20_000]
    tracemalloc.start()
    assert not is_collapsed(answers, answers)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
