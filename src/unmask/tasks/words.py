"""The words, or characters, of a text that somebody typed, parted as the corpora part theirs that taggers learn from.

A simple rule of Unicode, and not the tokenizer's own pre-tokenizer: that differs from model to model (byte-level BPE
keeps blanks, Unigram parts at blanks alone, BERT parts "3.5" into three), while corpora agree on most of it. Universal
Dependencies, CoNLL and OntoNotes write punctuation as words of its own, and so do the Korean treebanks, whose other
words are those between blanks.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from unmask.data import TaggedSentence
from unmask.data.tagged_sentence import is_character, is_joining

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["split_characters", "split_words", "untagged"]

_WORD = re.compile(
    r"""
    \w+://\S*\w/?                                       # an address on the web
    | (?:[^\W\d_]\.){2,}                                # U.S.
    | [@#]?\w+(?:(?:[-.@&/+]|['’](?![ㄱ-힣])|(?<=\d)[,:](?=\d))\w+)*  # with what is inside it: e-mail, 3.5, 10:30
    | ([^\w\s])\1*                                      # a mark, or several that are alike: ...
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?<=\w)(?:n['’]t|['’](?:s|m|d|re|ve|ll))$", re.IGNORECASE)


def split_words(text: str) -> list[tuple[int, int]]:
    """Find the words of a text: half-open ranges of its characters, in order.

    Words stand between blanks; marks at their ends are words of their own, marks inside them are not ("e-mail", "3.5").
    English clitics are parted as in the Penn Treebank: do|n't, dog|'s.
    """
    words = []
    for match in _WORD.finditer(_without_joining(text)):
        start, end = match.span()
        clitic = _CLITIC.search(text, start, end)
        cut = clitic.start() if clitic and clitic.start() > start else end
        words += [(start, cut), (cut, end)] if cut < end else [(start, end)]
    return words


def split_characters(text: str) -> list[tuple[int, int]]:
    """Find the characters of a text that are no blanks: half-open ranges, each of one `is_character`."""
    starts: list[int] = []
    for place, point in enumerate(text):
        goes_on = starts and not text[place - 1].isspace()
        if not goes_on or not (is_joining(point) or is_character(text[starts[-1] : place + 1])):
            starts.append(place)
    return [
        (start, end)
        for start, end in pairwise([*starts, len(text)])
        if not text[start].isspace()  # a blank ends at itself, as whatever follows it begins anew
    ]


def untagged(
    text: str, offsets: Sequence[tuple[int, int]], *, by_character: bool, source: str, line: int
) -> TaggedSentence:
    """Make a sentence without tags of a text and its words, or characters."""
    return TaggedSentence(
        words=tuple(text[start:end] for start, end in offsets),
        tags=None,
        text=text,
        offsets=tuple(offsets),
        source=source,
        line=line,
        lines=(line,) * len(offsets),
        by_character=by_character,
    )


def _without_joining(text: str) -> str:
    """Put in the place of each accent or joiner the character that bears it, as `re` takes it for no part of a word."""
    if text.isascii():
        return text
    made: list[str] = []
    for character in text:
        if is_joining(character):
            character = made[-1] if made and not made[-1].isspace() else "x"
        made.append(character)
    return "".join(made)
