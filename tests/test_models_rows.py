"""Sequences arranged in rows: every token once, few empty slots, and attention as if each sequence were alone.

Run: .venv/bin/python -m pytest tests/test_models_rows.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unmask.models.rows import RowPlan, _arrange, attention_probabilities

NUM_HEADS, HEAD_DIM = 3, 5
LENGTHS = {
    "one_token": [1],
    "ones": [1] * 7,
    "equal": [11] * 17,
    "primes": [2, 61, 3, 5, 37, 1, 7, 31, 11, 67, 13, 1, 17],  # three groups, empty slots in each
    "just_over": [32, 33, 64, 65],
    "500": np.random.default_rng(0).integers(1, 30, 500).tolist(),
}
ROUNDING = {"rtol": 1e-11, "atol": 1e-12}  # of float64


def attend_alone(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], *, is_causal: bool, factors: Tensor | None
) -> Tensor:
    """The definition, one sequence at a time: (T, N * H) -> (T, N * H)."""
    query, key, value = (x.unflatten(-1, (NUM_HEADS, HEAD_DIM)).transpose(0, 1) for x in (query, key, value))
    contexts = []
    for start, length in zip(np.cumsum([0, *lengths[:-1]]).tolist(), lengths, strict=True):
        tokens = slice(start, start + length)
        scores = query[:, tokens] @ key[:, tokens].transpose(1, 2) / math.sqrt(HEAD_DIM)  # (N, S, S)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        probabilities = scores.softmax(-1)
        if factors is not None:
            probabilities = probabilities * factors[tokens, :, :length].transpose(0, 1)
        contexts.append((probabilities @ value[:, tokens]).transpose(0, 1).flatten(1))
    return torch.cat(contexts)


def random_states(total_tokens: int, *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = total_tokens, NUM_HEADS * HEAD_DIM
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def random_factors(total_tokens: int, num_keys: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(total_tokens, NUM_HEADS, num_keys, generator=generator, dtype=torch.float64)


def plan_of(lengths: list[int], *, is_causal: bool = False) -> RowPlan:
    return RowPlan(np.array(lengths), num_heads=NUM_HEADS, is_causal=is_causal, device=torch.device("cpu"))


def assert_attends_as_if_alone(plan: RowPlan, lengths: list[int], *, is_causal: bool, has_factors: bool, seed: int = 0):
    total_tokens = sum(lengths)
    states = random_states(total_tokens, seed=seed)
    factors = random_factors(total_tokens, max(lengths) + 2, seed=seed) if has_factors else None
    expected = attend_alone(*states, lengths, is_causal=is_causal, factors=factors)
    draw = None if factors is None else lambda tokens, num_keys: factors[tokens][..., :num_keys]
    context = plan.attend(*states, dropout_p=0.0, factors=draw)
    torch.testing.assert_close(context, expected, **ROUNDING)
    upstream = torch.randn(context.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    gradients = torch.autograd.grad(context, states, upstream)
    for gradient, alone in zip(gradients, torch.autograd.grad(expected, states, upstream), strict=True):
        torch.testing.assert_close(gradient, alone, **ROUNDING)


def test_a_small_arrangement_by_hand() -> None:
    # Sequence 0 has tokens 0 and 1, sequence 1 tokens 2 to 6, sequence 2 token 7. The longest comes first.
    ((tokens, starts),) = _arrange(np.array([2, 5, 1]))
    assert tokens.tolist() == [[2, 3, 4, 5, 6], [0, 1, 7, -1, -1]]
    assert starts.tolist() == [[0, 0, 0, 0, 0], [0, 0, 2, -1, -1]]
    # With three tokens instead of one, sequence 2 goes first and leaves just the room that sequence 0 needs.
    ((tokens, starts),) = _arrange(np.array([2, 5, 3]))
    assert tokens.tolist() == [[2, 3, 4, 5, 6], [7, 8, 9, 0, 1]]
    assert starts.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 3, 3]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [1, 20, 32, 100, 512])
def test_every_token_has_one_slot_and_few_slots_are_empty(longest: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, longest + 1, 97)
    sequences = np.repeat(np.arange(len(lengths)), lengths)
    positions = np.concatenate([np.arange(length) for length in lengths])
    groups = _arrange(lengths)
    filled = np.concatenate([tokens[tokens >= 0] for tokens, _ in groups])
    assert np.array_equal(np.sort(filled), np.arange(lengths.sum()))
    limits = []
    for tokens, starts in groups:
        assert np.array_equal(tokens >= 0, starts >= 0)
        rows, slots = np.nonzero(tokens >= 0)
        held = tokens[rows, slots]
        assert np.array_equal(slots - starts[rows, slots], positions[held])  # together, and in order
        together = set(zip(rows, starts[rows, slots], sequences[held], strict=True))
        assert len(together) == len(np.unique(sequences[held])) == len({place[:2] for place in together})
        of_group = lengths[np.unique(sequences[held])]
        assert tokens.shape[1] == of_group.max()
        if of_group.max() > 64:  # long sequences: a row each, alike in length, few enough for the cache
            assert len(tokens) == len(of_group)
            assert of_group.min() >= 7 / 8 * of_group.max()
            assert len(tokens) == 1 or tokens.size * tokens.shape[1] <= 2**17
        else:
            limits.append(64 if of_group.max() > 32 else 32)
            assert (of_group > 32).all() or limits[-1] == 32
    assert limits in ([64, 32], [32])  # one group a class of short lengths
    # First fit leaves at most one row half empty, and sequences of the longer classes fill more than half of a row.
    assert sum(tokens.size for tokens, _ in groups) < 2 * lengths.sum() + 32


def test_short_sentences_leave_hardly_a_slot_empty() -> None:
    lengths = np.random.default_rng(0).integers(4, 20, 256)  # CoLA's are like these
    slots = sum(tokens.size for tokens, _ in _arrange(lengths))
    assert slots <= 1.1 * lengths.sum()
    assert len(lengths) * lengths.max() > 1.5 * lengths.sum()  # what a padded batch would compute


@pytest.mark.parametrize("has_factors", [False, True], ids=["plain", "factors"])
@pytest.mark.parametrize("is_causal", [False, True], ids=["both_ways", "causal"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_rows_attend_as_each_sequence_alone(lengths: list[int], is_causal: bool, has_factors: bool) -> None:
    plan = plan_of(lengths, is_causal=is_causal)
    assert_attends_as_if_alone(plan, lengths, is_causal=is_causal, has_factors=has_factors)


def test_one_plan_serves_every_layer() -> None:
    lengths = LENGTHS["primes"]
    plan = plan_of(lengths)
    for layer in range(3):
        assert_attends_as_if_alone(plan, lengths, is_causal=False, has_factors=layer != 1, seed=layer)


def test_a_row_alone_is_a_sequence_alone_bit_for_bit_in_float32() -> None:
    query, key, value = (x.detach().float() for x in random_states(13))
    together = plan_of([13]).attend(query, key, value, dropout_p=0.0, factors=None)
    assert together.dtype == torch.float32
    by_head = (x.view(1, 13, NUM_HEADS, HEAD_DIM).transpose(1, 2) for x in (query, key, value))
    mask = torch.zeros(1, 1, 13, 13)
    alone = torch.nn.functional.scaled_dot_product_attention(*by_head, attn_mask=mask)
    assert torch.equal(together, alone.transpose(1, 2).reshape(13, -1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half(dtype: torch.dtype) -> None:
    lengths = [5, 40, 3]
    states = [x.detach() for x in random_states(48)]
    context = plan_of(lengths).attend(*(x.to(dtype) for x in states), dropout_p=0.0, factors=None)
    assert context.dtype == dtype
    expected = attend_alone(*states, lengths, is_causal=False, factors=None)
    torch.testing.assert_close(context.double(), expected, rtol=0.02, atol=0.02)


def test_torchs_own_dropout_serves_where_there_are_no_factors() -> None:
    lengths = [29] * 60
    query, key, _ = (x.detach() for x in random_states(sum(lengths)))
    ones = torch.ones_like(query)
    torch.manual_seed(0)
    context = plan_of(lengths).attend(query, key, ones, dropout_p=0.25, factors=None)
    # Each value is a sum of probabilities, some dropped and the others scaled up: 1 on average, and seldom 1.
    assert context.mean().item() == pytest.approx(1, abs=0.02)
    assert (context - 1).abs().gt(1e-3).double().mean() > 0.9


def test_attention_probabilities_by_hand() -> None:
    query, key = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[0.0, 1, 0, 0], [math.log(3), 0, 1, 0], [9, 9, 9, 9]])
    mask = torch.tensor([[0, 0, -math.inf]])
    # scores / sqrt(4) are 0 and log 3
    torch.testing.assert_close(attention_probabilities(query, key, mask), torch.tensor([[0.25, 0.75, 0]]))
