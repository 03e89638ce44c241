"""The transformer block, whole: attention and feed-forward, each with its residual, dropout and norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn

from unmask.models.attention import MultiHeadAttention

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from unmask.models.layouts import Layout

__all__ = ["ACTIVATIONS", "FeedForward", "TransformerBlock"]


def _gelu_new(hidden: Tensor) -> Tensor:
    return F.gelu(hidden, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # exact, by the error function: BERT, RoBERTa, ELECTRA
    "gelu_new": _gelu_new,  # the tanh approximation of Hendrycks and Gimpel 2016: ALBERT, GPT
    "gelu_pytorch_tanh": _gelu_new,
    "relu": F.relu,
    "silu": F.silu,
}


class FeedForward(nn.Module):
    """Two linear layers around an activation, applied to each token alone."""

    def __init__(self, *, hidden_size: int, intermediate_size: int, hidden_act: str) -> None:
        super().__init__()
        if hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {hidden_act!r} is unknown; it is one of {', '.join(ACTIVATIONS)}")
        self.intermediate = nn.Linear(hidden_size, intermediate_size)
        self.activation = ACTIVATIONS[hidden_act]
        self.output = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        transformed: Tensor = self.output(self.activation(self.intermediate(hidden)))
        return transformed


class TransformerBlock(nn.Module):
    """x + attention(x), then x + feed_forward(x), with a norm after each sum (BERT) or before each part (GPT-2).

    Args:
        hidden_size: D.
        num_attention_heads: N, a divisor of D.
        intermediate_size: width between the two linear layers of the feed-forward part.
        hidden_act: its activation, a key of `ACTIVATIONS`.
        hidden_dropout_prob: probability with which a value of either part's result is dropped before the sum.
        attention_probs_dropout_prob: the same for attention probabilities.
        layer_norm_eps: added to the variance under the root of each norm.
        is_causal: whether a token sees only itself and what comes before it.
        norm_first: whether each norm stands before its part ("pre-norm") instead of after the sum.
        feed_forward_dropout_prob: hidden_dropout_prob for the feed-forward part where it differs; None where it does
            not.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_act: str,
        hidden_dropout_prob: float,
        attention_probs_dropout_prob: float,
        layer_norm_eps: float,
        is_causal: bool = False,
        norm_first: bool = False,
        feed_forward_dropout_prob: float | None = None,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(
            hidden_size=hidden_size,
            num_attention_heads=num_attention_heads,
            attention_probs_dropout_prob=attention_probs_dropout_prob,
            is_causal=is_causal,
        )
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.feed_forward = FeedForward(
            hidden_size=hidden_size, intermediate_size=intermediate_size, hidden_act=hidden_act
        )
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.attention_dropout_p = hidden_dropout_prob
        self.feed_forward_dropout_p = (
            hidden_dropout_prob if feed_forward_dropout_prob is None else feed_forward_dropout_prob
        )
        self.norm_first = norm_first

    def forward(
        self, hidden: Tensor, layout: Layout, attentions: list[Tensor] | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """(T, D) -> (T, D), or (M, D) for these rows of the tokens; attentions as in `MultiHeadAttention`."""
        p, q = (self.attention_dropout_p, self.feed_forward_dropout_p) if self.training else (0.0, 0.0)
        attended = self.attention(
            self.attention_norm(hidden) if self.norm_first else hidden, layout, attentions, rows=rows
        )
        if rows is not None:
            hidden = hidden.flatten(0, -2).index_select(0, rows)
        hidden = layout.dropout_add(attended, hidden, p, rows)
        if self.norm_first:
            return layout.dropout_add(self.feed_forward(self.feed_forward_norm(hidden)), hidden, q, rows)
        hidden = self.attention_norm(hidden)
        summed: Tensor = self.feed_forward_norm(layout.dropout_add(self.feed_forward(hidden), hidden, q, rows))
        return summed
