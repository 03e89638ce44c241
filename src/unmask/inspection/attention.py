"""What each head attends to: the maps themselves, and a line of figures for each.

Clark et al. 2019, "What Does BERT Look At?" (arXiv:1906.04341), section 3: heads that look at the token before, at the
next, at [CLS], at [SEP], which they seem to choose where they have nothing to say; and heads that look everywhere.
Attention shows where a head reads, not how much that counts for the prediction: for that see `gradients`.

Axes: L steps through the blocks, N heads, S tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unmask.models.registry import config_of, encoder_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from unmask.inspection.reading import ReadText
    from unmask.tokenization import Tokenizer

__all__ = ["AttentionMaps", "HeadAttention", "measure_attention"]


@dataclass(frozen=True, kw_only=True)
class HeadAttention:
    """One head on one text. Shares are parts of its attention, in [0, 1], averaged over the tokens that attend.

    A token that is previous to one may be a [CLS] too, so the shares overlap.

    Args:
        layer: from 1.
        head: from 1.
        entropy: of the attention of a token, in nats: 0 where it looks at one token, ln S where it looks at all alike.
        to_cls: share on the token that begins the sequence ([CLS], <s>); None where the model has none.
        to_sep: share on those that end texts ([SEP], </s>); None likewise.
        to_previous: share on the token before, over the tokens that have one.
        to_next: share on the one after, likewise.
        to_self: share on the token itself.
        most_attended: the token that gets most, as the vocabulary spells it.
        most_attended_position: where it stands, from 0.
        most_attended_share: its share.
    """

    layer: int
    head: int
    entropy: float
    to_cls: float | None
    to_sep: float | None
    to_previous: float
    to_next: float
    to_self: float
    most_attended: str
    most_attended_position: int
    most_attended_share: float


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """What every head attends to in one text.

    Args:
        model_type: the family, as config.json names it.
        text: the text.
        text_pair: the second one, or None.
        tokens: its S tokens, as the vocabulary spells them.
        heads: layer by layer, head by head.
        maps: attention probabilities, float32, (L, N, S, S): of the token of the row, to that of the column.
    """

    model_type: str
    text: str
    text_pair: str | None
    tokens: tuple[str, ...]
    heads: tuple[HeadAttention, ...]
    maps: NDArray[np.float32] = field(repr=False, compare=False)

    def head(self, layer: int, head: int) -> HeadAttention:
        """Find the figures of one head, both counted from 1."""
        return self.heads[(layer - 1) * self.maps.shape[1] + head - 1]

    def to_dict(self) -> dict[str, Any]:
        """All but the maps, as JSON has it."""
        return {
            "model_type": self.model_type,
            "text": self.text,
            "text_pair": self.text_pair,
            "tokens": list(self.tokens),
            "heads": [asdict(head) for head in self.heads],
        }


def measure_attention(model: nn.Module, tokenizer: Tokenizer, read: ReadText) -> AttentionMaps:
    """Compute the attention of every head on one text.

    Args:
        model: of any family, with a head or without, in eval mode.
        tokenizer: the model's.
        read: the text.
    """
    device = next(model.parameters()).device
    with torch.inference_mode():
        encoded = encoder_of(model)(read.to_batch().to(device), output_attentions=True)
    assert encoded.attentions is not None
    maps = torch.stack([attention[0] for attention in encoded.attentions]).float().cpu().numpy()
    ids = np.array(read.encoding.input_ids)
    is_special = np.array(read.encoding.special_tokens_mask, dtype=bool)
    is_cls = is_special & (ids == tokenizer.cls_token_id) & (np.arange(len(ids)) == 0)
    is_sep = is_special & (ids == tokenizer.sep_token_id) & ~is_cls
    heads = []
    for layer, of_layer in enumerate(maps.astype(np.float64), start=1):
        for head, attention in enumerate(of_layer, start=1):
            received = attention.mean(0)
            most = int(received.argmax())
            heads.append(
                HeadAttention(
                    layer=layer,
                    head=head,
                    entropy=_entropy(attention),
                    to_cls=float(received[is_cls].sum()) if is_cls.any() else None,
                    to_sep=float(received[is_sep].sum()) if is_sep.any() else None,
                    to_previous=_mean(np.diagonal(attention, -1)),
                    to_next=_mean(np.diagonal(attention, 1)),
                    to_self=_mean(np.diagonal(attention)),
                    most_attended=read.tokens[most],
                    most_attended_position=most,
                    most_attended_share=float(received[most]),
                )
            )
    return AttentionMaps(
        model_type=config_of(model).model_type,
        text=read.text,
        text_pair=read.text_pair,
        tokens=read.tokens,
        heads=tuple(heads),
        maps=maps,
    )


def _entropy(attention: NDArray[np.float64]) -> float:
    positive = np.where(attention > 0, attention, 1.0)  # 0 log 0 is 0
    return float(-(positive * np.log(positive)).sum(-1).mean()) + 0.0  # no "-0.0" where each looks at one token


def _mean(shares: NDArray[np.float64]) -> float:
    return float(shares.mean()) if shares.size else 0.0
