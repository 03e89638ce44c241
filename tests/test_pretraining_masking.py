"""Which tokens are masked, and how. Run: pytest tests/test_pretraining_masking.py."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from unmask.counted import keys, uniform
from unmask.errors import SettingsError
from unmask.pretraining.masking import Masking, choose_tokens, mask_tokens

VOCAB_SIZE, MASK, CLS, SEP = 997, 4, 2, 3
ORDINARY = np.arange(5, VOCAB_SIZE)
WORD_STARTS = np.arange(VOCAB_SIZE) % 3 != 0  # every third piece continues a word


def texts(lengths: list[int], *, seed: int = 0, epoch: int = 0) -> dict[str, Any]:
    """Packed sequences [CLS] text [SEP] text [SEP] of these lengths."""
    rng = np.random.default_rng(seed)
    ids, specials, positions, sequence_keys = [], [], [], []
    for number, length in enumerate(lengths):
        sequence = rng.choice(ORDINARY, length)
        sequence[[0, length // 2, -1]] = CLS, SEP, SEP
        is_special = np.zeros(length, np.bool_)
        is_special[[0, length // 2, -1]] = True
        ids.append(sequence)
        specials.append(is_special)
        positions.append(np.arange(length))
        sequence_keys.append(np.full(length, keys(seed, epoch, number)))
    return {
        "input_ids": np.concatenate(ids),
        "is_special": np.concatenate(specials),
        "position_ids": np.concatenate(positions),
        "keys": np.concatenate(sequence_keys),
        "word_starts": WORD_STARTS,
    }


def mask(arguments: dict[str, Any], **settings: Any) -> Any:
    return mask_tokens(**arguments, masking=Masking(**settings), mask_token_id=MASK, random_tokens=ORDINARY)


def assert_share(count: int, total: int, share: float) -> None:
    """A binomial count lies within four standard deviations."""
    assert abs(count - share * total) < 4 * math.sqrt(share * (1 - share) * total) + 1, (count / total, share)


@pytest.mark.parametrize(
    ("mlm_probability", "mask_token_rate", "random_token_rate"), [(0.15, 0.8, 0.1), (0.4, 0.5, 0.3), (1.0, 1.0, 0.0)]
)
def test_fifteen_percent_and_of_these_80_10_10(mlm_probability, mask_token_rate, random_token_rate):
    run = texts([101] * 400)
    masked = mask(
        run,
        mlm_probability=mlm_probability,
        mask_token_rate=mask_token_rate,
        random_token_rate=random_token_rate,
    )
    original, seen = run["input_ids"][masked.positions], masked.input_ids[masked.positions]
    assert (masked.labels == original).all()
    assert not run["is_special"][masked.positions].any()
    untouched = np.ones(len(run["input_ids"]), np.bool_)
    untouched[masked.positions] = False
    assert (masked.input_ids[untouched] == run["input_ids"][untouched]).all()
    num_chosen, num_eligible = len(masked.positions), int((~run["is_special"]).sum())
    assert_share(num_chosen, num_eligible, mlm_probability)
    assert_share(int((seen == MASK).sum()), num_chosen, mask_token_rate)
    is_random = (seen != MASK) & (seen != original)
    assert_share(int(is_random.sum()), num_chosen, random_token_rate * (1 - 1 / len(ORDINARY)))
    assert not np.isin(seen[is_random], [0, 1, 2, 3, 4]).any()


def test_random_tokens_are_drawn_from_all_ordinary_ones_alike():
    seen = mask(texts([1001] * 200), mlm_probability=1.0, mask_token_rate=0.0, random_token_rate=1.0).input_ids
    counts = Counter(seen[seen >= 5].tolist())
    assert set(counts) == set(ORDINARY.tolist())
    expected = sum(counts.values()) / len(ORDINARY)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < len(ORDINARY) + 5 * math.sqrt(2 * len(ORDINARY))


@pytest.mark.parametrize("mask_unit", ["token", "word", "ngram"])
def test_a_sequence_is_masked_alike_whatever_else_is_in_the_batch(mask_unit):
    lengths = [37, 5, 101, 64]
    together = mask(texts(lengths), mask_unit=mask_unit, mlm_probability=0.3)
    run = texts(lengths)
    bounds = np.cumsum([0, *lengths])
    for number in range(len(lengths)):
        part = slice(bounds[number], bounds[number + 1])
        alone = mask(
            {k: v if k == "word_starts" else v[part] for k, v in run.items()}, mask_unit=mask_unit, mlm_probability=0.3
        )
        assert (alone.input_ids == together.input_ids[part]).all()
        inside = together.positions[(together.positions >= part.start) & (together.positions < part.stop)]
        assert (alone.positions + part.start == inside).all()


def test_epochs_differ_unless_masking_is_static():
    first, second = (mask(texts([101] * 7, epoch=epoch)).positions.tolist() for epoch in (0, 1))
    assert first != second
    static, dynamic = Masking(static_copies=3), Masking()
    assert [static.copy_of(epoch) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [dynamic.copy_of(epoch) for epoch in range(4)] == [0, 1, 2, 3]


def test_whole_words_are_chosen_with_all_their_pieces():
    run = texts([101] * 300)
    is_chosen = choose_tokens(**run, masking=Masking(mask_unit="word"))
    words = words_of(run)
    assert all(len({bool(is_chosen[token]) for token in word}) == 1 for word in words)
    assert_share(sum(bool(is_chosen[word[0]]) for word in words), len(words), 0.15)


@pytest.mark.parametrize("max_ngram", [1, 2, 3, 4])
def test_spans_of_words_cover_the_share_asked_for_at_every_place(max_ngram):
    run = texts([15] * 20_000)
    is_chosen = choose_tokens(**run, masking=Masking(mask_unit="ngram", max_ngram=max_ngram))
    assert not is_chosen[run["is_special"]].any()
    words = words_of(run)
    assert all(len({bool(is_chosen[token]) for token in word}) == 1 for word in words)
    # The first word of a text, in whose favour no span could begin before it, is as likely as any other.
    for place in (1, 2, 3, 8):
        chosen = [bool(is_chosen[word[0]]) for word in words if run["position_ids"][word[0]] == place]
        assert_share(sum(chosen), len(chosen), 0.15)


def test_spans_equal_their_definition_word_by_word():
    run = texts([23, 11, 5], seed=3)
    masking = Masking(mask_unit="ngram", mlm_probability=0.35)
    at_least = [1.0, (1 / 2 + 1 / 3) / (11 / 6), (1 / 3) / (11 / 6)]  # P(a span has more than 0, 1, 2 words)
    begins = solve(lambda q: 1 - math.prod(1 - q * share for share in at_least), 0.35)

    def span_length(draw: float) -> int:
        return 1 + sum(draw >= bound for bound in (6 / 11, 9 / 11))

    expected = np.zeros(len(run["input_ids"]), np.bool_)
    for text in texts_of(run):
        first = text[0][0]
        key = run["keys"][first]
        for offset in (1, 2):  # spans that would have begun so many words before the first
            (draw,) = uniform(key, run["position_ids"][first] * 8 + 4 + offset - 1)
            if draw < begins:
                for word in text[: max(0, span_length(draw / begins) - offset)]:
                    expected[word] = True
        for place, word in enumerate(text):
            counter = run["position_ids"][word[0]] * 8
            (begin,), (length,) = uniform(key, counter), uniform(key, counter + 3)
            if begin < begins:
                for covered in text[place : place + span_length(length)]:
                    expected[covered] = True
    assert choose_tokens(**run, masking=masking).tolist() == expected.tolist()


def words_of(run: dict[str, Any]) -> list[list[int]]:
    return [word for text in texts_of(run) for word in text]


def texts_of(run: dict[str, Any]) -> list[list[list[int]]]:
    """The words of each text between special tokens, as lists of tokens, one token at a time."""
    found: list[list[list[int]]] = [[]]
    for token, piece in enumerate(run["input_ids"]):
        if run["is_special"][token]:
            found.append([])
        elif WORD_STARTS[piece] or not found[-1]:
            found[-1].append([token])
        else:
            found[-1][-1].append(token)
    return [text for text in found if text]


def solve(function: Any, value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < value else (low, middle)
    return low


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mlm_probability": 0.0}, r"mlm_probability is 0.0: it must be in \(0, 1\]"),
        ({"mask_token_rate": 1.5}, r"mask_token_rate is 1.5: it must be in \[0, 1\]"),
        ({"mask_token_rate": 0.9, "random_token_rate": 0.2}, "add up to more than 1"),
        ({"mask_unit": "letter"}, "mask_unit is 'letter': it must be one of token, word, ngram"),
        ({"max_ngram": 5}, "max_ngram is 5: it must be between 1 and 4"),
        ({"static_copies": 0}, "static_copies is 0: it must be 1 or more, or None"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Masking(**settings)
