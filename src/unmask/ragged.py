"""Arrays of different lengths, end to end: the tokens of each text, the targets of each sample.

One long array and where each part of it starts: nothing is padded, and what many parts ask for is one operation.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Ragged", "offsets_of", "ranges", "runs_of"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """N arrays of different lengths, end to end.

    Args:
        values: all of them, (T, ...).
        offsets: where each starts among these, and T last, int64, (N + 1,).

    Raises:
        ValueError: if offsets do not rise from 0 to T.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        first, last = (int(self.offsets[i]) for i in (0, -1)) if len(self.offsets) else (-1, -1)
        if first != 0 or last != len(self.values) or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(self.values)}, not from {first} to {last}")

    @classmethod
    def of(cls, arrays: Iterable[ArrayLike], dtype: DTypeLike | None = None) -> Ragged:
        """Lay arrays end to end; all but their first axes are alike. They are copied.

        Args:
            arrays: none of them a number alone; an empty list is an array of no length.
            dtype: of the values; None is what numpy makes of them together (float64 of no values at all).

        Raises:
            ValueError: if their other axes differ.
        """
        made = [np.asarray(array) if dtype is None else np.asarray(array, dtype) for array in arrays]
        lengths = np.fromiter(map(len, made), np.int64, count=len(made))
        filled = [array for array in made if len(array)] or made  # an empty list tells neither dtype nor axes
        return cls(np.concatenate(filled) if made else np.zeros(0, dtype or np.float64), offsets_of(lengths))

    @classmethod
    def of_rows(cls, rows: NDArray[Any]) -> Ragged:
        """Take each row of an array for an array of length 1: (N, ...)."""
        return cls(rows, np.arange(len(rows) + 1, dtype=np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence[Ragged]) -> Ragged:
        """Lay the arrays of several end to end, in their order; one at least."""
        lengths = [part.lengths for part in parts]
        return cls(np.concatenate([part.values for part in parts]), offsets_of(np.concatenate(lengths)))

    def __len__(self) -> int:
        """N."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        """One of the arrays, a view; counted from the end if negative.

        Raises:
            IndexError: if there is none.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} arrays, and none of index {index}")
        index %= len(self)
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Each array, a view."""
        bounds = self.offsets.tolist()
        return (self.values[start:end] for start, end in itertools.pairwise(bounds))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each, int64, (N,)."""
        return np.diff(self.offsets)

    def take(self, indices: ArrayLike) -> Ragged:
        """Take the arrays of these indices, in this order, as often as they are named; a copy.

        Args:
            indices: int, (M,), each in [0, N).
        """
        chosen = np.asarray(indices, np.int64)
        lengths = self.offsets[chosen + 1] - self.offsets[chosen]
        return Ragged(self.values[ranges(self.offsets[chosen], lengths)], offsets_of(lengths))


def offsets_of(lengths: ArrayLike) -> NDArray[np.int64]:
    """Tell where each of N arrays starts that stand end to end, and where the last one ends: int64, (N + 1,).

    Args:
        lengths: int, (N,).
    """
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))


def ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count from each start so many numbers: starts (3, 10) and lengths (2, 3) make 3, 4, 10, 11, 12.

    Args:
        starts: int, (N,).
        lengths: int, (N,), none negative.

    Returns:
        int64, (sum of lengths,).
    """
    offsets = offsets_of(lengths)
    return np.arange(offsets[-1], dtype=np.int64) + np.repeat(np.asarray(starts, np.int64) - offsets[:-1], lengths)


def runs_of(lengths: NDArray[np.integer], budget: int) -> list[NDArray[np.int64]]:
    """Part N arrays, in their order, into runs of about `budget` together: the last of a run may go beyond it.

    Args:
        lengths: int, (N,), none of them 0.
        budget: 1 or more.

    Returns:
        Indices of each run, which has one at least; lengths (3, 3, 3, 9, 1) and a budget of 7 make 0 1, 2, and 3 4.
    """
    if not len(lengths):
        return []
    run = (np.cumsum(lengths, dtype=np.int64) - 1) // budget
    return np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(run)) + 1)
