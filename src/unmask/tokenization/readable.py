"""A piece of a vocabulary as people write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.tokenization.tokenizer import Tokenizer

__all__ = ["piece_text", "pieces_text"]

_BEFORE = "a"  # stands before the piece, as decoders treat the first one of a text in a way of its own


def piece_text(tokenizer: Tokenizer, token_id: int) -> str:
    """Return what a piece writes, without the marks of its vocabulary: "dog" for dog, Ġdog and ▁dog, "s" for ##s.

    `Tokenizer.word_starts` tells whether it begins a word. Bytes that are no whole character read U+FFFD, and an id
    outside the vocabulary "".
    """
    token = tokenizer.id_to_token(token_id)
    if token is None or tokenizer.backend.decoder is None or token_id in tokenizer.special_ids:
        return token or ""
    text = str(tokenizer.backend.decoder.decode([_BEFORE, token]))
    return text.removeprefix(_BEFORE).strip() or token


def pieces_text(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """Return what the pieces of one word write together, as `piece_text` does for one: "dogs" for dog, ##s."""
    if len(token_ids) == 1 or tokenizer.backend.decoder is None:
        return "".join(piece_text(tokenizer, token_id) for token_id in token_ids)
    tokens = [tokenizer.id_to_token(token_id) or "" for token_id in token_ids]
    text = str(tokenizer.backend.decoder.decode([_BEFORE, *tokens]))
    return text.removeprefix(_BEFORE).strip()
