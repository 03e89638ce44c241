"""A model as those who ask it see it: sequences of token ids in, rows of numbers out, whatever computes them.

Axes: B sequences, K numbers a row: labels, words of the vocabulary, or the hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.ragged import Ragged, runs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SEQUENCE_HEADS", "Runtime", "RuntimeName"]

RuntimeName = Literal["torch", "onnx"]

_MOST_WORKERS = 8  # more would wait for one another's Python
SEQUENCE_HEADS = ("sequence-classification", "next-sentence")  # those that say one thing of a whole sequence

Pass = tuple[Ragged, Ragged, Ragged | None]
"""What `Runtime.run` takes: input_ids, token_type_ids, rows."""


class Runtime(ABC):
    """A model that is ready to be asked. Threads may share one: a call leaves nothing behind that another would see.

    Attributes:
        head: key of `unmask.models.registry.HEADS`; "encoder" gives hidden states.
        max_seq_length: tokens of the longest sequence it takes.
        tokens_at_once: of one of many passes, about: enough for fast products, so few that what a layer makes of them
            stays in the cache.
    """

    head: str
    max_seq_length: int
    tokens_at_once: int = 2048

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
        tokens_at_once: int | None = None,
    ) -> Ragged:
        """Compute any number of sequences, those of like length together, and give them back in their order.

        Args:
            input_ids: as in `run`, of one sequence at least; token_type_ids and rows likewise.
            token_type_ids: see there.
            rows: see there.
            tokens_at_once: of one forward pass, about; None is the runtime's own.
        """
        by_length = np.argsort(input_ids.lengths, kind="stable")
        passes = []
        for run in runs_of(input_ids.lengths[by_length], tokens_at_once or self.tokens_at_once):
            chosen = by_length[run]
            asked = None if rows is None else rows.take(chosen)
            passes.append((input_ids.take(chosen), token_type_ids.take(chosen), asked))
        return Ragged.concatenate(self.run_passes(passes)).take(np.argsort(by_length))

    def run_passes(self, passes: Sequence[Pass]) -> list[Ragged]:
        """Compute several passes: on a CPU a thread and a core each, which need not wait for one another in each layer.

        Where there are more cores than passes, each has several threads.
        """
        num_threads = self.num_threads
        num_workers = min(len(passes), num_threads, _MOST_WORKERS)
        if num_workers < 2:
            return [self.run(*one) for one in passes]
        with ThreadPoolExecutor(
            num_workers, initializer=self.set_num_threads, initargs=(num_threads // num_workers,)
        ) as pool:
            try:
                return list(pool.map(lambda one: self.run(*one), passes))
            finally:
                self.set_num_threads(num_threads)  # torch gives threads that are yet to come what was set last

    @property
    def num_threads(self) -> int:
        """Threads that compute a pass which the calling thread asks for; 1 where it is not they that compute."""
        return 1

    def set_num_threads(self, count: int) -> None:
        """Have passes that the calling thread asks for be computed by so many threads from now on."""
        return
