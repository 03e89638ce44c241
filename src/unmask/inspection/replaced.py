"""ELECTRA's verdict: which tokens of a text does the discriminator take for replaced?

Clark et al. 2020 (arXiv:2003.10555), section 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from unmask.errors import CheckpointError
from unmask.models.headed import ForReplacedTokenDetection

if TYPE_CHECKING:
    from torch import nn

    from unmask.inspection.reading import ReadText

__all__ = ["TokenVerdict", "Verdicts", "judge_tokens"]


@dataclass(frozen=True, kw_only=True)
class TokenVerdict:
    """One token.

    Args:
        token: as the vocabulary spells it.
        start: where it begins in the text, in characters.
        end: where it ends.
        probability: that it was replaced, in [0, 1].
    """

    token: str
    start: int
    end: int
    probability: float

    @property
    def is_replaced(self) -> bool:
        """Whether it looks replaced rather than not."""
        return self.probability > 0.5


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A text and the verdict on each of its tokens, special ones left out."""

    text: str
    tokens: tuple[TokenVerdict, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "text": self.text,
            "tokens": [asdict(token) | {"is_replaced": token.is_replaced} for token in self.tokens],
        }


def judge_tokens(model: nn.Module, read: ReadText) -> Verdicts:
    """Ask the discriminator of each token.

    Raises:
        CheckpointError: the model is no discriminator.
    """
    if not isinstance(model, ForReplacedTokenDetection):
        raise CheckpointError("this model tells no replaced tokens: give the discriminator of an ELECTRA")
    device = next(model.parameters()).device
    with torch.inference_mode():
        chances = model(read.to_batch().to(device)).logits.float().sigmoid().tolist()
    encoding = read.encoding
    return Verdicts(
        text=read.text,
        tokens=tuple(
            TokenVerdict(
                token=encoding.tokens[at],
                start=encoding.offsets[at][0],
                end=encoding.offsets[at][1],
                probability=chances[at],
            )
            for at, is_special in enumerate(encoding.special_tokens_mask)
            if not is_special
        ),
    )
