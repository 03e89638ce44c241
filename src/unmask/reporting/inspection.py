"""What `unmask inspect` found, as a page that opens offline and as pictures: one function a thing to look at."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.reporting.inspection_attention import attention_figure, attention_sections
from unmask.reporting.inspection_plots import contexts_plot, token_bars_plot
from unmask.reporting.page import Plot, Section, html_table, render_page
from unmask.reporting.plots import layer_changes_plot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    from unmask.inspection import Attribution, ContextualWord, LayerChanges, Neighbours, Verdicts

__all__ = ["draw_inspection", "inspection_page"]


def draw_inspection(found: Mapping[str, Any], *, layer: int | None = None, head: int | None = None) -> Figure:
    """Draw what was found, as one figure.

    Args:
        found: one entry: what was looked at, as `inspection_page` takes it.
        layer: of attention, the layer to draw alone, from 1.
        head: the head of it, from 1; without one the mean of the layer's heads.

    Raises:
        SettingsError: several things were looked at, or there is no such layer or head.
    """
    if len(found) != 1:
        raise SettingsError(
            f"a picture shows one thing, and {', '.join(found)} were asked for: ask for one, or name an output.html"
        )
    [(look, content)] = found.items()
    if look == "attention":
        return attention_figure(content, layer, head)
    return _DRAWERS[look](content)


def inspection_page(model: str, found: Mapping[str, Any]) -> str:
    """Write one page of all that was looked at.

    Args:
        model: its name, as it was asked for.
        found: by what was looked at, what `unmask.workflows.inspect` gave: "attention", "tokens", "nearest",
            "gradients", "word", "replaced", "layers".
    """
    sections = [section for look, content in found.items() for section in _SECTIONS[look](content)]
    texts = (found[look].text for look in ("attention", "gradients") if look in found)  # the others name theirs below
    return render_page(
        title=model.rstrip("/").rpartition("/")[2] or model,
        kind="a look inside",
        summary=next((f"Reading “{text}”" for text in texts), "What unmask inspect found in it."),
        sections=sections,
        origin=f"the model {model}",
    )


# What moves a prediction.


def _gradients_figure(found: Attribution) -> Figure:
    at = [place for place, owner in enumerate(found.sequence_ids) if owner is not None]
    return token_bars_plot(
        [found.tokens[place] for place in at],
        [found.attributions[place] for place in at],
        title=f"What each token adds to the {found.output} of “{found.target}”".replace("$", r"\$"),
    )


def _gradients_sections(found: Attribution) -> list[Section]:
    texts = [found.text] + ([found.text_pair] if found.text_pair is not None else [])
    largest = max(map(abs, found.attributions)) or 1.0
    html = ""
    for number, text in enumerate(texts):
        spans = [(span, value / largest, f"{value:+.4f}") for span, value in _of_text(found, number)]
        html += f'<p class="text">{_shaded(text, spans)}</p>'
    rows = [
        [token, f"{value:+.4f}".replace("-", "−")]
        for token, value, owner in zip(found.tokens, found.attributions, found.sequence_ids, strict=True)
        if owner is not None
    ]
    change = found.prediction - found.baseline_prediction
    complete = "add up" if found.is_complete else "do not quite add up, so read them with care,"
    return [
        Section(
            title=f"What speaks for “{found.target}”",
            explanation=(
                f"Integrated gradients (Sundararajan et al. 2017): the {found.output} of “{found.target}” is "
                f"{found.prediction:.4f}, and {found.baseline_prediction:.4f} where no word is known. Blue tokens "
                f"speak for it, orange ones against it. They {complete} to the difference, {change:+.4f}: the sum is "
                f"{found.completeness_error:+.1e} off, over {found.num_points} points."
            ),
            html=html + html_table(("token", "adds"), rows),
            plots=(Plot("gradients", _gradients_figure(found), "What each token adds, in the order of the text."),),
        )
    ]


def _of_text(found: Attribution, number: int) -> list[tuple[tuple[int, int], float]]:
    return [
        (span, value)
        for span, value, owner in zip(found.offsets, found.attributions, found.sequence_ids, strict=True)
        if owner == number
    ]


def _shaded(text: str, spans: Sequence[tuple[tuple[int, int], float, str]]) -> str:
    """A text with parts of it shaded, blue above 0 and orange below; each says its number when pointed at.

    Args:
        text: plain text.
        spans: start and end of each part, its shade in [-1, 1], what it says.
    """
    html, done = "", 0
    for (start, end), value, told in spans:
        start = max(start, done)
        if end <= start:
            continue
        kind = "judged for" if value > 0 else "judged"
        html += escape(text[done:start])
        html += (
            f'<span class="{kind}" style="--share: {abs(value):.0%}" title="{escape(told)}">'
            f"{escape(text[start:end])}</span>"
        )
        done = end
    return html + escape(text[done:])


# Words and their vectors.


def _word_lines(found: ContextualWord) -> dict[str, list[float]]:
    return {
        "in both sentences": [layer.between for layer in found.layers],
        "first to static": [layer.first_to_static for layer in found.layers],
        "second to static": [layer.second_to_static for layer in found.layers],
        "other words": [layer.other_words for layer in found.layers],
    }


def _word_figure(found: ContextualWord) -> Figure:
    return contexts_plot(_word_lines(found), title="Cosine, by layer")


def _word_sections(found: ContextualWord) -> list[Section]:
    lines = _word_lines(found)
    rows: list[list[str | float]] = [
        [str(layer.layer), *(values[layer.layer] for values in lines.values())] for layer in found.layers
    ]
    return [
        Section(
            title=f"“{found.word}” in two sentences",
            explanation=(
                f"“{found.first}” and “{found.second}”: how near the vectors of the word are to one another, and to "
                "the static embedding that both begin with. Layer 0 is what enters the first block. Other words of the "
                "two sentences show what is usual between words that have little in common (Ethayarajh 2019)."
            ),
            html=html_table(("layer", *lines), rows),
            plots=(Plot("word", _word_figure(found), "Below “in both sentences”, context has set the two apart."),),
        )
    ]


def _nearest_figure(found: Neighbours) -> Figure:
    tokens = [near.token for near in found.nearest]
    return token_bars_plot(tokens, [near.cosine for near in found.nearest], title="Cosine to the embedding", limit=1.0)


def _nearest_sections(found: Neighbours) -> list[Section]:
    pieces = "" if len(found.tokens) == 1 else f" (the mean of its pieces, {' '.join(found.tokens)})"
    return [
        Section(
            title=f"Nearest to “{found.word}”",
            explanation=f"The tokens whose static embeddings point most nearly the same way as this word's{pieces}.",
            html=html_table(("token", "cosine"), [[near.token, near.cosine] for near in found.nearest]),
            plots=(Plot("nearest", _nearest_figure(found), "Cosine of the angle between the two embeddings."),),
        )
    ]


def _tokens_figure(found: Sequence[Neighbours]) -> Figure:
    return token_bars_plot(
        [word.word for word in found], [word.norm for word in found], title="Length of the embedding"
    )


def _tokens_sections(found: Sequence[Neighbours]) -> list[Section]:
    rows: list[list[str | float]] = [
        [word.word, str(word.token_ids[0]), word.norm, ", ".join(f"{n.token} {n.cosine:.2f}" for n in word.nearest)]
        for word in found
    ]
    return [
        Section(
            title="Tokens",
            explanation="Each token with its id, the length of its static embedding, and the tokens nearest to it.",
            html=html_table(("token", "id", "length", "nearest, by cosine"), rows),
        )
    ]


# Replaced tokens, layers.


def _replaced_figure(found: Sequence[Verdicts]) -> Figure:
    tokens = [token for verdict in found for token in verdict.tokens]
    values = [token.probability for token in tokens]
    return token_bars_plot([token.token for token in tokens], values, title="Probability of being replaced", limit=1.0)


def _replaced_sections(found: Sequence[Verdicts]) -> list[Section]:
    html = ""
    for verdict in found:
        spans = [((token.start, token.end), -token.probability, f"{token.probability:.1%}") for token in verdict.tokens]
        html += f'<p class="text">{_shaded(verdict.text, spans)}</p>'
    return [
        Section(
            title="Replaced or original",
            explanation=(
                "The discriminator's verdict on each token: the more orange, the surer it is that another word stood "
                "there. Point at a word for its probability."
            ),
            html=html,
            plots=(Plot("replaced", _replaced_figure(found), "Above a half, the model takes a token for replaced."),),
        )
    ]


def _layers_figure(found: Sequence[LayerChanges]) -> Figure:
    return layer_changes_plot(
        {model.model: [(layer.l2_distance, layer.degrees) for layer in model.layers] for model in found}
    )


def _layers_sections(found: Sequence[LayerChanges]) -> list[Section]:
    rows: list[list[str | float]] = [
        [model.model, layer.layer, layer.l2_distance, layer.cosine, f"{layer.degrees:.1f}"]
        for model in found
        for layer in model.layers
    ]
    return [
        Section(
            title="What each layer changes",
            explanation="How far each layer's output lies from its input, on average over tokens (Lan et al. 2020, "
            "figure 1).",
            html=html_table(("model", "layer", "L2 distance", "cosine", "degrees"), rows),
            plots=(Plot("layers", _layers_figure(found), "Distance above, angle below."),),
        )
    ]


_DRAWERS: dict[str, Callable[[Any], Figure]] = {
    "tokens": _tokens_figure,
    "nearest": _nearest_figure,
    "gradients": _gradients_figure,
    "word": _word_figure,
    "replaced": _replaced_figure,
    "layers": _layers_figure,
}

_SECTIONS: dict[str, Callable[[Any], list[Section]]] = {
    "attention": attention_sections,
    "tokens": _tokens_sections,
    "nearest": _nearest_sections,
    "gradients": _gradients_sections,
    "word": _word_sections,
    "replaced": _replaced_sections,
    "layers": _layers_sections,
}
