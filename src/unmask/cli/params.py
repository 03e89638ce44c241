"""`unmask params`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = "  unmask params minilm --head sequence-classification --num-labels 2"


def run(arguments: Sequence[str]) -> None:
    """Parse, count, print a row a tensor and the total."""
    from rich.console import Console
    from rich.table import Table

    from unmask.workflows.params import params

    tensors, as_json = parse_with_json(params, arguments, command="params", more_help=_HELP)
    total = sum(tensor.num_parameters for tensor in tensors)
    if as_json:
        print_json({"total": total, "tensors": [asdict(tensor) for tensor in tensors]})
        return
    table = Table("name", "shape", "parameters", show_footer=True)
    for column, footer in zip(table.columns, (f"{len(tensors)} tensors", "", f"{total:,}"), strict=True):
        column.footer = footer
        column.overflow = "fold"
    table.columns[2].justify = "right"
    for tensor in tensors:
        table.add_row(tensor.name, " x ".join(map(str, tensor.shape)), f"{tensor.num_parameters:,}")
    Console().print(table)
