"""`unmask check`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unmask.cli.arguments import name_first, parse_with_json, print_json, recipe_arguments
from unmask.data.findings import count_of
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rich.table import Table

    from unmask.data import Finding
    from unmask.workflows.check import CheckedSet, CheckReport

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
        them = "it" if num_errors == 1 else "them"
        raise DataError(f"training would stop: {count_of(num_errors, 'error')}; correct {them} first")


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
    """Draw each file in numbers, in lines of whole words that any terminal holds."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for data in report.sets:
        table.add_row(data.role, Text(data.data, style="bold"))
        for line in _told(data):
            table.add_row("", Text(line))
    return table


def _told(data: CheckedSet) -> Iterator[str]:
    """A file in numbers: a line for its examples, and one for their tokens."""
    labels = [f"{label}: {count:,}" for label, count in list(data.labels.items())[:_MOST_LABELS]]
    if data.num_labels > len(labels):
        labels.append(f"{data.num_labels - len(labels):,} more")
    refused = f", {data.num_refused:,} refused" if data.num_refused else ""
    yield count_of(data.num_examples, "example") + refused + (f"; labels {', '.join(labels)}" if data.labels else "")
    if data.mean_tokens is not None:
        yield (
            f"{data.mean_tokens:.1f} tokens on average, {data.max_tokens:,} at most, {data.unknown_rate:.2%} unknown; "
            f"{data.num_long:,} too long"
        )


def _findings_table(report: CheckReport) -> Table:
    """Draw the first findings of each kind, and what to do."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("where", "what was found, and what to do", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    names = _short_names({finding.path for finding in report.findings} | {data.data for data in report.sets})
    severity = ""
    for group in report.groups:
        first = group[0]
        if first.severity != severity:
            severity = first.severity
            table.add_section()
            table.add_row(Text(count_of(report.counts[severity], severity), style=_STYLES[severity]), "")
        for finding in group[:_MOST_SHOWN]:
            table.add_row(Text(_place(finding, names[finding.path])), Text(_shorten(finding.problem, names)))
        if len(group) > _MOST_SHOWN:
            table.add_row("", Text(f"and {len(group) - _MOST_SHOWN:,} more", style="dim"))
        if first.advice:
            table.add_row("", Text(f"-> {_shorten(first.advice, names)}", style="italic"))
    return table


def _short_names(paths: Collection[str]) -> dict[str, str]:
    """The end of each path that no other file's path has: of most files the name alone."""

    def ends(path: str, tail: str) -> bool:
        return f"/{path}".endswith(f"/{tail}")

    def shortest(path: str) -> str:
        parts = path.split("/")
        others = [other for other in paths if not ends(path, other) and not ends(other, path)]
        tails = ("/".join(parts[place:]) for place in reversed(range(len(parts))))
        return next(tail for tail in tails if tail == path or (tail and not any(ends(other, tail) for other in others)))

    return {path: shortest(path) for path in paths}


def _shorten(sentence: str, names: Mapping[str, str]) -> str:
    """A sentence with the short names of the files that it names."""
    for path in sorted(names, key=len, reverse=True):
        sentence = sentence.replace(path, names[path])
    return sentence


def _place(finding: Finding, name: str) -> str:
    place = name if finding.line is None else f"{name}:{finding.line}"
    return f"{place} {finding.field}" if finding.field else place
