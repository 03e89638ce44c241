"""Probabilities of logits, and the best of many, against scipy and plain sorting. Run: pytest tests/test_logits.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from unmask.logits import find_largest, find_likeliest, log_softmax, sigmoid, softmax

LOGITS = np.random.default_rng(5).normal(scale=9, size=(3, 7, 11)).astype(np.float32)


def test_large_logits_overflow_nowhere() -> None:
    assert softmax([[1000.0, 0.0], [-1000.0, -1000.0]]).tolist() == [[1, 0], [0.5, 0.5]]
    assert log_softmax([1000.0, 0.0]).tolist() == [0, -1000]
    assert sigmoid([-1000.0, 0.0, 1000.0]).tolist() == [0, 0.5, 1]


def test_they_are_scipys() -> None:
    np.testing.assert_allclose(softmax(LOGITS), scipy.special.softmax(LOGITS.astype(np.float64), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(log_softmax(LOGITS), scipy.special.log_softmax(LOGITS.astype(np.float64), axis=-1))
    np.testing.assert_allclose(sigmoid(LOGITS), scipy.special.expit(LOGITS.astype(np.float64)), rtol=1e-12)


def test_a_temperature_divides_the_logits() -> None:
    assert softmax([[2.0, 0.0]], temperature=2)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    np.testing.assert_allclose(np.exp(log_softmax(LOGITS, temperature=3.0)), softmax(LOGITS, temperature=3.0))


@pytest.mark.parametrize("count", [1, 4, 10, 11, 12])
def test_the_largest_come_first(count: int) -> None:
    expected = np.argsort(-LOGITS, axis=-1)[..., :count]
    assert find_largest(LOGITS, count).tolist() == expected.tolist()
    assert find_largest(LOGITS[1, 2], count).tolist() == expected[1, 2].tolist()


def test_the_likeliest_of_some_have_their_probabilities_among_all() -> None:
    row = LOGITS[2, 3]
    ids, probabilities = find_likeliest(row, 2, among=np.array([9, 1, 5]))
    expected = sorted([9, 1, 5], key=lambda index: -row[index])[:2]
    assert ids.tolist() == expected
    np.testing.assert_allclose(probabilities, softmax(row)[expected], rtol=1e-6)
