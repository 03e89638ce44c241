"""The report of a model that gives scores: the sections every run has, and how far off the scores are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.metrics.regression import RegressionReport
from unmask.reporting.page import Plot, Section
from unmask.reporting.plots import predicted_scores_plot
from unmask.reporting.sections import (
    MISTAKES_SHOWN,
    headline_section,
    item_list,
    quotes,
    run_sections,
)

if TYPE_CHECKING:
    from unmask.reporting.record import RunRecord

__all__ = ["REGRESSION_DETAILS", "REGRESSION_SECTIONS", "mistakes_section", "result_section", "scores_section"]

_POINTS_DRAWN = 3_000  # more make a heavy page, and no other picture


def result_section(record: RunRecord) -> Section | None:
    """The headline, with the error of always answering the mean beside the model's."""
    return headline_section(record, verdict=_verdict(RegressionReport.from_dict(record.dev)) if record.dev else "")


def scores_section(record: RunRecord) -> Section | None:
    """Predicted against right scores on the dev set."""
    if not record.predictions:
        return None
    every = -(-len(record.predictions) // _POINTS_DRAWN)
    drawn = record.predictions[::every]
    figure = predicted_scores_plot([line["score"] for line in drawn], [line["predicted"] for line in drawn])
    caption = "Right scores from left to right, predicted ones from bottom to top."
    if every > 1:
        caption += f" One text in {every} is drawn."
    return Section(
        title="Score by score",
        explanation="Each point is a dev text. On the dashed line the predicted score is the right one; a flat cloud "
        "means that the model answers much the same whatever it reads.",
        plots=(Plot("predicted_scores", figure, caption),),
    )


def mistakes_section(record: RunRecord) -> Section | None:
    """The dev texts whose scores are farthest off."""
    if not record.predictions:
        return None
    farthest = sorted(record.predictions, key=lambda line: -abs(line["predicted"] - line["score"]))[:MISTAKES_SHOWN]
    return Section(
        title="Farthest off",
        explanation=f"The {len(farthest)} dev texts whose predicted score is farthest from the right one. Read them: "
        "some carry a doubtful score, others show what the model has not learned.",
        html=item_list(map(_mistake, farthest)),
    )


REGRESSION_DETAILS = (scores_section, mistakes_section)

REGRESSION_SECTIONS = run_sections(result=result_section, details=REGRESSION_DETAILS)


def _verdict(report: RegressionReport) -> str:
    metrics, labels = report.metrics, report.labels
    return (
        f"A score is off by {metrics['mae']:.3g} on average, on dev texts whose scores go from {labels['min']:.3g} to "
        f"{labels['max']:.3g}. The mean squared error is {metrics['mse']:.3g}; always answering their mean, "
        f"{labels['mean']:.3g}, has {report.mse_of_mean:.3g}."
    )


def _mistake(line: dict[str, Any]) -> str:
    return (
        f"<li>{quotes(line)}<p>scored <strong>{line['score']:.3g}</strong>, "
        f"predicted <em>{line['predicted']:.3g}</em></p></li>"
    )
