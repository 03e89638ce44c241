"""`unmask search`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unmask.cli.arguments import name_first, parse_with_json, print_json, recipe_arguments
from unmask.cli.tables import evaluations_table
from unmask.errors import Interrupted
from unmask.reporting.search import count_states, format_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.workflows.search import SearchResult

_EXAMPLES = """\
The task may stand first, without its flag. --config takes a recipe of unmask finetune, but for what the space names.

  unmask search classification --train train.tsv --dev dev.tsv --output-dir runs/search
  unmask search --config recipes/cola.yaml --space learning_rate=1e-5..1e-4:log batch_size=16,32 --trials 20
  unmask search --config recipes/cola.yaml --space space.yaml --trials 20 --pruner median --output-dir runs/search
  unmask search --resume --output-dir runs/search"""


def run(arguments: Sequence[str]) -> None:
    """Parse, search, say what came of it."""
    from unmask.workflows.search import search
    from unmask.workflows.search_settings import SearchSettings

    settings, as_json = parse_with_json(
        SearchSettings, recipe_arguments(name_first(arguments)), command="search", more_help=_EXAMPLES
    )
    try:
        result = search(settings)
    except Interrupted as error:
        raise Interrupted(f"{error}: unmask search --resume --output-dir {settings.output_dir}") from error
    if as_json:
        print_json(result.to_dict())
        return
    console = Console()
    console.print(_trials_table(result))
    print(f"{count_states(result.to_dict())}; trial {result.best} is the best by {result.metric} on dev")
    if result.evaluations:
        console.print(evaluations_table(result.evaluations))
    print(f"report  {result.report}\nmodel   {result.model}\n\n{result.note}\n\n  {result.next_command}")


def _trials_table(result: SearchResult) -> Table:
    """Draw all trials, the best first, one a row."""
    settings = list(result.trials[0]["settings"])
    table = Table("trial", *settings, result.metric, "best epoch", "seconds", "state")
    for column in table.columns[:-1]:
        column.justify = "right"
    for trial in result.trials:
        table.add_row(
            str(trial["number"]),
            *(Text(format_setting(trial["settings"].get(name))) for name in settings),
            "" if trial["score"] is None else f"{trial['score']:.4f}",
            "" if trial["best_epoch"] is None else f"{trial['best_epoch']:.4g}",
            f"{trial['seconds']:.1f}",
            trial["state"],
            style="bold" if trial["number"] == result.best else None,
        )
    return table
