"""Batches of texts: packed, with no padding, or padded as an exported graph and other libraries have them.

Axes: B sequences, S padded length, T tokens of all sequences together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from unmask.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OnDevice", "PackedBatch", "PaddedBatch", "pack", "pack_padded", "pad"]


class OnDevice:
    """What all batches share: moving every tensor they hold, and every batch."""

    def to(self, device: torch.device | str) -> Self:
        moved: dict[str, Any] = {}
        to_accelerator = torch.device(device).type != "cpu"  # only then does the stream order the copy before its use
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device, non_blocking=to_accelerator)
            elif isinstance(value, OnDevice):
                moved[field.name] = value.to(device)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class PackedBatch(OnDevice):
    """Sequences laid end to end in one run of real tokens.

    Args:
        input_ids: token ids, int64, (T,).
        token_type_ids: 0 for the first text of a pair and 1 for the second, int64, (T,).
        position_ids: position of each token in its own sequence, from 0, int64, (T,).
        cu_seqlens: where each sequence starts, and T last, int32, (B + 1,).
        max_seqlen: tokens in the longest sequence.
        dropout_seeds: one seed a sequence, int64, (B,): dropout is then a pure function of (seed, layer, position),
            the same however the sequences are batched. None leaves dropout to torch's own generator.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    dropout_seeds: Tensor | None = None

    @property
    def num_sequences(self) -> int:
        return len(self.cu_seqlens) - 1

    @property
    def total_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def first_rows(self) -> Tensor:
        """Where each sequence's first token stands among the packed tokens, int32, (B,)."""
        return self.cu_seqlens[:-1]

    def last_rows(self, *, pad_token_id: int | None) -> Tensor:
        """Where each sequence's last token stands that is not this id, int64, (B,); its first if all of them are."""
        last = self.cu_seqlens[1:].to(torch.int64) - 1
        if pad_token_id is None:
            return last
        rows = torch.arange(len(self.input_ids), device=last.device)
        words = torch.where(self.input_ids != pad_token_id, rows, 0)
        return torch.maximum(words.cummax(0).values[last], self.cu_seqlens[:-1])

    def sequences(self, first: int, stop: int) -> PackedBatch:
        """Take the sequences from one up to another, not included, as a batch of their own that shares its memory."""
        start, end = self.cu_seqlens[[first, stop]].tolist()
        cu_seqlens = self.cu_seqlens[first : stop + 1] - start
        return PackedBatch(
            input_ids=self.input_ids[start:end],
            token_type_ids=self.token_type_ids[start:end],
            position_ids=self.position_ids[start:end],
            cu_seqlens=cu_seqlens,
            max_seqlen=int(cu_seqlens.diff().max()),
            dropout_seeds=None if self.dropout_seeds is None else self.dropout_seeds[first:stop],
        )


