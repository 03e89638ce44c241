"""Attention over sequences of different lengths on a device without a kernel for packed tokens.

Sequences are arranged in rows of slots, several short ones to a row, and a mask keeps them apart. Padding a batch to
its longest sequence makes attention pay for B * max_length**2 scores. Rows of short sequences, filled first-fit, pay
for little more than T * row_length; long sequences have rows to themselves, beside a few of about their length.
`benchmarks/attention.py` measures it.

Axes: T packed tokens, N heads, H head dim, R rows, L slots a row, K keys of the longest sequence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.models.noise import AttentionFactors

__all__ = ["RowPlan", "attention_probabilities"]

_SHARED_ROW = 64  # tokens of the longest sequences that share rows with others
_SCORES_AT_ONCE = 2**17  # of one head, for the rows of long sequences


class RowPlan:
    """The arrangement of one batch, made once and used by every layer.

    Args:
        lengths: tokens of each sequence, int, (B,).
        num_heads: N.
        is_causal: whether a token sees only itself and what comes before it.
        device: where attention runs.
    """

    def __init__(self, lengths: np.ndarray, *, num_heads: int, is_causal: bool, device: torch.device) -> None:
        self._groups = [
            _Group(tokens, starts, num_heads=num_heads, is_causal=is_causal, device=device)
            for tokens, starts in _arrange(lengths)
        ]
        # Where the values of each (row, head, slot) come from among the (token, head) values, and the way back.
        sources = np.concatenate([group.sources for group in self._groups])
        is_filled = np.concatenate([group.is_filled for group in self._groups])
        slots = np.empty(int(lengths.sum()) * num_heads, np.int64)
        slots[sources[is_filled]] = np.flatnonzero(is_filled)
        self._sources = torch.from_numpy(sources).to(device)
        self._slots = torch.from_numpy(slots).to(device)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout_p: float, factors: AttentionFactors | None
    ) -> Tensor:
        """Attend within each sequence.

        Args:
            query: (T, N * H); key and value likewise.
            dropout_p: for torch's own dropout, where there are no factors.
            factors: draws dropout's factors by token, head and position of the key, or None.

        Returns:
            The context, (T, N * H).
        """
        sizes = [len(group.sources) for group in self._groups]
        states = (
            _select(x.reshape(len(self._slots), -1), self._sources, self._slots).split(sizes)
            for x in (query, key, value)
        )
        contexts = [
            group.attend(*values, dropout_p=dropout_p, factors=factors)
            for group, *values in zip(self._groups, *states, strict=True)
        ]
        context = contexts[0] if len(contexts) == 1 else torch.cat(contexts)
        return _select(context, self._slots, self._sources).view(query.shape)


class _Group:
    """R rows of L slots that attend together.

    Args:
        tokens: packed index of the token in each slot, int64, (R, L); -1 where the slot is empty.
        starts: first slot of that token's sequence in its row, int64, (R, L); -1 where the slot is empty, so that
            empty slots see one another and no softmax is over nothing.
    """

    def __init__(
        self, tokens: np.ndarray, starts: np.ndarray, *, num_heads: int, is_causal: bool, device: torch.device
    ) -> None:
        self._num_heads, self._shape = num_heads, tokens.shape
        by_head = np.broadcast_to(tokens[:, None, :], (len(tokens), num_heads, tokens.shape[1]))  # (R, N, L)
        self.is_filled = (by_head >= 0).ravel()
        # An empty slot repeats token 0. Its result is never read, and the gradient it is handed goes no further.
        self._tokens = np.maximum(tokens, 0).ravel()
        self.sources = (np.maximum(by_head, 0) * num_heads + np.arange(num_heads)[:, None]).ravel()
        is_apart = starts[:, :, None] != starts[:, None, :]
        if is_causal:
            is_apart |= np.triu(np.ones(is_apart.shape[1:], dtype=bool), k=1)
        self._mask: Tensor | None = None  # (R, 1, L, L)
        if is_apart.any():
            mask = np.where(is_apart, np.float32(-math.inf), np.float32(0))[:, None]
            self._mask = torch.from_numpy(mask).to(device)
        self._positions: Tensor | None = None
        if (starts > 0).any():
            # Of each key in each query's sequence, (R, 1, L, L); keys outside it are masked: any factor serves.
            positions = (np.arange(tokens.shape[1]) - starts[:, :, None]).clip(0, tokens.shape[1] - 1)
            self._positions = torch.from_numpy(positions[:, None])

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout_p: float, factors: AttentionFactors | None
    ) -> Tensor:
        """As `RowPlan.attend`, on values (R * N * L, H)."""
        num_rows, row_length = self._shape
        query, key, value = (x.view(num_rows, self._num_heads, row_length, -1) for x in (query, key, value))
        mask = None if self._mask is None else self._mask.to(query.dtype)
        if factors is None:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_p)
        else:
            context = (attention_probabilities(query, key, mask) * self._place(factors)) @ value
        return context.reshape(-1, context.shape[-1])

    def _place(self, factors: AttentionFactors) -> Tensor:
        """Draw the factor of each (row, head, query's slot, key's slot), (R, N, L, L)."""
        num_rows, row_length = self._shape
        drawn = factors(self._tokens, row_length).unflatten(0, self._shape).transpose(1, 2)  # (R, N, L, K)
        if self._positions is None:  # a row a sequence: a key's slot is its position
            return drawn[..., :row_length]
        return drawn.gather(-1, self._positions.expand(num_rows, self._num_heads, row_length, row_length))


def attention_probabilities(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Compute softmax(Q K^T / sqrt(H) + mask), (..., L, L)."""
    scores = query @ key.transpose(-1, -2)
    if mask is None:
        return (scores / math.sqrt(query.shape[-1])).softmax(-1)
    return torch.add(mask, scores, alpha=1 / math.sqrt(query.shape[-1])).softmax(-1)


