"""Temperature, calibration errors, abstaining: by hand, against scikit-learn and scipy, and against plain loops."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from unmask.logits import softmax
from unmask.metrics import (
    brier_score,
    calibration_report,
    choose_abstention,
    coverage_risk,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability_bins,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw(rng: np.random.Generator, size: int, num_labels: int, sureness: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits and labels drawn from softmax(logits / sureness): the true temperature is `sureness`."""
    logits = rng.normal(size=(size, num_labels)) * 2
    probabilities = softmax(logits)
    labels = (probabilities.cumsum(1) < rng.random((size, 1))).sum(1).clip(max=num_labels - 1)
    return logits * sureness, labels


# --- temperature ------------------------------------------------------------------------------------------------------


def test_temperature_by_hand() -> None:
    # logits (2, 0) four times, right 3 times: likelihood is best where the probability is 3/4, at 2 / T = log 3
    fit = fit_temperature([[2, 0]] * 4, [0, 0, 0, 1])
    assert fit.temperature == pytest.approx(2 / np.log(3), rel=1e-12)
    assert fit.nll_after == pytest.approx(-(3 * np.log(3 / 4) + np.log(1 / 4)) / 4)
    assert fit.nll_before == pytest.approx(np.log(1 + np.exp(-2)) + 2 / 4)
    assert not fit.is_at_bound


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(sureness: float) -> None:
    logits, labels = draw(np.random.default_rng(1), 20_000, 5, sureness)
    assert fit_temperature(logits, labels).temperature == pytest.approx(sureness, rel=0.03)


