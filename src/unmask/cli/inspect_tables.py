"""The tables that `unmask inspect` prints, one function a thing to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unmask.inspection import AttentionMaps, Attribution, ContextualWord, LayerChanges, Neighbours, Verdicts

__all__ = ["print_found"]

_BAR = 20  # characters of the longest bar


def print_found(found: Mapping[str, Any], *, layer: int | None = None, head: int | None = None) -> None:
    """Print all that was found.

    Args:
        found: by what was looked at, as `unmask.reporting.inspection.inspection_page` takes it.
        layer: of attention, the layer to show alone.
        head: the head of it.
    """
    for look, content in found.items():
        if look == "attention":
            _print_attention(content, layer, head)
        else:
            _PRINTERS[look](content)


def _table(*columns: str, left: Sequence[str] = ()) -> Table:
    """A table whose first column stands to the left, and those named; the others hold figures."""
    table = Table(*columns)
    for column, name in zip(table.columns[1:], columns[1:], strict=True):
        if name not in left:
            column.justify = "right"
    return table


def _print_attention(maps: AttentionMaps, layer: int | None, head: int | None) -> None:
    heads = [one for one in maps.heads if layer in (None, one.layer) and head in (None, one.head)]
    if not heads:
        num_layers, num_heads = maps.maps.shape[:2]
        raise SettingsError(f"the model has {num_layers} layers of {num_heads} heads, both counted from 1")
    table = _table(
        "layer",
        "head",
        "entropy",
        "[CLS]",
        "[SEP]",
        "before",
        "after",
        "itself",
        "most attended",
        left=["most attended"],
    )
    for number, one in enumerate(heads):
        starts = number == 0 or heads[number - 1].layer != one.layer
        if starts and number:
            table.add_section()
        shares = (one.to_cls, one.to_sep, one.to_previous, one.to_next, one.to_self)
        table.add_row(
            str(one.layer) if starts else "",
            str(one.head),
            f"{one.entropy:.2f}",
            *("–" if share is None else f"{share:.0%}" for share in shares),
            Text(f"{one.most_attended} ({one.most_attended_share:.0%})"),
        )
    Console().print(table)
    print("entropy in nats; shares of the attention, averaged over tokens")


def _print_tokens(found: Sequence[Neighbours]) -> None:
    table = _table("token", "id", "length", "nearest, by cosine", left=["nearest, by cosine"])
    for word in found:
        nearest = ", ".join(f"{near.token} {near.cosine:.2f}" for near in word.nearest)
        table.add_row(Text(word.word), str(word.token_ids[0]), f"{word.norm:.3f}", Text(nearest))
    Console().print(table)


def _print_nearest(found: Neighbours) -> None:
    table = _table("nearest", "id", "cosine")
    for near in found.nearest:
        table.add_row(Text(near.token), str(near.token_id), f"{near.cosine:.4f}")
    Console().print(table)
    if len(found.tokens) > 1:
        print(f"{found.word}: the mean of its pieces {' '.join(found.tokens)}")


def _print_gradients(found: Attribution) -> None:
    largest = max(map(abs, found.attributions)) or 1.0
    table = Table("token", "adds", "", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    for token, value, owner in zip(found.tokens, found.attributions, found.sequence_ids, strict=True):
        if owner is not None:
            bar = ("+" if value >= 0 else "−") * round(abs(value) / largest * _BAR)
            table.add_row(Text(token), f"{value:+.4f}", Text(bar, "blue" if value >= 0 else "red"))
    Console().print(table)
    change = found.prediction - found.baseline_prediction
    print(
        f"{found.output} of {found.target!r}: {found.prediction:.4f}, without any word (baseline {found.baseline}) "
        f"{found.baseline_prediction:.4f}"
    )
    told = "complete" if found.is_complete else "NOT complete: read it with care"
    print(
        f"the tokens add {sum(found.attributions):+.4f} to explain {change:+.4f}: {told}, off by "
        f"{abs(found.completeness_error):.1e} with {found.num_points} points"
    )


def _print_word(found: ContextualWord) -> None:
    table = _table("layer", "in both sentences", "first to static", "second to static", "other words")
    for layer in found.layers:
        values = (layer.between, layer.first_to_static, layer.second_to_static, layer.other_words)
        table.add_row(str(layer.layer), *(f"{value:.3f}" for value in values))
    Console().print(table)
    print("cosines; layer 0 is what enters the first block")


def _print_replaced(found: Sequence[Verdicts]) -> None:
    for verdict in found:
        table = Table("token", "replaced", "", box=box.SIMPLE_HEAD, pad_edge=False)
        table.columns[1].justify = "right"
        for token in verdict.tokens:
            style = "red" if token.is_replaced else ""
            bar = Text("█" * round(token.probability * _BAR), style)
            table.add_row(Text(token.token, style), f"{token.probability:.1%}", bar)
        Console().print(Text(verdict.text, "bold"))
        Console().print(table)


def _print_layers(found: Sequence[LayerChanges]) -> None:
    table = _table("model", "layer", "L2 distance", "cosine", "degrees")
    table.columns[0].overflow = "fold"
    for model in found:
        for layer in model.layers:
            name = Text(model.model if layer.layer == 1 else "")
            table.add_row(
                name, str(layer.layer), f"{layer.l2_distance:.3f}", f"{layer.cosine:.4f}", f"{layer.degrees:.1f}"
            )
        table.add_section()
    Console().print(table)
    for model in found:
        print(f"{model.model}: {model.num_texts} texts, {model.num_tokens:,} tokens")


_PRINTERS: dict[str, Callable[[Any], None]] = {
    "tokens": _print_tokens,
    "nearest": _print_nearest,
    "gradients": _print_gradients,
    "word": _print_word,
    "replaced": _print_replaced,
    "layers": _print_layers,
}