def _select(rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Select rows by an index whose inverse is known, so that the gradient is a selection too, not a scattered sum.

    Of a row selected more than once, the copy that the inverse names carries the gradient; a row never selected is
    handed another's. Both are empty slots, which nothing reads.
    """
    selected: Tensor = _Select.apply(rows, index, inverse)  # type: ignore[no-untyped-call]
    return selected


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(0, inverse), None, None


def _arrange(lengths: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lay sequences into rows, first fit in order of falling length, in groups of like length.

    Returns:
        For each group the tokens and starts of `_Group`.
    """
    offsets = np.concatenate([[0], lengths.cumsum()])
    groups = []
    for members in _alike(lengths):
        row_length = int(lengths[members[0]])
        free: list[int] = []  # slots left in each row
        placed = []
        for sequence in members.tolist():
            length = int(lengths[sequence])
            row = next((row for row, slots in enumerate(free) if slots >= length), len(free))
            if row == len(free):
                free.append(row_length)
            placed.append((sequence, length, row, row_length - free[row]))
            free[row] -= length
        tokens = np.full((len(free), row_length), -1, np.int64)
        starts = tokens.copy()
        for sequence, length, row, start in placed:
            tokens[row, start : start + length] = np.arange(offsets[sequence], offsets[sequence] + length)
            starts[row, start : start + length] = start
        groups.append((tokens, starts))
    return groups


def _alike(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Split sequences into groups of like length, each from the longest down.

    Short ones (`_SHARED_ROW`) go by powers of two, as they share rows. Long ones go with those at least 7/8 as long, so
    that at most a quarter of their scores is waste, and so few that the scores stay in cache (`_SCORES_AT_ONCE`).
    """
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        if longest > _SHARED_ROW:
            shortest = max(longest * 7 / 8, _SHARED_ROW + 1)
            most = max(1, _SCORES_AT_ONCE // longest**2)
        else:
            shortest = _SHARED_ROW // 2 + 1 if longest > _SHARED_ROW // 2 else 1
            most = len(order)
        last = first + min(most, int((lengths[order[first:]] >= shortest).sum()))
        yield order[first:last]
        first = last
