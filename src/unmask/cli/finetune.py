"""`unmask finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from unmask.cli.arguments import name_first, parse, recipe_arguments
from unmask.cli.tables import evaluations_table, seeds_table, unanswerable_details
from unmask.errors import Interrupted
from unmask.reporting import RunRecord
from unmask.reporting.seeds import NOTE_ON_INTERVALS, told_collapses

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES = """\
The task may stand first, without its flag. --config takes a recipe, a file of these settings; other flags override it.

  unmask finetune classification --train train.tsv --output-dir runs/mine
  unmask finetune --config recipes/cola.yaml --seed 3 --output-dir runs/cola-3
  unmask finetune --config recipes/cola.yaml --seeds 5 --output-dir runs/cola
  unmask finetune --config recipes/cola.yaml --tune lora --output-dir runs/cola-lora
  unmask finetune --resume --output-dir runs/cola-3"""


def run(arguments: Sequence[str]) -> None:
    """Parse, fine-tune, say what came of it."""
    from unmask.workflows.finetune import finetune
    from unmask.workflows.settings import FinetuneSettings

    settings = parse(FinetuneSettings, recipe_arguments(name_first(arguments)), command="finetune", more_help=_EXAMPLES)
    try:
        result = finetune(settings)
    except Interrupted as error:
        raise Interrupted(f"{error}: unmask finetune --resume --output-dir {settings.output_dir}") from error
    if result is None:  # not the first of several processes
        return
    console = Console()
    if result.seeds is not None:
        console.print(seeds_table(result.seeds))
        note = f"{NOTE_ON_INTERVALS}\n{told_collapses(result.seeds['seeds'])}"
        console.print(note.strip(), highlight=False, markup=False)
        print(f"report  {result.report}\nmodel   {result.model}, of seed {result.seeds['best_seed']}")
        return
    console.print(evaluations_table([{"data": "dev", "metrics": result.dev}, *result.evaluations]))
    for part in unanswerable_details([RunRecord.read(result.output_dir).dev, *result.evaluations]):
        console.print(part, highlight=False)
    print(f"report  {result.report}\nmodel   {result.model}")
