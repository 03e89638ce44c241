"""`unmask report`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse

if TYPE_CHECKING:
    from collections.abc import Sequence


_HELP = "  unmask report runs/mine"


def run(arguments: Sequence[str]) -> None:
    """Parse, write the report, say where it lies."""
    print(parse(_report, arguments, command="report", more_help=_HELP))


def _report(run: Path, /) -> Path:
    """Write a run's report.html and plots again, from the files of its folder; the run may still be going on.

    Args:
        run: a run folder.
    """
    from unmask.errors import DataError
    from unmask.reporting import write_report
    from unmask.workflows.run_folder import is_run

    if not is_run(run):
        raise DataError("holds no run: give the --output-dir of one", path=run)
    return write_report(run)
