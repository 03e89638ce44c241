"""Some sequences of a source, for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.pretraining.formats import SequenceSource, TrainingSequence

__all__ = ["SelectedSequences", "select_sequences"]


class SelectedSequences:
    """Sequences of a source by number; it is a source itself.

    Args:
        source: has them all.
        indices: which of them, int64, (sequences,).
    """

    def __init__(self, source: SequenceSource, indices: NDArray[np.int64]) -> None:
        self._source, self._indices = source, indices
        self.lengths = source.lengths[indices]
        self.num_cut_sentences = source.num_cut_sentences

    def __len__(self) -> int:
        return len(self._indices)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        return self._source.build(int(self._indices[index]), epoch=epoch)


def select_sequences(source: SequenceSource, *, max_sequences: int) -> SequenceSource:
    """Take so many sequences from all over a source; the source itself if it has no more."""
    if len(source) <= max_sequences:
        return source
    return SelectedSequences(source, np.linspace(0, len(source) - 1, max_sequences).astype(np.int64))
