"""What pretraining must know of a tokenizer's vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from unmask.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.tokenization import Tokenizer

__all__ = ["Vocabulary"]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A vocabulary's tokens by kind.

    Args:
        word_starts: whether a token begins a word, bool, (V,).
        ordinary_tokens: ids of all tokens but the special ones, rising, int64.
        mask_token_id: what hides a token; None where there is none.
    """

    word_starts: NDArray[np.bool_]
    ordinary_tokens: NDArray[np.int64]
    mask_token_id: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        is_special = np.zeros(tokenizer.vocab_size, np.bool_)
        is_special[sorted(tokenizer.special_ids)] = True
        return cls(
            word_starts=tokenizer.word_starts,
            ordinary_tokens=np.flatnonzero(~is_special),
            mask_token_id=tokenizer.mask_token_id,
        )

    def require_mask_token(self, objective: str) -> int:
        """Return the mask token's id.

        Raises:
            CheckpointError: there is none.
        """
        if self.mask_token_id is None:
            raise CheckpointError(
                f"the tokenizer has no [MASK] token, which the objective {objective} hides words with: train one for "
                "this family (unmask tokenizer train --family bert), or choose --objective clm"
            )
        return self.mask_token_id
