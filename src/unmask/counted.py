"""Counted randomness: numbers that are pure functions of what they are for, instead of draws from a stream.

What sample i of epoch e looks like depends on (seed, e, i) and nothing else, so workers, batching, ranks and a kill at
any moment cannot change it. The mixer is SplitMix64's finaliser (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 16): fast, vectorised, and the same on every machine and in every version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["GOLDEN", "keys", "mix", "uniform"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that counter * GOLDEN visits every 64-bit number


def mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers in place."""
    shifted = numbers >> np.uint64(30)
    numbers ^= shifted
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(numbers, np.uint64(27), out=shifted)
    numbers ^= shifted
    numbers *= np.uint64(0x94D049BB133111EB)
    np.right_shift(numbers, np.uint64(31), out=shifted)
    numbers ^= shifted
    return numbers


def keys(*parts: ArrayLike) -> NDArray[np.uint64]:
    """Scramble whole numbers of any meaning (seed, epoch, sample, what for) into one key; arrays are broadcast.

    Args:
        parts: each int, any shape; negative ones count as their 64-bit complement.
    """
    arrays = np.broadcast_arrays(*(np.asarray(part).astype(np.uint64) for part in parts))
    key = np.zeros(arrays[0].shape, np.uint64)[...]
    for part in arrays:
        # In one dimension at least: numpy warns of the overflow of scalars, which is what is wanted here.
        flat = np.atleast_1d(key + part) * GOLDEN + GOLDEN
        key = mix(flat).reshape(key.shape)
    return key


def uniform(key: NDArray[np.uint64], counters: ArrayLike) -> NDArray[np.float64]:
    """Draw numbers in [0, 1): one for each key and counter, float64 with 53 random bits; arrays are broadcast."""
    # In one dimension at least: numpy warns of the overflow of scalars, which is what is wanted here.
    numbers = np.atleast_1d(counters).astype(np.uint64) * GOLDEN + key
    return (mix(numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53
