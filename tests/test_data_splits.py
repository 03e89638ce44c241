"""Train and dev parts. Run alone: `.venv/bin/python -m pytest tests/test_data_splits.py`."""

from __future__ import annotations

import pytest

from unmask.data import split_indices
from unmask.errors import DataError, SettingsError


def test_every_row_is_in_one_part_and_dev_is_rounded_up() -> None:
    for num_rows, dev_fraction, num_dev in [(8_551, 0.1, 856), (100, 0.07, 7), (11, 0.5, 6), (2, 0.001, 1)]:
        train, dev = split_indices(num_rows, dev_fraction=dev_fraction, seed=3)
        assert (len(train), len(dev)) == (num_rows - num_dev, num_dev)
        assert sorted(train + dev) == list(range(num_rows))
        assert train == sorted(train)
        assert dev == sorted(dev)


def test_the_parts_of_a_seed_are_the_same_everywhere() -> None:
    assert split_indices(13, dev_fraction=0.3, seed=0)[1] == [2, 3, 8, 11]
    assert split_indices(13, dev_fraction=0.3, seed=2**64 - 1)[1] == [5, 6, 7, 11]
    assert split_indices(997, dev_fraction=0.1, seed=1) != split_indices(997, dev_fraction=0.1, seed=2)


def test_a_larger_dev_part_holds_the_smaller() -> None:
    smaller, larger = (set(split_indices(101, dev_fraction=fraction, seed=5)[1]) for fraction in (0.1, 0.3))
    assert smaller < larger


def test_rows_are_held_back_evenly() -> None:
    held_back = [row for seed in range(200) for row in split_indices(50, dev_fraction=0.2, seed=seed)[1]]
    counts = [held_back.count(row) for row in range(50)]  # binomial(200, 0.2): mean 40, standard deviation 5.7
    assert min(counts) > 40 - 5 * 5.7
    assert max(counts) < 40 + 5 * 5.7


@pytest.mark.parametrize(("num_rows", "dev_fraction"), [(0, 0.1), (1, 0.5), (3, 0.9)])
def test_an_empty_part_is_an_error(num_rows: int, dev_fraction: float) -> None:
    with pytest.raises(DataError, match=f"{num_rows} rows? cannot be parted into train and dev with {dev_fraction}"):
        split_indices(num_rows, dev_fraction=dev_fraction, seed=0)


@pytest.mark.parametrize("dev_fraction", [0.0, 1.0, -0.1, float("nan")])
def test_the_fraction_lies_between_0_and_1(dev_fraction: float) -> None:
    with pytest.raises(SettingsError, match=f"must lie between 0 and 1, not at {dev_fraction}"):
        split_indices(10, dev_fraction=dev_fraction, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(seed: int) -> None:
    with pytest.raises(SettingsError, match=rf"a seed must lie between 0 and 2\*\*64 - 1, not at {seed}"):
        split_indices(10, dev_fraction=0.1, seed=seed)


def test_one_sentence_is_asked_for_its_blank_lines() -> None:
    with pytest.raises(DataError, match=r"^1 sentence cannot be parted .* is the blank line between sentences missing"):
        split_indices(1, dev_fraction=0.1, seed=0, unit="sentences")
    with pytest.raises(DataError, match=r"^1 question cannot be .* dev: give a separate dev file or more questions$"):
        split_indices(1, dev_fraction=0.1, seed=0, unit="questions")
