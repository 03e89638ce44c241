"""The errors a user can cause, each with the exit code the command line gives it.

Libraries raise, only the command line exits (`unmask.cli.main`). A message names the file, the line, the field and what
to do; it never needs a traceback to be understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CheckpointError", "DataError", "GateError", "Interrupted", "SettingsError", "UnmaskError"]


class UnmaskError(Exception):
    """A mistake in what the user gave: the message is all they need."""

    exit_code = 3


class DataError(UnmaskError, ValueError):
    """A file of examples that cannot be used as it is.

    Args:
        problem: what is wrong and what to do about it, one sentence or two.
        path: the file.
        line: its line, counted from 1.
        field: the column, the key, or a path of keys such as `data[0].title`.
    """

    def __init__(
        self, problem: str, *, path: Path | str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem, self.path, self.line, self.field = problem, path, line, field
        place = "" if path is None else f"{path}"
        if line is not None:
            place += f", line {line}" if place else f"line {line}"
        if field is not None:
            what = "field" if "[" in field else "column"
            place += f", {what} {field!r}" if place else f"{what} {field!r}"
        super().__init__(f"{place}: {problem}" if place else problem)


class CheckpointError(UnmaskError, ValueError):
    """A model folder, hub id or training checkpoint that cannot be used as it is."""


class SettingsError(UnmaskError, ValueError):
    """A setting outside its range, or settings that contradict one another."""

    exit_code = 2


class GateError(UnmaskError):
    """What was made is further from what it was made of than the limits allow, so it was not written."""

    exit_code = 4


class Interrupted(UnmaskError):  # noqa: N818 - not an error: the work is saved and can go on
    """The run was told to stop, and saved a checkpoint first."""

    exit_code = 130
