"""How much arithmetic a forward pass asks for, from a config alone.

Counted are matrix products, two operations a multiply-add: norms, activations, softmax, dropout and the reading of
embedding rows weigh nothing beside them. A training step is three forward passes: for each product of the forward pass
the backward pass computes two, the gradients of its two factors.

Counted is what the model is, not what some kernel computes: no padding, under a causal mask only the keys a token sees,
and every block whole. Chowdhery et al. 2022 (arXiv:2204.02311), appendix B, count so too, but with the scores the mask
takes away. `ForwardFlops.computed` leaves out what we do not compute: a share of a machine's arithmetic is of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from unmask.models.block import TransformerBlock
from unmask.models.registry import empty_model, encoder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.models.config import ModelConfig

__all__ = ["ForwardFlops", "forward_flops"]

_PER_TOKEN = ("replaced_token", "token_classifier", "qa_outputs")
_PER_SEQUENCE = ("classifier", "next_sentence")
_PREDICTION_RATES = {"masked-lm": 0.15, "pre-training": 0.15, "causal-lm": 1.0}


@dataclass(frozen=True, kw_only=True)
class ForwardFlops:
    """The operations of one forward pass, by what they grow with.

    Args:
        per_token: of the blocks' matrices, the projection of embeddings and a head on every token.
        per_score: of a query and a key that meet, and of the value that goes with it, in all layers.
        per_sequence: of the pooler and of a head on whole sequences.
        per_prediction: of a position whose word is guessed: over the vocabulary.
        prediction_rate: fraction of positions whose word is guessed in this head's objective, in [0, 1].
        is_causal: whether a token sees only itself and what comes before it.
        per_row_read: of per_token, what the last block does after its attention: `Encoder.forward` leaves it out of
            tokens whose last hidden state nobody reads.
        reads_all: whether a head reads every token.
        reads_first: whether a pooler reads the first token of each sequence.
    """

    per_token: int
    per_score: int
    per_sequence: int
    per_prediction: int
    prediction_rate: float
    is_causal: bool
    per_row_read: int
    reads_all: bool
    reads_first: bool

    def total(self, seq_lengths: Sequence[int] | NDArray[np.int64], *, num_predictions: float | None = None) -> float:
        """Count the operations of a batch.

        Args:
            seq_lengths: tokens of each sequence.
            num_predictions: positions whose word is guessed; None takes prediction_rate of all.
        """
        lengths = np.asarray(seq_lengths, dtype=np.float64)
        tokens, squares = float(lengths.sum()), float((lengths**2).sum())
        scores = (squares + tokens) / 2 if self.is_causal else squares
        predictions = self.prediction_rate * tokens if num_predictions is None else num_predictions
        return (
            self.per_token * tokens
            + self.per_score * scores
            + self.per_sequence * len(lengths)
            + self.per_prediction * predictions
        )

    def computed(self, seq_lengths: Sequence[int] | NDArray[np.int64], *, num_predictions: float) -> float:
        """Count as `total` does, without what is left out of tokens that are not read."""
        num_tokens, num_sequences = float(np.sum(seq_lengths)), len(seq_lengths)
        num_read = num_tokens if self.reads_all else num_predictions + num_sequences * self.reads_first
        whole = self.total(seq_lengths, num_predictions=num_predictions)
        return whole - self.per_row_read * max(num_tokens - num_read, 0.0)

    def per_token_at(self, seq_length: int) -> float:
        """Count the operations a token costs, on average, in sequences of this many tokens."""
        return self.total([seq_length]) / seq_length


def forward_flops(config: ModelConfig, head: str = "encoder", *, prediction_rate: float | None = None) -> ForwardFlops:
    """Count the operations of a model with this head.

    Args:
        config: the sizes.
        head: a key of `unmask.models.registry.HEADS`.
        prediction_rate: fraction of positions that the vocabulary projection runs on; None means 0.15 where words are
            masked, as in BERT, and 1 in a causal model.

    Raises:
        CheckpointError: if the family has no such head.
    """
    model = empty_model(config, head)
    encoder = encoder_of(model)
    first = encoder.blocks[0]
    assert isinstance(first, TransformerBlock)
    per_token = sum(_products(encoder.blocks[step]) for step in encoder.order) + _products(encoder.projection)
    last = encoder.blocks[encoder.order[-1]]
    assert isinstance(last, TransformerBlock)
    per_prediction = 0
    if head in _PREDICTION_RATES:
        per_prediction = _products(getattr(model, "masked_lm", None)) + 2 * encoder.embeddings.word.weight.numel()
    return ForwardFlops(
        per_token=per_token + sum(_products(getattr(model, name, None)) for name in _PER_TOKEN),
        per_score=4 * config.hidden_size * len(encoder.order),
        per_sequence=_products(encoder.pooler) + sum(_products(getattr(model, name, None)) for name in _PER_SEQUENCE),
        per_prediction=per_prediction,
        prediction_rate=_PREDICTION_RATES.get(head, 0.0) if prediction_rate is None else prediction_rate,
        is_causal=first.attention.is_causal,
        per_row_read=_products(last.attention.output) + _products(last.feed_forward),
        reads_all=head not in _PREDICTION_RATES,
        reads_first=encoder.pooler is not None,
    )


def _products(module: nn.Module | None) -> int:
    """Count the operations of every linear layer of a module on one row."""
    if module is None:
        return 0
    return sum(2 * part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
