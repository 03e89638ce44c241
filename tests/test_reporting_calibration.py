"""What a report says of probabilities. Run: pytest tests/test_reporting_calibration.py."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import pytest

from unmask.metrics import ReliabilityBins, coverage_risk
from unmask.reporting import CLASSIFICATION_SECTIONS, RunRecord, Section
from unmask.reporting.calibration import (
    abstention_section,
    calibration_section,
    coverage_risk_plot,
    reliability_plot,
)
from unmask.tasks.calibration import calibration_entry

# Four texts; the model is 90 %, 70 %, 60 % and 95 % sure, and the second is wrong.
LOGITS = np.log([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]])
LABELS = np.array([0, 0, 0, 1])

EMPTY = RunRecord(
    config={}, environment={}, command="", steps=[], epochs=[], data={}, read_predictions=list, dev={}, evaluations=[]
)


def record(*, temperature: float = 2.0, given: float | None = None, files: tuple[str, ...] = ()) -> RunRecord:
    cross_fitted = None if given is not None else np.array([temperature, 1.5 * temperature] * 2)
    dev = calibration_entry(LOGITS, LABELS, temperature=temperature, cross_fitted=cross_fitted)
    test = calibration_entry(LOGITS, LABELS, temperature=temperature)
    return replace(
        EMPTY,
        config={"temperature": given},
        dev={"data": "dev", "calibration": dev},
        evaluations=[{"data": name, "calibration": test} for name in files] + [{"data": "old.tsv"}],
    )


def rows(section: Section) -> list[list[str]]:
    """The cells of a section's table, heading first."""
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in section.html.split("<tr>")[1:]
    ]


def made(section: Section | None) -> Section:
    assert section is not None
    return section


def test_a_run_without_the_numbers_has_no_sections_of_them() -> None:
    for dev in ({}, {"data": "dev", "metrics": {}}):
        assert calibration_section(replace(EMPTY, dev=dev)) is None
        assert abstention_section(replace(EMPTY, dev=dev)) is None
    assert {calibration_section, abstention_section} <= set(CLASSIFICATION_SECTIONS)


def test_the_numbers_of_every_file_before_and_after() -> None:
    heading, *lines = rows(made(calibration_section(record(files=("<test>.tsv",)))))
    assert heading == ["Probabilities", "Right", "Confidence", "ECE", "Brier", "Log loss"]
    assert [line[0] for line in lines] == [
        "dev, before",
        "dev, after, cross-fitted",
        "<test>.tsv, before",
        "<test>.tsv, after",
    ]
    nll = -np.log([0.9, 0.3, 0.6, 0.95]).mean()
    brier = 2 * np.square([0.1, 0.7, 0.4, 0.05]).mean()
    ece = (0.1 + 0.7 + 0.4 + 0.05) / 4  # each in a bin of its own
    for line in (lines[0], lines[2]):
        assert line[1:] == ["75.0%", "78.8%", f"{ece:.3f}", f"{brier:.3f}", f"{nll:.3f}"]
    # The square root of the odds is what is left of them at temperature 2.
    odds = np.sqrt([9, 3 / 7, 1.5, 19])
    assert lines[3][5] == f"{-np.log(odds / (1 + odds)).mean():.3f}"
    assert lines[1][5] != lines[3][5]


@pytest.mark.parametrize(
    ("told", "said", "unsaid"),
    [
        ({"temperature": 2.0}, ["too sure: its logits are divided by 2,", "cross-fitted"], "was given"),
        ({"temperature": 0.5}, ["not sure enough: its logits are divided by 0.5,", "cross-fitted"], "too sure:"),
        ({"temperature": 1.0}, ["stays at 1"], "cross-fitted"),
        ({"temperature": 3.0, "given": 3.0}, ["divided by 3, the temperature that was given"], "cross-fitted"),
    ],
)
def test_it_says_where_the_temperature_is_from(told: Any, said: list[str], unsaid: str) -> None:
    explanation = made(calibration_section(record(**told))).explanation
    for words in said:
        assert words in explanation
    assert unsaid not in explanation


def test_thresholds_by_cost() -> None:
    heading, *lines = rows(made(abstention_section(record(temperature=1.0, given=1.0))))
    assert heading[:4] == ["A mistake costs", "Answer from", "Answered", "Wrong"]
    assert [line[0] for line in lines] == ["2", "5", "10", "20", "50", "100"]
    assert lines[0] == ["2", "0.5", "100.0%", "25.0%", "0.500", "0.500", "0", "0.500"]
    assert lines[1] == ["5", "0.8", "50.0%", "0.0%", "0.500", "1.250", "0.8", "0.500"]
    assert lines[5] == ["100", "0.99", "0.0%", "–", "1.000", "25.000", "0.8", "0.500"]


def test_a_model_that_is_surest_where_it_is_wrong_had_best_never_answer() -> None:
    wrong = calibration_entry(LOGITS, 1 - LABELS, temperature=1.0)
    lines = rows(made(abstention_section(replace(EMPTY, dev={"calibration": wrong}))))
    assert lines[-1][6:] == ["never", "1.000"]


def test_the_reliability_plot_draws_the_bins() -> None:
    bins = ReliabilityBins(
        lower=(0.0, 0.5, 0.75),
        upper=(0.5, 0.75, 1.0),
        confidence=(None, 0.625, 0.875),
        accuracy=(None, 0.5, 0.75),
        count=(0, 10, 30),
    )
    surer = replace(bins, confidence=(None, None, 0.9375), accuracy=(None, None, 0.75), count=(0, 0, 40))
    [axes] = reliability_plot({"before": surer, "after": bins}).axes
    drawn = {points.get_label(): points for points in axes.collections}
    assert np.asarray(drawn["after"].get_offsets()).tolist() == [[0.625, 0.5], [0.875, 0.75]]
    assert np.asarray(drawn["before"].get_offsets()).tolist() == [[0.9375, 0.75]]
    small, large = drawn["after"].get_sizes()
    assert small < large
    diagonal = axes.lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert axes.get_xlim()[0] < 0.625
    assert axes.get_xlim()[1] > 0.9375


def test_the_curve_lies_above_the_best_one() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(50)
    is_right = rng.random(50) < confidence
    curve = coverage_risk(confidence, is_right)
    figure = coverage_risk_plot({"coverage": curve.coverage, "risk": curve.risk}, accuracy=is_right.mean())
    best, drawn, all_answered = figure.axes[0].lines
    assert drawn.get_xydata().tolist() == [list(point) for point in zip(curve.coverage, curve.risk, strict=True)]
    assert set(all_answered.get_ydata()) == {1 - is_right.mean()}
    below = np.interp(curve.coverage, best.get_xdata(), best.get_ydata())
    assert (np.asarray(curve.risk) >= below - 1e-9).all()
    assert best.get_ydata()[-1] == pytest.approx(1 - is_right.mean())
    by_hand = [sum(~np.sort(is_right)[::-1][:k]) / k for k in range(1, 51)]
    np.testing.assert_allclose(np.interp(np.arange(1, 51) / 50, best.get_xdata(), best.get_ydata()), by_hand, atol=1e-9)
