"""What is made of a model's logits: probabilities, and the best of many. In numpy, so that no answer needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["find_largest", "find_likeliest", "log_softmax", "sigmoid", "softmax"]


def softmax(logits: ArrayLike, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities exp(z / T) / sum exp(z / T) of logits (..., C), in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_softmax(logits: ArrayLike, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Natural logarithms of the same probabilities, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-z)), in float64."""
    return np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))  # exp(-z) itself would overflow


def find_largest(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Indices of the largest values along the last axis, the largest first: (..., count), or all there are."""
    if count < values.shape[-1]:
        chosen = np.argpartition(-values, count - 1, axis=-1)[..., :count]
    else:
        chosen = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    order = np.argsort(-np.take_along_axis(values, chosen, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(chosen, order, axis=-1)


def find_likeliest(
    logits: NDArray[np.float32], count: int, *, among: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the likeliest of some classes, the likeliest first, and their probabilities, which are those among all.

    Args:
        logits: of all classes, (C,).
        count: how many to find; fewer where there are no more.
        among: the classes to choose from.
    """
    best = among[find_largest(logits[among], count)]
    highest = logits.max()
    total = np.exp(logits - highest).sum(dtype=np.float64)
    return best, np.exp(logits[best].astype(np.float64) - highest) / total
