"""Numbers in 8 bits. Axes: M rows of inputs, K channels, N columns of weights, V rows of a table, D columns of it.

On a CPU without VNNI a product of 8-bit inputs in [0, 255] and weights adds the channels 2j and 2j + 1 up in 16 bits:
255 times the sum of the two weights must stay below 2**15, or answers depend on the machine. The usual remedy gives all
weights 7 bits. Here each column has the smallest scale by which no such pair comes to more than 128: no input can make
them overflow, and as the largest weight of most columns has a small neighbour, they keep nearly 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["InputScale", "round_columns", "round_rows"]

_LARGEST, _LARGEST_OF_PAIR = 127, 128
_INPUT_STEPS = 255
_TINY = np.float32(1e-12)  # in place of the scale of what is all 0


def round_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round weights, (K, N), to int8 (K, N) and a scale a column, float32 (N,); no two channels overflow 16 bits."""
    largest = np.abs(weight).max(axis=0) / np.float32(_LARGEST)
    even = weight[: len(weight) // 2 * 2]
    of_pairs = np.abs(even[0::2] + even[1::2]).max(axis=0, initial=0) / np.float32(_LARGEST_OF_PAIR - 1)  # two round up
    scales = np.maximum(np.maximum(largest, of_pairs), _TINY)
    return np.round(weight / scales).astype(np.int8), scales


def round_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a table, (V, D), to int8 (V, D) and a scale a row, float32 (V, 1)."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / np.float32(_LARGEST), _TINY)
    return np.round(table / scales).astype(np.int8), scales


@dataclass(frozen=True)
class InputScale:
    """How numbers that come in are rounded to uint8: round(x / step) + zero_point, between 0 and 255.

    One scale for all texts, however they are batched: so that a text gets the same answer alone and among others.

    Args:
        step: what one more stands for.
        zero_point: what 0 is.
    """

    step: np.float32
    zero_point: np.uint8

    @classmethod
    def between(cls, lowest: float, highest: float) -> InputScale:
        """Make the finest scale that reaches from one number to another; 0 is on it too."""
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        step = np.float32((highest - lowest) / _INPUT_STEPS or 1.0)
        return cls(step, np.uint8(np.clip(np.round(-lowest / step), 0, _INPUT_STEPS)))

    def round(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Round, and give the numbers that the rounded ones stand for."""
        rounded = np.clip(np.round(states / self.step) + np.float32(self.zero_point), 0, _INPUT_STEPS)
        return (rounded - np.float32(self.zero_point)) * self.step
