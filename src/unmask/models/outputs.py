"""What models return, read by attribute. Axes: T packed tokens (or (B, S) where padded), B sequences, D hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.models.layouts import Layout

__all__ = [
    "CausalLMOutput",
    "EncoderOutput",
    "MaskedLMOutput",
    "NextSentenceOutput",
    "PreTrainingOutput",
    "QuestionAnsweringOutput",
    "ReplacedTokenOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
]


@dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """What every family's encoder returns.

    Args:
        last_hidden_state: (T, D), or (M, D) where only some rows were asked for.
        pooler_output: the pooled first token of each sequence, (B, D); None for an encoder without a pooler.
        hidden_states: what enters the first block and then each step's output, each (T, D), the last as
            last_hidden_state; None unless asked for.
        attentions: each step's attention probabilities, (B, N, S, S); None unless asked for.
        layout: where each token stands.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class SequenceClassifierOutput:
    """Logits of each sequence, (B, num_labels)."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class TokenClassifierOutput:
    """Logits of each token, (M, num_labels) for the M rows asked for, or (T, num_labels) for all."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringOutput:
    """Logits of an answer's first token and of its last, (M, 2) for the M rows asked for, or (T, 2) for all."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class MaskedLMOutput:
    """Logits over the vocabulary, (M, V) for the M positions asked for, or (T, V) for all."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class NextSentenceOutput:
    """Logits of each pair, (B, 2): 0 is "is next" or "in order", 1 is "is not"."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class PreTrainingOutput:
    """Both of BERT's objectives: the logits of a `MaskedLMOutput` and those of a `NextSentenceOutput`."""

    prediction_logits: Tensor
    seq_relationship_logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class ReplacedTokenOutput:
    """A logit for each token, (T,): above 0 where it looks replaced."""

    logits: Tensor
    encoder: EncoderOutput


@dataclass(frozen=True, kw_only=True)
class CausalLMOutput:
    """Logits of the token after each, (M, V) for the M positions asked for, or (T, V) for all."""

    logits: Tensor
    encoder: EncoderOutput
