"""What a model loses that knows how frequent each token is and nothing else: the mark a language model must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.pretraining.pieces import Documents, StoredText

__all__ = ["count_tokens", "unigram_cross_entropy"]

_BLOCK = 2**24  # tokens counted at once


def count_tokens(store: StoredText, documents: Documents, *, vocab_size: int) -> NDArray[np.int64]:
    """Count how often each token stands in some documents of a store: int64, (V,)."""
    counts = np.zeros(vocab_size, np.int64)
    starts, stops = store.sentence_starts[documents[:, 0]], store.sentence_starts[documents[:, 1]]
    # Documents that follow one another are read in one go.
    begins_run = np.concatenate(([True], starts[1:] != stops[:-1]))
    firsts = np.flatnonzero(begins_run)
    lasts = np.append(firsts[1:], len(starts)) - 1
    for start, stop in zip(starts[firsts].tolist(), stops[lasts].tolist(), strict=True):
        for begin in range(start, stop, _BLOCK):
            counts += np.bincount(store.tokens[begin : min(begin + _BLOCK, stop)], minlength=vocab_size)
    return counts


def unigram_cross_entropy(train: NDArray[np.int64], dev: NDArray[np.int64]) -> float:
    """The loss of guessing every dev token by its share of the training text, in nats.

    Each token of the vocabulary is counted once more than it occurs (add-one smoothing), so that a token that only the
    dev text has costs much, and not without end: -sum d ln((t + 1) / (T + V)) / D, with t and d the counts of a token,
    T and D their sums.

    Args:
        train: counts in the training text, int64, (V,).
        dev: counts in the dev text, int64, (V,).
    """
    log_shares = np.log((train + 1) / (train.sum() + len(train)))
    return float(-(dev * log_shares).sum() / max(int(dev.sum()), 1))
