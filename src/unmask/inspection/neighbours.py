"""Nearest tokens of an embedding: which rows of the table of word embeddings point the same way.

These are the static vectors, the same in every text, that a model begins with: what it knows of a word by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import SettingsError
from unmask.inspection.reading import pieces_of_word
from unmask.models.registry import encoder_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from unmask.inspection.reading import ReadText
    from unmask.tokenization import Tokenizer

__all__ = ["Neighbour", "Neighbours", "nearest_to_tokens", "nearest_to_word", "static_table"]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A token near another.

    Args:
        token: as the vocabulary spells it.
        token_id: its id.
        cosine: of the angle between the two embeddings, in [-1, 1].
    """

    token: str
    token_id: int
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A word, or a token, and what is nearest to it.

    Args:
        word: as it was asked for.
        tokens: its pieces; where there are several, their mean was compared.
        token_ids: their ids.
        norm: length of the vector.
        nearest: from the nearest on; the word's own pieces and special tokens are left out.
    """

    word: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    norm: float
    nearest: tuple[Neighbour, ...]


def nearest_to_word(model: nn.Module, tokenizer: Tokenizer, word: str, *, top_k: int = 10) -> Neighbours:
    """Find the tokens whose embeddings are nearest to a word's, by cosine.

    Args:
        model: of any family.
        tokenizer: the model's.
        word: cut into pieces as within a text.
        top_k: how many.

    Raises:
        DataError: the word is empty, or unknown to the vocabulary.
        SettingsError: top_k is less than 1 or more than there are words.
    """
    return _nearest(model, tokenizer, [(word, pieces_of_word(tokenizer, word))], top_k=top_k)[0]


def nearest_to_tokens(model: nn.Module, tokenizer: Tokenizer, read: ReadText, *, top_k: int = 3) -> list[Neighbours]:
    """Find the same for every token of a text, special ones left out.

    Raises:
        SettingsError: top_k is less than 1 or more than there are words.
    """
    encoding = read.encoding
    words = [
        (encoding.tokens[at], [encoding.input_ids[at]])
        for at, is_special in enumerate(encoding.special_tokens_mask)
        if not is_special
    ]
    return _nearest(model, tokenizer, words, top_k=top_k)


def static_table(model: nn.Module, tokenizer: Tokenizer) -> NDArray[np.float32]:
    """Return the static embeddings of all tokens, float32, (vocab_size, E)."""
    table = encoder_of(model).embeddings.word.table.detach()
    found: NDArray[np.float32] = table[: tokenizer.vocab_size].float().cpu().numpy()
    return found


def _nearest(
    model: nn.Module, tokenizer: Tokenizer, words: list[tuple[str, list[int]]], *, top_k: int
) -> list[Neighbours]:
    most = tokenizer.vocab_size - len(tokenizer.special_ids) - 1
    if not 1 <= top_k <= most:
        raise SettingsError(f"top_k is {top_k}: it must lie between 1 and the {most} other words there are")
    table = static_table(model, tokenizer)
    directions = _unit(table)
    specials = list(tokenizer.special_ids)
    found = []
    for word, ids in words:
        vector = table[ids].mean(0)
        cosines = directions @ _unit(vector)
        cosines[[*ids, *specials]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[:top_k]
        found.append(
            Neighbours(
                word=word,
                tokens=tuple(tokenizer.id_to_token(i) or "" for i in ids),
                token_ids=tuple(ids),
                norm=float(np.linalg.norm(vector)),
                nearest=tuple(
                    Neighbour(token=tokenizer.id_to_token(int(i)) or "", token_id=int(i), cosine=float(cosines[i]))
                    for i in best
                    if np.isfinite(cosines[i])
                ),
            )
        )
    return found


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1, the zero vector as it is."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, np.where(norms == 0, 1, norms), dtype=np.float32)
