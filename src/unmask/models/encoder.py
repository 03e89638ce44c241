"""The encoder every family is made of: embeddings, blocks, perhaps a pooler."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from unmask.models.layouts import layout_of
from unmask.models.outputs import EncoderOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from unmask.models.block import TransformerBlock
    from unmask.models.cache import KeyValueCache
    from unmask.models.config import ModelConfig
    from unmask.models.embeddings import Embeddings
    from unmask.models.heads import Pooler
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Embed, pass through the blocks in order, pool. A family's file says which parts, and is the class people name.

    Args:
        config: what it was made from.
        embeddings: token ids to embeddings, (T, E).
        blocks: the distinct ones.
        pooler: from the first tokens, or None.
        projection: from embeddings to hidden states, (T, E) -> (T, D), where the two widths differ (ALBERT, ELECTRA).
        order: index of the block used at each step, where blocks are shared (ALBERT); None uses each once, in order.
        final_norm: applied to the last hidden states, which it replaces (GPT-2).
    """

    head: ClassVar[str] = "encoder"

    def __init__(
        self,
        config: ModelConfig,
        *,
        embeddings: Embeddings,
        blocks: Iterable[TransformerBlock],
        pooler: Pooler | None = None,
        projection: nn.Linear | None = None,
        order: Sequence[int] | None = None,
        final_norm: nn.LayerNorm | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.embeddings = embeddings
        self.projection = projection
        self.blocks = nn.ModuleList(blocks)
        self.order = tuple(range(len(self.blocks)) if order is None else order)
        self.final_norm = final_norm
        self.pooler = pooler

    def forward(
        self,
        batch: PackedBatch | PaddedBatch,
        *,
        rows: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        cache: KeyValueCache | None = None,
    ) -> EncoderOutput:
        """Encode a batch.

        Args:
            batch: the tokens.
            rows: which of them (of all B * S where padded) the last hidden state is wanted of, int, (M,); None for all.
                After its attention the last block computes these alone, and those the pooler reads. Where few are read,
                as the 15 % that are masked or a text's first, that saves up to two thirds of a layer.
            output_hidden_states: whether to give the embeddings and each block's output.
            output_attentions: whether to give each block's attention probabilities.
            cache: the tokens that came before these, in a causal model; these join them.

        Raises:
            ValueError: if a sequence is longer than the position embeddings reach, or the cache does not fit.
        """
        layout = layout_of(batch, training=self.training, cache=cache)
        batch = layout.batch
        longest = batch.max_seqlen if cache is None else int(cache.lengths.max())
        if longest > self.embeddings.max_seq_length:
            raise ValueError(f"a sequence has {longest} tokens; this model takes {self.embeddings.max_seq_length}")
        attentions: list[Tensor] | None = [] if output_attentions else None
        hidden = self.embeddings(batch, layout)
        if self.projection is not None:
            hidden = self.projection(hidden)
        hidden_states = [hidden]
        read = rows
        if rows is not None and self.pooler is not None:
            read = torch.cat((batch.first_rows, rows))
        for number, step in enumerate(self.order, start=1):
            hidden = self.blocks[step](hidden, layout, attentions, rows=read if number == len(self.order) else None)
            if output_hidden_states:
                hidden_states.append(hidden)
        if self.final_norm is not None:
            hidden = self.final_norm(hidden)
            hidden_states[-1] = hidden
        pooled: Tensor | None = None
        if self.pooler is not None and rows is None:
            pooled = self.pooler(hidden.flatten(0, -2).index_select(0, batch.first_rows))
        elif self.pooler is not None and rows is not None:
            num_first = batch.first_rows.shape[0]  # not its len(), which an exported graph would take for a constant
            first, hidden = hidden[:num_first], hidden[num_first:]
            hidden_states[-1] = hidden
            pooled = self.pooler(first)
        return EncoderOutput(
            last_hidden_state=hidden,
            pooler_output=pooled,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=None if attentions is None else tuple(attentions),
            layout=layout,
        )
