"""Query, key and value as one product, for a graph: a CPU computes one wide product faster than three narrow ones."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from unmask.models.attention import MultiHeadAttention
from unmask.models.registry import encoder_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["join_projections"]


class _JoinedAttention(MultiHeadAttention):
    """An attention whose three projections are one layer."""

    def __init__(self, attention: MultiHeadAttention) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.is_causal = attention.num_heads, attention.is_causal
        self.dropout_p, self.output = attention.dropout_p, attention.output
        parts = (attention.query, attention.key, attention.value)
        self.query_key_value = nn.Linear(parts[0].in_features, sum(part.out_features for part in parts))
        with torch.no_grad():
            self.query_key_value.weight.copy_(torch.cat([part.weight for part in parts]))
            self.query_key_value.bias.copy_(torch.cat([part.bias for part in parts]))

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.query_key_value(hidden).split(self.output.in_features, dim=-1)
        return query, key, value


def join_projections(model: nn.Module) -> nn.Module:
    """Make a twin of a model that computes the same with one product for queries, keys and values.

    Args:
        model: whose other weights the twin shares.
    """
    twin = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    for block in encoder_of(twin).blocks:
        assert isinstance(block.attention, MultiHeadAttention)
        block.attention = _JoinedAttention(block.attention)
    return twin
