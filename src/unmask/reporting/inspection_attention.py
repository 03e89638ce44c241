"""What `unmask inspect --attention` found, as sections of a page and as pictures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import SettingsError
from unmask.reporting.attention_svg import labelled_map_svg, small_map_svg
from unmask.reporting.inspection_plots import attention_grid_plot, attention_map_plot, head_values_plot
from unmask.reporting.page import Plot, Section, html_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from unmask.inspection import AttentionMaps, HeadAttention

__all__ = ["attention_figure", "attention_sections"]

_MOST_MAPPED_TOKENS = 96  # of a text whose every map is on the page
_FIGURES = {  # of a head: attribute, title, caption
    "to_cls": ("Attention on [CLS]", "Share on the token that begins the sequence."),
    "to_sep": ("Attention on [SEP]", "Share on the tokens that end texts: often where a head has nothing to say."),
    "to_previous": ("On the token before", "Heads that read the text backwards, one step."),
    "to_next": ("On the token after", "And forwards."),
    "to_self": ("On the token itself", ""),
}


def attention_figure(maps: AttentionMaps, layer: int | None, head: int | None) -> Figure:
    """Draw every head's map; or the mean of a layer's; or one head's, with its tokens.

    Args:
        maps: what was found.
        layer: from 1, or None.
        head: of the layer, from 1, or None.

    Raises:
        SettingsError: there is no such layer or head.
    """
    num_layers, num_heads = maps.maps.shape[:2]
    for name, value, most in (("layer", layer, num_layers), ("head", head, num_heads)):
        if value is not None and not 1 <= value <= most:
            raise SettingsError(f"{name} is {value}: the model has {most}, counted from 1")
    if layer is None:
        if head is not None:
            raise SettingsError("a head belongs to a layer: say --layer too")
        return attention_grid_plot(maps.maps)
    if head is None:
        return attention_map_plot(maps.maps[layer - 1].mean(0), maps.tokens, title=f"layer {layer}, mean of its heads")
    return attention_map_plot(maps.maps[layer - 1, head - 1], maps.tokens, title=f"layer {layer}, head {head}")


def attention_sections(maps: AttentionMaps) -> list[Section]:
    """Write all there is to see: figures of all heads, the maps of those that stand out, every map, a table."""
    length = len(maps.tokens)
    overview = Section(
        title="Attention",
        explanation=(
            f"Where each head of each layer looks, on average over the {length} tokens of this text (Clark et al. "
            f"2019, section 3). Entropy tells how widely: 0 is one token alone, {np.log(length):.1f} all {length} "
            "alike. Attention shows where a head reads, not how much that counts for what the model says."
        ),
        plots=tuple(_overview_plots(maps)),
    )
    sections = [overview, _outstanding_section(maps)]
    if length <= _MOST_MAPPED_TOKENS:
        sections.append(_all_maps_section(maps))
    sections.append(_heads_section(maps))
    return sections


def _overview_plots(maps: AttentionMaps) -> list[Plot]:
    num_heads = maps.maps.shape[1]
    plots = [
        Plot(
            "attention_entropy",
            head_values_plot(
                _by_layer([head.entropy for head in maps.heads], num_heads),
                title="Entropy, in nats",
                highest=float(np.log(len(maps.tokens))),
            ),
            "Dark heads look everywhere, pale ones at one token.",
        )
    ]
    for key, (title, caption) in _FIGURES.items():
        values = [getattr(head, key) for head in maps.heads]
        if None not in values:
            figure = head_values_plot(_by_layer(values, num_heads), title=title, highest=1.0)
            plots.append(Plot(f"attention_{key}", figure, caption))
    return plots


def _outstanding_section(maps: AttentionMaps) -> Section:
    """The head that does most of each thing, its map with the tokens."""
    kinds: list[tuple[str, Callable[[HeadAttention], float | None]]] = [
        ("looks most at the token before", lambda head: head.to_previous),
        ("looks most at the token after", lambda head: head.to_next),
        ("looks most at [CLS]", lambda head: head.to_cls),
        ("looks most at [SEP]", lambda head: head.to_sep),
        ("looks most widely", lambda head: head.entropy),
        ("looks most at one other token", lambda head: _on_another(maps, head)),
    ]
    figures, shown = [], set()
    for what, value_of in kinds:
        values = [value_of(head) for head in maps.heads]
        if None in values:
            continue
        head = maps.heads[int(np.argmax([value or 0.0 for value in values]))]
        if (head.layer, head.head) in shown:
            continue
        shown.add((head.layer, head.head))
        title = f"Layer {head.layer}, head {head.head} {what}"
        svg = labelled_map_svg(maps.maps[head.layer - 1, head.head - 1], maps.tokens, title=title)
        figures.append(f"<figure>{svg}<figcaption>{escape(title)}.</figcaption></figure>")
    return Section(
        title="Heads that stand out",
        explanation="From the token of a row to that of a column, darker where more. Point at a cell for its share.",
        html=f'<div class="maps large">{"".join(figures)}</div>',
    )


def _on_another(maps: AttentionMaps, head: HeadAttention) -> float:
    """Average a head's largest share on a token that is neither itself, nor beside it, nor at an end of the text."""
    attention = maps.maps[head.layer - 1, head.head - 1].copy()
    places = np.arange(len(attention))
    attention[np.abs(places[:, None] - places) <= 1] = 0
    attention[:, [0, -1]] = 0
    return float(attention.max(-1).mean())


def _all_maps_section(maps: AttentionMaps) -> Section:
    html = ""
    for layer, of_layer in enumerate(maps.maps, start=1):
        figures = []
        for number, attention in enumerate(of_layer, start=1):
            head = maps.head(layer, number)
            most = f"{head.most_attended} {head.most_attended_share:.0%}"
            svg = small_map_svg(attention, title=f"Layer {layer}, head {number}")
            figures.append(f"<figure>{svg}<figcaption>{number}: {escape(most)}</figcaption></figure>")
        html += f'<h3>Layer {layer}</h3><div class="maps">{"".join(figures)}</div>'
    return Section(
        title="Every head",
        explanation="The same maps without their tokens, under each its number and the token that gets most of it.",
        html=html,
    )


def _heads_section(maps: AttentionMaps) -> Section:
    rows = [
        [
            f"{head.layer}·{head.head}",
            f"{head.entropy:.2f}",
            *("–" if value is None else f"{value:.0%}" for value in (getattr(head, key) for key in _FIGURES)),
            f"{head.most_attended} ({head.most_attended_share:.0%})",
        ]
        for head in maps.heads
    ]
    columns = ("layer·head", "entropy", "[CLS]", "[SEP]", "before", "after", "itself", "most attended")
    return Section(title="The figures", html=html_table(columns, rows))


def _by_layer(values: Sequence[float], num_heads: int) -> list[list[float]]:
    return [list(values[start : start + num_heads]) for start in range(0, len(values), num_heads)]
