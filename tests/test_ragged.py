"""Arrays end to end: views, takings and ranges, against plain lists."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.ragged import Ragged, offsets_of, ranges, runs_of


def test_three_arrays_end_to_end() -> None:
    ragged = Ragged.of([[7, 8, 9], [], [4]], np.int64)
    assert ragged.values.tolist() == [7, 8, 9, 4]
    assert ragged.offsets.tolist() == [0, 3, 3, 4]
    assert ragged.offsets.dtype == ragged.values.dtype == np.int64
    assert ragged.lengths.tolist() == [3, 0, 1]
    assert len(ragged) == 3
    assert [array.tolist() for array in ragged] == [[7, 8, 9], [], [4]]
    assert ragged[0].tolist() == [7, 8, 9]
    assert ragged[-1].tolist() == [4]
    assert ragged[1].tolist() == []


def test_an_array_is_a_view_and_a_taking_is_a_copy() -> None:
    ragged = Ragged.of([[1, 2], [3]])
    taken = ragged.take([1, 0])
    ragged[0][1] = 20
    assert ragged.values.tolist() == [1, 20, 3]
    assert taken.values.tolist() == [3, 1, 2]


def test_a_taking_costs_what_it_takes() -> None:
    class Large(Ragged):
        @property
        def lengths(self) -> np.ndarray:
            raise AssertionError("a batch looks at the whole data set")

    assert Large(np.arange(9), np.array([0, 4, 4, 9])).take([2, 1]).offsets.tolist() == [0, 5, 5]


def test_runs_by_hand_and_of_random_lengths() -> None:
    assert [run.tolist() for run in runs_of(np.array([3, 3, 3, 9, 1]), 7)] == [[0, 1], [2], [3, 4]]
    assert runs_of(np.zeros(0, np.int64), 7) == []
    rng = np.random.default_rng(0)
    for _ in range(100):
        lengths, budget = rng.integers(1, 30, rng.integers(1, 40)), int(rng.integers(1, 60))
        runs = runs_of(lengths, budget)
        assert np.concatenate(runs).tolist() == list(range(len(lengths)))
        assert all(len(run) and lengths[run].sum() < budget + lengths.max() for run in runs)
        assert len(runs) <= -(-lengths.sum() // budget)


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_beyond_the_ends_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=rf"3 arrays, and none of index {index}"):
        Ragged.of([[1], [2], [3]])[index]


def test_other_axes_and_dtypes_are_kept() -> None:
    ragged = Ragged.of([np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)])
    assert ragged.values.shape == (3, 3)
    assert ragged.values.dtype == np.float32
    assert ragged.take([1, 1]).values.tolist() == [[0.0] * 3] * 2
    assert Ragged.of([np.ones((2, 3), np.float32), []]).values.shape == (2, 3)


def test_an_empty_list_does_not_make_whole_numbers_fractions() -> None:
    assert Ragged.of([[], [1, 2]]).values.dtype == np.int64
    assert Ragged.of([[], []], np.int64).values.dtype == np.int64
    assert len(Ragged.of([], np.int64)) == 0


def test_rows_of_an_array_are_arrays_of_length_1() -> None:
    ragged = Ragged.of_rows(np.arange(6).reshape(3, 2))
    assert ragged.lengths.tolist() == [1, 1, 1]
    assert ragged[2].tolist() == [[4, 5]]


def test_takings_of_random_arrays_are_those_of_a_list() -> None:
    rng = np.random.default_rng(0)
    for count in range(1, 60):
        arrays = [rng.integers(0, 99, rng.integers(0, 5)) for _ in range(count)]
        indices = rng.integers(0, count, rng.integers(0, 2 * count))
        taken = Ragged.of(arrays, np.int64).take(indices)
        assert [array.tolist() for array in taken] == [arrays[index].tolist() for index in indices]


def test_ranges_and_offsets() -> None:
    assert ranges(np.array([3, 10, 5]), np.array([2, 3, 0])).tolist() == [3, 4, 10, 11, 12]
    assert ranges(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []
    assert offsets_of([2, 0, 3]).tolist() == [0, 2, 2, 5]
    assert offsets_of(np.zeros(0, np.int32)).tolist() == [0]


@pytest.mark.parametrize("offsets", [[0, 3], [1, 4], [0, 5, 3, 4], []])
def test_offsets_that_do_not_fit_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets must rise from 0 to 4"):
        Ragged(np.arange(4), np.array(offsets, np.int64))
