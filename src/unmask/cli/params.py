"""`unmask params`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - the command line is made from these annotations

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.workflows.params import ModelSize

_HELP = """\
  unmask params bert-base-uncased albert-base-v2 gpt2
  unmask params minilm --head sequence-classification --num-labels 2 --tensors"""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Count parameters by part, memory and forward FLOPs per token, from each model's config alone.

    Args:
        models: folders that hold a config.json, hub ids, "minilm", or the names of published sizes, which need no
            network: bert-base-uncased, roberta-large, albert-base-v2, electra-small-discriminator, gpt2, ...
        head: count this head too: sequence-classification, masked-lm, next-sentence, pre-training, replaced-token or
            causal-lm, where the family has it; "encoder" counts none.
        num_labels: labels of a classifier; None takes those of the config.
        seq_length: tokens of the sequences for which FLOPs are counted; None takes 128, or what a model takes at most.
        tensors: list every tensor of one model instead.
    """

    models: Positional[tuple[str, ...]]
    head: str = "encoder"
    num_labels: int | None = None
    seq_length: int | None = None
    tensors: bool = False


def run(arguments: Sequence[str]) -> None:
    """Parse, count, print a row a model, or a row a tensor and the total."""
    typed, as_json = parse_with_json(_Arguments, arguments, command="params", more_help=_HELP)
    if typed.tensors and len(typed.models) != 1:
        raise SettingsError(f"--tensors lists one model, not {len(typed.models)}")

    # Help and usage errors need not wait for torch.
    from rich.console import Console

    from unmask.workflows.params import params

    sizes = params(*typed.models, head=typed.head, num_labels=typed.num_labels, seq_length=typed.seq_length)
    if typed.tensors:
        [size] = sizes
        if as_json:
            print_json({"total": size.total, "tensors": [asdict(tensor) for tensor in size.tensors]})
        else:
            Console().print(_tensors_table(size))
    elif as_json:
        rows = [asdict(size) for size in sizes]
        print_json({"models": [{key: value for key, value in row.items() if key != "tensors"} for row in rows]})
    else:
        table, console = _sizes_table(sizes), Console()
        # A figure without its last digits is none: a narrow terminal wraps the lines instead.
        console.width = max(console.width, console.measure(table, options=console.options.update(width=1000)).maximum)
        console.print(table)
        for note in _notes(sizes):
            print(note)


def _sizes_table(sizes: Sequence[ModelSize]) -> Table:
    from rich.table import Table
    from rich.text import Text

    columns = ("model", "embeddings", "encoder", "pooler", "heads", "total", "float32", "FLOPs a token")
    table = Table(*columns)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column.header == "model" else "right"
    for size in sizes:
        counts = (size.embeddings, size.encoder, size.pooler, size.heads, size.total)
        mark = "*" if size.projection else ""
        shown = [f"{count:,}" if count else "-" for count in counts]
        table.add_row(
            Text(size.model),
            shown[0] + mark,
            shown[1] + mark,
            *shown[2:],
            f"{size.memory_bytes / 2**20:,.1f} MiB",
            f"{size.flops_per_token / 1e6:,.1f} M",
        )
    return table


def _notes(sizes: Sequence[ModelSize]) -> list[str]:
    """Say what the figures of the table are, where a reader could take them for something else."""
    usual = sizes[0].seq_length
    others = [f", of {size.seq_length} in {size.model}" for size in sizes if size.seq_length != usual]
    notes = [
        f"FLOPs: matrix products of a forward pass, 2 a multiply-add, in sequences of {usual} tokens{''.join(others)}."
    ]
    projections = [f"{size.projection:,} in {size.model}" for size in sizes if size.projection]
    if projections:
        notes.append(
            "* with the projection between embeddings and hidden states, which published figures count with either "
            f"part and the total holds once: {', '.join(projections)}."
        )
    first, against = sizes[0], []
    for size in sizes[1:]:
        ratio = first.encoder / size.encoder
        said = f"{ratio:.1f}x fewer" if ratio > 1 else f"{1 / ratio:.1f}x more"
        against.append(f"{size.model} has {'as many' if said[:3] == '1.0' else said}")
    if against:
        notes.append(f"Parameters of the encoder, against {first.model}: {', '.join(against)}.")
    return notes


def _tensors_table(size: ModelSize) -> Table:
    from rich.table import Table

    table = Table("name", "shape", "parameters", show_footer=True)
    for column, footer in zip(table.columns, (f"{len(size.tensors)} tensors", "", f"{size.total:,}"), strict=True):
        column.footer = footer
        column.overflow = "fold"
    table.columns[2].justify = "right"
    for tensor in size.tensors:
        table.add_row(tensor.name, " x ".join(map(str, tensor.shape)), f"{tensor.num_parameters:,}")
    return table
