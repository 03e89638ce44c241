"""A text as a model reads it, and where a word of it stands among its tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unmask.errors import DataError
from unmask.packing import PackedBatch, pack

if TYPE_CHECKING:
    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["ReadText", "pieces_of_word", "read_text"]

_BEFORE = "a "  # stands before a word, as many tokenizers cut the first word of a text in a way of its own


@dataclass(frozen=True)
class ReadText:
    """A text, or a pair, and its tokens.

    Args:
        text: as it was given.
        text_pair: the second one, or None.
        encoding: their tokens.
    """

    text: str
    text_pair: str | None
    encoding: Encoding

    @property
    def tokens(self) -> tuple[str, ...]:
        """The pieces, special ones included, as the vocabulary spells them."""
        return tuple(self.encoding.tokens)

    def to_batch(self) -> PackedBatch:
        """The batch that holds this alone."""
        return pack([self.encoding.input_ids], [self.encoding.token_type_ids])

    def find(self, word: str) -> list[int]:
        """Find the tokens of a word's first occurrence in the text: as a word by itself, or else inside one.

        Raises:
            DataError: it does not occur.
        """
        pattern = re.escape(word)
        match = re.search(rf"(?<!\w){pattern}(?!\w)", self.text, re.IGNORECASE)
        match = match or re.search(pattern, self.text, re.IGNORECASE)
        if match is None or not word.strip():
            raise DataError(f"{word!r} does not occur in {self.text!r}: name a word of it")
        return _overlapping(self.encoding, *match.span())


def read_text(
    tokenizer: Tokenizer, text: str, text_pair: str | None = None, *, max_seq_length: int | None = None
) -> ReadText:
    """Encode a text, or a pair.

    Raises:
        DataError: it is empty, or longer than the model takes.
    """
    if not text.strip() or (text_pair is not None and not text_pair.strip()):
        raise DataError("the text is empty: there is nothing to look at")
    encoding = tokenizer.encode(text, text_pair)
    if max_seq_length is not None and len(encoding) > max_seq_length:
        raise DataError(f"the text has {len(encoding)} tokens, the model takes {max_seq_length}: shorten it")
    return ReadText(text, text_pair, encoding)


def pieces_of_word(tokenizer: Tokenizer, word: str) -> list[int]:
    """Give the token ids of a word as it stands within a text.

    Raises:
        DataError: it is empty, or unknown to the vocabulary.
    """
    word = word.strip()
    encoding = tokenizer.encode(_BEFORE + word, add_special_tokens=False)
    ids = [encoding.input_ids[at] for at in _overlapping(encoding, len(_BEFORE), len(_BEFORE) + len(word))]
    if not word or not ids:
        raise DataError("the word is empty: name one")
    if tokenizer.unk_token_id in ids:
        raise DataError(f"{word!r} is unknown to the vocabulary, so it has no vector of its own: name another")
    return ids


def _overlapping(encoding: Encoding, start: int, end: int) -> list[int]:
    """The positions of the first text's tokens that write some of these characters."""
    return [
        at
        for at, (first, last) in enumerate(encoding.offsets)
        if encoding.sequence_ids[at] == 0 and first < end and (last > start or first >= start)
    ]
