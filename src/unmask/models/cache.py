"""The keys and values of tokens already read, so that a causal model reads each token of a growing text once.

Axes: B sequences, T new tokens of all of them, N heads, H head dim, C capacity, Q most new tokens of a sequence,
K tokens of the longest sequence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from unmask.packing import PackedBatch, PaddedBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KeyValueCache"]


class KeyValueCache:
    """Room for the keys and values of some sequences; pass it to an encoder with each batch that continues them.

    A token's place is its position in its own sequence, so sequences of different lengths need no padding on the left.
    Memory is taken at the first batch: 2 * layers * B * C * D numbers.

    Args:
        num_sequences: B.
        capacity: C, tokens the longest sequence can grow to.

    Attributes:
        lengths: tokens of each sequence so far, int64, (B,), on CPU.
        starts: what lengths was before the last batch.
    """

    def __init__(self, *, num_sequences: int, capacity: int) -> None:
        self.capacity = capacity
        self.lengths = torch.zeros(num_sequences, dtype=torch.int64)
        self.starts = self.lengths
        self._places = (self.lengths, self.lengths)  # sequence and position of each token of the last batch, (T,)
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values of each call in a pass, (B, N, C, H)

    def extend(self, batch: PackedBatch | PaddedBatch) -> PackedBatch:
        """Count the tokens of a batch that continues every sequence, and move its positions to where each one ends.

        Raises:
            ValueError: if the batch is padded, has another number of sequences, or there is no room.
        """
        if isinstance(batch, PaddedBatch):
            raise ValueError("a cache takes packed batches: pack_padded makes one")
        if batch.num_sequences != len(self.lengths):
            raise ValueError(
                f"the batch has {batch.num_sequences} sequences and the cache {len(self.lengths)}: each must go on"
            )
        new = batch.cu_seqlens.diff().cpu().to(torch.int64)
        if (longest := int((self.lengths + new).max())) > self.capacity:
            raise ValueError(f"a sequence grows to {longest} tokens; this cache has room for {self.capacity}")
        self.starts, self.lengths = self.lengths, self.lengths + new
        device = batch.position_ids.device
        sequences = torch.arange(len(new)).repeat_interleave(new).to(device)
        self._places = (sequences, batch.position_ids + self.starts.to(device)[sequences])
        return replace(batch, position_ids=self._places[1])

    def append(self, call: int, key: Tensor, value: Tensor, *, num_heads: int) -> tuple[Tensor, Tensor]:
        """Put the keys and values of the last batch's tokens in their places.

        Args:
            call: which attention of the pass this is, from 0.
            key: (T, N * H), in the order of the batch; value likewise.
            num_heads: N.

        Returns:
            All keys and values there are, each (B, N, K, H); places past a sequence's end hold anything.
        """
        key, value = key.unflatten(-1, (num_heads, -1)), value.unflatten(-1, (num_heads, -1))  # (T, N, H)
        if call == len(self._layers):
            shape = (len(self.lengths), num_heads, self.capacity, key.shape[-1])
            self._layers.append((key.new_zeros(shape), value.new_zeros(shape)))
        longest = int(self.lengths.max())
        sequences, positions = self._places
        keys, values = self._layers[call]
        keys[sequences, :, positions] = key
        values[sequences, :, positions] = value
        return keys[:, :, :longest], values[:, :, :longest]

    def select(self, sequences: Tensor) -> None:
        """Keep these sequences, int64, in this order: some may be dropped, others repeated."""
        self.lengths = self.starts = self.lengths[sequences]
        self._layers = [
            (keys[sequences.to(keys.device)], values[sequences.to(values.device)]) for keys, values in self._layers
        ]
