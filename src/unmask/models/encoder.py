"""The encoder every family is made of: embeddings, blocks, perhaps a pooler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from unmask.models.layouts import layout_of
from unmask.models.outputs import EncoderOutput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from unmask.models.block import TransformerBlock
    from unmask.models.embeddings import Embeddings
    from unmask.models.heads import Pooler
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Embed, pass through the blocks in order, pool. A family's file says which parts, and is the class people name.

    Args:
        embeddings: token ids to hidden states.
        blocks: in order of use.
        pooler: from the first tokens, or None.
    """

    def __init__(self, *, embeddings: Embeddings, blocks: Iterable[TransformerBlock], pooler: Pooler | None) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(blocks)
        self.pooler = pooler

    def forward(
        self,
        batch: PackedBatch | PaddedBatch,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Encode a batch.

        Raises:
            ValueError: if a sequence is longer than the position embeddings reach.
        """
        if batch.max_seqlen > self.embeddings.max_seq_length:
            raise ValueError(
                f"a sequence has {batch.max_seqlen} tokens; this model takes {self.embeddings.max_seq_length}"
            )
        layout = layout_of(batch, training=self.training)
        attentions: list[Tensor] | None = [] if output_attentions else None
        hidden = self.embeddings(batch, layout)
        hidden_states = [hidden]
        for block in self.blocks:
            hidden = block(hidden, layout, attentions)
            if output_hidden_states:
                hidden_states.append(hidden)
        return EncoderOutput(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else self.pooler(hidden, layout),
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=None if attentions is None else tuple(attentions),
            layout=layout,
        )