def test_temperature_is_the_minimum_that_scipy_finds() -> None:
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(2)
    for _ in range(20):
        logits, labels = draw(rng, int(rng.integers(20, 200)), int(rng.integers(2, 7)), float(rng.uniform(0.5, 4)))
        logits = logits + rng.normal(size=(len(logits), 1)) * 1000  # a constant per row changes nothing
        fit = fit_temperature(logits, labels)
        best = minimize_scalar(
            lambda log_t, z=logits, y=labels: log_loss(softmax(z, temperature=np.exp(log_t)), y),
            bounds=(-3, 3),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert fit.temperature == pytest.approx(np.exp(best.x), rel=1e-5)
        assert fit.nll_after == pytest.approx(best.fun, rel=1e-9)
        assert fit.nll_after <= fit.nll_before


def test_temperature_without_a_minimum_stops_at_its_bound() -> None:
    everything_right = fit_temperature([[3, 0], [0, 1]], [0, 1])
    assert (everything_right.temperature, everything_right.is_at_bound) == (pytest.approx(0.05), True)
    worse_than_chance = fit_temperature([[3, 0], [0, 1]], [1, 0], bounds=(0.1, 7))
    assert (worse_than_chance.temperature, worse_than_chance.is_at_bound) == (pytest.approx(7), True)
    says_nothing = fit_temperature([[3, 3], [0, 0]], [1, 0])
    assert (says_nothing.temperature, says_nothing.nll_after) == (1, pytest.approx(np.log(2)))


# --- calibration errors -----------------------------------------------------------------------------------------------

# confidence 0.9 right, 0.9 wrong, 0.7 right, 0.6 right, 0.5 (a tie: label 0) wrong
PROBABILITIES = [[0.9, 0.1], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]
LABELS = [0, 0, 1, 0, 1]


def test_bins_of_equal_width_by_hand() -> None:
    bins = reliability_bins(PROBABILITIES, LABELS, num_bins=5)
    assert bins.lower == pytest.approx((0, 0.2, 0.4, 0.6, 0.8))
    assert bins.upper == pytest.approx((0.2, 0.4, 0.6, 0.8, 1))
    assert bins.count == (0, 0, 2, 1, 2)  # 0.6 belongs to the bin that it ends
    assert bins.confidence[:2] == bins.accuracy[:2] == (None, None)
    assert bins.confidence[2:] == pytest.approx((0.55, 0.7, 0.9))
    assert bins.accuracy[2:] == pytest.approx((0.5, 1, 0.5))
    assert bins.expected_error == pytest.approx((2 * 0.05 + 0.3 + 2 * 0.4) / 5)
    assert bins.largest_error == pytest.approx(0.4)
    assert expected_calibration_error(PROBABILITIES, LABELS, num_bins=5) == bins.expected_error


def test_bins_of_equal_mass_by_hand() -> None:
    bins = reliability_bins(PROBABILITIES, LABELS, num_bins=2, binning="equal_mass")
    # ranks 0 .. 4 of 5: ranks 0 to 2 (0.5, 0.6, 0.7) fall below 2.5, the two equal ones at mean rank 3.5 above
    assert bins.count == (3, 2)
    assert (bins.lower, bins.upper) == ((0.5, 0.9), (0.7, 0.9))
    assert bins.accuracy == pytest.approx((2 / 3, 1 / 2))
    assert bins.confidence == pytest.approx((0.6, 0.9))
    assert bins.expected_error == pytest.approx((3 * (2 / 3 - 0.6) + 2 * 0.4) / 5)


def test_bins_of_equal_mass_are_equal_and_know_no_order() -> None:
    rng = np.random.default_rng(3)
    logits, labels = draw(rng, 1003, 4, 2.0)
    probabilities = softmax(logits)
    counts = reliability_bins(probabilities, labels, num_bins=10, binning="equal_mass").count
    assert sum(counts) == 1003
    assert set(counts) <= {100, 101}
    rounded = np.round(probabilities, 1)
    rounded /= rounded.sum(1, keepdims=True)  # now many are equally sure
    bins = reliability_bins(rounded, labels, num_bins=10, binning="equal_mass")
    order = rng.permutation(1003)
    again = reliability_bins(rounded[order], labels[order], num_bins=10, binning="equal_mass")
    assert bins.count == again.count
    assert bins.expected_error == pytest.approx(again.expected_error)
    sure = reliability_bins([[1, 0]] * 3, [0, 0, 1], num_bins=4, binning="equal_mass")
    assert sum(sure.count) == 3
    assert sure.expected_error == pytest.approx(1 / 3)
    assert set(sure.lower + sure.upper) == {1}


def test_equal_width_against_a_plain_loop_and_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    logits, labels = draw(np.random.default_rng(4), 500, 3, 2.0)
    probabilities = softmax(logits)
    confidence, is_right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(is_right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected, rel=1e-12)
    accuracy, mean_confidence = calibration_curve(is_right, confidence, n_bins=10)
    bins = reliability_bins(probabilities, labels, num_bins=10)
    assert [x for x in bins.accuracy if x is not None] == pytest.approx(accuracy.tolist())
    assert [x for x in bins.confidence if x is not None] == pytest.approx(mean_confidence.tolist())


def test_scaling_by_the_fitted_temperature_calibrates() -> None:
    logits, labels = draw(np.random.default_rng(5), 20_000, 3, 3.0)
    fit = fit_temperature(logits[:10_000], labels[:10_000])
    before = calibration_report(logits[10_000:], labels[10_000:])
    after = calibration_report(logits[10_000:], labels[10_000:], temperature=fit.temperature)
    assert before.metrics["ece"] > 0.15
    assert after.metrics["ece"] < 0.02
    assert after.metrics["ece_equal_mass"] < 0.02
    assert after.metrics["accuracy"] == before.metrics["accuracy"]
    assert after.metrics["brier"] < before.metrics["brier"]


def test_brier_and_log_loss_equal_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss
    from sklearn.metrics import log_loss as sklearn_log_loss

    assert brier_score([[0.7, 0.2, 0.1]], [1]) == pytest.approx(0.49 + 0.64 + 0.01)
    logits, labels = draw(np.random.default_rng(6), 200, 2, 2.0)
    probabilities = softmax(logits)
    assert brier_score(probabilities, labels) == pytest.approx(2 * brier_score_loss(labels, probabilities[:, 1]))
    assert log_loss(probabilities, labels) == pytest.approx(sklearn_log_loss(labels, probabilities))
    assert log_loss([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-300))


# --- abstaining -------------------------------------------------------------------------------------------------------


def test_coverage_and_risk_by_hand() -> None:
    curve = coverage_risk([0.9, 0.8, 0.8, 0.5], [True, False, True, False])
    assert curve.threshold == (0.9, 0.8, 0.5)
    assert curve.coverage == (1 / 4, 3 / 4, 1)
    assert curve.risk == (0, 1 / 3, 1 / 2)
    # of the two equally sure ones the wrong one comes first half of the time: 0, (1/2) / 2, 1/3, 2/4
    assert curve.aurc == pytest.approx((0 + 1 / 4 + 1 / 3 + 1 / 2) / 4)
    assert curve.best_aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_area_is_the_mean_over_all_orders_of_equally_sure_texts() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        confidence, is_right = rng.integers(0, 3, 6), rng.random(6) < 0.6
        areas = []
        for order in itertools.permutations(range(6)):
            if np.all(np.diff(confidence[list(order)]) <= 0):
                wrong = ~is_right[list(order)]
                areas.append(np.mean(np.cumsum(wrong) / np.arange(1, 7)))
        curve = coverage_risk(confidence, is_right)
        assert curve.aurc == pytest.approx(np.mean(areas))
        assert curve.best_aurc <= curve.aurc + 1e-12
        assert curve.best_aurc == pytest.approx(_sorted_area(is_right))


def _sorted_area(is_right: NDArray[np.bool_]) -> float:
    wrong = np.sort(~is_right)
    return float(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))


