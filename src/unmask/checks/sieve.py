"""Reading what can be read of a file with errors, by the very readers that training uses.

A reader stops at its first error; a doctor must not. So what a reader refuses is halved and each half read by itself,
until the rows, sentences or questions at fault stand alone. Of n units k of which are at fault, that reads each about
log2(k) times. What a reader shall read of a file is written to a file of its own, beside nothing else.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from unmask.data import Finding
from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unmask.checks.subject import Item
    from unmask.tasks import Reading

__all__ = ["Lines", "Log", "Reader", "Sieve", "is_general", "kind_of", "read_excerpt"]

Unit = TypeVar("Unit")
Example = TypeVar("Example")
Result = TypeVar("Result")
Lines: TypeAlias = list[tuple[int, str]]  # with their numbers in the file; 0 for one that is not of it
Reader: TypeAlias = "Callable[[str, Path | None, Reading, Log], list[Item]]"  # of a source, and where it is

_MOST_REFUSED = 1000  # then something is wrong with the file as a whole

# What the readers' messages are about. The first pattern that is found in one names it.
_KINDS = {
    "bad_labels": "^one of the labels|^the labels start like",
    "encoding": "is not UTF-8|NUL byte|holds a NUL",
    "ragged_row": r"expected (\d+ columns|a character, a tab)",
    "quotes": "is not CSV",
    "not_json": "^not JSON|one JSON object in each line",
    "empty_field": "is empty|no value here|is no score here|nothing in this column|not empty, found|blanks only",
    "bad_score": "^the score ",
    "tags_and_words": r"^there are [\d,]+ words? and |^expected a list of strings",
    "misaligned_words": "^the word .* is not where|after the last word",
    "answer_not_in_context": "is not in its context",
    "duplicate_id": "^the id .* is that of",
    "no_answer": "there is no answer|said to be impossible",
}


def kind_of(error: DataError) -> str:
    """The kind of finding that a reader's error is."""
    kinds = (kind for kind, pattern in _KINDS.items() if re.search(pattern, error.problem))
    return next(kinds, "unreadable")


@dataclass
class Sieve(Generic[Unit, Example]):
    """Parts what can be read from what cannot.

    Args:
        read: reads units in their order, or raises.
        refused: the units that could not be read, each with what was said of it.
    """

    read: Callable[[Sequence[Unit]], list[Example]]
    refused: list[tuple[Unit, DataError]] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether so many units were refused that the rest was left unread."""
        return len(self.refused) >= _MOST_REFUSED

    def __call__(self, units: Sequence[Unit]) -> list[Example]:
        """Read the units that can be read."""
        if not units or self.is_full:
            return []
        try:
            return self.read(units)
        except DataError as error:
            if len(units) == 1:
                self.refused.append((units[0], error))
                return []
        middle = len(units) // 2
        return [*self(units[:middle]), *self(units[middle:])]


@dataclass
class Log:
    """What is found on the way through one file.

    Args:
        path: the file.
        findings: so far.
        num_refused: units that could not be read.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    num_refused: int = 0

    @property
    def num_errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    def refuse(self, error: DataError) -> None:
        """Take down a reader's error, once."""
        finding = Finding(kind_of(error), error.problem, self.path, error.line, error.field, severity="error")
        if finding not in self.findings[-1:]:
            self.findings.append(finding)

    def take(self, sieve: Sieve[Any, Any], error: DataError | None) -> None:
        """Take down what a sieve refused; what it was started for, if it refused nothing by itself."""
        for _, refusal in sieve.refused:
            self.refuse(refusal)
        self.num_refused += len(sieve.refused)
        if not sieve.refused and error is not None and kind_of(error) != "duplicate_id":  # of which there is a check
            self.refuse(error)
        if sieve.is_full:
            problem = f"{len(sieve.refused):,} errors were found, and the rest of the file was not read"
            advice = "if it is one mistake, such as wrong names of columns, correct that first"
            self.findings.append(Finding("unreadable", problem, self.path, severity="error", advice=advice))


def is_general(error: DataError, units: Sequence[Lines]) -> bool:
    """Whether an error is not one of a certain unit, and would come back with each."""
    return error.line is None or not any(error.line == number for unit in units for number, _ in unit)


def read_excerpt(path: Path, lines: Lines, read: Callable[[Path], Result]) -> Result:
    """Let a reader read some lines of a file, as a file of the same name.

    Raises:
        DataError: the reader's, with the path and the line that the excerpt was taken from; without a line where it
            says none, or that of a line which is not of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        name = path.name
        excerpt = Path(folder) / (name[:-3] if name.lower().endswith(".gz") else name)
        excerpt.write_bytes("".join(f"{line}\n" for _, line in lines).encode())
        try:
            return read(excerpt)
        except DataError as error:
            line = lines[error.line - 1][0] if error.line is not None and error.line <= len(lines) else None
            raise DataError(error.problem, path=path, line=line or None, field=error.field) from error
