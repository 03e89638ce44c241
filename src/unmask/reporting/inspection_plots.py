"""The pictures of `unmask inspect`: each function draws one matplotlib figure of what was found.

Tokens are drawn where the font has their letters; else their positions stand in for them. L layers, N heads, S tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.reporting.plots import can_draw, drawable, label_line_ends, new_figure, style_axes, whole_numbers
from unmask.reporting.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["attention_grid_plot", "attention_map_plot", "contexts_plot", "head_values_plot", "token_bars_plot"]

_SERIES = (("blue", "o"), ("orange", "s"), ("green", "^"), ("muted", "v"))
_MOST_BARS = 60


def attention_grid_plot(maps: NDArray[np.float32]) -> Figure:
    """The map of every head, a row a layer: from the token of a row to that of a column, darker where more.

    Args:
        maps: attention probabilities, (L, N, S, S).
    """
    num_layers, num_heads = maps.shape[:2]
    figure, first = new_figure("")
    first.remove()
    cell = min(1.0, 14 / num_heads)
    figure.set_size_inches(max(3.2, cell * num_heads + 0.8), max(2.4, cell * num_layers + 0.8))
    grid = figure.subplots(num_layers, num_heads, squeeze=False)
    for layer in range(num_layers):
        for head in range(num_heads):
            axes = grid[layer][head]
            _draw_map(axes, maps[layer, head])
            axes.set(xticks=[], yticks=[])
            if layer == 0:
                axes.set_title(f"head {head + 1}" if head == 0 else str(head + 1), fontsize=8, color=LIGHT["muted"])
            if head == 0:
                axes.set_ylabel(f"layer {layer + 1}" if layer == 0 else str(layer + 1), fontsize=8)
                axes.yaxis.label.set_color(LIGHT["muted"])
    return figure


def attention_map_plot(attention: NDArray[np.float32], tokens: Sequence[str], *, title: str) -> Figure:
    """One map with its tokens: from the token of a row to that of a column.

    Args:
        attention: probabilities, (S, S).
        tokens: S of them.
        title: what it is.
    """
    figure, axes = new_figure("")
    side = max(3.6, 0.24 * len(tokens) + 1.4)
    figure.set_size_inches(side, side)
    _draw_map(axes, attention)
    labels = _labels(tokens)
    axes.set_xticks(range(len(tokens)), labels=labels, rotation=90)
    axes.set_yticks(range(len(tokens)), labels=labels)
    axes.tick_params(
        length=0, labelcolor=LIGHT["ink"], labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False
    )
    axes.set_xlabel(f"{title} (rows attend to columns)")
    axes.grid(visible=False)
    return figure


def head_values_plot(values: Sequence[Sequence[float]], *, title: str, highest: float) -> Figure:
    """A number of each head, as shade and figure: a row a layer, a column a head.

    Args:
        values: (L, N), none below 0.
        title: what it is.
        highest: the value of the darkest shade.
    """
    from matplotlib.patches import Rectangle

    figure, axes = new_figure(title)
    num_layers, num_heads = len(values), len(values[0])
    figure.set_size_inches(max(3.6, 0.42 * num_heads + 0.8), max(1.6, 0.3 * num_layers + 0.8))
    axes.set(xlim=(0.5, num_heads + 0.5), ylim=(num_layers + 0.5, 0.5))
    for layer, of_layer in enumerate(values, start=1):
        for head, value in enumerate(of_layer, start=1):
            shade = min(1.0, value / highest) if highest else 0.0
            place = (head - 0.5, layer - 0.5)
            if shade >= 0.005:  # shapes, not one image: the page lets no image in, and its colours change by night
                axes.add_patch(Rectangle(place, 1, 1, color=LIGHT["blue"], alpha=shade, linewidth=0))
            colour = LIGHT["paper" if shade > 0.7 else "ink"]
            axes.annotate(_short(value), (head, layer), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(1, num_heads + 1))
    axes.set_yticks(range(1, num_layers + 1))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.grid(visible=False)
    return figure


def token_bars_plot(
    tokens: Sequence[str], values: Sequence[float], *, title: str, limit: float | None = None
) -> Figure:
    """A bar a token, in their order: blue to the right above 0, orange to the left below.

    Args:
        tokens: their names; where there are more than 60, the largest values are drawn.
        values: one a token.
        title: what they are.
        limit: where the axis ends, both ways where a value is below 0; None ends it at the largest.
    """
    places = sorted(sorted(range(len(values)), key=lambda at: -abs(values[at]))[:_MOST_BARS])
    shown = [values[at] for at in places]
    figure, axes = new_figure(title)
    figure.set_size_inches(5.6, max(1.8, 0.21 * len(shown) + 0.9))
    colours = [LIGHT["blue" if value >= 0 else "orange"] for value in shown]
    axes.barh(range(len(shown)), shown, color=colours, height=0.72)
    axes.set_yticks(range(len(shown)), labels=[_labels(tokens)[at] for at in places])
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    end = max((abs(value) for value in shown), default=0.0) * 1.05 if limit is None else limit
    axes.set_xlim(-(end or 1) if min(shown, default=0) < 0 else 0, end or 1)
    axes.axvline(0, color=LIGHT["muted"], linewidth=0.9)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=LIGHT["rule"], linewidth=0.7)
    return figure


def contexts_plot(lines: Mapping[str, Sequence[float]], *, title: str) -> Figure:
    """Cosines by layer, a line each; layer 0 is what enters the first block.

    Args:
        lines: the name of each and its values.
        title: what they are of.
    """
    figure, axes = new_figure(title)
    ends = {}
    for (name, values), (colour, marker) in zip(lines.items(), _SERIES, strict=False):
        axes.plot(range(len(values)), values, color=LIGHT[colour], marker=marker, markersize=4.5, linewidth=1.8)
        ends[name] = (values[-1], colour)
    lowest = min(value for values in lines.values() for value in values)
    axes.set_ylim(min(0.0, lowest - 0.05), 1.05)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("layer")
    label_line_ends(axes, ends)
    return figure


def _draw_map(axes: Axes, attention: NDArray[np.float32]) -> None:
    style_axes(axes, "")
    axes.spines["bottom"].set_visible(False)
    axes.imshow(attention, cmap=_blues(), vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    axes.grid(visible=False)


def _blues() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("attention", [LIGHT["raised"], LIGHT["blue"]])


def _labels(tokens: Sequence[str]) -> list[str]:
    """The tokens, or their positions where the font lacks a letter of one."""
    if not all(map(can_draw, tokens)):
        return [str(at) for at in range(len(tokens))]
    return [drawable(token, "") for token in tokens]


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}".lstrip("0") or "0"
