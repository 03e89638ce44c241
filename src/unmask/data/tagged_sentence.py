"""A sentence whose words or characters carry tags, and what its readers have in common."""

from __future__ import annotations

import reprlib
import unicodedata
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeAlias

from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "Column",
    "Lines",
    "TaggedSentence",
    "blocks_of",
    "column_index",
    "filled",
    "find_tokens",
    "is_character",
    "is_joining",
    "joined_offsets",
]

_JOINING = ("Mn", "Mc", "Me", "Cf")  # accents, vowel signs, joiners, variation selectors
_SKIN_TONES = ("\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}", "\N{EMOJI MODIFIER FITZPATRICK TYPE-6}")

Column: TypeAlias = "str | int"
Lines: TypeAlias = "list[tuple[int, str]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedSentence:
    """Words, or characters, and the tag of each.

    Args:
        words: what carries the tags: words, or the characters of the text that are no blanks (`by_character`).
        tags: one for each; None if they were not read.
        text: the sentence as it was written; None where the file does not tell.
        offsets: where each word is, half-open ranges of characters of `shown_text`. They ascend; words that were
            written as one and cannot be told apart in it (French `du`, of `de` and `le`) share its range.
        source: the path, for messages.
        line: where the sentence starts, counted from 1.
        lines: the line of each word.
        by_character: whether the units are characters.
        id: what the file calls the sentence, if anything.
        label_column: the number, name or key of the column of the tags, for messages; None if they were not read.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    text: str | None
    offsets: tuple[tuple[int, int], ...]
    source: str
    line: int
    lines: tuple[int, ...]
    by_character: bool = False
    id: str | None = None
    label_column: str | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def shown_text(self) -> str:
        """The text; where the file does not tell it, the words with a blank between."""
        return " ".join(self.words) if self.text is None else self.text

    def runs(self) -> list[tuple[int, int]]:
        """Half-open ranges of the units that a tokenizer reads as one word: one word each, or characters up to a blank.

        Units i to j - 1 of a run `(i, j)` are `shown_text[offsets[i][0]:offsets[j - 1][1]]`.
        """
        if not self.by_character:
            return [(i, i + 1) for i in range(len(self.words))]
        breaks = [i + 1 for i, (left, right) in enumerate(pairwise(self.offsets)) if left[1] < right[0]]
        return list(pairwise([0, *breaks, len(self.words)]))


def is_character(value: str) -> bool:
    """Whether this is one character as people count them, with any accents and joiners; or a Hangul syllable's letters.

    The latter are how macOS writes a syllable.
    """
    if len(value) == 1:
        return True
    return value != "" and all(map(is_joining, unicodedata.normalize("NFC", value)[1:]))


def is_joining(point: str) -> bool:
    """Whether a code point belongs to the character before it: an accent, a vowel sign, a joiner, an emoji's colour."""
    return unicodedata.category(point) in _JOINING or _SKIN_TONES[0] <= point <= _SKIN_TONES[1]


def blocks_of(lines: Lines) -> Iterator[Lines]:
    """Runs of lines between blank ones. A line of a blank and a tag is not blank."""
    block: Lines = []
    for number, line in lines:
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def filled(value: str, path: Path, line: int, field: str) -> str:
    """The value of a column, or an error if there is none."""
    if not value:
        raise DataError("there is nothing in this column: correct the row", path=path, line=line, field=field)
    return value


def column_index(column: Column, num_columns: int, path: Path) -> int:
    """From a number that counts from 1, or back from -1, as a string too."""
    try:
        number = int(column)
    except ValueError:
        raise SettingsError(f"the columns here have numbers, from 1, and no names such as {column!r}") from None
    if number == 0:
        raise SettingsError("columns count from 1; -1 is the last")
    if abs(number) > num_columns:
        raise DataError(f"there is no column {number}: the rows have {num_columns}, choose one of these", path=path)
    return number - 1 if number > 0 else num_columns + number


def joined_offsets(words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where words are when joined by one blank."""
    starts = accumulate((len(word) + 1 for word in words[:-1]), initial=0)
    return tuple((start, start + len(word)) for start, word in zip(starts, words, strict=True))


def find_tokens(text: str, tokens: Sequence[tuple[int, str]], path: Path, where: str) -> list[tuple[int, int]]:
    """The ranges of tokens, each given with its line, that make up the text, with nothing but blanks between."""
    ranges, stop = [], 0
    for line, token in tokens:
        start = _skip_blanks(text, stop)
        if not text.startswith(token, start):
            raise DataError(
                f"the word {reprlib.repr(token)} is not where {where} goes on with "
                f"{reprlib.repr(text[start : start + len(token) + 8])}: correct one of them, or leave out the text",
                path=path,
                line=line,
            )
        stop = start + len(token)
        ranges.append((start, stop))
    if _skip_blanks(text, stop) < len(text):
        raise DataError(
            f"{where} goes on with {reprlib.repr(text[stop:])} after the last word: correct it, or leave it out",
            path=path,
            line=tokens[-1][0],
        )
    return ranges


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
