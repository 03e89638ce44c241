"""`unmask demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import parse
from unmask.cli.tables import evaluations_table, predictions_table

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
  unmask demo
  unmask demo --output-dir runs/second --seed 1"""


def run(arguments: Sequence[str]) -> None:
    """Parse, run the demo, show what came of it and what to do next."""
    from rich.console import Console

    from unmask.workflows.demo import demo

    result = parse(demo, arguments, command="demo", more_help=_HELP)
    console = Console()
    [test] = result.run.evaluations
    console.print(evaluations_table([{"data": "dev", "metrics": result.run.dev}, {**test, "data": "test"}]))
    console.print(
        f"[bold]test MCC {test['metrics']['mcc']:.3f}[/bold] on {test['num_examples']:,} sentences", highlight=False
    )
    console.print(predictions_table(result.predictions))
    console.print(
        f"report  {result.run.report}\nmodel   {result.run.model}\n\n"
        "The same on CoLA, from the folder that holds cola/in_domain_train.tsv:\n"
        "  unmask finetune --config recipes/cola-minilm.yaml --data-dir DATA --output-dir runs/cola",
        highlight=False,
        soft_wrap=True,
    )
