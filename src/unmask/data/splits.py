"""Holding rows back for development, where no file of them is given."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from unmask.data.findings import count_of
from unmask.errors import DataError, SettingsError

__all__ = ["split_indices"]

_PURPOSE = int.from_bytes(b"split")  # second half of the generator's key: no other use of a seed meets this stream


def split_indices(num_rows: int, *, dev_fraction: float, seed: int, unit: str = "rows") -> tuple[list[int], list[int]]:
    """Part the rows of a file into train and dev, at random.

    Row i draws the i-th 64-bit number of a Philox generator with the key (seed, "split"), and the rows of the smallest
    numbers go to dev. So the parts depend on the arguments alone: not on the machine, the library's version, or
    anything drawn before.

    Args:
        num_rows: rows of the file.
        dev_fraction: share of the rows that go to dev, in (0, 1), rounded up to a whole row.
        seed: from 0 to 2**64 - 1.
        unit: what the rows are called, many of them: "sentences".

    Returns:
        The row indices of train and of dev, from 0, both ascending.

    Raises:
        SettingsError: dev_fraction or seed lies outside its range.
        DataError: train or dev would be empty.
    """
    if not 0 < dev_fraction < 1:
        raise SettingsError(f"the fraction of rows for dev must lie between 0 and 1, not at {dev_fraction}")
    if not 0 <= seed < 2**64:
        raise SettingsError(f"a seed must lie between 0 and 2**64 - 1, not at {seed}")
    num_dev = math.ceil(num_rows * Fraction(str(dev_fraction)))  # exact: in floating point 100 * 0.07 is more than 7
    if not 0 < num_dev < num_rows:
        hint = "is the blank line between sentences missing? If not, " if (num_rows, unit) == (1, "sentences") else ""
        raise DataError(
            f"{count_of(num_rows, unit.removesuffix('s'))} cannot be parted into train and dev with {dev_fraction} of "
            f"them for dev: {hint}give a separate dev file or more {unit}"
        )
    draws = np.random.Philox(key=np.array([seed, _PURPOSE], dtype=np.uint64)).random_raw(num_rows)
    ranked = np.argsort(draws, kind="stable")
    return np.sort(ranked[num_dev:]).tolist(), np.sort(ranked[:num_dev]).tolist()
