"""`unmask check`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unmask.cli.arguments import name_first, parse_with_json, print_json, recipe_arguments
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.data import Finding
    from unmask.workflows.check import CheckReport

_HELP = """\
The task may stand first, without its flag, or the file to train on. --config takes a recipe for unmask finetune; what
it says of training is passed over. Of each kind of finding the first three are shown, and by --json all of them.
Errors, at which training would stop, exit with 3; warnings and notes with 0.

  unmask check classification --train train.tsv --dev dev.tsv --model minilm
  unmask check --config recipes/cola.yaml
  unmask check tagging --train train.conllu --dev dev.conllu
  unmask check question-answering --train squad.json"""

_MOST_SHOWN = 3  # of one kind
_MOST_LABELS = 4
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def run(arguments: Sequence[str]) -> None:
    """Parse, look, print the findings by their severity; errors end with exit code 3."""
    from rich.console import Console

    from unmask.checks import READERS
    from unmask.workflows.check import CheckSettings, check

    has_train = any(argument.split("=")[0] == "--train" for argument in arguments)
    is_task = has_train or not READERS.keys().isdisjoint(arguments[:1])
    arguments = name_first(arguments, "--task" if is_task else "--train")
    settings, as_json = parse_with_json(
        CheckSettings, recipe_arguments(arguments, _concerns_data), command="check", more_help=_HELP
    )
    report = check(settings)
    if as_json:
        print_json(report.to_dict())
    else:
        console = Console()
        console.print(_sets_table(report))
        if report.findings:
            console.print(_findings_table(report))
        console.print(report.summary(), highlight=False)
    if num_errors := report.counts["error"]:
        they = "it" if num_errors == 1 else "them"
        raise DataError(f"training would stop: {num_errors:,} error{'' if they == 'it' else 's'}; correct {they} first")


def _concerns_data(setting: str) -> bool:
    """Whether a setting of a recipe is one to check by, and not of training alone.

    Raises:
        SettingsError: it is of neither.
    """
    from unmask.workflows.check import CheckSettings
    from unmask.workflows.settings import FinetuneSettings

    is_own, is_known = (
        any(field.name == setting for field in dataclasses.fields(kind)) for kind in (CheckSettings, FinetuneSettings)
    )
    if not is_own and not is_known:
        raise SettingsError(f"the recipe sets {setting}, which is no setting of unmask finetune or check")
    return is_own


def _sets_table(report: CheckReport) -> Table:
    """Draw each file in numbers, one a row."""
    from rich.table import Table
    from rich.text import Text

    has_labels = any(data.labels for data in report.sets)
    table = Table("", "file", "examples", "refused", "mean tokens", "longest", "too long", "unknown")
    for column in table.columns[2:]:
        column.justify = "right"
    table.columns[1].overflow = "fold"
    if has_labels:
        table.add_column("labels", overflow="fold")
    for data in report.sets:
        cells = [data.role, data.data, f"{data.num_examples:,}", f"{data.num_refused:,}" if data.num_refused else ""]
        if data.mean_tokens is None:
            cells += [""] * 4
        else:
            cells += [f"{data.mean_tokens:.1f}", f"{data.max_tokens:,}", f"{data.num_long:,}"]
            cells += [f"{data.unknown_rate:.2%}"]
        shown = [f"{label}: {count:,}" for label, count in list(data.labels.items())[:_MOST_LABELS]]
        more = [f"{data.num_labels - len(shown)} more"] if data.num_labels > len(shown) else []
        table.add_row(*map(Text, cells), *([Text(", ".join(shown + more))] if has_labels else []))
    return table


def _findings_table(report: CheckReport) -> Table:
    """Draw the first findings of each kind, and what to do."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("where", "what was found, and what to do", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].overflow = "fold"
    severity = ""
    for group in report.groups:
        first = group[0]
        if first.severity != severity:
            severity = first.severity
            table.add_section()
            count = report.counts[first.severity]
            table.add_row(Text(f"{count:,} {severity}{'' if count == 1 else 's'}", style=_STYLES[severity]), "")
        for finding in group[:_MOST_SHOWN]:
            table.add_row(Text(_place(finding)), Text(finding.problem))
        if len(group) > _MOST_SHOWN:
            table.add_row("", Text(f"and {len(group) - _MOST_SHOWN:,} more", style="dim"))
        if first.advice:
            table.add_row("", Text(f"-> {first.advice}", style="italic"))
    return table


def _place(finding: Finding) -> str:
    place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
    return f"{place} {finding.field}" if finding.field else place
