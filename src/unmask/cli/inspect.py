"""`unmask inspect`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - likewise

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.workflows.inspect import LayerChanges

_HELP = """\
  unmask inspect minilm --layers
  unmask inspect google-bert/bert-base-uncased albert/albert-base-v2 --layers --output sharing.png"""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Look into models. --layers: how far each layer's output lies from its input, averaged over tokens.

    Args:
        models: folders, hub ids or "minilm".
        layers: the L2 distance, the cosine and the angle between each layer's input and output (ALBERT, figure 1).
        text: what the models read; eight English sentences unless given.
        output: a picture, .png or .svg.
    """

    models: Positional[tuple[str, ...]]
    layers: bool = False
    text: tuple[str, ...] | None = None
    output: Path | None = None


def run(arguments: Sequence[str]) -> None:
    """Parse, measure, print a row a layer; draw a picture."""
    from rich.console import Console

    from unmask.workflows.inspect import inspect_layers

    typed, as_json = parse_with_json(_Arguments, arguments, command="inspect", more_help=_HELP)
    if not typed.layers:
        raise SettingsError("say what to look at: --layers")
    if typed.output is not None and typed.output.suffix not in (".png", ".svg"):
        raise SettingsError(f"output is {typed.output}: the name of a picture ends in .png or .svg")
    changes = inspect_layers(*typed.models, texts=typed.text)
    if as_json:
        print_json({"models": [asdict(model) for model in changes]})
    else:
        Console().print(_layers_table(changes))
        for model in changes:
            print(f"{model.model}: {model.num_texts} texts, {model.num_tokens:,} tokens")
    if typed.output is not None:
        from unmask.files import write_bytes
        from unmask.reporting.plots import layer_changes_plot, to_picture

        series = {model.model: [(layer.l2_distance, layer.degrees) for layer in model.layers] for model in changes}
        write_bytes(typed.output, to_picture(layer_changes_plot(series), typed.output.suffix))


def _layers_table(changes: Sequence[LayerChanges]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "layer", "L2 distance", "cosine", "degrees")
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    for model in changes:
        for layer in model.layers:
            name = Text(model.model if layer.layer == 1 else "")
            table.add_row(
                name, str(layer.layer), f"{layer.l2_distance:.3f}", f"{layer.cosine:.4f}", f"{layer.degrees:.1f}"
            )
        table.add_section()
    return table
