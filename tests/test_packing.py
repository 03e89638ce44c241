"""Batches: a small example worked out by hand, and the way from packed to padded and back.

Run: .venv/bin/python -m pytest tests/test_packing.py
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from reference import padded, ragged
from unmask.packing import PackedBatch, PaddedBatch, pack, pack_padded, pad


def assert_same_batch(one: PackedBatch, other: PackedBatch) -> None:
    for field in fields(PackedBatch):
        value, expected = getattr(one, field.name), getattr(other, field.name)
        if isinstance(expected, torch.Tensor):
            assert value.dtype == expected.dtype, field.name
            assert torch.equal(value, expected), field.name
        else:
            assert value == expected, field.name


def test_five_tokens_by_hand() -> None:
    batch = pack([[101, 7, 102], [5, 6]], [[0, 1, 1], [0, 0]], dropout_seeds=[3, 2**63 - 1])
    assert batch.input_ids.tolist() == [101, 7, 102, 5, 6]
    assert batch.token_type_ids.tolist() == [0, 1, 1, 0, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1]
    assert batch.cu_seqlens.tolist() == [0, 3, 5]
    assert batch.dropout_seeds.tolist() == [3, 2**63 - 1]
    assert (batch.max_seqlen, batch.num_sequences, batch.total_tokens) == (3, 2, 5)
    assert batch.cu_seqlens.dtype == torch.int32
    for tensor in (batch.input_ids, batch.token_type_ids, batch.position_ids, batch.dropout_seeds):
        assert tensor.dtype == torch.int64


def test_what_is_left_out() -> None:
    batch = pack([[9], [8, 7]])
    assert batch.token_type_ids.tolist() == [0, 0, 0]
    assert batch.dropout_seeds is None


def test_lists_and_arrays_of_any_integer_type_make_the_same_batch() -> None:
    ids, types = [[4, 1, 3], [2]], [[0, 0, 1], [1]]
    arrays = [np.array(row, dtype=np.int32) for row in ids]
    assert_same_batch(pack(arrays, [np.array(row, dtype=np.uint8) for row in types]), pack(ids, types))


def test_packing_one_array_does_not_share_its_memory() -> None:
    ids = np.array([4, 1, 3])
    batch = pack([ids])
    ids[:] = 0
    assert batch.input_ids.tolist() == [4, 1, 3]


@pytest.mark.parametrize(
    ("sequences", "lengths"), [([], r"\[\]"), ([[]], r"\[0\]"), ([[1, 2], [], [3]], r"\[2, 0, 1\]")]
)
def test_an_empty_sequence_or_none_is_refused(sequences: list[list[int]], lengths: str) -> None:
    with pytest.raises(ValueError, match=f"every sequence needs at least one token, got lengths {lengths}"):
        pack(sequences)


@pytest.mark.parametrize("types", [[[0, 0], [0]], [[0, 0, 0]], [[0, 0, 0], [0], [0]], [[0], [0, 0, 0]]])
def test_token_types_of_another_shape_are_refused(types: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="token_type_ids and input_ids differ in shape"):
        pack([[1, 2, 3], [4]], types)


def test_another_number_of_dropout_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 sequences need as many dropout_seeds, got 1"):
        pack([[1, 2, 3], [4]], dropout_seeds=[5])


def test_some_sequences_are_a_batch_of_their_own() -> None:
    lists = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14]]
    batch = pack(lists, [[0, 1, 1], [0], [1, 0], [0] * 4], dropout_seeds=[3, 1, 4, 1])
    for first, stop in ((0, 4), (1, 3), (3, 4)):
        part, alone = batch.sequences(first, stop), pack(lists[first:stop], dropout_seeds=[3, 1, 4, 1][first:stop])
        for name in ("input_ids", "position_ids", "cu_seqlens", "dropout_seeds"):
            assert torch.equal(getattr(part, name), getattr(alone, name))
            assert getattr(part, name).dtype == getattr(alone, name).dtype
        assert part.max_seqlen == alone.max_seqlen
    assert batch.sequences(1, 3).token_type_ids.tolist() == [0, 1, 0]
    assert pack(lists).sequences(0, 2).dropout_seeds is None


def test_a_rectangle_filled_in() -> None:
    batch = PaddedBatch.of(torch.tensor([[3, 4, 5], [6, 7, 0]]))
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2]]
    assert batch.dropout_seeds is None
    assert batch.max_seqlen == 3


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64])
def test_real_tokens_are_taken_out_wherever_they_stand(dtype: torch.dtype) -> None:
    ids = torch.tensor([[0, 0, 21], [11, 12, 0], [31, 0, 33]])
    mask = torch.tensor([[0, 0, 1], [1, 1, 0], [1, 0, 1]], dtype=dtype)
    batch = pack_padded(PaddedBatch.of(ids, mask, token_type_ids=ids % 2))
    assert batch.input_ids.tolist() == [21, 11, 12, 31, 33]
    assert batch.token_type_ids.tolist() == [1, 1, 0, 1, 1]
    assert batch.position_ids.tolist() == [2, 0, 1, 0, 2]  # the rectangle's own
    assert batch.cu_seqlens.tolist() == [0, 1, 3, 5]
    assert batch.cu_seqlens.dtype == torch.int32
    assert batch.max_seqlen == 2


def test_a_row_without_a_real_token_is_refused() -> None:
    mask = torch.tensor([[1, 0], [0, 0]])
    with pytest.raises(ValueError, match="a row of attention_mask has no real token"):
        pack_padded(PaddedBatch.of(torch.ones(2, 2, dtype=torch.int64), mask))


def test_packed_to_padded_and_back() -> None:
    batch = ragged([3, 1, 7, 2, 5], seeds=True)
    by_pad = PaddedBatch(
        input_ids=pad(batch.input_ids, batch.cu_seqlens),
        attention_mask=pad(torch.ones_like(batch.input_ids), batch.cu_seqlens),
        token_type_ids=pad(batch.token_type_ids, batch.cu_seqlens),
        position_ids=pad(batch.position_ids, batch.cu_seqlens),
        dropout_seeds=batch.dropout_seeds,
    )
    assert by_pad.input_ids.shape == (5, 7)
    assert_same_batch(pack_padded(by_pad), batch)
    assert_same_batch(pack_padded(padded(batch, length=11)), batch)


def test_padding_takes_the_value_asked_for_and_keeps_the_dtype() -> None:
    cu_seqlens = torch.tensor([0, 1, 3], dtype=torch.int32)
    labels = pad(torch.tensor([4, 5, 6]), cu_seqlens, value=-100)
    assert labels.tolist() == [[4, -100], [5, 6]]
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("has_seeds", [True, False])
@pytest.mark.parametrize("make", [lambda batch: batch, padded], ids=["packed", "padded"])
def test_moving_takes_every_tensor_along(make, has_seeds: bool) -> None:
    batch = make(ragged([2, 3], seeds=has_seeds))
    moved = batch.to("meta")
    assert type(moved) is type(batch)
    for field in fields(batch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert (after.device.type, after.dtype, after.shape) == ("meta", before.dtype, before.shape), field.name
            assert before.device.type == "cpu"
        else:
            assert after == before, field.name
