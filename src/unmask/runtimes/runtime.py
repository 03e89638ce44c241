"""A model as those who ask it see it: sequences of token ids in, rows of numbers out, whatever computes them.

Axes: B sequences, K numbers a row: labels, words of the vocabulary, or the hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from unmask.ragged import Ragged, runs_of

__all__ = ["SEQUENCE_HEADS", "Runtime", "RuntimeName"]

RuntimeName = Literal["torch", "onnx"]

SEQUENCE_HEADS = ("sequence-classification", "next-sentence")  # those that say one thing of a whole sequence

_TOKENS_AT_ONCE = 4096  # of one forward pass: large enough for fast products, small enough for a laptop


class Runtime(ABC):
    """A model that is ready to be asked. It keeps no state between calls, so threads may share one.

    Attributes:
        head: key of `unmask.models.registry.HEADS`; "encoder" gives hidden states.
        max_seq_length: tokens of the longest sequence it takes.
    """

    head: str
    max_seq_length: int

    @abstractmethod
    def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
        """Compute sequences in one forward pass.

        Args:
            input_ids: token ids of each sequence, int64, none of them empty.
            token_type_ids: of the same lengths, int64.
            rows: the tokens asked for, as positions in their sequence, int64, for heads that speak of tokens; None asks
                for all of them.

        Returns:
            Of each sequence float32 (1, K) from a head that speaks of whole sequences, (rows, K) from others; K is 1
            for a head that gives each token one number.
        """

    def run_all(
        self,
        input_ids: Ragged,
        token_type_ids: Ragged,
        rows: Ragged | None = None,
        *,
        tokens_at_once: int = _TOKENS_AT_ONCE,
    ) -> Ragged:
        """Compute any number of sequences, those of like length together, and give them back in their order.

        Args:
            input_ids: as in `run`, of one sequence at least; token_type_ids and rows likewise.
            token_type_ids: see there.
            rows: see there.
            tokens_at_once: of one forward pass, about.
        """
        by_length = np.argsort(input_ids.lengths, kind="stable")
        outputs = []
        for run in runs_of(input_ids.lengths[by_length], tokens_at_once):
            chosen = by_length[run]
            asked = None if rows is None else rows.take(chosen)
            outputs.append(self.run(input_ids.take(chosen), token_type_ids.take(chosen), asked))
        return Ragged.concatenate(outputs).take(np.argsort(by_length))
