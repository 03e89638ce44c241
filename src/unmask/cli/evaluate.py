"""`unmask evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json
from unmask.cli.tables import details, evaluations_table

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
  unmask evaluate runs/mine --data test.tsv
  unmask evaluate exported/mine --data test.tsv --runtime onnx"""


def run(arguments: Sequence[str]) -> None:
    """Parse, evaluate, print the scores, and what else the task tells: of a classifier each label's."""
    from rich.console import Console

    from unmask.workflows.evaluate import evaluate

    entry, as_json = parse_with_json(evaluate, arguments, command="evaluate", more_help=_HELP)
    if as_json:
        print_json(entry)
        return
    console = Console()
    console.print(evaluations_table([entry]))
    if (more := details(entry)) is not None:
        console.print(more, highlight=False)
