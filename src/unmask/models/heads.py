"""What stands on an encoder to make it answer. Axes: B sequences, M rows asked for, D hidden, V vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.models.block import ACTIVATIONS

if TYPE_CHECKING:
    from unmask.models.layouts import Layout

__all__ = ["MaskedLMHead", "PooledClassifier", "Pooler"]


class Pooler(nn.Module):
    """tanh(W h + b) of each sequence's first token: (T, D) -> (B, D). Devlin et al. 2019, section 3.1 and its code."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        return torch.tanh(self.dense(layout.first_tokens(hidden)))


class PooledClassifier(nn.Module):
    """Dropout and one linear layer on the pooled first token: (B, D) -> (B, num_labels)."""

    def __init__(self, hidden_size: int, num_labels: int, *, dropout_p: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, num_labels)
        self.dropout_p = dropout_p

    def forward(self, pooled: Tensor, layout: Layout) -> Tensor:
        logits: Tensor = self.linear(layout.dropout_sequences(pooled, self.dropout_p if self.training else 0.0))
        return logits


class MaskedLMHead(nn.Module):
    """Guess the word at each row: (M, D) -> (M, V), by the word embeddings themselves ("tied" weights) and a bias.

    Devlin et al. 2019, appendix A.2; the transform before the projection is BERT's code. It runs on the positions asked
    for only: over a large vocabulary this projection is most of a small model's work.
    """

    def __init__(
        self, *, hidden_size: int, embedding_size: int, vocab_size: int, hidden_act: str, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, embedding_size)
        self.activation = ACTIVATIONS[hidden_act]
        self.norm = nn.LayerNorm(embedding_size, eps=layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, word_embeddings: Tensor, positions: Tensor | None = None) -> Tensor:
        """Guess at these rows of the hidden states, int64 (M,); at all rows if None."""
        if positions is not None:
            hidden = hidden.flatten(0, -2)[positions]
        return F.linear(self.norm(self.activation(self.dense(hidden))), word_embeddings, self.bias)
