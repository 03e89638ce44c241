"""Writing the morphemes of Korean words apart before they are tokenized, and finding the way back.

학교에서 is 학교 "school" and 에서 "at". Pieces learned from whole words cut wherever letters are frequent; written
apart, no piece crosses the boundary. kiwipiepy finds it (the extra `korean`). This happens outside the `tokenizers`
library, so `transformers` alone does not do it: tokenizer_config.json has `"morphemes": true`, which only unmask reads.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.tokenization.hangul import align_composed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SplitText", "split_morphemes"]

_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb\uffa1-\uffdc]")


@dataclass(frozen=True, slots=True)
class SplitText:
    """A text with a space put before each morpheme inside a word.

    Attributes:
        text: with the spaces.
        spaces: where in it they stand, in rising order.
    """

    text: str
    spaces: list[int]

    def original_offset(self, offset: int) -> int:
        """Where in the original a place of the text with spaces is; both count characters."""
        return offset - bisect_left(self.spaces, offset)

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original a part of the text with spaces is."""
        return self.original_offset(start), self.original_offset(end)

    @classmethod
    def cut(cls, text: str, cuts: Sequence[int]) -> SplitText:
        """Put a space before each of these characters, given in rising order."""
        edges = [0, *cuts, len(text)]
        parts = [text[start:end] for start, end in pairwise(edges)]
        return cls(" ".join(parts), [cut + index for index, cut in enumerate(cuts)])


def split_morphemes(texts: Sequence[str], *, protected: re.Pattern[str] | None = None) -> list[SplitText]:
    """Put spaces between the morphemes of Korean words; anything else stays whole.

    A boundary counts where it is visible, that is between two characters, the second of them Hangul: 학교|에서, 3|월,
    BERT|는, but 갔|다, because 가 and 았 share their syllable.

    Args:
        texts: in any spelling of Hangul; the boundaries are those of the composed text.
        protected: what must never be cut: tokens written out in a text.

    Raises:
        SettingsError: kiwipiepy is not installed.
    """
    has_hangul = [index for index, text in enumerate(texts) if _HANGUL.search(text)]
    aligned = {index: align_composed(texts[index]) for index in has_hangul}
    found = _kiwi().tokenize([aligned[index][0] for index in has_hangul]) if has_hangul else ()
    cuts: dict[int, list[int]] = {}
    for index, morphemes in zip(has_hangul, found, strict=True):
        composed, starts = aligned[index]
        cuts[index] = [starts[cut] for cut in _boundaries(composed, morphemes)]
    if protected is not None:
        for index in has_hangul:
            spans = [match.span() for match in protected.finditer(texts[index])]
            cuts[index] = [cut for cut in cuts[index] if not any(start < cut < end for start, end in spans)]
    return [SplitText.cut(text, cuts.get(index, [])) for index, text in enumerate(texts)]


def _boundaries(text: str, morphemes: Sequence[Any]) -> list[int]:
    cuts, end = [], 0
    for morpheme in morphemes:
        start = morpheme.start  # where a contraction hides a morpheme (적으래: 적으라고 해), perhaps the text's length
        if start >= end and start > 0 and not text[start - 1].isspace() and _HANGUL.match(text, start):
            cuts.append(start)
        end = max(end, morpheme.end)
    return list(dict.fromkeys(cuts))


@lru_cache(maxsize=1)
def _kiwi() -> Any:
    try:
        import kiwipiepy
    except ImportError as error:
        raise SettingsError(
            "splitting morphemes needs kiwipiepy, which is not installed: pip install 'unmask[korean]'"
        ) from error
    return kiwipiepy.Kiwi()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kiwi.cache_clear)  # its threads do not survive a fork
