"""`unmask compare`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.workflows.compare import Comparison

_EXAMPLES = """\
  unmask compare runs/cola runs/cola-lora                      # tuned in full and with LoRA: scores and costs
  unmask compare runs/cola runs/cola-lora --metric accuracy --output comparison.html"""


def run(arguments: Sequence[str]) -> None:
    """Parse, compare, print the scores of both, what they cost, and the verdict."""
    from unmask.workflows.compare import compare

    comparison, as_json = parse_with_json(compare, arguments, command="compare", more_help=_EXAMPLES)
    if as_json:
        print_json(comparison.to_dict())
        return
    _print(comparison)


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from unmask.reporting.comparison import COST_COLUMNS, cost_rows, note_on_costs

    table = Table("run", "seeds", comparison.metric, "lowest", "highest")
    for side in (comparison.first, comparison.second):
        scores = (f"{score:.4f}" for score in (side.mean, min(side.scores), max(side.scores)))
        table.add_row(Text(side.run), f"{len(side.seeds)}", *scores)
    console = Console(file=sys.stdout)
    console.print(table)
    sides = [asdict(side) for side in (comparison.first, comparison.second)]
    costs = Table(*COST_COLUMNS)
    for row in cost_rows(sides):
        costs.add_row(*map(Text, row))
    console.print(costs)
    print(note_on_costs(sides))
    if (test := comparison.mcnemar) is not None:
        print(
            f"{comparison.num_examples:,} dev examples: both right {test.both_right:,}, only the first "
            f"{test.only_first:,}, only the second {test.only_second:,}, both wrong {test.both_wrong:,} "
            f"(McNemar's test: p = {test.p_value:.2g})"
        )
    else:
        print(f"{comparison.num_examples:,} dev examples")
    print(comparison.verdict)