@dataclass(frozen=True, kw_only=True)
class PaddedBatch(OnDevice):
    """Sequences as rows of one rectangle, as Hugging Face's models take them.

    Args:
        input_ids: token ids, int64, (B, S).
        attention_mask: true or 1 = a real token, bool or int, (B, S).
        token_type_ids: int64, (B, S).
        position_ids: position of each column, int64, (1, S) or (B, S).
        dropout_seeds: as in `PackedBatch`, int64, (B,).
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    dropout_seeds: Tensor | None = None

    @property
    def max_seqlen(self) -> int:
        """S, padding included."""
        return self.input_ids.shape[1]

    @property
    def first_rows(self) -> Tensor:
        """Where each sequence's first token stands among the B * S, int64, (B,)."""
        batch_size, length = self.input_ids.shape
        return torch.arange(batch_size, device=self.input_ids.device) * length

    def last_rows(self, *, pad_token_id: int | None) -> Tensor:
        """Where each sequence's last token stands that is real and not this id, int64, (B,); its first if none is."""
        is_word = self.attention_mask.bool()
        if pad_token_id is not None:
            is_word = is_word & (self.input_ids != pad_token_id)
        columns = torch.arange(is_word.shape[1], device=is_word.device)
        return self.first_rows + (is_word * columns).argmax(1)

    @classmethod
    def of(
        cls,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> PaddedBatch:
        """Fill in what is left out: every token real, all of the first text, positions from 0."""
        return cls(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            token_type_ids=torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
            position_ids=(
                torch.arange(input_ids.shape[1], device=input_ids.device)[None]
                if position_ids is None
                else position_ids
            ),
        )


def pack(
    input_ids: Ragged | Sequence[Sequence[int] | np.ndarray],
    token_type_ids: Ragged | Sequence[Sequence[int] | np.ndarray] | None = None,
    *,
    dropout_seeds: Sequence[int] | np.ndarray | None = None,
) -> PackedBatch:
    """Lay sequences end to end.

    Args:
        input_ids: one sequence of token ids a text, none of them empty; a `Ragged` of them takes no loop.
        token_type_ids: the same shape; all zeros if left out.
        dropout_seeds: one non-negative integer below 2**63 a text.

    Raises:
        ValueError: if there is no sequence, one is empty, or the shapes or numbers differ.
    """
    ids = _end_to_end(input_ids)
    types = None if token_type_ids is None else _end_to_end(token_type_ids)
    lengths = ids.lengths
    if not len(lengths) or not lengths.all():
        raise ValueError(f"every sequence needs at least one token, got lengths {lengths.tolist()}")
    if types is not None and not np.array_equal(types.offsets, ids.offsets):
        raise ValueError("token_type_ids and input_ids differ in shape")
    if dropout_seeds is not None and len(dropout_seeds) != len(lengths):
        raise ValueError(f"{len(lengths)} sequences need as many dropout_seeds, got {len(dropout_seeds)}")
    total_tokens = len(ids.values)
    position_ids = np.arange(total_tokens) - np.repeat(ids.offsets[:-1], lengths)
    return PackedBatch(
        input_ids=torch.from_numpy(ids.values),
        token_type_ids=torch.from_numpy(np.zeros(total_tokens, np.int64) if types is None else types.values),
        position_ids=torch.from_numpy(position_ids),
        cu_seqlens=torch.from_numpy(ids.offsets.astype(np.int32)),
        max_seqlen=int(lengths.max()),
        dropout_seeds=None if dropout_seeds is None else torch.from_numpy(np.asarray(dropout_seeds, dtype=np.int64)),
    )


def pack_padded(batch: PaddedBatch) -> PackedBatch:
    """Take the real tokens out of a rectangle. Sequences keep their order; positions are the rectangle's own.

    Raises:
        ValueError: if a row has no real token.
    """
    is_real = batch.attention_mask.bool()
    lengths = is_real.sum(dim=1)
    if not lengths.all():
        raise ValueError("a row of attention_mask has no real token")
    cu_seqlens = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=is_real.device)
    cu_seqlens[1:] = lengths.cumsum(0)
    return PackedBatch(
        input_ids=batch.input_ids[is_real],
        token_type_ids=batch.token_type_ids[is_real],
        position_ids=batch.position_ids.expand_as(is_real)[is_real],
        cu_seqlens=cu_seqlens,
        max_seqlen=int(lengths.max()),
        dropout_seeds=batch.dropout_seeds,
    )


def pad(packed: Tensor, cu_seqlens: Tensor, *, value: float = 0) -> Tensor:
    """Turn packed rows (T, ...) into a rectangle (B, S, ...), `value` where there is no token."""
    return torch.nn.utils.rnn.pad_sequence(
        list(packed.split(cu_seqlens.diff().tolist())), batch_first=True, padding_value=value
    )


def _end_to_end(sequences: Ragged | Sequence[Sequence[int] | np.ndarray]) -> Ragged:
    """Copy sequences, so that a batch shares no memory with them."""
    if isinstance(sequences, Ragged):
        return Ragged(sequences.values.astype(np.int64), sequences.offsets)
    return Ragged.of(sequences, np.int64)
