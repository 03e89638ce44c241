"""What stands on an encoder to make it answer. Axes: B sequences, M rows asked for, D hidden, V vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.models.block import ACTIVATIONS
from unmask.models.losses import linear_cross_entropy

if TYPE_CHECKING:
    from collections.abc import Callable

    from unmask.models.outputs import EncoderOutput
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = [
    "FirstTokenClassifier",
    "MaskedLMHead",
    "PooledClassifier",
    "Pooler",
    "ReplacedTokenHead",
    "SequenceHead",
    "TokenClassifier",
]


class SequenceHead(Protocol):
    """A module that answers once for each sequence: logits, (B, num_labels)."""

    def rows(self, batch: PackedBatch | PaddedBatch) -> Tensor:
        """Say which tokens' last hidden states it reads, as `Encoder.forward` takes them, int, (M,)."""
        ...

    def __call__(self, encoded: EncoderOutput) -> Tensor:
        """Answer; what was encoded holds those rows, and no others."""
        ...


class Pooler(nn.Module):
    """tanh(W h + b) of each sequence's first token: (B, D) -> (B, D). Devlin et al. 2019, section 3.1 and its code."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, first_tokens: Tensor) -> Tensor:
        return torch.tanh(self.dense(first_tokens))


class PooledClassifier(nn.Module):
    """Dropout and one linear layer on the pooled first token, (B, D) -> (B, num_labels): BERT, ALBERT."""

    def __init__(self, hidden_size: int, num_labels: int, *, dropout_p: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, num_labels)
        self.dropout_p = dropout_p

    def rows(self, batch: PackedBatch | PaddedBatch) -> Tensor:
        """None beside those of the pooler."""
        return batch.first_rows[:0]

    def forward(self, encoded: EncoderOutput) -> Tensor:
        """Classify each sequence: (B, num_labels).

        Raises:
            ValueError: if the encoder has no pooler.
        """
        if encoded.pooler_output is None:
            raise ValueError("this classifier reads the pooled first token, and the encoder has no pooler")
        dropout_p, layout = self.dropout_p if self.training else 0.0, encoded.layout
        logits: Tensor = self.linear(layout.dropout(encoded.pooler_output, dropout_p, layout.batch.first_rows))
        return logits


class FirstTokenClassifier(nn.Module):
    """A layer of its own in the pooler's place: dropout, dense, activation, dropout, linear on the first token.

    (B, D) -> (B, num_labels): RoBERTa (tanh) and ELECTRA (gelu), whose pretraining trains no pooler.
    """

    def __init__(
        self, hidden_size: int, num_labels: int, *, dropout_p: float, activation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.activation = activation
        self.linear = nn.Linear(hidden_size, num_labels)
        self.dropout_p = dropout_p

    def rows(self, batch: PackedBatch | PaddedBatch) -> Tensor:
        return batch.first_rows

    def forward(self, encoded: EncoderOutput) -> Tensor:
        """Classify each sequence: (B, num_labels)."""
        layout, dropout_p = encoded.layout, self.dropout_p if self.training else 0.0
        rows = layout.batch.first_rows
        first = layout.dropout(encoded.last_hidden_state, dropout_p, rows)
        logits: Tensor = self.linear(layout.dropout(self.activation(self.dense(first)), dropout_p, rows))
        return logits


class TokenClassifier(nn.Module):
    """Dropout and one linear layer on each token: (M, D) -> (M, num_labels). Devlin et al. 2019, section 5.3."""

    def __init__(self, hidden_size: int, num_labels: int, *, dropout_p: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, num_labels)
        self.dropout_p = dropout_p

    def forward(self, encoded: EncoderOutput, rows: Tensor | None) -> Tensor:
        """Classify what was encoded: these rows of the batch, int (M,), or all of it."""
        dropout_p = self.dropout_p if self.training else 0.0
        logits: Tensor = self.linear(encoded.layout.dropout(encoded.last_hidden_state, dropout_p, rows))
        return logits


class ReplacedTokenHead(nn.Module):
    """Does a token look replaced? One logit each: (T, D) -> (T,).

    Clark et al. 2020 (arXiv:2003.10555), section 2; the layer before the projection is ELECTRA's code.
    """

    def __init__(self, *, hidden_size: int, hidden_act: str) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.activation = ACTIVATIONS[hidden_act]
        self.prediction = nn.Linear(hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.prediction(self.activation(self.dense(hidden)))
        return logits.squeeze(-1)


class MaskedLMHead(nn.Module):
    """Guess the word at each row: (M, D) -> (M, V), by the word embeddings themselves ("tied" weights) and a bias.

    Devlin et al. 2019, appendix A.2; the transform before the projection is BERT's code. Hand it only the rows to be
    guessed: over a large vocabulary this projection is most of a small model's work.
    """

    def __init__(
        self, *, hidden_size: int, embedding_size: int, vocab_size: int, hidden_act: str, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, embedding_size)
        self.activation = ACTIVATIONS[hidden_act]
        self.norm = nn.LayerNorm(embedding_size, eps=layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        return F.linear(self.transform(hidden), word_embeddings, self.bias)

    def transform(self, hidden: Tensor) -> Tensor:
        """Make of hidden states what the word embeddings are compared with: (M, D) -> (M, E)."""
        transformed: Tensor = self.norm(self.activation(self.dense(hidden)))
        return transformed

    def loss_sum(self, hidden: Tensor, word_embeddings: Tensor, labels: Tensor) -> Tensor:
        """Sum the cross-entropy of the guesses over labels, int64 (M,): a scalar."""
        return linear_cross_entropy(self.transform(hidden), word_embeddings, self.bias, labels)
