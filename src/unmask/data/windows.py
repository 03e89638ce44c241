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
from unmask.ragged import Ragged, offsets_of, ranges

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["choose_windows", "plan_windows"]


def plan_windows(lengths: ArrayLike, sizes: ArrayLike, strides: ArrayLike, *, evenly: bool = False) -> Ragged:
    """The windows of each sequence, as half-open ranges of its tokens.

    They start at 0, `stride`, 2 `stride`, ... and end with the first that reaches the end: every token is in one at
    least, and all but the last hold `size` tokens. Or, `evenly`, all are full and start at even distances.

    Args:
        lengths: tokens of each of N sequences, int, (N,).
        sizes: tokens a window may hold, one number or one a sequence.
        strides: tokens from one window's start to the next, at most: BERT's `doc_stride`; likewise. One beyond the size
            counts as that, so that no token is left out. (The argument `stride` of Hugging Face's tokenizers is another
            thing, the overlap: `size - stride`.)
        evenly: whether starts lie at even distances, so that the last window ends where the sequence does.

    Returns:
        For each sequence `(start, stop)` of its windows, int64, (windows, 2).

    Raises:
        SettingsError: a window would hold nothing, or start where the one before it does.
    """
    lengths, sizes, strides = np.broadcast_arrays(*(np.asarray(each, np.int64) for each in (lengths, sizes, strides)))
    for what, least in (("window", sizes), ("stride", strides)):
        if least.min(initial=1) < 1:
            raise SettingsError(f"a {what} must have at least one token, not {least.min()}")
    last = np.maximum(0, lengths - sizes)  # where a window that reaches the end starts
    num_steps = -(-last // np.minimum(strides, sizes))
    of = np.repeat(np.arange(len(lengths)), num_steps + 1)
    numbers = ranges(np.zeros_like(num_steps), num_steps + 1)
    starts = numbers * last[of] // np.maximum(1, num_steps[of]) if evenly else numbers * np.minimum(strides, sizes)[of]
    stops = np.minimum(starts + sizes[of], lengths[of])
    return Ragged(np.stack((starts, stops), axis=1), offsets_of(num_steps + 1))


def choose_windows(length: int, windows: ArrayLike) -> NDArray[np.int64]:
    """For each token, the window that shows most of what stands around it.

    A window `(start, stop)` shows `min(t - start, stop - 1 - t)` tokens on the poorer side of token t. The window where
    this is largest is chosen, the earlier of several.

    Args:
        length: tokens of the sequence.
        windows: half-open ranges that hold every token together, int, (windows, 2).

    Returns:
        `(length,)`: the index of a window.

    Raises:
        ValueError: a token is in no window, or a window goes beyond the sequence.
    """
    chosen = np.zeros(length, np.int64)
    most = np.full(length, -1, np.int64)
    for index, (start, stop) in enumerate(np.asarray(windows, np.int64).tolist()):
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
