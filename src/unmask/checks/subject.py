"""What the checks look at: the files of a run, as examples of which only what every task has is named."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from unmask.data import Finding
from unmask.tasks import TaskOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.tokens import TokenCounts
    from unmask.data.findings import Severity
    from unmask.tasks.labels import Labels
    from unmask.tokenization import Tokenizer

__all__ = ["DataSet", "Item", "Role", "Subject"]

Role: TypeAlias = Literal["train", "dev", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One example.

    Args:
        texts: what people read in it: a text, a pair, a question and its context, a sentence.
        pieces: the strings that a tokenizer is given of it: the texts, or the words of a sentence with a blank before
            each.
        labels: what a model shall say: one label, any number of them, the tag of each word.
        line: where it starts, from 1; None where lines mean nothing.
        field: the path of keys to it, where there is no line.
        label_column: where the labels are, for messages; None where that is no column.
        example: the task's own example.
    """

    texts: tuple[str, ...]
    pieces: tuple[str, ...]
    labels: tuple[str, ...]
    line: int | None
    field: str | None = None
    label_column: str | None = None
    example: Any = None

    @property
    def place(self) -> str:
        """Where it is in its file, in words."""
        return f"line {self.line}" if self.line is not None else str(self.field)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One file or data set.

    Args:
        role: what a run uses it for.
        source: as it was named.
        path: where it was found; for a data set its name.
        items: the examples that could be read, in order.
        num_refused: rows, sentences or questions that could not.
        counts: tokens of each item, in order; None without a tokenizer.
    """

    role: Role
    source: str
    path: str
    items: list[Item]
    num_refused: int = 0
    counts: TokenCounts | None = None

    @cached_property
    def keys(self) -> list[tuple[str, ...]]:
        """What two items must have in common to be the same to a reader: case, blanks and Unicode's forms are not."""
        known: dict[str, str] = {}  # contexts are shared by many questions
        for item in self.items:
            for text in item.texts:
                if text not in known:
                    known[text] = " ".join(unicodedata.normalize("NFC", text).casefold().split())
        return [tuple(known[text] for text in item.texts) for item in self.items]

    @cached_property
    def label_counts(self) -> Counter[str]:
        """How often each label stands in the set, the most frequent first."""
        counts = Counter(label for item in self.items for label in item.labels)
        return Counter(dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))))

    @cached_property
    def first_with(self) -> dict[str, Item]:
        """The first item with each label."""
        first: dict[str, Item] = {}
        for item in self.items:
            for label in item.labels:
                first.setdefault(label, item)
        return first

    def finding(
        self,
        kind: str,
        problem: str,
        item: Item | None = None,
        *,
        word: int | None = None,
        of_label: bool = False,
        severity: Severity = "warning",
        advice: str = "",
    ) -> Finding:
        """Place a finding at an item, at its label (`of_label`), at the tag of a `word`, or at the file as a whole."""
        line, keys = (None, None) if item is None else (item.line, item.field)
        if item is not None and word is not None:
            line = item.example.lines[word]
        if item is not None and (of_label or word is not None):
            keys = item.label_column
        return Finding(kind, problem, self.path, line, keys, severity=severity, advice=advice)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All the files of a run, and what else the run would use.

    Args:
        task: key of `unmask.checks.READERS`.
        options: what the task is told.
        sets: the files, those to train on first.
        labels: those that were given; None where the training file is to tell.
        model: whose tokenizer this is, as it was named.
        tokenizer: None if there is none to be had.
        max_seq_length: tokens of the longest input; None if there is no limit, or none is known.
    """

    task: str
    options: TaskOptions = field(default_factory=TaskOptions)
    sets: tuple[DataSet, ...] = ()
    labels: Labels | None = None
    model: str = ""
    tokenizer: Tokenizer | None = None
    max_seq_length: int | None = None

    @property
    def train(self) -> DataSet | None:
        return next((data for data in self.sets if data.role == "train"), None)

    def pairs_of_sets(self) -> Iterator[tuple[DataSet, DataSet]]:
        """Each two sets that should have nothing in common: train before dev before test; files of one role may."""
        for i, earlier in enumerate(self.sets):
            for later in self.sets[i + 1 :]:
                if earlier.role != later.role:
                    yield earlier, later
