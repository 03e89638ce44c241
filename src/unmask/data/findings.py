"""What is odd in a file of examples and yet lets it be used: the reader goes on, and says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from unmask.errors import DataError

__all__ = ["Finding", "Severity", "count_of"]

Severity: TypeAlias = Literal["error", "warning", "note"]


def count_of(number: int, noun: str) -> str:
    """A number with what it counts: "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity, placed as `DataError` places a mistake.

    Args:
        kind: what sort it is, one word or two with underscores; to count by.
        problem: what is odd, and what was done or can be done about it.
        path: the file.
        line: its line, counted from 1; None where lines mean nothing, as in one large JSON object.
        field: the column, key, or path of keys.
        severity: "error" if training would stop here, "warning" if its result would suffer, "note" if one should know.
        advice: what to do, where `problem` does not say it.
    """

    kind: str
    problem: str
    path: str
    line: int | None = None
    field: str | None = None
    severity: Severity = "warning"
    advice: str = ""

    def __str__(self) -> str:
        return str(self.as_error())

    def as_error(self) -> DataError:
        """The same as an error, for those who want none of it."""
        problem = f"{self.problem}: {self.advice}" if self.advice else self.problem
        return DataError(problem, path=self.path, line=self.line, field=self.field)

    def to_dict(self) -> dict[str, str | int | None]:
        return {
            "kind": self.kind,
            "problem": self.problem,
            "path": self.path,
            "line": self.line,
            "field": self.field,
        }
