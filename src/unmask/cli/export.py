"""`unmask export`."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

_HELP = """\
Beyond a limit nothing is written, and the exit code is 4. The folder runs by itself: python FOLDER/run.py "a text"

  unmask export runs/mine --format onnx --int8
  unmask export runs/mine --data test.tsv --output-dir mine-onnx
  unmask export minilm --texts sentences.txt --int8 --min-agreement 0.98"""


def run(arguments: Sequence[str]) -> None:
    """Parse, export, print what was written and how far it is from the original."""
    from rich.console import Console

    from unmask.workflows.export import export

    with _telling():
        report, as_json = parse_with_json(export, arguments, command="export", more_help=_HELP)
    if as_json:
        print_json(report)
        return
    Console().print(_table(report))
    if report["precision"] == "int8":
        layers = ", ".join(report["float_layers"])
        print(f"left in float: {layers}" if layers else "no layer had to be left in float")
    gate = report["gate"]
    print(f"{report['folder']}: agrees with {report['source']} on {gate['num_texts']:,} texts ({gate['texts']})")


@contextmanager
def _telling() -> Iterator[None]:
    """Say on standard error what is being done: 8 bits take minutes."""
    log, handler = logging.getLogger("unmask.workflows.export"), logging.StreamHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


def _table(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("", "MB", "largest difference", "agreement", "score", "original")
    for column in table.columns[1:]:
        column.justify = "right"
    for precision, num_bytes in report["bytes"].items():
        figures = report["gate"][precision]
        known = (figures["exported_score"], figures["original_score"])
        scores = ("" if score is None else f"{score:.4f}" for score in known)
        row = (f"{num_bytes / 1e6:.1f}", f"{figures['max_difference']:.2g}", f"{figures['agreement']:.4f}", *scores)
        table.add_row(precision, *row)
    return table
