"""Sequences grouped so that each group fills a budget of tokens: what one forward pass takes, with next to no waste."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pack_to_budget"]

_PURPOSE = int.from_bytes(b"packs")  # second half of the generator's key: no other use of a seed meets this stream


def pack_to_budget(lengths: NDArray[np.int64], *, budget: int, seed: int) -> list[NDArray[np.int64]]:
    """Group sequences so that the tokens of each group come close to a budget and never exceed it.

    A pack takes sequences in a random order, and then the longest that still fit. So packs hold short and long
    sequences together, as chance has it, and on the lengths of natural text they are 99 % full. Where almost all
    sequences are of one length, choose a budget that is a multiple of it. Which sequences share a pack is fixed by the
    seed: how full packs are can be told beforehand. A million sequences take two seconds.

    Args:
        lengths: tokens of each sequence, 1 or more, int64, (sequences,).
        budget: tokens of a pack at most.
        seed: from 0 to 2**64 - 1.

    Returns:
        The indices of each pack's sequences, int64, in a random order of packs; every sequence is in one pack.

    Raises:
        SettingsError: a sequence is longer than the budget.
    """
    if not len(lengths):
        return []
    if (longest := int(lengths.max())) > budget:
        raise SettingsError(
            f"a sequence has {longest} tokens, and a batch may have {budget}: raise the token budget, or lower "
            "max_seq_length"
        )
    generator = np.random.Philox(key=np.array([seed, _PURPOSE], dtype=np.uint64))
    order = np.argsort(generator.random_raw(len(lengths)), kind="stable")
    of_length = _ShuffledByLength(lengths, order, longest)
    is_taken = of_length.is_taken
    shuffled, shuffled_lengths = order.tolist(), lengths[order].tolist()

    members: list[int] = []  # of all packs, end to end
    edges = [0]
    position, end = 0, len(shuffled)
    num_tokens = int(lengths.sum())
    tokens_left, sequences_left = num_tokens, end
    while sequences_left:
        room = budget
        # Filling up early takes long sequences, and late short ones: whichever kind is left over is taken.
        is_early = tokens_left * end > num_tokens * sequences_left
        while position < end:
            if not is_taken[shuffled[position]]:
                if shuffled_lengths[position] > room or (is_early and room <= longest and room < budget):
                    break
                is_taken[shuffled[position]] = 1
                members.append(shuffled[position])
                room -= shuffled_lengths[position]
            position += 1
        while room and (filling := of_length.take_longest(min(room, longest))) is not None:
            members.append(filling)
            room -= int(lengths[filling])
        tokens_left -= budget - room
        sequences_left -= len(members) - edges[-1]
        edges.append(len(members))
    packs = np.split(np.array(members, dtype=np.int64), edges[1:-1])
    return [packs[index] for index in np.argsort(generator.random_raw(len(packs)), kind="stable")]


class _ShuffledByLength:
    """Sequences not taken yet, found by their length.

    Args:
        lengths: of each sequence, int64, (sequences,).
        order: a permutation of the sequences; those of one length are taken in its reversed order, so that they are
            the ones that come last otherwise.
        longest: the greatest length.

    Attributes:
        is_taken: 1 for each sequence that is.
    """

    def __init__(self, lengths: NDArray[np.int64], order: NDArray[np.int64], longest: int) -> None:
        self.is_taken = bytearray(len(lengths))
        by_length = order[np.argsort(lengths[order], kind="stable")]
        ends = np.searchsorted(lengths[by_length], np.arange(longest + 1), side="right")
        self._sequences: list[int] = by_length.tolist()
        self._ends: list[int] = ends.tolist()  # of the sequences of each length that are not taken yet
        self._starts = [0, *self._ends[:-1]]
        self._not_longer = list(range(longest + 1))  # a length to try instead; itself while there is a sequence of it

    def take_longest(self, room: int) -> int | None:
        """Take a sequence of at most `room` tokens, the longest there is; None if there is none."""
        while (length := self._find(room)) > 0:
            if self._ends[length] == self._starts[length]:
                self._not_longer[length] = length - 1
                continue
            self._ends[length] -= 1
            sequence = self._sequences[self._ends[length]]
            if not self.is_taken[sequence]:
                self.is_taken[sequence] = 1
                return sequence
        return None

    def _find(self, length: int) -> int:
        """Return the first length from here down that may have a sequence: disjoint sets, with path halving."""
        parents = self._not_longer
        while parents[length] != length:
            parents[length] = parents[parents[length]]
            length = parents[length]
        return length
