"""Labels: the words or numbers of a file's label column, and what people and checkpoints call them."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from unmask.tasks.texts import TextExample

__all__ = ["NO_LABELS", "HasLabels", "Labels", "say_labels", "say_one_class", "say_unknown"]

NO_LABELS = (
    "no text has a label, so there is nothing to learn",
    "give texts labels, or name the column of the labels with --label-column",
)
_MOST_SHOWN = 10  # labels in one message


@dataclass(frozen=True)
class Labels:
    """The labels, in the order of their ids.

    Args:
        values: what the label column says.
        names: what people are shown and checkpoints keep.
    """

    values: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def find(
        cls,
        examples: Sequence[TextExample],
        labels_of_each: Sequence[Sequence[str]],
        given: Sequence[str] | None,
        *,
        least: int,
        kind: str = "label",
    ) -> Labels:
        """Take the labels from the training examples, or as given: `value` or `value=name`, in the order of ids.

        Args:
            examples: of the training file, one at least.
            labels_of_each: the labels of each example, as its column has them.
            given: the option `labels`.
            least: how many labels there must be among the examples.
            kind: what they are called, "label" or "tag".

        Raises:
            DataError: if the examples have too few labels, one that was not given, or two that differ in case or
                Unicode form only.
            SettingsError: if labels are given twice.
        """
        first = examples[0]
        found: dict[str, TextExample] = {}
        for example, labels in zip(examples, labels_of_each, strict=True):
            for label in labels:
                found.setdefault(label, example)
        if not found:
            raise DataError(": ".join(NO_LABELS), path=first.source, field=first.label_column)
        if len(found) < least:
            raise DataError(
                ": ".join(say_one_class(kind, next(iter(found)))), path=first.source, field=first.label_column
            )
        if given is None:
            _refuse_cases(found, kind)
            values = tuple(sorted(found, key=_number_or_word))
            return cls(values, values)
        made = cls.parse(given, found)
        for label, example in found.items():
            made.id_of(label, example)
        return made

    @classmethod
    def parse(cls, given: Sequence[str], found: Container[str]) -> Labels:
        """Read the option `labels`; a label of the training examples (`found`) is itself, even with a = in it.

        Raises:
            SettingsError: labels are given twice.
        """
        pairs = [[label] if label in found else label.split("=", 1) for label in given]
        made = cls(tuple(pair[0] for pair in pairs), tuple(pair[-1] for pair in pairs))
        if len(set(made.values)) < len(pairs) or len(set(made.names)) < len(pairs):
            raise SettingsError(f"labels {' '.join(given)}: each value and each name may stand once")
        return made

    @classmethod
    def of_model(cls, id2label: Mapping[int, str], recorded: Sequence[str] | None) -> Labels:
        """Take up the names a trained model has, and the values that its run recorded, if it did."""
        names = tuple(id2label.values())
        values = [label.removesuffix(f"={name}") for label, name in zip(recorded or names, names, strict=True)]
        return cls(tuple(values), names)

    @property
    def recorded(self) -> list[str]:
        """The labels as they are given: `value`, or `value=name`."""
        pairs = zip(self.values, self.names, strict=True)
        return [value if value == name else f"{value}={name}" for value, name in pairs]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each label, by its name and by its value."""
        ids = {name: label_id for label_id, name in enumerate(self.names)}
        return ids | {value: label_id for label_id, value in enumerate(self.values)}

    def id_of(self, label: str | None, example: TextExample) -> int:
        """Look up the id of a label, written as the file or as people have it.

        Args:
            label: the label.
            example: who has it, for the message.

        Raises:
            DataError: if it is none of these.
        """
        if label not in self.ids:
            told = ": ".join(say_unknown("label", str(label), self.values))
            raise DataError(told, path=example.source, line=example.line, field=example.label_column)
        return self.ids[label]

    def ids_of(self, examples: Iterable[TextExample]) -> list[int]:
        """Look up the id of each example's one label; as `id_of`."""
        return [self.id_of(example.label, example) for example in examples]


class HasLabels:
    """What a task that gives labels tells of them; see `unmask.tasks.Task`."""

    labels: Labels

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.labels.names))

    @property
    def recorded_labels(self) -> list[str]:
        return self.labels.recorded


def say_labels(labels: Sequence[str]) -> str:
    """Name labels, of many the first ten."""
    return ", ".join(labels[:_MOST_SHOWN]) + (f", {len(labels) - _MOST_SHOWN} more" if labels[_MOST_SHOWN:] else "")


def say_one_class(kind: str, label: str) -> tuple[str, str]:
    """Say that all labels are the same, and what to do.

    Args:
        kind: what a label is called, "label" or "tag".
        label: the only one.
    """
    is_outside = (kind, label) == ("tag", "O")
    needless = "no span to find" if is_outside else "nothing to tell apart"
    more = "sentences with spans" if is_outside else f"examples of another {kind}"
    return (
        f"every {kind} is {label!r}, so there is {needless}",
        f"add {more}, or name the column of the {kind}s with --label-column",
    )


def say_unknown(kind: str, label: str, known: Sequence[str]) -> tuple[str, str]:
    """Say of a label that it is none of those there are, and what to do.

    Args:
        kind: what it is called, "label" or "tag".
        label: as the file has it.
        known: those there are.
    """
    problem = f"the {kind} {label!r} is not one the model was given to learn ({say_labels(known)})"
    alike = _by_folded(tuple(known)).get(_folded(label))
    if alike is None:
        return problem, f"mend the {kind}, or add examples of it to the training file"
    if _composed(alike) == _composed(label):
        return problem, f"{alike!r} is alike after Unicode normalization: bring both to NFC"
    return problem, f"{alike!r} differs from it in case only: write them alike"


def _refuse_cases(found: Mapping[str, TextExample], kind: str) -> None:
    seen: dict[str, str] = {}
    for label, example in found.items():
        other = seen.setdefault(_folded(label), label)
        if other != label:
            is_case = _composed(other) != _composed(label)
            raise DataError(
                f"the {kind}s {other!r} and {label!r} differ in {'case' if is_case else 'Unicode form'} only: "
                f"{'write them alike' if is_case else 'bring both to NFC'}, or name both with --labels if they are two",
                path=example.source,
                line=example.line,
                field=example.label_column,
            )


@lru_cache
def _by_folded(labels: tuple[str, ...]) -> dict[str, str]:
    return {_folded(label): label for label in labels}


def _folded(label: str) -> str:
    return _composed(label).casefold()


def _composed(label: str) -> str:
    """One way to write what can be written in several, as macOS parts Hangul syllables into letters."""
    return unicodedata.normalize("NFC", label)


def _number_or_word(value: str) -> tuple[bool, float, str]:
    """Sort numbers by size, before words."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (False, number, value) if math.isfinite(number) else (True, 0.0, value)
