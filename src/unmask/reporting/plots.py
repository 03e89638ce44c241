"""The plots of a report: each function draws one matplotlib figure.

No text of the data is drawn, so no glyph can be missing; names that users gave, in any script, pass through `drawable`,
and give way to numbers where the font does not have them. Figures are made without pyplot: drawing one changes no state
outside it.
"""

from __future__ import annotations

import io
import re
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any

from unmask.reporting.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "MOST_SEEDS_TOLD_APART",
    "can_draw",
    "confusion_matrix_plot",
    "drawable",
    "epoch_loss_plot",
    "epoch_scores_plot",
    "label_line_ends",
    "layer_changes_plot",
    "learning_rate_plot",
    "lengths_plot",
    "new_figure",
    "padding_plot",
    "predicted_scores_plot",
    "scores_by_tokens_plot",
    "seed_scores_plot",
    "step_loss_plot",
    "style_axes",
    "throughput_plot",
    "to_picture",
    "to_png",
    "to_svg",
    "whole_numbers",
]

_SERIES = (("blue", "o"), ("orange", "s"), ("green", "^"), ("ink", "D"), ("muted", "v"))  # colour, marker of each line
_LINE_HEIGHT = 0.08  # of a name beside a line's end, as a share of the axes
_CHARACTERS_DRAWN = 28  # of a name that a user gave

MOST_SEEDS_TOLD_APART = 4
"""How many seeds have lines of colours of their own; more would be a tangle."""


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG image for print and slides, on light paper."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=200, metadata={"Software": None})
    return image.getvalue()


def to_svg(figure: Figure, *, name: str) -> str:
    """The figure as an `<svg>` element to put into a page: the page's font, and its colours by day and by night.

    Args:
        figure: the drawing; as its colours come from `theme`, they follow the page's.
        name: makes the ids in it differ from those of the other figures on the page.
    """
    import matplotlib

    image = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(image, format="svg", transparent=True, metadata={"Date": None})
    svg = image.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to them, and every figure has an "axes_1"
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def to_picture(figure: Figure, suffix: str) -> bytes:
    """The figure as a file of its own, on light paper: ".png" or ".svg"."""
    if suffix == ".png":
        return to_png(figure)
    import matplotlib

    image = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "unmask"}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def step_loss_plot(
    steps: Sequence[Mapping[str, Any]],
    *,
    window: int,
    reference_loss: float | None = None,
    key: str = "loss",
    title: str = "Training loss of each batch",
) -> Figure:
    """Training loss per batch, and its mean over the last `window` batches.

    Args:
        steps: entries with `step`, `epoch` and `key`.
        window: number of batches averaged into the smoothed line, at least 1.
        reference_loss: what a model without skill would reach, drawn as a dashed line.
        key: which loss.
        title: what it is.
    """
    figure, axes = new_figure(title)
    _plot_smoothed(axes, steps, [entry[key] for entry in steps], window=window, colour="blue")
    if reference_loss is not None:
        _draw_reference(axes, reference_loss)
    axes.set_ylim(bottom=0)
    if reference_loss is not None:
        label_line_ends(axes, {"No skill": (reference_loss, "muted")})
    return figure


def throughput_plot(steps: Sequence[Mapping[str, Any]], *, window: int) -> Figure:
    """Real tokens a second of each optimizer step, and their mean over the last `window` steps.

    Args:
        steps: entries with `step`, `epoch`, `num_tokens` and `seconds`.
        window: as in `step_loss_plot`.
    """
    from matplotlib.ticker import EngFormatter

    figure, axes = new_figure("Tokens a second")
    speeds = [entry["num_tokens"] / entry["seconds"] for entry in steps]
    _plot_smoothed(axes, steps, speeds, window=window, colour="green")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
    return figure


