"""Multi-head self-attention: the projections. The scores and the sums are the layout's (`unmask.models.layouts`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.models.layouts import Layout

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim)) V for each head, then one projection of the heads together.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.2.

    Args:
        hidden_size: D, a multiple of num_attention_heads.
        num_attention_heads: N.
        attention_probs_dropout_prob: probability with which an attention probability is dropped in training.
        is_causal: whether a token sees only itself and what comes before it (GPT).

    Raises:
        ValueError: if hidden_size is not a multiple of num_attention_heads.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        attention_probs_dropout_prob: float,
        is_causal: bool = False,
    ) -> None:
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"hidden_size {hidden_size} is not a multiple of num_attention_heads {num_attention_heads}"
            )
        self.num_heads = num_attention_heads
        self.dropout_p = attention_probs_dropout_prob
        self.is_causal = is_causal
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, hidden: Tensor, layout: Layout, attentions: list[Tensor] | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Attend: (T, D) -> (T, D), or (M, D) for these rows of the tokens, int (M,).

        With a list, append the attention probabilities to it, (B, N, S, S).
        """
        query, key, value = self.project(hidden)
        if attentions is not None:
            maps = layout.attention_maps(query, key, num_heads=self.num_heads, is_causal=self.is_causal)
            attentions.append(maps)
        dropout_p = self.dropout_p if self.training else 0.0
        context = layout.attend(
            query, key, value, num_heads=self.num_heads, dropout_p=dropout_p, is_causal=self.is_causal
        )
        attended: Tensor = self.output(context if rows is None else context.flatten(0, -2).index_select(0, rows))
        return attended

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make the queries, the keys and the values of all heads, (..., D) -> (..., D) each."""
        return self.query(hidden), self.key(hidden), self.value(hidden)
