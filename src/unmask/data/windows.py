"""A sequence too long for the model, read through overlapping windows, and their answers put together again.

As BERT does with SQuAD's long documents (Devlin et al. 2019, `run_squad.py`): a window starts every `stride` tokens,
and a token seen by several is answered by the one that shows most on both its sides. Two differences. BERT adds a
hundredth of a window's length to that measure, so that a short last window yields to its forerunner; here only what the
token itself can see counts. And a sequence without tokens has one window, an empty one: each sample has its sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["choose_windows", "plan_windows", "stitch_rows"]


def plan_windows(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """The windows of a sequence, as half-open ranges of its tokens.

    Args:
        length: tokens of the sequence.
        size: tokens a window may hold.
        stride: tokens from one window's start to the next, at most `size`: BERT's `doc_stride`. (The argument `stride`
            of Hugging Face's tokenizers is another thing, the overlap: `size - stride`.)

    Returns:
        Ranges `(start, stop)` that start at 0, `stride`, 2 `stride`, ... and end with the first that reaches the end;
        every token is in one at least. All but the last hold `size` tokens.

    Raises:
        SettingsError: a window would hold nothing, or tokens between two windows would be in neither.
    """
    if size < 1:
        raise SettingsError(f"a window must hold at least one token, not {size}")
    if not 1 <= stride <= size:
        raise SettingsError(f"the stride must lie between 1 and the window's {size} tokens, not at {stride}")
    num_windows = 1 + max(0, -(-(length - size) // stride))
    return [(start, min(start + size, length)) for start in range(0, num_windows * stride, stride)]


def choose_windows(length: int, windows: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """For each token, the window that shows most of what stands around it.

    A window `(start, stop)` shows `min(t - start, stop - 1 - t)` tokens on the poorer side of token t. The window where
    this is largest is chosen, the earlier of several.

    Args:
        length: tokens of the sequence.
        windows: half-open ranges that hold every token together.

    Returns:
        `(length,)`: the index of a window.

    Raises:
        ValueError: a token is in no window, or a window goes beyond the sequence.
    """
    chosen = np.zeros(length, np.int64)
    most = np.full(length, -1, np.int64)
    for index, (start, stop) in enumerate(windows):
        if not 0 <= start <= stop <= length:
            raise ValueError(f"window {index}, ({start}, {stop}), is no range of {length} tokens")
        left = np.arange(stop - start)
        shown = np.minimum(left, left[::-1])
        more = shown > most[start:stop]
        most[start:stop][more] = shown[more]
        chosen[start:stop][more] = index
    if (most < 0).any():
        raise ValueError(f"token {int(np.argmax(most < 0))} is in no window")
    return chosen


def stitch_rows(length: int, windows: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Which rows to keep of the windows' rows, end to end, so that each token has one, in order.

    With `values` of shape `(sum of the windows' tokens, ...)`, one row for each token of each window, those of the
    sequence are `values[stitch_rows(length, windows)]`, `(length, ...)`. Arguments and errors: see `choose_windows`.
    """
    bounds = np.array(windows, np.int64).reshape(-1, 2)
    chosen = choose_windows(length, windows)
    first_rows = np.cumsum(bounds[:, 1] - bounds[:, 0]) - (bounds[:, 1] - bounds[:, 0])
    return (first_rows - bounds[:, 0])[chosen] + np.arange(length)
