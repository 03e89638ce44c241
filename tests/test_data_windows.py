"""Windows over long sequences, and scores read. Run alone: `.venv/bin/python -m pytest tests/test_data_windows.py`."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from unmask.data import choose_windows, plan_windows, read_score
from unmask.errors import DataError, SettingsError


def random_plan(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(0, 97), rng.randint(1, 23), rng.randint(1, 30)


def windows_of(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    [windows] = plan_windows([length], size, stride)
    return [(start, stop) for start, stop in windows.tolist()]


def test_windows_by_hand() -> None:
    assert windows_of(11, 5, 3) == [(0, 5), (3, 8), (6, 11)]
    assert windows_of(12, 5, 3) == [(0, 5), (3, 8), (6, 11), (9, 12)]
    assert windows_of(7, 7, 1) == [(0, 7)]
    assert windows_of(8, 7, 1) == [(0, 7), (1, 8)]
    assert windows_of(7, 3, 3) == [(0, 3), (3, 6), (6, 7)]
    assert windows_of(2, 384, 128) == [(0, 2)]
    assert windows_of(0, 384, 128) == [(0, 0)]
    assert windows_of(9, 4, 6) == [(0, 4), (4, 8), (8, 9)]  # a stride beyond a window leaves nothing out


def test_windows_are_those_of_the_reference_loop() -> None:
    rng = random.Random(0)
    given, plans = [], []
    for _ in range(500):
        given.append(random_plan(rng))
        length, size, stride = given[-1]
        expected, start = [], 0
        while start < length:  # as described in BERT's SQuAD preparation: advance until a window reaches the end
            held = min(length - start, size)
            expected.append((start, start + held))
            if start + held == length:
                break
            start += min(held, stride)
        plans.append(expected or [(0, 0)])
        assert windows_of(length, size, stride) == plans[-1]
    together = plan_windows(*zip(*given, strict=True))
    assert [[tuple(window) for window in windows.tolist()] for windows in together] == plans


def test_even_windows_are_full_and_no_farther_apart_than_asked() -> None:
    assert [windows.tolist() for windows in plan_windows([11, 12, 3], 5, 3, evenly=True)] == [
        [[0, 5], [3, 8], [6, 11]],
        [[0, 5], [2, 7], [4, 9], [7, 12]],
        [[0, 3]],
    ]
    rng = random.Random(2)
    for _ in range(300):
        length, size, stride = random_plan(rng)
        [windows] = plan_windows([length], size, stride, evenly=True)
        assert len(windows) == len(windows_of(length, size, stride))
        assert (windows[0, 0], windows[-1, 1]) == (0, length)
        assert (np.diff(windows)[:, 0] == min(size, length)).all()
        steps = np.diff(windows[:, 0])
        assert ((steps >= 1) & (steps <= min(size, stride))).all()
        assert not len(steps) or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        (0, 1, "a window must have at least one token, not 0"),
        (5, 0, "a stride must have at least one token, not 0"),
    ],
)
def test_windows_that_cannot_be(size: int, stride: int, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        plan_windows([9], size, stride)


def test_the_window_of_most_context_by_hand() -> None:
    windows = [(0, 5), (3, 8), (6, 11)]
    # Token 4 has (4, 0) around it in the first window and (1, 3) in the second; token 3 has (3, 1) and (0, 4).
    assert choose_windows(11, windows).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert choose_windows(4, [(0, 4), (0, 4)]).tolist() == [0, 0, 0, 0]  # ties go to the earlier
    assert choose_windows(6, [(0, 4), (2, 6)]).tolist() == [0, 0, 0, 1, 1, 1]
    assert choose_windows(0, [(0, 0)]).tolist() == []
    assert choose_windows(0, [(0, 0)]).dtype == np.int64


def test_the_choice_is_the_best() -> None:
    rng = random.Random(1)
    for _ in range(300):
        length, size, stride = random_plan(rng)
        windows = windows_of(length, size, stride)
        if rng.random() < 0.3:
            rng.shuffle(windows)
        chosen = choose_windows(length, windows)
        for token in range(length):
            shown = [min(token - start, stop - 1 - token) for start, stop in windows]  # negative: not in it
            assert chosen[token] == shown.index(max(shown))


def test_windows_must_hold_every_token_and_no_other() -> None:
    with pytest.raises(ValueError, match="token 3 is in no window"):
        choose_windows(7, [(0, 3), (4, 7)])
    with pytest.raises(ValueError, match=re.escape("window 1, (3, 8), is no range of 7 tokens")):
        choose_windows(7, [(0, 3), (3, 8)])


# Scores


@pytest.mark.parametrize(
    ("value", "number"), [("4.75", 4.75), (" 3 ", 3.0), ("-1e-2", -0.01), (2, 2.0), (0.5, 0.5), ("5", 5.0), ("-2", -2)]
)
def test_scores(value: object, number: float) -> None:
    assert read_score(value, "a.tsv", 7, "score", lowest=-2, highest=5) == number


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "there is no score here"),
        ("  ", "there is no score here"),
        ("high", "the score 'high' is not a number"),
        ("3,5", "the score '3,5' is not a number: write a point where the comma is"),
        ("1_000", "the score '1_000' is not a number"),
        (True, "the score True is not a number"),
        (None, "the score None is not a number"),
        ([3.0], "the score [3.0] is not a number"),
        ("nan", "the score 'nan' is not a finite number"),
        ("-inf", "the score '-inf' is not a finite number"),
        (float("inf"), "the score inf is not a finite number"),
        (10**400, "is not a finite number"),
        ("5.01", "the score 5.01 lies outside 0 to 5: correct it, or the range"),
        (-0.25, "the score -0.25 lies outside 0 to 5"),
    ],
)
def test_what_is_no_score(value: object, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_score(value, "pairs.tsv", 7, "similarity", lowest=0, highest=5)
    assert str(caught.value).startswith("pairs.tsv, line 7, column 'similarity': ")


def test_without_a_range_every_finite_score_will_do() -> None:
    assert read_score("-1e300", "a.tsv", 1, "score") == -1e300
    with pytest.raises(DataError, match="not a finite number"):
        read_score("1e400", "a.tsv", 1, "score")
