"""The page, or the picture, that shows whether two runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.files import write_bytes, write_text
from unmask.reporting.page import Plot, Section, html_table, render_page
from unmask.reporting.plots import new_figure, style_axes, to_picture
from unmask.reporting.sections import duration, format_score, headline, score_name
from unmask.reporting.theme import LIGHT
from unmask.reporting.tuning import on_disk, parameters_trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["COST_COLUMNS", "comparison_plot", "cost_rows", "note_on_costs", "write_comparison"]

COST_COLUMNS = ("run", "tuned", "parameters trained", "training time", "on disk")
"""What `cost_rows` gives of each run."""

_COLOURS = ("blue", "orange")


def write_comparison(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write what `Comparison.to_dict` gives as a page (.html), or its plot alone (.png, .svg)."""
    figure = comparison_plot(comparison)
    if path.suffix.lower() != ".html":
        write_bytes(path, to_picture(figure, path.suffix.lower()))
        return
    first, second = comparison["first"], comparison["second"]
    write_text(
        path,
        render_page(
            title=f"{first['run']} and {second['run']}",
            kind=f"{comparison['task']}, two runs compared",
            summary=comparison["verdict"],
            sections=[_result(comparison), _scores(comparison, figure), _costs((first, second))],
        ),
    )


def cost_rows(sides: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What each run trained of its model, how long, and how much is kept of it; "" where its folder does not tell."""
    return [
        [
            side["run"],
            side["tune"] or "",
            parameters_trained(side["num_trainable"], side["num_total"]),
            "" if side["seconds"] is None else duration(side["seconds"]),
            on_disk({"adapter": side["adapter_bytes"], "model": side["model_bytes"]}),
        ]
        for side in sides
    ]


def note_on_costs(sides: Sequence[Mapping[str, Any]]) -> str:
    """How to read `cost_rows`, in sentences."""
    note = "Time is that of the training steps of one model, and depends on the machine"
    devices = [side["device"] for side in sides]
    if None not in devices and devices[0] != devices[1]:
        note += f": these ran on two, {devices[0]} and {devices[1]}"
    note += "."
    if any(side["adapter_bytes"] is not None for side in sides):
        note += " An adapter is all there is to keep of a model beside the one it began with."
    return note


def comparison_plot(comparison: Mapping[str, Any]) -> Figure:
    """Draw the score of each model, a row for each run, and below the difference with its interval."""
    metric, sides = comparison["metric"], (comparison["first"], comparison["second"])
    figure, scores = new_figure(f"{score_name(metric)} on dev: a dot is a seed, the bar their mean")
    figure.set_size_inches(5.6, 4.2)
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1.2))
    scores.set_subplotspec(grid[0])
    for row, (side, colour) in enumerate(zip(sides, _COLOURS, strict=True)):
        scores.plot(side["scores"], [row] * len(side["scores"]), "o", color=LIGHT[colour], alpha=0.6, markersize=7)
        scores.plot([side["mean"]] * 2, [row - 0.28, row + 0.28], color=LIGHT[colour], linewidth=2.4)
    scores.set_yticks((0, 1), labels=("first", "second"))
    scores.set_ylim(1.6, -0.6)

    difference = figure.add_subplot(grid[1], facecolor="none")
    interval = comparison["interval"]
    style_axes(difference, f"First less second, with its {interval['level']:.0%} interval")
    difference.axvline(0, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    colour = LIGHT["green" if comparison["differ"] else "muted"]
    difference.plot((interval["low"], interval["high"]), (0, 0), color=colour, linewidth=2.4)
    difference.plot(interval["value"], 0, "D", color=colour, markersize=7)
    difference.set_yticks(())
    difference.set_ylim(-1, 1)
    for axes in (scores, difference):
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=LIGHT["rule"], linewidth=0.7)
    return figure


def _result(comparison: Mapping[str, Any]) -> Section:
    metric, interval = comparison["metric"], comparison["interval"]
    facts = {
        "Dev examples": f"{comparison['num_examples']:,}",
        f"{interval['level']:.0%} interval": f"{format_score(metric, interval['low'])} to "
        f"{format_score(metric, interval['high'])}",
        "Permutation test": f"p = {comparison['permutation']['p_value']:.2g}",
    }
    if comparison["mcnemar"] is not None:
        facts["McNemar's test"] = f"p = {comparison['mcnemar']['p_value']:.2g}"
    section = headline(metric, interval["value"], verdict=comparison["verdict"], facts=facts)
    return Section(title="First less second", html=section.html)


def _scores(comparison: Mapping[str, Any], figure: Figure) -> Section:
    metric, sides = comparison["metric"], (comparison["first"], comparison["second"])
    html = html_table(
        ["Run", "Seeds", score_name(metric), "Lowest", "Highest"],
        [
            [
                side["run"],
                len(side["scores"]),
                *(format_score(metric, score) for score in (side["mean"], min(side["scores"]), max(side["scores"]))),
            ]
            for side in sides
        ],
    )
    if (test := comparison["mcnemar"]) is not None:
        html += html_table(
            ["", "Second right", "Second wrong"],
            [
                ["First right", test["both_right"], test["only_first"]],
                ["First wrong", test["only_second"], test["both_wrong"]],
            ],
        )
    return Section(
        title="The two runs",
        explanation="The permutation test swaps the two runs' answers, example by example, and counts how often that "
        "makes as large a difference. The interval draws examples anew, and seeds where there are several. McNemar's "
        "test counts the examples that only one of the two has right.",
        html=html,
        plots=(Plot("comparison", figure, "Where the interval holds 0, these examples do not tell the two apart."),),
    )


def _costs(sides: Sequence[Mapping[str, Any]]) -> Section:
    return Section(
        title="What they cost",
        explanation=note_on_costs(sides),
        html=html_table([name.capitalize() for name in COST_COLUMNS], cost_rows(sides)),
    )
