"""The gate by hand: what counts as the same, which limits hold, and that nothing that is no number gets through.

Run: pytest tests/test_exporting_gate.py
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tiny import VOCABULARY, sentences
from unmask.errors import DataError, SettingsError
from unmask.exporting.gate import Agreement, Limits, compare, compute
from unmask.exporting.probes import HeadProbe, Probe, TaskProbe
from unmask.exporting.texts import built_in_pairs, built_in_questions, built_in_texts
from unmask.ragged import Ragged
from unmask.runtimes import Runtime
from unmask.tasks import TASKS, Samples, TaskOptions
from unmask.tokenization import Tokenizer

TEXTS = [text for text, _ in sentences(24, seed=3)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    vocab_file = tmp_path_factory.mktemp("words") / "vocab.txt"
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    return Tokenizer.from_vocab(vocab_file)


def rows(*values: list[float]) -> Ragged:
    return Ragged.of_rows(np.array(values, np.float32))


def task_probe(name: str, labels: str, tokenizer: Tokenizer, *, targets: list[Any] | None = None) -> TaskProbe:
    task = TASKS[name].for_model(dict(enumerate(labels)), TaskOptions())
    examples = [task.from_text(text, source="here", line=1) for text in TEXTS[:4]]
    samples = task.encode(examples, tokenizer, max_seq_length=40, with_targets=False)
    if targets is not None:
        samples = Samples(
            input_ids=samples.input_ids, token_type_ids=samples.token_type_ids, targets=Ragged.of(targets, np.int64)
        )
    return TaskProbe(task, examples, samples, source="here")


def figures(**changes: Any) -> Agreement:
    values = {
        "max_difference": 0.0,
        "mean_difference": 0.0,
        "agreement": 1.0,
        "counted": "labels",
        "num_counted": 100,
        "metric": "mcc",
        "original_score": 0.75,
        "exported_score": 0.75,
    }
    return Agreement(**values | changes)


# Limits


@pytest.mark.parametrize(
    ("changes", "is_int8", "problem"),
    [
        ({"max_difference": 1e-3, "agreement": 0.99, "exported_score": 0.7400001}, False, None),
        ({"max_difference": 1.01e-3}, False, "the largest difference is 0.00101, above --max-difference 0.001"),
        ({"max_difference": 7.0}, True, None),
        ({"max_difference": math.nan}, False, "the largest difference is nan"),
        ({"agreement": 0.989}, True, "labels agree to 0.9890, below --min-agreement 0.99"),
        ({"agreement": 0.989}, False, "labels agree to 0.9890, below --min-agreement 0.99"),
        ({"agreement": math.nan}, True, "labels agree to nan"),
        ({"exported_score": 0.73}, True, "mcc falls from 0.7500 to 0.7300, by more than --max-metric-drop 0.01"),
        ({"exported_score": 0.9}, True, None),
        ({"metric": None, "original_score": None, "exported_score": None}, False, None),
    ],
)
def test_limits_let_through_what_keeps_to_them(changes: dict[str, Any], is_int8: bool, problem: str | None) -> None:
    found = figures(**changes).problems(Limits(), is_int8=is_int8)
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_difference": -1.0}, "max_difference is -1.0: it must be 0 or more"),
        ({"max_difference": math.nan}, "max_difference is nan"),
        ({"min_agreement": 99.0}, r"min_agreement is 99.0: it must be in \[0, 1\]"),
        ({"max_metric_drop": math.nan}, "max_metric_drop is nan: it must be a number"),
    ],
)
def test_limits_outside_their_range_are_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Limits(**limits)


# What is the same


def test_labels_and_their_score(tokenizer: Tokenizer) -> None:
    probe = task_probe("classification", "ab", tokenizer, targets=[[0], [1], [1], [0]])
    original = rows([2, 1], [0, 3], [0, 1], [5, 0])  # all right
    exported = rows([2, 1.5], [0, 3], [1, 0], [4, 0])  # the third is not
    found = compare(probe, original, exported)
    assert (found.agreement, found.counted, found.num_counted) == (0.75, "labels", 4)
    assert found.max_difference == 1.0
    assert found.mean_difference == pytest.approx((0.5 + 1 + 1 + 1) / 8)
    assert (found.metric, found.original_score) == ("mcc", 1.0)
    # of two a and two b it says a, b, a, a: (2 * 1 - 1 * 0) / sqrt(2 * 2 * 3 * 1)
    assert found.exported_score == pytest.approx(2 / math.sqrt(12))
    assert found.to_dict()["metric_drop"] == pytest.approx(1 - 2 / math.sqrt(12))


def test_each_of_many_labels_is_counted(tokenizer: Tokenizer) -> None:
    probe = task_probe("multi-label", "abc", tokenizer)
    original = rows([1, -1, 2], [3, 4, -1], [-1, -2, -3], [1, 1, 1])
    exported = rows([1, -1, 2], [3, -4, -1], [-1, -2, -3], [1, 1, -1])
    assert probe.agreement(original, exported) == (10 / 12, 12)
    assert compare(probe, original, exported).metric is None


def test_scores_correlate(tokenizer: Tokenizer) -> None:
    probe = task_probe("regression", "a", tokenizer)
    original = rows([1], [2], [3], [5])
    agreement, counted = probe.agreement(original, rows([2], [4], [6], [9]))
    assert counted is None
    assert agreement == pytest.approx(np.corrcoef([1, 2, 3, 5], [2, 4, 6, 9])[0, 1])
    assert probe.agreement(original, rows([3], [3], [3], [3])) == (0.0, None)
    constant = rows([3], [3], [3], [3])
    assert probe.agreement(constant, rows([3], [3 + 1e-6], [3], [3 - 1e-6])) == (1.0, None)  # the last bits


def test_mean_vectors_are_compared_by_their_cosine(tokenizer: Tokenizer) -> None:
    probe = HeadProbe("encoder", ["dog", "cat run"], tokenizer, max_seq_length=40, source="here")
    assert probe.samples.input_ids.lengths.tolist() == [3, 4]
    original = Ragged(
        np.array([[1, 0], [1, 1], [1, -1], [0, 1], [0, 1], [0, 2], [0, 0]], np.float32), np.array([0, 3, 7])
    )
    exported = Ragged(
        np.array([[1, 0], [1, 0], [2, 0], [0, 1], [3, 0], [0, 1], [0, 1]], np.float32), np.array([0, 3, 7])
    )
    agreement, counted = probe.agreement(original, exported)  # cosines 1, and of (0, 4) and (3, 3)
    assert (agreement, counted) == (pytest.approx((1 + 1 / math.sqrt(2)) / 2), None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_agrees(bad: float, tokenizer: Tokenizer) -> None:
    probe = task_probe("classification", "ab", tokenizer, targets=[[0], [1], [1], [0]])
    original = rows([2, 1], [0, 3], [0, 1], [5, 0])
    exported = rows([2, 1], [0, 3], [0, 1], [bad, 0])
    for is_int8 in (True, False):
        assert compare(probe, original, exported).problems(Limits(), is_int8=is_int8)


# What is asked


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm", "replaced-token", "next-sentence", "encoder"])
def test_questions_of_each_head(head: str, tokenizer: Tokenizer) -> None:
    probe = HeadProbe(head, TEXTS, tokenizer, max_seq_length=20, source="here")
    plain = [encoding.input_ids for encoding in tokenizer.encode_batch(TEXTS, max_length=20).encodings]
    asked = list(probe.samples.input_ids)
    assert probe.num_texts == len(asked) == 24
    assert max(map(len, asked)) <= 20
    if head == "masked-lm":
        assert probe.samples.rows is not None
        for ids, own, rows_of in zip(plain, asked, probe.samples.rows, strict=True):
            assert len(rows_of)
            assert (own[rows_of] == tokenizer.mask_token_id).all()
            assert (np.delete(own, rows_of) == np.delete(ids, rows_of)).all()
    elif head == "causal-lm":
        assert probe.samples.rows is not None
        assert all(len(rows_of) for rows_of in probe.samples.rows)
    elif head == "replaced-token":
        changed = [(np.array(ids) != own).mean() for ids, own in zip(plain, asked, strict=True)]
        assert 0.05 < np.mean(changed) < 0.3
    elif head == "next-sentence":
        assert any(types.any() for types in probe.samples.token_type_ids)
    else:
        assert [own.tolist() for own in asked] == plain


def test_too_little_to_ask_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="here: the gate needs two texts at least"):
        HeadProbe("encoder", ["dog"], tokenizer, max_seq_length=20, source="here")
    with pytest.raises(DataError, match="here: the tokenizer leaves nothing of any text"):
        HeadProbe("encoder", ["\u200b", "\x01"], tokenizer, max_seq_length=20, source="here")


def test_some_of_the_questions_are_of_every_length(tokenizer: Tokenizer) -> None:
    probe = HeadProbe("encoder", TEXTS, tokenizer, max_seq_length=40, source="here")
    lengths = probe.samples.input_ids.lengths
    some = probe.some(int(lengths.sum()) // 4).input_ids.lengths
    assert len(some) == 6
    assert some.min() <= np.quantile(lengths, 0.25)
    assert some.max() >= np.quantile(lengths, 0.75)
    assert len(probe.some(10**6).input_ids) == 24


def test_compute_asks_for_the_rows_that_the_probe_has(tokenizer: Tokenizer) -> None:
    class Echo(Runtime):
        """Gives the token ids it was asked about."""

        head, max_seq_length = "masked-lm", 40

        def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
            assert rows is not None
            return Ragged.of([ids[own][:, None] for ids, own in zip(input_ids, rows, strict=True)], np.float32)

    probe: Probe = HeadProbe("masked-lm", TEXTS, tokenizer, max_seq_length=40, source="here")
    outputs = compute(Echo(), probe)
    assert probe.samples.rows is not None
    np.testing.assert_array_equal(outputs.offsets, probe.samples.rows.offsets)
    assert (outputs.values == tokenizer.mask_token_id).all()


def test_built_in_texts_are_of_all_kinds() -> None:
    texts = built_in_texts()
    assert len(texts) == len(set(texts)) >= 100
    assert all(text.strip() == text for text in texts)
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) == 1
    assert max(lengths) > 150
    assert any("\uac00" <= letter <= "\ud7a3" for text in texts for letter in text)  # Hangul
    assert len(built_in_pairs()) == len(texts)
    assert all(question.endswith("?") and len(passage) > 100 for question, passage in built_in_questions())
