"""Dropout's random numbers, counted instead of streamed.

Whether a value is dropped is a pure function of (seed of the sequence, position of the token, which dropout of the
model, which value). So a sequence meets the same dropout alone, packed with others, padded, in any micro-batch, on any
rank and after a resume. It is faster too: torch draws CPU dropout one number at a time from one generator.

Each 64-bit number is SplitMix64's finaliser (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", figure 16) of a counter, and serves four values, 16 bits each; so a probability is exact to 2**-16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmask.counted import GOLDEN, mix

__all__ = ["AttentionFactors", "Noise"]

# Draws the dropout factors of these tokens for keys at positions 0, 1, ...: float32, (tokens, heads, keys or more).
AttentionFactors = Callable[[NDArray[np.int64] | slice, int], Tensor]

_HEAD_STRIDE = 1 << 20  # counters a head of attention has for itself: keys up to 4 * 2**20


class Noise:
    """The dropout of one forward pass.

    Args:
        sequence_seeds: seed of the sequence each token belongs to, int64, any shape (...).
        position_ids: position of each token in its sequence, int64, the same shape.
    """

    def __init__(self, sequence_seeds: Tensor, position_ids: Tensor) -> None:
        seeds = mix(sequence_seeds.numpy().astype(np.uint64))
        seeds += position_ids.numpy().astype(np.uint64) * GOLDEN
        self._tokens = mix(seeds)
        self._sites = 0

    def hidden(self, width: int, p: float, rows: Tensor | None = None) -> Tensor:
        """Draw factors for hidden states: 0 with probability p, else 1 / (1 - p); float32, (..., width).

        Rows of the flattened tokens, int (M,), ask for theirs only: (M, width), the same numbers.
        """
        tokens = self._next_site()
        if rows is not None:
            tokens = tokens.reshape(-1)[rows.numpy()]
        return _draw(tokens, np.arange(-(-width // 4)), p)[..., :width]

    def attention(self, num_heads: int, max_seqlen: int, p: float) -> Tensor:
        """Draw factors for attention probabilities, float32, (..., num_heads, K); K is max_seqlen or a little more.

        The last axis is the key's position in its sequence.
        """
        return self.next_attention(num_heads, p)(slice(None), max_seqlen)

    def next_attention(self, num_heads: int, p: float) -> AttentionFactors:
        """Begin the next dropout of attention, and draw its factors as they are asked for: of some tokens, some keys.

        However they are asked for, they are those of `attention`.
        """
        tokens = self._next_site()

        def draw(which: NDArray[np.int64] | slice, num_keys: int) -> Tensor:
            groups = -(-num_keys // 4)
            columns = np.arange(num_heads)[:, None] * _HEAD_STRIDE + np.arange(groups)
            return _draw(tokens[which], columns.ravel(), p).unflatten(-1, (num_heads, groups * 4))

        return draw

    def _next_site(self) -> NDArray[np.uint64]:
        self._sites += 1
        return mix(self._tokens + np.asarray([self._sites], np.uint64) * GOLDEN)


def _draw(tokens: NDArray[np.uint64], columns: NDArray[np.int64], p: float) -> Tensor:
    """Draw four factors for each token and column, float32, (..., 4 * columns)."""
    numbers = mix(tokens[..., None] + columns.astype(np.uint64) * GOLDEN)
    is_kept = numbers.view(np.uint16) >= np.uint16(round(p * 2**16))
    factor = np.array(1 / (1 - p), np.float32).view(np.uint32)
    return torch.from_numpy((is_kept.astype(np.uint32) * factor).view(np.float32))  # faster than a float product