def scores_by_tokens_plot(
    evaluations: Sequence[Mapping[str, Any]],
    *,
    names: Mapping[str, str],
    title: str,
    best_tokens: float,
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Scores after each evaluation, against the tokens that the model had been trained on.

    Args:
        evaluations: entries with `tokens` and the keys of `names`' values.
        names: what to call each line, and the key it is read from.
        title: what they are.
        best_tokens: where the weights were kept, marked by an upright line.
        reference: name and value of a dashed line.
    """
    from matplotlib.ticker import EngFormatter

    figure, axes = new_figure(title)
    axes.axvline(best_tokens, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    ends = _plot_lines(axes, evaluations, names, x="tokens")
    if reference is not None:
        name, value = reference
        _draw_reference(axes, value)
        ends[name] = (value, "muted")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))  # last: what is drawn after it no longer moves the other end
    axes.set_xlabel("tokens trained on")
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
    label_line_ends(axes, ends)
    return figure


def learning_rate_plot(steps: Sequence[Mapping[str, Any]]) -> Figure:
    """The learning rate of each optimizer step."""
    figure, axes = new_figure("Learning rate")
    step = [entry["step"] for entry in steps]
    rate = [entry["learning_rate"] for entry in steps]
    axes.plot(step, rate, color=LIGHT["green"], linewidth=1.8)
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-") if value else "0"
    )
    axes.set_xlabel("optimizer step")
    whole_numbers(axes.xaxis)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    return figure


def epoch_loss_plot(epochs: Sequence[Mapping[str, Any]], *, overfitting_epoch: float | None) -> Figure:
    """Training and dev loss of each epoch.

    Args:
        epochs: entries with `epoch`, `train_loss` and, where there is a dev set, `dev_loss`.
        overfitting_epoch: the epoch of the lowest dev loss, if later ones are worse: it is ringed, the rest shaded.
    """
    figure, axes = new_figure("Loss of each epoch")
    label_line_ends(axes, _plot_per_epoch(axes, epochs, {"Train": "train_loss", "Dev": "dev_loss"}))
    if overfitting_epoch is not None:
        lowest = next(entry["dev_loss"] for entry in epochs if entry["epoch"] == overfitting_epoch)
        axes.axvspan(overfitting_epoch, epochs[-1]["epoch"], color=LIGHT["orange"], alpha=0.08, linewidth=0)
        axes.plot(overfitting_epoch, lowest, "o", markersize=12, markerfacecolor="none", color=LIGHT["orange"])
        axes.annotate(
            "Overfitting",
            (overfitting_epoch, 1),
            xycoords=("data", "axes fraction"),
            xytext=(5, -5),
            textcoords="offset points",
            va="top",
            color=LIGHT["orange"],
        )
    return figure


def epoch_scores_plot(epochs: Sequence[Mapping[str, Any]], *, names: Mapping[str, str], best_epoch: float) -> Figure:
    """Scores on the dev set after each epoch.

    Args:
        epochs: entries with `epoch` and the keys of `names`' values.
        names: what to call each line, and the key it is read from.
        best_epoch: the epoch whose weights were kept, marked by an upright line.
    """
    figure, axes = new_figure("Dev scores after each epoch")
    axes.axvline(best_epoch, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    ends = _plot_per_epoch(axes, epochs, names)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    label_line_ends(axes, ends)
    return figure


def seed_scores_plot(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, title: str, kept: str, best_epoch: float
) -> Figure:
    """One score on the dev set after each epoch, a line a seed.

    A few lines have a colour and a name each; of many the one that was kept stands out.

    Args:
        curves: for each seed what to call it, and its (epoch, score).
        title: which score.
        kept: the seed whose weights were kept.
        best_epoch: that of these weights, marked by an upright line.
    """
    figure, axes = new_figure(title)
    axes.axvline(best_epoch, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    are_few = len(curves) <= MOST_SEEDS_TOLD_APART
    ends = {}
    for (name, points), (colour, marker) in zip(curves.items(), cycle(_SERIES)):
        if are_few:
            axes.plot(*zip(*points, strict=True), color=LIGHT[colour], marker=marker, markersize=4.5, linewidth=1.8)
            ends[name] = (points[-1][1], colour)
        else:
            [line] = axes.plot(*zip(*points, strict=True), color=LIGHT["blue"], marker="o", markersize=3, linewidth=0.9)
            if name == kept:
                line.set(linewidth=2.2, zorder=3)
            else:
                line.set_alpha(0.5)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("epoch")
    label_line_ends(axes, ends)
    return figure


def lengths_plot(histogram: Sequence[tuple[int, int]], *, noun: str = "texts") -> Figure:
    """How many texts have how many tokens.

    Args:
        histogram: (length in tokens, number of texts), in any order.
        noun: what they are.
    """
    import numpy as np

    figure, axes = new_figure(f"Number of {noun}")
    lengths, counts = (np.array(values) for values in zip(*sorted(histogram), strict=True))
    axes.bar(lengths, counts, width=1, color=LIGHT["blue"], edgecolor=LIGHT["paper"], linewidth=0.4)
    axes.set_ylim(top=1.25 * counts.max())  # room for two names, the longest's below the median's
    middle = lengths[np.searchsorted(np.cumsum(counts), counts.sum() / 2)]
    for line, (length, name) in enumerate(((middle, f"Median {middle}"), (lengths[-1], f"Longest {lengths[-1]}"))):
        is_left = bool(length - lengths[0] > lengths[-1] - length)
        axes.axvline(length, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            name,
            (length, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if is_left else 4, -2 - 13 * line),
            textcoords="offset points",
            ha="right" if is_left else "left",
            va="top",
            color=LIGHT["muted"],
        )
    axes.set_xlabel("length in tokens")
    for axis in (axes.xaxis, axes.yaxis):
        whole_numbers(axis)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def padding_plot(num_tokens: int, padded: Mapping[str, int]) -> Figure:
    """Positions computed with and without padding.

    Args:
        num_tokens: real tokens, all that this run computed.
        padded: for each way to pad, the positions it computes, real tokens included.
    """
    from matplotlib.ticker import EngFormatter

    figure, axes = new_figure("Positions computed in one epoch, by padding")
    bars = {"none (this run)": num_tokens, **padded}
    rows = range(len(bars))
    axes.barh(rows, num_tokens, height=0.56, color=LIGHT["blue"], linewidth=0)
    axes.barh(
        rows,
        [total - num_tokens for total in bars.values()],
        left=num_tokens,
        height=0.56,
        color=LIGHT["rule"],
        hatch="////",
        edgecolor=LIGHT["paper"],
        linewidth=0,
    )
    for row, total in enumerate(bars.values()):
        share = f"{1 - num_tokens / total:.0%} padding"
        axes.annotate(share, (total, row), xytext=(5, 0), textcoords="offset points", va="center", color=LIGHT["ink"])
    axes.set_yticks(rows, labels=list(bars))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
    axes.margins(x=0)
    return figure


def layer_changes_plot(changes: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """How far each layer's output lies from its input: distance above, angle below. Lan et al. 2020, figure 1.

    Args:
        changes: for each model, the L2 distance and the degrees of each layer, from the first.
    """
    figure, distance_axes = new_figure("L2 distance of each layer's output from its input")
    figure.set_size_inches(5.6, 5.6)
    distance_axes.set_subplotspec(figure.add_gridspec(2, 1)[0])
    degrees_axes = figure.add_subplot(2, 1, 2, facecolor="none", sharex=distance_axes)
    style_axes(degrees_axes, "Angle between the two, in degrees of its cosine")
    for place, axes in enumerate((distance_axes, degrees_axes)):
        ends = {}
        for number, (model, layers) in enumerate(changes.items(), start=1):
            colour, marker = _SERIES[(number - 1) % len(_SERIES)]
            values = [layer[place] for layer in layers]
            steps = range(1, len(values) + 1)
            axes.plot(steps, values, color=LIGHT[colour], marker=marker, markersize=4.5, linewidth=1.8)
            name = drawable(model.rstrip("/").rpartition("/")[2], f"model {number}")
            ends[f"model {number}" if name in ends else name] = (values[-1], colour)
        axes.set_ylim(bottom=0)
        whole_numbers(axes.xaxis)
        label_line_ends(axes, ends)
    degrees_axes.set_xlabel("layer")
    return figure


def confusion_matrix_plot(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Figure:
    """Labels against predictions: counts, shaded by the share of the label's row.

    Args:
        names: of the labels; their numbers stand in for them where the font lacks a letter of one.
        matrix: counts, row = label, column = prediction.
    """
    from matplotlib.patches import Rectangle

    size = len(names)
    is_small = size <= 6
    figure, axes = new_figure("")
    cell = 0.7 if is_small else max(0.36, 0.08 * max(len(f"{count:,}") for row in matrix for count in row) + 0.06)
    figure.set_size_inches(max(5.6, cell * size + 1), max(3.2, (0.4 if is_small else 0.28) * size + 1))
    can_draw_all = all(map(can_draw, names))
    written = [drawable(name, "") if can_draw_all else str(number) for number, name in enumerate(names)]
    shares = [[count / max(sum(row), 1) for count in row] for row in matrix]
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            share = shares[row][column]
            if count:  # shapes, not one image: the page lets no image in, and its colours change by night
                place = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(place, 1, 1, color=LIGHT["blue"], alpha=share, linewidth=0))
            if count or is_small:
                axes.annotate(
                    f"{count:,}",
                    (column, row),
                    ha="center",
                    va="center",
                    color=LIGHT["paper" if share > 0.7 else "ink"],
                    fontsize=10 if is_small else 8,
                )
    is_upright = size > 4 or size * max(map(len, written)) > 40  # letters beside one another would overlap
    axes.set_xticks(range(size), labels=written, rotation=90 if is_upright else 0)
    axes.set_yticks(range(size), labels=written)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.grid(visible=False)
    return figure


def predicted_scores_plot(scores: Sequence[float], predictions: Sequence[float]) -> Figure:
    """Predicted scores against the right ones, a point a text, and the line where both are the same.

    Args:
        scores: the right ones, (N,).
        predictions: in the same order.
    """
    figure, axes = new_figure("Predicted score")
    lowest, highest = min(*scores, *predictions), max(*scores, *predictions)
    axes.plot((lowest, highest), (lowest, highest), color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    opacity = max(0.1, min(0.7, 60 / len(scores)))
    axes.scatter(scores, predictions, s=12, color=LIGHT["blue"], alpha=opacity, linewidths=0)
    axes.set_xlabel("right score")
    axes.grid(axis="x", color=LIGHT["rule"], linewidth=0.7)
    return figure


def new_figure(title: str) -> tuple[Figure, Axes]:
    """A figure of the house: a grid to read values from, no frame, the title at the left where the y axis begins."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.2), layout="constrained", facecolor=LIGHT["paper"])
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor="none")
    style_axes(axes, title)
    return figure, axes


