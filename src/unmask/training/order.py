"""Which samples each step sees, in which order: pure functions of (seed, epoch, step), so a run can go on anywhere.

Random words come from Philox, a counted generator, by way of `random_raw`: numpy promises that stream for good, which
it does not for `permutation`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["micro_batches", "sample_order", "step_samples", "torch_seed"]

_ORDER, _TORCH = 0, 1  # what the random words are for: each use has a stream of its own


@lru_cache(maxsize=1)  # one epoch is needed at a time, by each of its steps
def sample_order(num_samples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of one epoch: a permutation of 0 ... num_samples - 1, int64, read-only."""
    words = np.random.Philox(np.random.SeedSequence([_ORDER, seed, epoch])).random_raw(num_samples)
    order = np.argsort(words, kind="stable")
    order.setflags(write=False)
    return order


def step_samples(step: int, *, num_samples: int, global_batch_size: int, seed: int) -> NDArray[np.int64]:
    """The samples of one global batch, int64; the last batch of an epoch may be shorter, and is never empty.

    Args:
        step: updates done before this one, over all epochs.
        num_samples: samples an epoch.
        global_batch_size: samples a step, over all processes.
        seed: of the order.
    """
    epoch, position = divmod(step, -(-num_samples // global_batch_size))
    first = position * global_batch_size
    return sample_order(num_samples, seed=seed, epoch=epoch)[first : first + global_batch_size]


def micro_batches(
    samples: NDArray[np.int64], *, rank: int, world_size: int, micro_batch_size: int | None
) -> Iterator[NDArray[np.int64]]:
    """One process's share of a global batch, in runs of at most `micro_batch_size`; no run where its share is empty.

    Shares are neighbouring slices whose lengths differ by one at most.
    """
    share = np.array_split(samples, world_size)[rank]
    size = micro_batch_size or max(1, len(share))
    for first in range(0, len(share), size):
        yield share[first : first + size]


def torch_seed(*, seed: int, step: int, rank: int) -> int:
    """What torch's own generators are seeded with before a step, for layers that draw from them."""
    return int(np.random.SeedSequence([_TORCH, seed, step, rank]).generate_state(1, np.uint64)[0])
