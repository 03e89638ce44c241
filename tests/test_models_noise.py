"""Counted dropout: a pure function of (seed, position, site, value), and as good as random.

Run: .venv/bin/python -m pytest tests/test_models_noise.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from reference import one_by_one, padded, ragged
from unmask.counted import mix
from unmask.models.noise import Noise

if TYPE_CHECKING:
    from unmask.packing import PackedBatch, PaddedBatch

GOLDEN = 0x9E3779B97F4A7C15
WORD = 2**64 - 1
LIMIT = 4.5  # standard deviations; the draws are fixed, so a test that passes keeps passing


def splitmix64(number: int) -> int:
    """The finaliser, in plain integers."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & WORD
    number = (number ^ number >> 27) * 0x94D049BB133111EB & WORD
    return number ^ number >> 31


def is_dropped(p: float, *, seed: int, position: int, site: int, value: int, head: int = 0) -> bool:
    """The definition of the noise, one number at a time."""
    token = splitmix64(splitmix64(seed) + position * GOLDEN & WORD)
    at_site = splitmix64(token + site * GOLDEN & WORD)
    number = splitmix64(at_site + ((head << 20) + value // 4) * GOLDEN & WORD)
    return (number >> 16 * (value % 4)) % 2**16 < round(p * 2**16)


def noise_of(batch: PackedBatch | PaddedBatch) -> Noise:
    shape = batch.input_ids.shape
    seeds = batch.dropout_seeds
    if len(shape) == 2:
        return Noise(seeds[:, None].expand(shape), batch.position_ids.expand(shape))
    return Noise(seeds.repeat_interleave(batch.cu_seqlens.diff()), batch.position_ids)


def draw(noise: Noise, *, max_seqlen: int = 8) -> list[Tensor]:
    """A few sites of a forward pass, in order."""
    return [
        noise.hidden(7, 0.4),
        noise.attention(3, max_seqlen, 0.3)[..., :8],
        noise.hidden(5, 0.2),
        noise.attention(2, max_seqlen, 0.5)[..., :8],
    ]


def test_the_finaliser_gives_the_published_numbers() -> None:
    # The first outputs for the seed 1234567, as Vigna's splitmix64.c and java.util.SplittableRandom give them.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = [1234567 + (step + 1) * GOLDEN & WORD for step in range(4)]
    assert [splitmix64(state) for state in states] == expected
    assert mix(np.array(states, dtype=np.uint64)).tolist() == expected


def test_factors_follow_the_definition() -> None:
    p, seeds, positions = 0.37, [0, 12345, 2**63 - 1], [0, 3, 511]
    noise = Noise(torch.tensor(seeds), torch.tensor(positions))
    first, maps, third = noise.hidden(11, p), noise.attention(3, 6, p), noise.hidden(2, p)
    for row, (seed, position) in enumerate(zip(seeds, positions, strict=True)):
        place = {"seed": seed, "position": position}
        assert (first[row] == 0).tolist() == [is_dropped(p, **place, site=1, value=v) for v in range(11)]
        assert (third[row] == 0).tolist() == [is_dropped(p, **place, site=3, value=v) for v in range(2)]
        for head in range(3):
            expected = [is_dropped(p, **place, site=2, value=v, head=head) for v in range(maps.shape[-1])]
            assert (maps[row, head] == 0).tolist() == expected


def test_a_slice_kept_for_ever() -> None:
    # Written down from `is_dropped` above. A change here changes every training run there was.
    noise = Noise(torch.tensor([42]), torch.tensor([3]))
    slices = [noise.hidden(24, 0.25)[0], noise.attention(2, 24, 0.5)[0, 1]]
    assert ["".join(".x"[int(f == 0)] for f in values) for values in slices] == [
        "x..x....x..........x....",
        "xxxx....x..x.xx.xxxx...x",
    ]


def test_any_order_split_and_layout_gives_a_token_the_same_factors() -> None:
    batch = ragged([5, 1, 8, 3], seeds=True)
    rectangle = padded(batch, length=11)
    expected = draw(noise_of(batch))
    for factors, in_box in zip(expected, draw(noise_of(rectangle)), strict=True):
        assert torch.equal(in_box[rectangle.attention_mask.bool()], factors)
    alone = [draw(noise_of(single)) for single in one_by_one(batch)]
    for factors, *parts in zip(expected, *alone, strict=True):
        assert torch.equal(torch.cat(parts), factors)
    order = torch.randperm(batch.total_tokens, generator=torch.Generator().manual_seed(0))
    seeds = batch.dropout_seeds.repeat_interleave(batch.cu_seqlens.diff())
    for factors, shuffled in zip(expected, draw(Noise(seeds[order], batch.position_ids[order])), strict=True):
        assert torch.equal(shuffled, factors[order])


@pytest.mark.parametrize("max_seqlen", [8, 9, 31, 512])
def test_factors_do_not_depend_on_how_many_are_asked_for(max_seqlen: int) -> None:
    batch = ragged([5, 8], seeds=True)
    for few, many in zip(draw(noise_of(batch)), draw(noise_of(batch), max_seqlen=max_seqlen), strict=True):
        assert torch.equal(many, few)
    assert torch.equal(noise_of(batch).hidden(max_seqlen, 0.3)[:, :7], noise_of(batch).hidden(7, 0.3))
    assert max_seqlen <= noise_of(batch).attention(1, max_seqlen, 0.3).shape[-1] < max_seqlen + 4


def test_sites_are_counted_by_calls_alone() -> None:
    batch = ragged([6, 2], seeds=True)
    one, other = noise_of(batch), noise_of(batch)
    one.hidden(3, 0.1)
    other.attention(2, 9, 0.9)
    assert torch.equal(one.hidden(40, 0.5), other.hidden(40, 0.5))
    assert not torch.equal(one.hidden(40, 0.5), noise_of(batch).hidden(40, 0.5))


def test_the_batch_is_left_as_it_was() -> None:
    seeds, positions = torch.tensor([5, 6]), torch.tensor([0, 1])
    draw(Noise(seeds, positions))
    assert seeds.tolist() == [5, 6]
    assert positions.tolist() == [0, 1]


def plain_draws(p: float) -> list[Tensor]:
    """A million factors of hidden states and as many of attention, of the plainest seeds and positions there are."""
    seeds, positions = torch.arange(25)[:, None].expand(25, 40), torch.arange(40).expand(25, 40)
    noise = Noise(seeds, positions)
    return [noise.hidden(1000, p), noise.attention(4, 252, p)]


@pytest.mark.parametrize("p", [2**-10, 0.05, 0.1, 0.37, 0.5, 0.9])
def test_as_many_are_dropped_as_were_asked_for(p: float) -> None:
    rate = round(p * 2**16) / 2**16  # probabilities are exact to 2**-16
    for factors in plain_draws(p):
        assert factors.dtype == torch.float32
        assert factors.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-7)
        share = (factors == 0).double().mean().item()
        deviation = math.sqrt(rate * (1 - rate) / factors.numel())
        assert abs(share - rate) < LIMIT * deviation
        assert abs(factors.double().mean().item() - 1) < (LIMIT * deviation + 2**-17) / (1 - p)


@pytest.mark.parametrize("lag", [1, 2, 4, 16])
@pytest.mark.parametrize("axis", ["seed", "position", "site", "head", "value"])
def test_neighbours_know_nothing_of_each_other(axis: str, lag: int) -> None:
    p = 0.1
    noise = Noise(torch.arange(23)[:, None].expand(23, 19), torch.arange(19).expand(23, 19))
    # (site, seed, position, head, value)
    dropped = torch.stack([noise.attention(17, 20, p) for _ in range(18)]) == 0
    rate = round(p * 2**16) / 2**16
    centred = (dropped.double() - rate) / math.sqrt(rate * (1 - rate))
    along = centred.movedim(["site", "seed", "position", "head", "value"].index(axis), 0)
    products = along[lag:] * along[:-lag]
    assert abs(products.sum().item()) < LIMIT * math.sqrt(products.numel())


def test_the_four_values_of_one_number_are_independent() -> None:
    # p = 1/2 makes each of the 16 patterns as likely as any other: chi-square, 15 degrees of freedom.
    kept = plain_draws(0.5)[0].bool().unflatten(-1, (-1, 4))
    patterns = (kept * torch.tensor([1, 2, 4, 8])).sum(-1)
    counts, expected = patterns.flatten().bincount(minlength=16).double(), patterns.numel() / 16
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 37.7  # exceeded once in a thousand times
