"""The plots of a report: each function draws one matplotlib figure.

No text of the data is drawn, so no glyph can be missing; label names, which may be in any script, give way to label ids
where the font does not have them. Figures are made without pyplot: drawing one changes no state outside it.
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
    from matplotlib.figure import Figure

    from unmask.metrics import ClassificationReport

__all__ = [
    "can_draw",
    "confusion_matrix_plot",
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
    "step_loss_plot",
    "style_axes",
    "throughput_plot",
    "to_picture",
    "to_png",
    "to_svg",
]

_SERIES = (("blue", "o"), ("orange", "s"), ("green", "^"), ("ink", "D"))  # colour and marker of each line


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
    middle = lengths[np.searchsorted(np.cumsum(counts), counts.sum() / 2)]
    for length, name in ((middle, f"Median {middle}"), (lengths[-1], f"Longest {lengths[-1]}")):
        axes.axvline(length, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            name,
            (length, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4 if length == middle else -4, -2),
            textcoords="offset points",
            ha="left" if length == middle else "right",
            va="top",
            color=LIGHT["muted"],
        )
    axes.set_xlabel("length in tokens")
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
    from matplotlib.ticker import MaxNLocator

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
            name = model.rstrip("/").rpartition("/")[2]
            ends[name if can_draw(name) and name not in ends else f"model {number}"] = (values[-1], colour)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        label_line_ends(axes, ends)
    degrees_axes.set_xlabel("layer")
    return figure


def confusion_matrix_plot(report: ClassificationReport) -> Figure:
    """Labels against predictions: counts, shaded by the share of the label's texts."""
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = new_figure("")
    figure.set_size_inches(max(5.6, 0.7 * len(report.classes)), max(3.2, 0.4 * len(report.classes)))
    names = [label.name for label in report.classes]
    if not all(can_draw(name) for name in names):
        names = [str(label_id) for label_id in range(len(names))]
    shares = [[count / max(sum(row), 1) for count in row] for row in report.confusion_matrix]
    shades = LinearSegmentedColormap.from_list("shares", [LIGHT["paper"], LIGHT["blue"]])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row, counts in enumerate(report.confusion_matrix):
        for column, count in enumerate(counts):
            colour = LIGHT["paper" if shares[row][column] > 0.7 else "ink"]
            axes.annotate(f"{count:,}", (column, row), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), labels=names, rotation=90 if len(names) > 4 else 0)
    axes.set_yticks(range(len(names)), labels=names)
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
    axes.scatter(
        scores, predictions, s=12, color=LIGHT["blue"], alpha=opacity, linewidths=0, rasterized=len(scores) > 3000
    )
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
    from matplotlib.ticker import MaxNLocator

    ends = _plot_lines(axes, epochs, names, x="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _draw_reference(axes: Axes, value: float) -> None:
    axes.axhline(value, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))


def label_line_ends(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write the name of each line beside its right end, moved up where two would overlap."""
    low, high = axes.get_ylim()
    height = float("-inf")
    for name, (value, colour) in sorted(ends.items(), key=lambda end: end[1][0]):
        height = max((value - low) / (high - low), height + 0.08)
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
