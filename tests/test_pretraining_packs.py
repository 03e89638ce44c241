"""Packs of sequences. Run alone: `.venv/bin/python -m pytest tests/test_pretraining_packs.py`."""

from __future__ import annotations

import time

import numpy as np
import pytest

from unmask.errors import SettingsError
from unmask.pretraining.packs import pack_to_budget

_RANDOM = np.random.default_rng(0)
_LENGTHS = {  # of texts as they are: how long, how many, and the most tokens a sequence may have
    "sentences": np.clip(_RANDOM.lognormal(2.3, 0.4, 8_551).astype(np.int64), 4, 47),  # CoLA: 11 tokens, 47 at most
    "lines": np.clip(_RANDOM.lognormal(4.3, 0.9, 30_011).astype(np.int64), 3, 512),  # WikiText, cut at 512
    "reviews": np.clip(_RANDOM.lognormal(2.9, 0.7, 20_011).astype(np.int64), 3, 128),
    "any": _RANDOM.integers(1, 513, 20_011),
    "segment pairs": np.where(_RANDOM.random(20_011) < 0.9, 128, _RANDOM.integers(5, 129, 20_011)),
    "equal": np.full(20_000, 128),
}


@pytest.mark.parametrize("budget", [512, 1024, 4096])
@pytest.mark.parametrize("name", _LENGTHS)
def test_packs_are_full_and_hold_every_sequence_once(name: str, budget: int) -> None:
    lengths = _LENGTHS[name]
    packs = pack_to_budget(lengths, budget=budget, seed=7)
    sizes = np.array([lengths[pack].sum() for pack in packs])
    assert sizes.max() <= budget
    assert sorted(np.concatenate(packs).tolist()) == list(range(len(lengths)))
    assert packs[0].dtype == np.int64
    full = np.sort(sizes)[1:]  # but for what is left over
    assert full.mean() > 0.99 * budget
    assert np.quantile(full, 0.05) > 0.95 * budget


@pytest.mark.parametrize("name", ["sentences", "lines", "reviews", "any"])
def test_packs_are_not_sorted_by_length(name: str) -> None:
    lengths = _LENGTHS[name]
    packs = pack_to_budget(lengths, budget=4096, seed=7)
    means = np.array([lengths[pack].mean() for pack in packs])
    # As if each pack had been drawn at random, four standard deviations at most: early or late, long or short.
    expected = lengths.std() / np.sqrt(np.mean([len(pack) for pack in packs]))
    assert means.std() < 2 * expected
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 4 / np.sqrt(len(means))
    assert abs(np.corrcoef([pack.mean() for pack in packs], means)[0, 1]) < 4 / np.sqrt(len(means))


def test_a_seed_fixes_the_packs() -> None:
    lengths = _LENGTHS["reviews"]
    first, second, other = (
        [pack.tolist() for pack in pack_to_budget(lengths, budget=512, seed=seed)] for seed in (3, 3, 4)
    )
    assert first == second != other
    assert [pack.tolist() for pack in pack_to_budget(np.array([5, 3, 2, 4, 1]), budget=7, seed=2**64 - 1)] == [
        [4],
        [2, 0],
        [1, 3],
    ]


def test_few_sequences() -> None:
    assert pack_to_budget(np.array([], np.int64), budget=5, seed=0) == []
    assert [pack.tolist() for pack in pack_to_budget(np.array([5]), budget=5, seed=0)] == [[0]]
    assert sorted(pack.tolist() for pack in pack_to_budget(np.array([5, 4, 5]), budget=5, seed=0)) == [[0], [1], [2]]


def test_a_million_sequences_take_seconds() -> None:
    lengths = np.clip(np.random.default_rng(1).lognormal(3.3, 0.9, 1_000_000).astype(np.int64), 3, 128)
    began = time.perf_counter()
    packs = pack_to_budget(lengths, budget=2048, seed=0)
    assert time.perf_counter() - began < 30  # 1 s on one core
    assert lengths.sum() > 0.999 * 2048 * len(packs)


def test_a_sequence_longer_than_the_budget_is_an_error() -> None:
    with pytest.raises(
        SettingsError, match="a sequence has 129 tokens, and a batch may have 128: raise the token budg"
    ):
        pack_to_budget(np.array([5, 129, 7]), budget=128, seed=0)