def style_axes(axes: Axes, title: str) -> None:
    """Give axes the look of all plots, and a title."""
    axes.set_title(title, loc="left", color=LIGHT["ink"], fontsize=10, pad=10)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=LIGHT["rule"])
    axes.tick_params(length=0, labelcolor=LIGHT["muted"], labelsize=9)
    axes.xaxis.label.set(color=LIGHT["muted"], fontsize=9)
    axes.yaxis.label.set(color=LIGHT["muted"], fontsize=9)
    axes.grid(axis="y", color=LIGHT["rule"], linewidth=0.7)
    axes.set_axisbelow(True)


def _plot_per_epoch(
    axes: Axes, epochs: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, tuple[float, str]]:
    """Draw one line per name; returns the value and colour each ends in."""
    ends = _plot_lines(axes, epochs, names, x="epoch")
    whole_numbers(axes.xaxis)
    axes.set_xlabel("epoch")
    return ends


def _plot_lines(
    axes: Axes, entries: Sequence[Mapping[str, Any]], names: Mapping[str, str], *, x: str
) -> dict[str, tuple[float, str]]:
    ends = {}
    for (name, key), (colour, marker) in zip(names.items(), cycle(_SERIES)):
        points = [(entry[x], entry[key]) for entry in entries if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), color=LIGHT[colour], marker=marker, markersize=4.5, linewidth=1.8)
            ends[name] = (points[-1][1], colour)
    return ends


