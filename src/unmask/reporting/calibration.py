"""What a classifier's report says of its probabilities: whether they can be believed, and when it should not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.metrics import ReliabilityBins
from unmask.reporting.page import Plot, Section, html_table
from unmask.reporting.plots import label_line_ends, new_figure
from unmask.reporting.sections import format_score
from unmask.reporting.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from unmask.reporting.record import RunRecord

__all__ = ["abstention_section", "calibration_section", "coverage_risk_plot", "reliability_plot"]

_ERRORS = {"ece": "ECE", "brier": "Brier", "nll": "Log loss"}  # of all three, 0 is best


def calibration_section(record: RunRecord) -> Section | None:
    """Confidence against accuracy, before the temperature and after it, and what it does to each file's scores."""
    dev = record.dev.get("calibration")
    if dev is None:
        return None
    bins = {state: ReliabilityBins(**dev[state]["bins"]) for state in ("before", "after")}
    entries = {"dev": dev} | {entry["data"]: entry["calibration"] for entry in record.files if "calibration" in entry}
    rows = []
    for name, entry in entries.items():
        rows.append([f"{name}, before", *_row(entry["before"]["metrics"])])
        how = ", cross-fitted" if entry["cross_fitted"] else ""
        rows.append([f"{name}, after{how}", *_row(entry["after"]["metrics"])])
    return Section(
        title="How sure, and how often right",
        explanation="Of the texts that a model is 80 % sure of, it should get 80 % right. "
        f"{_temperature(dev, is_given=record.config.get('temperature') is not None)} ECE: how far confidence and "
        "accuracy lie apart, on average. Brier: the squared distance of the probabilities from the truth. Log loss: "
        "the surprise at the right labels, in nats, which weigh alike here, whatever they weighed in training. Of all "
        "three, 0 is best.",
        plots=(
            Plot(
                "reliability",
                reliability_plot(bins),
                "Dev texts grouped by how sure the model was of its answer; the larger a point, the more of them. On "
                "the dashed line it is right as often as it says. Below it, it is too sure; above, not sure enough.",
            ),
        ),
        html=html_table(["Probabilities", "Right", "Confidence", *_ERRORS.values()], rows),
    )


def abstention_section(record: RunRecord) -> Section | None:
    """Coverage against risk, and what thresholds come to for several costs of a mistake."""
    entry = record.dev.get("calibration")
    if entry is None:
        return None
    accuracy, curve = entry["after"]["metrics"]["accuracy"], entry["curve"]
    rows = [
        [
            f"{row['mistake_cost']:g}",
            f"{row['threshold']:.3g}",
            format_score("accuracy", row["coverage"]),
            format_score("accuracy", row["risk"]) if row["coverage"] else "–",
            row["cost"],
            row["cost_of_all"],
            f"{row['best_threshold']:.3g}" if row["best_coverage"] else "never",
            row["best_cost"],
        ]
        for row in entry["thresholds"]
    ]
    columns = ["A mistake costs", "Answer from", "Answered", "Wrong", "Cost", "All answered", "Best from", "Its cost"]
    return Section(
        title="When not to answer",
        explanation="Unsure answers can be left to a person: unmask predict RUN --mistake-cost 5 --abstain-cost 1. The "
        "table counts costs in abstentions, as means over all dev texts. If a mistake costs 5, an answer pays from a "
        "probability of 1 − 1/5 on. The last two columns have the threshold that would have cost least on these very "
        "texts, which flatters it: where it is far cheaper, do not trust the probabilities.",
        plots=(
            Plot(
                "coverage_risk",
                coverage_risk_plot(curve, accuracy=accuracy),
                "Dev texts, the surest first: the more of them are answered, the more answers are wrong. Green: if "
                "every right answer were surer than every wrong one. The mean height of the blue line is "
                f"{curve['aurc']:.3f}, that of the green one {curve['best_aurc']:.3f}.",
            ),
        ),
        html=html_table(columns, rows),
    )


def reliability_plot(bins: Mapping[str, ReliabilityBins]) -> Figure:
    """How often answers are right, against how sure the model was of them.

    Args:
        bins: "before" the temperature and "after" it.
    """
    figure, axes = new_figure("Share of right answers")
    axes.plot((0, 1), (0, 1), color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    shown = (("before", "orange", "s"), ("after", "blue", "o"))
    lowest = 1.0
    for state, colour, marker in shown:
        rows = zip(bins[state].confidence, bins[state].accuracy, bins[state].count, strict=True)
        points = [(sure, right, count) for sure, right, count in rows if sure is not None and right is not None]
        sure, right, counts = zip(*points, strict=True)
        sizes = [12 + 240 * count / sum(counts) for count in counts]
        axes.plot(sure, right, color=LIGHT[colour], linewidth=1.2)
        axes.scatter(sure, right, s=sizes, color=LIGHT[colour], marker=marker, alpha=0.75, linewidths=0, label=state)
        lowest = min(lowest, *sure)
    axes.set_xlim(max(0.0, lowest - 0.03), 1.02)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("confidence: the probability of the answer")
    axes.legend(loc="lower right", frameon=False, labelcolor=LIGHT["ink"], fontsize=9, markerscale=0.6)
    return figure


def coverage_risk_plot(curve: Mapping[str, Any], *, accuracy: float) -> Figure:
    """The share of wrong answers, against the share of texts that are answered.

    Args:
        curve: "coverage" and "risk", from the surest text to all of them.
        accuracy: over all texts.
    """
    import numpy as np

    figure, axes = new_figure("Wrong answers among those given")
    coverage = np.linspace(0, 1, 201)[1:]
    axes.plot(coverage, np.maximum(coverage - accuracy, 0) / coverage, color=LIGHT["green"], linewidth=1.4)
    axes.plot(curve["coverage"], curve["risk"], color=LIGHT["blue"], linewidth=1.8)
    axes.axhline(1 - accuracy, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: the share of texts answered")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    label_line_ends(axes, {"All answered": (1 - accuracy, "muted")})
    return figure


def _row(metrics: Mapping[str, float]) -> list[str | float]:
    shares = [format_score("accuracy", metrics[name]) for name in ("accuracy", "mean_confidence")]
    return [*shares, *(metrics[name] for name in _ERRORS)]


def _temperature(dev: Mapping[str, Any], *, is_given: bool) -> str:
    """What was divided by what, and how far the dev scores can be believed."""
    temperature = dev["temperature"]
    if is_given:
        return f"The logits are divided by {temperature:.3g}, the temperature that was given."
    if temperature == 1:
        return (
            "The temperature stays at 1, so nothing changes: what one half of the dev texts asked for did not help on "
            "the other half."
        )
    found = "too sure" if temperature > 1 else "not sure enough"
    return (
        f"The model was {found}: its logits are divided by {temperature:.3g}, a temperature fitted on the dev set (Guo "
        "et al. 2017), which changes no answer. As a set flatters what was fitted on it, each half of the dev texts is "
        "judged with the temperature of the other half (“cross-fitted”). The best epoch was chosen on all of them: a "
        "file that no choice was made on is still more honest."
    )
