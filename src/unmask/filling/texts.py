"""A text with masks in it: where they stand, for the model and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unmask.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.tokenization import Tokenizer

__all__ = ["TextWithMasks"]

_USUAL_MASKS = ("[MASK]", "<mask>")  # how people write a mask, whatever the vocabulary calls it


@dataclass(frozen=True, kw_only=True)
class TextWithMasks:
    """A text with one or more masks, encoded.

    Args:
        text: as it was typed.
        input_ids: what the model sees.
        token_type_ids: likewise.
        positions: where the masks stand in `input_ids`.
        places: start and end of each mask in `text`, in characters.
    """

    text: str
    input_ids: list[int]
    token_type_ids: list[int]
    positions: list[int]
    places: list[tuple[int, int]]

    @classmethod
    def of(cls, tokenizer: Tokenizer, text: str, *, max_seq_length: int | None = None) -> Self:
        """Encode a text.

        Its masks are written as the tokenizer writes them, or else all as [MASK] or all as <mask>.

        Args:
            tokenizer: one with a mask token.
            text: the text.
            max_seq_length: tokens the model takes.

        Raises:
            CheckpointError: the tokenizer has no mask token.
            DataError: the text has no mask, or is too long.
        """
        mask = tokenizer.mask_token
        if mask is None:
            raise CheckpointError("the tokenizer has no mask token, so there is nothing to fill")
        typed = next((usual for usual in (mask, *_USUAL_MASKS) if usual in text), None)
        if typed is None:
            raise DataError(f"the text has no {mask}: put it where a word is to be guessed")
        written = text.replace(typed, mask)
        encoding = tokenizer.encode(written)
        if max_seq_length is not None and len(encoding) > max_seq_length:
            raise DataError(f"the text has {len(encoding)} tokens, the model takes {max_seq_length}: shorten it")
        positions = [at for at, token_id in enumerate(encoding.input_ids) if token_id == tokenizer.mask_token_id]
        places = []
        for number, (_, end) in enumerate(encoding.offsets[at] for at in positions):
            # RoBERTa's and ALBERT's mask takes the space before it, so the token's end is to be trusted, not its start.
            end -= (number + 1) * (len(mask) - len(typed))
            places.append((end - len(typed), end))
        return cls(
            text=text,
            input_ids=encoding.input_ids,
            token_type_ids=encoding.token_type_ids,
            positions=positions,
            places=places,
        )

    def fill_in(self, number: int, word: str, *, starts_word: bool) -> str:
        """Put a word in place of a mask; a piece that continues a word joins the one before it."""
        return self.fill_all({number: (word, starts_word)})

    def fill_all(self, words: Mapping[int, tuple[str, bool]]) -> str:
        """Put a word in place of each of these masks.

        Args:
            words: by the number of the mask, from 0: the word, and whether it begins a word or continues the one
                before. Masks without one are left as they are.
        """
        filled, end = "", 0
        for number, (start, next_end) in enumerate(self.places):
            filled += self.text[end:start]
            word, starts_word = words.get(number, (self.text[start:next_end], None))
            if starts_word is False:
                filled = filled.rstrip()
            elif starts_word and filled and filled[-1].isalnum():
                filled += " "
            filled, end = filled + word, next_end
        return filled + self.text[end:]
