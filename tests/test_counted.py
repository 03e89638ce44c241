"""Counted random numbers. Run: pytest tests/test_counted.py."""

from __future__ import annotations

import numpy as np

from unmask.counted import keys, mix, uniform


def test_the_mixer_is_splitmix64():
    # The first outputs for the seed 1234567, as Vigna's splitmix64.c and java.util.SplittableRandom give them.
    states = [(1234567 + (step + 1) * 0x9E3779B97F4A7C15) % 2**64 for step in range(3)]
    assert mix(np.array(states, np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_key_is_the_same_alone_and_in_an_array():
    together = keys(1, 2, np.arange(7))
    assert together.tolist() == [int(keys(1, 2, index)) for index in range(7)]
    assert len(set(together.tolist()) | set(keys(2, 1, np.arange(7)).tolist())) == 14


def test_numbers_are_uniform_and_independent_of_the_order_asked_for():
    numbers = uniform(keys(3, np.arange(1000))[:, None], np.arange(101))
    assert numbers.shape == (1000, 101)
    assert ((numbers >= 0) & (numbers < 1)).all()
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    assert ((counts - numbers.size / 50) ** 2 / (numbers.size / 50)).sum() < 95  # chi-square, 49 degrees: p < 1e-4
    assert uniform(keys(3, 500), [100, 7]).tolist() == numbers[500, [100, 7]].tolist()
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.12