def test_cheapest_threshold_by_hand() -> None:
    confidence, is_right = [0.9, 0.8, 0.7, 0.6], [True, True, False, True]
    # costs with 0..4 answered, error 10, abstaining 2: 8, 6, 4, 12, 10
    chosen = choose_abstention(confidence, is_right, cost_of_error=10, cost_of_abstaining=2)
    assert (chosen.threshold, chosen.cost, chosen.cost_of_all) == (pytest.approx(0.75), 1.0, 2.5)
    assert (chosen.coverage, chosen.risk) == (0.5, 0)
    # error 1, abstaining 1: 4, 3, 2, 2, 1
    chosen = choose_abstention(confidence, is_right, cost_of_error=1, cost_of_abstaining=1)
    assert (chosen.threshold, chosen.coverage, chosen.risk) == (0, 1, 0.25)
    # error 2, abstaining 0: 0, 0, 0, 2, 2: of equally good ones the one that answers most
    assert choose_abstention(confidence, is_right, cost_of_error=2, cost_of_abstaining=0).coverage == 0.5
    # nothing is worth an answer
    chosen = choose_abstention(confidence, [False] * 4, cost_of_error=2, cost_of_abstaining=1)
    assert chosen.threshold > 0.9
    assert (chosen.cost, chosen.coverage, chosen.risk) == (1, 0, 0)


def test_cheapest_threshold_against_all_thresholds() -> None:
    rng = np.random.default_rng(8)
    for _ in range(200):
        size = int(rng.integers(1, 30))
        confidence, is_right = np.round(rng.normal(size=size), 1), rng.random(size) < 0.7
        error, abstaining = rng.random(2) * [5, 1]
        chosen = choose_abstention(confidence, is_right, cost_of_error=error, cost_of_abstaining=abstaining)

        def cost(at: float, c: Any = confidence, r: Any = is_right, e: float = error, a: float = abstaining) -> float:
            return float(np.mean(np.where(c >= at, e * ~r, a)))

        assert chosen.cost == pytest.approx(min(map(cost, [*confidence, np.inf])))
        assert cost(chosen.threshold) == pytest.approx(chosen.cost)
        assert chosen.coverage == np.mean(confidence >= chosen.threshold)


def test_report_as_json() -> None:
    report = calibration_report([[2, 0, 1], [0, 1, 3], [0, 0, 0]], [0, 1, 0], temperature=1.5, num_bins=4)
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (content["temperature"], content["num_examples"]) == (1.5, 3)
    assert content["metrics"] == report.metrics
    assert tuple(content["bins"]["accuracy"]) == report.bins.accuracy
    assert tuple(content["curve"]["coverage"]) == report.curve.coverage
    assert report.metrics["nll"] == pytest.approx(
        log_loss(softmax([[2, 0, 1], [0, 1, 3], [0, 0, 0]], temperature=1.5), [0, 1, 0])
    )
    assert report.metrics["aurc"] == report.curve.aurc
    assert report.metrics["accuracy"] == pytest.approx(2 / 3)


def test_what_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match=r"logits of shape \(2,\) and labels of shape \(2,\)"):
        fit_temperature([1, 2], [0, 1])
    with pytest.raises(ValueError, match="no texts"):
        fit_temperature(np.zeros((0, 2)), [])
    with pytest.raises(ValueError, match="label 2 is not one of the 2 label ids 0 to 1"):
        fit_temperature([[1, 2]], [2])
    with pytest.raises(ValueError, match="logits are not all finite"):
        calibration_report([[1, np.nan]], [0])
    with pytest.raises(ValueError, match="the lowest temperature must be above 0"):
        fit_temperature([[1, 2]], [0], bounds=(0, 1))
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        calibration_report([[1, 2]], [0], temperature=0)
    with pytest.raises(ValueError, match="logits need softmax first"):
        brier_score([[2.0, -1.0]], [0])
    with pytest.raises(ValueError, match="0 bins: there must be at least 1"):
        reliability_bins(PROBABILITIES, LABELS, num_bins=0)
    with pytest.raises(ValueError, match="'width' is no way to bin: choose equal_width or equal_mass"):
        reliability_bins(PROBABILITIES, LABELS, binning="width")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one each a text"):
        coverage_risk([0.5], [True, False])
    with pytest.raises(ValueError, match="no texts"):
        coverage_risk([], [])
    with pytest.raises(ValueError, match="a confidence is not a finite number"):
        coverage_risk([np.nan], [True])
    with pytest.raises(ValueError, match="the cost of abstaining is -1"):
        choose_abstention([0.5], [True], cost_of_error=1, cost_of_abstaining=-1)