def _plot_smoothed(
    axes: Axes, steps: Sequence[Mapping[str, Any]], values: Sequence[float], *, window: int, colour: str
) -> None:
    """Draw a value of each step, pale, and its mean over the last `window` steps, bold."""
    import numpy as np

    step, value = np.array([entry["step"] for entry in steps]), np.array(values, dtype=float)
    totals = np.concatenate([[0.0], np.cumsum(value)])
    ends = np.arange(1, len(value) + 1)
    starts = np.maximum(ends - window, 0)
    axes.plot(step, value, color=LIGHT[colour], linewidth=0.7, alpha=0.35)
    axes.plot(step, (totals[ends] - totals[starts]) / (ends - starts), color=LIGHT[colour], linewidth=1.8)
    _mark_epoch_starts(axes, steps)
    axes.set_xlabel("optimizer step")
    whole_numbers(axes.xaxis)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _draw_reference(axes: Axes, value: float) -> None:
    axes.axhline(value, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))


def whole_numbers(axis: Axis) -> None:
    """Put the ticks of an axis on whole numbers, wherever its range holds one."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def label_line_ends(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write the name of each line beside its right end, moved up where two would overlap, down from above the top.

    Args:
        axes: where the lines are; its limits must be set by now.
        ends: for each name the value that its line ends in, and the colour.
    """
    low, high = axes.get_ylim()
    ordered = sorted(ends.items(), key=lambda end: end[1][0])
    heights: list[float] = []
    for _, (value, _) in ordered:
        height = (value - low) / (high - low)
        heights.append(height if not heights else max(height, heights[-1] + _LINE_HEIGHT))
    ceiling = 1.0
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], ceiling)
        ceiling = heights[place] - _LINE_HEIGHT
    for (name, (_, colour)), height in zip(ordered, heights, strict=True):
        axes.annotate(
            name,
            (1, low + height * (high - low)),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=LIGHT[colour],
            annotation_clip=False,
        )


def _mark_epoch_starts(axes: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    starts = [entry["step"] for previous, entry in pairwise(steps) if entry["epoch"] != previous["epoch"]]
    for start in starts:
        axes.axvline(start, color=LIGHT["rule"], linewidth=0.9, zorder=0.5)


def can_draw(text: str) -> bool:
    """Tell whether the font has all of these letters."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return all(font.get_char_index(ord(character)) for character in text)


def drawable(name: str, instead: str) -> str:
    """A name that a user gave as a plot can draw it, shortened where it is long.

    Dollars are escaped: what stands between two of them would be set as mathematics.

    Args:
        name: the name.
        instead: what to draw where the font lacks a letter of it.
    """
    if not can_draw(name):
        return instead
    short = name if len(name) <= _CHARACTERS_DRAWN else f"{name[: _CHARACTERS_DRAWN - 1]}…"
    return short.replace("$", r"\$")
