"""From token ids to the first hidden states. Axes: T tokens, V vocabulary, U words training can touch, E embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from unmask.models.layouts import Layout
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = ["Embeddings", "WordEmbedding"]


class WordEmbedding(nn.Module):
    """One row of numbers for each entry of the vocabulary, (V, E).

    Fine-tuning meets a fraction of the vocabulary. `restrict` keeps as the trainable parameter only the rows of the
    words it can meet, (U, E), so that no gradient, norm, moment or message between ranks is computed over rows that
    never change: on CoLA 6 thousand of 30 thousand. The mathematics is that of the whole table: the other rows have a
    zero gradient, so AdamW only decays them, and that is one number for all of them (`after_update`).
    """

    def __init__(self, vocab_size: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, embedding_size))
        self.register_buffer("unseen", None)  # the other rows as they were, (V - U, E)
        self.register_buffer("unseen_decay", None)  # what weight decay has made of them, a factor, float64, ()
        self.register_buffer("_row_of", None, persistent=False)  # row of each word in [weight, unseen], int64, (V,)

    unseen: Tensor | None
    unseen_decay: Tensor | None
    _row_of: Tensor | None

    @property
    def table(self) -> Tensor:
        """The whole matrix, (V, E), for a head that compares hidden states with every word.

        Raises:
            ValueError: if training is restricted to some words, as such a head gives all of them a gradient.
        """
        if self.unseen is not None:
            raise ValueError("a head tied to the word embeddings needs them all: release the word embedding")
        return self.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        if self.unseen is None or self.unseen_decay is None or self._row_of is None:
            return F.embedding(input_ids, self.weight)
        rows = self._row_of[input_ids]
        if self.training:
            return F.embedding(rows, self.weight)
        num_seen = len(self.weight)
        seen = F.embedding(rows.clamp(max=num_seen - 1), self.weight)
        unseen = F.embedding((rows - num_seen).clamp(min=0), self.unseen) * self.unseen_decay.to(seen.dtype)
        return torch.where((rows < num_seen)[..., None], seen, unseen)

    def restrict(self, token_ids: Tensor) -> None:
        """Train only the rows of these words, the only ones that training will meet.

        Args:
            token_ids: int64, any shape, repeats welcome.
        """
        self.release()  # the rows of an earlier restriction are part of the table too
        is_seen = torch.zeros(len(self.weight), dtype=torch.bool, device=self.weight.device)
        is_seen[token_ids.flatten()] = True
        if is_seen.all():
            return
        table = self.weight.detach()
        order = torch.cat([is_seen.nonzero()[:, 0], (~is_seen).nonzero()[:, 0]])
        self._row_of = order.argsort()
        self.unseen = table[~is_seen]
        self.unseen_decay = torch.ones((), dtype=torch.float64, device=table.device)
        self.weight = nn.Parameter(table[is_seen])

    def release(self) -> None:
        """Make the whole table the parameter again."""
        if self.unseen is None or self.unseen_decay is None or self._row_of is None:
            return
        rows = torch.cat([self.weight.detach(), self.unseen * self.unseen_decay.to(self.unseen.dtype)])
        self.weight = nn.Parameter(rows[self._row_of])
        self.unseen = self.unseen_decay = self._row_of = None

    def after_update(self, *, decay: float) -> None:
        """Take note of one optimizer step; decay is 1 - learning_rate * weight_decay."""
        if self.unseen_decay is not None:
            self.unseen_decay *= decay


class Embeddings(nn.Module):
    """Sum of word, position and token type embeddings, normalised. Devlin et al. 2019 (arXiv:1810.04805), figure 2.

    Args:
        vocab_size: V.
        embedding_size: E.
        max_position_embeddings: positions there are, those skipped by position_offset included.
        type_vocab_size: token types there are; 0 for a family without them. Where there is one, every token is of it,
            whatever a batch says (RoBERTa).
        layer_norm_eps: added to the variance under the root; None for a family without this norm.
        hidden_dropout_prob: probability with which a value of the result is dropped in training.
        position_offset: what is added to a position to find its row (RoBERTa: padding_idx + 1).
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        embedding_size: int,
        max_position_embeddings: int,
        type_vocab_size: int,
        layer_norm_eps: float | None,
        hidden_dropout_prob: float,
        position_offset: int = 0,
    ) -> None:
        super().__init__()
        self.word = WordEmbedding(vocab_size, embedding_size)
        self.position = nn.Embedding(max_position_embeddings, embedding_size)
        self.token_type = nn.Embedding(type_vocab_size, embedding_size) if type_vocab_size else None
        self.norm = nn.LayerNorm(embedding_size, eps=layer_norm_eps) if layer_norm_eps is not None else None
        self.dropout_p = hidden_dropout_prob
        self.position_offset = position_offset

    @property
    def max_seq_length(self) -> int:
        """Tokens the longest sequence can have."""
        return self.position.num_embeddings - self.position_offset

    def forward(self, batch: PackedBatch | PaddedBatch, layout: Layout) -> Tensor:
        """Embed a batch: (T, E)."""
        embedded: Tensor = self.word(batch.input_ids) + self.position(batch.position_ids + self.position_offset)
        if self.token_type is not None:
            has_one_type = self.token_type.num_embeddings == 1
            embedded = embedded + (self.token_type.weight[0] if has_one_type else self.token_type(batch.token_type_ids))
        if self.norm is not None:
            embedded = self.norm(embedded)
        return layout.dropout(embedded, self.dropout_p if self.training else 0.0)
