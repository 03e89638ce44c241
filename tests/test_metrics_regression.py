"""Errors and correlations by hand, against scipy, and where they are not defined."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unmask.metrics import (
    RegressionReport,
    pearson,
    rank_with_ties,
    regression_metrics,
    regression_report,
    spearman,
)


def test_scores_by_hand() -> None:
    # errors 1, -1, 3; deviations of the labels -1, 0, 1, of the predictions -1, -2, 3
    scores = regression_metrics([1, 2, 3], [2, 1, 6])
    assert scores == pytest.approx(
        {"mse": 11 / 3, "mae": 5 / 3, "pearson": 4 / np.sqrt(2 * 14), "spearman": (1 * 1 + 0 + 0) / 2}
    )


def test_ties_share_their_mean_rank() -> None:
    assert rank_with_ties([20, 10, 20, 40, 20]).tolist() == [3, 1, 3, 5, 3]
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1])


def test_equal_to_scipy_on_random_numbers() -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    for case in range(300):
        size = int(rng.integers(3, 60))
        labels = rng.normal(size=size) * 10.0 ** rng.integers(-120, 120) * (1 + rng.normal())
        predictions = labels * rng.choice([0, 1, -1]) + rng.normal(size=size) * rng.choice([0.01, 1, 1e6])
        if case % 2:  # many equal values
            labels, predictions = rng.integers(0, 6, size) / 5, np.round(rng.normal(size=size))
        if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
            continue
        ranks = stats.rankdata(labels)
        assert rank_with_ties(labels).tolist() == ranks.tolist()
        assert spearman(labels, predictions) == pytest.approx(stats.spearmanr(labels, predictions)[0], abs=1e-12)
        assert pearson(labels, predictions) == pytest.approx(stats.pearsonr(labels, predictions)[0], abs=1e-9)


def test_errors_equal_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    labels, predictions = np.random.default_rng(5).normal(size=(2, 37))
    scores = regression_metrics(labels, predictions)
    assert scores["mse"] == pytest.approx(mean_squared_error(labels, predictions))
    assert scores["mae"] == pytest.approx(mean_absolute_error(labels, predictions))


def test_extremes_of_correlation_and_of_size() -> None:
    assert pearson([1, 2, 4], [10, 20, 40]) == pytest.approx(1)
    assert pearson([1, 2, 4], [-1, -2, -4]) == pytest.approx(-1)
    assert spearman([1, 2, 4], [1, 10, 1e300]) == pytest.approx(1)
    assert pearson([1e-300, 2e-300, 4e-300], [1e300, 2e300, 4e300]) == pytest.approx(1)
    assert -1 <= pearson([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) <= 1


@pytest.mark.parametrize(("labels", "predictions"), [([1, 2, 3], [0.1] * 3), ([2] * 3, [1, 2, 3]), ([1], [2])])
def test_correlation_with_a_constant_is_0_and_said_to_be_undefined(
    labels: list[float], predictions: list[float]
) -> None:
    report = regression_report(labels, predictions)
    assert report.undefined == ("pearson", "spearman")
    assert (report.metrics["pearson"], report.metrics["spearman"]) == (0, 0)
    assert report.metrics["mse"] > 0
    assert "pearson undefined" in str(report.to_table().caption)


def test_report_by_hand_and_through_json() -> None:
    report = regression_report([1, 2, 3], [2, 1, 6])
    assert report.undefined == ()
    assert report.labels == pytest.approx({"mean": 2, "std": np.sqrt(2 / 3), "min": 1, "max": 3})
    assert report.predictions["mean"] == 3
    assert report.mse_of_mean == pytest.approx(2 / 3)
    assert RegressionReport.from_dict(json.loads(json.dumps({"kind": "x", **report.to_dict()}))) == report
    assert "pearson 0.756" in str(report.to_table().caption)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) and predictions of shape \(1,\)"):
        regression_metrics([1, 2], [1])
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        regression_metrics([[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="no labels: there is nothing to score"):
        regression_metrics([], [])
    with pytest.raises(ValueError, match="label 1 is nan, not a finite number"):
        regression_metrics([1, float("nan")], [1, 2])
    with pytest.raises(ValueError, match="prediction 0 is inf, not a finite number"):
        spearman([1, 2], [float("inf"), 2])
