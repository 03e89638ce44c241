"""One form for each Hangul syllable, whichever of Unicode's three spellings a text brings.

한 is one character (U+D55C), three conjoining letters as macOS writes file names (NFD), or three half-width letters
(U+FFA0..U+FFDC) as old Korean systems did. To a vocabulary these are different words; the steps here make them the
first. Letters that stand alone, ㅋㅋㅋ and ㅠㅠ, stay what they are: NFKC would turn them into something else.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import Any

from tokenizers import PreTokenizedString, Regex
from tokenizers.normalizers import NFC, Normalizer, Replace, Sequence
from tokenizers.pre_tokenizers import Split

__all__ = ["ComposedText", "align_composed", "composing_state", "composing_steps", "is_composed"]

# Half-width consonants stand in the order of the letters that stand alone, ㄱ U+3131 to ㅎ U+314E; vowels in four runs.
_CONSONANTS = {chr(0xFFA1 + index): chr(0x3131 + index) for index in range(30)}
_VOWEL_PLACES = [first + index for first in (0xFFC2, 0xFFCA, 0xFFD2) for index in range(6)] + [0xFFDA, 0xFFDB, 0xFFDC]
_VOWELS = {chr(place): chr(0x314F + index) for index, place in enumerate(_VOWEL_PLACES)}
_INITIALS = {
    half: chr(0x1100 + index)
    for index, half in enumerate(half for half in _CONSONANTS if half in "ﾡﾢﾤﾧﾨﾩﾱﾲﾳﾵﾶﾷﾸﾹﾺﾻﾼﾽﾾ")
}
_FINALS = {half: chr(0x11A8 + index) for index, half in enumerate(half for half in _CONSONANTS if half not in "ﾨﾳﾹ")}
_HALF_WIDTH = re.compile("[\uffa0-\uffdc]")


@lru_cache(maxsize=1)
def composing_steps() -> tuple[Normalizer, ...]:
    """The steps of a normalizer that bring Hangul to its one form, and every other text to NFC.

    A run of half-width letters is read as an input method reads typed ones: a consonant before a vowel begins a
    syllable, the next consonant ends it unless a vowel follows that.

    `tokenizers` has no step for this, so each letter is a replacement of its own: 120 steps, which cost about as much
    as all the rest of tokenizing. `Tokenizer` leaves them out for texts where `is_composed` says they change nothing.
    """
    initials, vowels = "".join(_INITIALS), "".join(_VOWELS)
    rules: list[Normalizer] = []
    for half, final in _FINALS.items():
        ahead = f"(?![{vowels}])" if half in _INITIALS else ""
        rules.append(Replace(Regex(f"(?<=[{initials}][{vowels}]){half}{ahead}"), final))
    for index, half in enumerate(_VOWELS):
        rules.append(Replace(Regex(f"(?<=[{initials}]){half}"), chr(0x1161 + index)))
    for half, initial in _INITIALS.items():
        rules.append(Replace(Regex(f"{half}(?=[\u1161-\u1175])"), initial))
    for half, alone in {**_CONSONANTS, **_VOWELS, "\uffa0": "\u3164"}.items():
        rules.append(Replace(half, alone))
    return (*rules, NFC())


@lru_cache(maxsize=1)
def composing_state() -> list[dict[str, Any]]:
    """The same steps as tokenizer.json has them."""
    state: dict[str, Any] = json.loads(Sequence(list(composing_steps())).__getstate__())
    steps: list[dict[str, Any]] = state["normalizers"]
    return steps


def is_composed(text: str) -> bool:
    """Whether `composing_steps` would leave a text as it is; much faster than applying them."""
    return text.isascii() or (unicodedata.is_normalized("NFC", text) and not _HALF_WIDTH.search(text))


class ComposedText:
    """A text as it was given, and where in it the characters of its composed form are.

    `tokenizers` traces a syllable back to its first letter alone, so a span of its offsets may end inside a syllable.
    """

    def __init__(self, text: str) -> None:
        self._starts = [*align_composed(text)[1], len(text)]

    def whole_characters(self, start: int, end: int) -> tuple[int, int]:
        """Widen a span of the text as it was given, so that it ends where a composed character ends."""
        return self._starts[max(0, bisect_right(self._starts, start) - 1)], self._starts[bisect_left(self._starts, end)]


def align_composed(text: str) -> tuple[str, list[int]]:
    """Compose a text, and tell where in the original each character of the result begins."""
    if is_composed(text):
        return text, list(range(len(text)))
    composed = PreTokenizedString(text)
    composer = Sequence(list(composing_steps()))
    composed.normalize(composer.normalize)
    Split(Regex(r"(?m:.)"), "isolated").pre_tokenize(composed)
    pieces = composed.get_splits(offset_referential="original", offset_type="char")
    return "".join(piece for piece, _, _ in pieces), [start for _, (start, _), _ in pieces]
