"""Windows over long sequences, and scores read. Run alone: `.venv/bin/python -m pytest tests/test_data_windows.py`."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from unmask.data import choose_windows, plan_windows, read_score, stitch_rows
from unmask.errors import DataError, SettingsError


def random_plan(rng: random.Random) -> tuple[int, int, int]:
    size = rng.randint(1, 23)
    return rng.randint(0, 97), size, rng.randint(1, size)


def test_windows_by_hand() -> None:
    assert plan_windows(11, 5, 3) == [(0, 5), (3, 8), (6, 11)]
    assert plan_windows(12, 5, 3) == [(0, 5), (3, 8), (6, 11), (9, 12)]
    assert plan_windows(7, 7, 1) == [(0, 7)]
    assert plan_windows(8, 7, 1) == [(0, 7), (1, 8)]
    assert plan_windows(7, 3, 3) == [(0, 3), (3, 6), (6, 7)]
    assert plan_windows(2, 384, 128) == [(0, 2)]
    assert plan_windows(0, 384, 128) == [(0, 0)]


def test_windows_are_those_of_the_reference_loop() -> None:
    rng = random.Random(0)
    for _ in range(500):
        length, size, stride = random_plan(rng)
        expected, start = [], 0
        while start < length:  # as described in BERT's SQuAD preparation: advance until a window reaches the end
            held = min(length - start, size)
            expected.append((start, start + held))
            if start + held == length:
                break
            start += min(held, stride)
        assert plan_windows(length, size, stride) == (expected or [(0, 0)])


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        (0, 1, "at least one token, not 0"),
        (5, 0, "between 1 and the window's 5 tokens, not at 0"),
        (5, 6, "between 1 and the window's 5 tokens, not at 6"),
    ],
)
def test_windows_that_cannot_be(size: int, stride: int, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        plan_windows(9, size, stride)


def test_the_window_of_most_context_by_hand() -> None:
    windows = [(0, 5), (3, 8), (6, 11)]
    # Token 4 has (4, 0) around it in the first window and (1, 3) in the second; token 3 has (3, 1) and (0, 4).
    assert choose_windows(11, windows).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert stitch_rows(11, windows).tolist() == [0, 1, 2, 3, 6, 7, 8, 11, 12, 13, 14]
    assert choose_windows(4, [(0, 4), (0, 4)]).tolist() == [0, 0, 0, 0]  # ties go to the earlier
    assert choose_windows(6, [(0, 4), (2, 6)]).tolist() == [0, 0, 0, 1, 1, 1]
    assert choose_windows(0, [(0, 0)]).tolist() == []
    assert choose_windows(0, [(0, 0)]).dtype == stitch_rows(0, []).dtype == np.int64


def test_stitched_rows_are_the_sequence_and_the_choice_is_the_best() -> None:
    rng = random.Random(1)
    for _ in range(300):
        length, size, stride = random_plan(rng)
        windows = plan_windows(length, size, stride)
        if rng.random() < 0.3:
            rng.shuffle(windows)
        chosen = choose_windows(length, windows)
        for token in range(length):
            shown = [min(token - start, stop - 1 - token) for start, stop in windows]  # negative: not in it
            assert chosen[token] == shown.index(max(shown))
        rows = [(token, index) for index, (start, stop) in enumerate(windows) for token in range(start, stop)]
        assert [rows[row] for row in stitch_rows(length, windows)] == list(enumerate(chosen))


def test_windows_must_hold_every_token_and_no_other() -> None:
    with pytest.raises(ValueError, match="token 3 is in no window"):
        choose_windows(7, [(0, 3), (4, 7)])
    with pytest.raises(ValueError, match=re.escape("window 1, (3, 8), is no range of 7 tokens")):
        stitch_rows(7, [(0, 3), (3, 8)])


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
