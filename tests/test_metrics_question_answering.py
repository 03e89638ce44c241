"""Answers judged by hand, and 1,000 random data sets against the official rules written out one question at a time."""

from __future__ import annotations

import json
import random
import re
import string
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from unmask.metrics import (
    QuestionAnsweringReport,
    answer_exact_match,
    answer_f1,
    apply_null_threshold,
    find_best_threshold,
    normalize_answer,
    normalize_korean_answer,
    question_answering_report,
    score_answers,
    tune_null_threshold,
)

# --- the rules, plainly -----------------------------------------------------------------------------------------------


def plain_normalize(text: str) -> str:
    letters = [letter for letter in text.lower() if letter not in string.punctuation]
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", "".join(letters)).split())


def plain_korean(text: str) -> str:
    for mark in ["'", '"', "《", "》", "<", ">", "〈", "〉", "(", ")", "‘", "’"]:
        text = text.replace(mark, " ")
    return " ".join("".join(letter for letter in text.lower() if letter not in string.punctuation).split())


def plain_f1(prediction: list[str], answer: list[str], rules: str) -> float:
    if rules == "squad2" and (not prediction or not answer):
        return float(prediction == answer)
    same = (Counter(prediction) & Counter(answer)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(answer)
    return 2 * precision * recall / (precision + recall)


def plain_scores(prediction: str, answers: list[str], rules: str) -> tuple[float, float]:
    if rules == "squad2":
        answers = [answer for answer in answers if plain_normalize(answer)] or [""]
    normalize = plain_korean if rules == "korquad" else plain_normalize

    def units(text: str) -> list[str]:
        words = normalize(text).split()
        return [letter for word in words for letter in word] if rules == "korquad" else words

    return (
        max(float(normalize(prediction) == normalize(answer)) for answer in answers),
        max(plain_f1(units(prediction), units(answer), rules) for answer in answers),
    )


def plain_report(predictions: dict[str, str], answers: dict[str, list[str]], null: dict[str, float], at: float) -> Any:
    """SQuAD 2.0's table, as dictionaries by question: scores at a threshold, then the best ones."""
    raw = {q: plain_scores(predictions[q], answers[q], "squad2") for q in answers}
    report: dict[str, float] = {}
    groups = {"": list(answers), "HasAns_": [q for q in answers if answers[q]]}
    groups["NoAns_"] = [q for q in answers if not answers[q]]
    for column, name in enumerate(("exact", "f1")):
        final = {q: float(not answers[q]) if null[q] > at else raw[q][column] for q in answers}
        for prefix, questions in groups.items():
            if questions:
                report[f"{prefix}{name}"] = 100.0 * sum(final[q] for q in questions) / len(questions)
                report[f"{prefix}total"] = len(questions)
        score = best = float(len(groups["NoAns_"]))
        threshold = 0.0
        for q in sorted(null, key=lambda q: null[q]):
            score += raw[q][column] if answers[q] else (-1 if predictions[q] else 0)
            if score > best:
                best, threshold = score, null[q]
        report[f"best_{name}"], report[f"best_{name}_thresh"] = 100.0 * best / len(answers), threshold
    if not groups["NoAns_"]:  # then ours says nothing twice
        report = {key: value for key, value in report.items() if not key.startswith("HasAns_")}
    return report


# --- single answers ---------------------------------------------------------------------------------------------------


def test_normalisation_by_hand() -> None:
    assert normalize_answer(" The  U.S. Army's\n(an) A-team") == "us armys ateam"
    assert normalize_answer("theatre than A") == "theatre than"
    assert normalize_answer("«Été» — 10%") == "«été» — 10"  # only ASCII punctuation goes
    assert normalize_answer("the. an") == ""
    assert normalize_korean_answer("《광장》(1960년) ABC-d") == "광장 1960년 abcd"
    assert normalize_korean_answer("‘가’〈나〉'다'\"라\"<마>") == "가 나 다 라 마"
    assert normalize_korean_answer("the 「답」, 둘.") == "the 「답」 둘"


def test_scores_by_hand() -> None:
    answers = ["in the 10th century", "10th century", "the 900s"]
    assert answer_exact_match("The 10th Century.", answers) == 1
    assert answer_exact_match("10th", answers) == 0
    assert answer_f1("10th", answers) == pytest.approx(2 * 1 * (1 / 2) / (1 + 1 / 2))
    assert answer_f1("early 10th 10th century", answers) == pytest.approx(2 * (2 / 4) * 1 / (2 / 4 + 1))
    assert answer_f1("Normandy", answers) == 0
    assert answer_f1("", answers) == 0


def test_no_answer_asks_for_an_empty_prediction() -> None:
    for rules in ("squad1", "squad2", "korquad"):
        assert (answer_exact_match("", [], rules=rules), answer_f1("", [], rules=rules)) == (1, 1)
        assert (answer_exact_match("x", [], rules=rules), answer_f1("x", [], rules=rules)) == (0, 0)


def test_rules_differ_where_nothing_is_left() -> None:
    """Both texts are empty once normalised: SQuAD 1.1 finds no common word, SQuAD 2.0 calls them equal."""
    assert (answer_exact_match("the", ["a"], rules="squad1"), answer_f1("the", ["a"], rules="squad1")) == (1, 0)
    assert (answer_exact_match("the", ["a"], rules="squad2"), answer_f1("the", ["a"], rules="squad2")) == (1, 1)
    # beside another answer, SQuAD 2.0 drops the empty one
    assert (answer_exact_match("the", ["a", "b"], rules="squad1"), answer_f1("", ["a", "b"], rules="squad2")) == (1, 0)


def test_korean_scores_by_characters() -> None:
    # 서울특별시 has 5 characters, 2 shared with 서울시's 3 in one order or another: 서, 울, 시 = 3
    assert answer_f1("서울시", ["서울특별시"], rules="korquad") == pytest.approx(2 * 1 * (3 / 5) / (1 + 3 / 5))
    assert answer_f1("서울시", ["서울특별시"], rules="squad1") == 0
    assert answer_f1("서울 시", ["서울시"], rules="korquad") == 1
    assert answer_exact_match("서울 시", ["서울시"], rules="korquad") == 0
    assert answer_f1("가가나", ["가나나"], rules="korquad") == pytest.approx(2 / 3)


WORDS = [
    "the",
    "a",
    "An",
    "U.S.",
    "10th",
    "century",
    "year",
    "YEAR",
    "(1960)",
    "'s",
    "—",
    "《광장》",
    "서울",
    "시",
    "-",
    "",
]


def random_text(rng: random.Random, longest: int) -> str:
    return rng.choice([" ", "  ", ""]).join(rng.choices(WORDS, k=rng.randrange(longest + 1)))


@pytest.mark.parametrize("rules", ["squad1", "squad2", "korquad"])
def test_equal_to_the_plain_rules_on_random_texts(rules: Any) -> None:
    rng = random.Random(17)
    seen = Counter[tuple[bool, bool]]()
    for _ in range(3000):
        prediction = random_text(rng, 3)
        answers = [random_text(rng, 3) for _ in range(rng.randrange(1, 5))]
        expected = plain_scores(prediction, answers, rules)
        given = (
            answer_exact_match(prediction, answers, rules=rules),
            answer_f1(prediction, answers, rules=rules),
        )
        assert given == pytest.approx(expected, abs=1e-15), (prediction, answers)
        seen[expected[0] == 1, 0 < expected[1] < 1] += 1
    assert min(seen.values()) > 100  # right ones, partly right ones and wrong ones


# --- many questions ---------------------------------------------------------------------------------------------------


def random_questions(rng: random.Random, number: int) -> tuple[list[str], list[list[str]], list[float]]:
    predictions, answers, null_scores = [], [], []
    no_answer = rng.choice([0.0, 0.3, 0.6, 1.0])
    ties = rng.random() < 0.5
    for _ in range(number):
        accepted = [random_text(rng, 3) for _ in range(0 if rng.random() < no_answer else rng.randrange(1, 4))]
        right = accepted and rng.random() < 0.5
        predictions.append(rng.choice(accepted) if right else random_text(rng, 2))
        answers.append(accepted)
        null = rng.gauss(0 if accepted else 1, 1)
        null_scores.append(round(null) / 4 if ties else null)
    return predictions, answers, null_scores


def in_their_words(report: QuestionAnsweringReport) -> dict[str, float]:
    """The JSON of SQuAD 2.0's program: scores times 100."""
    told: dict[str, float] = {}
    for ours, theirs, total in (
        ("", "", report.num_questions),
        ("has_answer_", "HasAns_", report.num_has_answer),
        ("no_answer_", "NoAns_", report.num_no_answer),
    ):
        if f"{ours}f1" in report.metrics:
            told[f"{theirs}exact"] = 100 * report.metrics[f"{ours}exact_match"]
            told[f"{theirs}f1"] = 100 * report.metrics[f"{ours}f1"]
            told[f"{theirs}total"] = total
    for ours, theirs in (("best_exact_match", "best_exact"), ("best_f1", "best_f1")):
        told[theirs] = 100 * report.metrics[ours]
        told[f"{theirs}_thresh"] = report.metrics[f"{ours}_threshold"]
    return told


def test_equal_to_the_official_program_on_1000_random_data_sets() -> None:
    rng = random.Random(23)
    num_zero = 0
    for _ in range(1000):
        predictions, answers, null_scores = random_questions(rng, rng.randrange(1, 30))
        at = rng.choice([0.0, 0.25, 1.0, rng.gauss(0, 1)])
        report = question_answering_report(
            score_answers(predictions, answers), null_scores=null_scores, null_threshold=at
        )
        ids = [f"q{index}" for index in range(len(answers))]
        expected = plain_report(*(dict(zip(ids, x, strict=True)) for x in (predictions, answers, null_scores)), at)
        assert in_their_words(report) == pytest.approx(expected, rel=1e-12)
        num_zero += expected["best_f1_thresh"] == 0.0
    assert 50 < num_zero < 950


def test_tuned_threshold_is_the_best_that_can_be_applied() -> None:
    rng = random.Random(29)
    num_better_officially = 0
    for _ in range(300):
        predictions, answers, null_scores = random_questions(rng, rng.randrange(1, 30))
        scores = score_answers(predictions, answers)
        for metric in ("exact_match", "f1"):
            tuned = tune_null_threshold(scores, null_scores, metric=metric)  # type: ignore[arg-type]
            tries = [min(null_scores) - 1, *null_scores]
            means = [getattr(apply_null_threshold(scores, null_scores, at), metric).mean() for at in tries]
            score = getattr(apply_null_threshold(scores, null_scores, tuned), metric).mean()
            assert score == pytest.approx(max(means), abs=1e-12)
            official, _ = find_best_threshold(scores, null_scores, metric=metric)  # type: ignore[arg-type]
            num_better_officially += official > score + 1e-9
    assert num_better_officially > 10  # the official number counts thresholds between equal null scores


def test_threshold_by_hand() -> None:
    # by null score: right (-3), wrong on an unanswerable one (-1), right (2), wrong on an unanswerable one (5)
    predictions, answers = ["x", "y", "z", "w"], [["x"], [], ["z"], []]
    null_scores = [-3.0, -1.0, 2.0, 5.0]
    report = question_answering_report(score_answers(predictions, answers), null_scores=null_scores)
    assert report.metrics == {
        "exact_match": 0.5,
        "f1": 0.5,
        "has_answer_exact_match": 1,
        "has_answer_f1": 1,
        "no_answer_exact_match": 0,
        "no_answer_f1": 0,
        "best_exact_match": 0.75,  # 2 -> 3 after the first; 2, 3 afterwards
        "best_exact_match_threshold": -3,
        "best_f1": 0.75,
        "best_f1_threshold": -3,
    }
    assert tune_null_threshold(score_answers(predictions, answers), null_scores) == -2
    assert report.score_of_no_answers == 0.5
    applied = question_answering_report(score_answers(predictions, answers), null_scores=null_scores, null_threshold=2)
    assert (applied.metrics["f1"], applied.metrics["no_answer_f1"]) == (0.75, 0.5)


def test_nothing_or_everything_answered() -> None:
    scores = score_answers(["x", "y"], [[], []])
    assert -7.1 < tune_null_threshold(scores, [-5, -7]) < -7
    assert find_best_threshold(scores, [-5, -7]) == (1.0, 0.0)  # which would answer both: the official 0
    assert tune_null_threshold(score_answers(["x", "y"], [["x"], ["y"]]), [3, 4]) == 4


def test_threshold_between_neighbouring_floats() -> None:
    low = 1.0
    high = float(np.nextafter(low, 2))
    assert low <= tune_null_threshold(score_answers(["x", "y"], [["x"], []]), [low, high]) < high


def test_11873_questions_in_seconds() -> None:
    rng = random.Random(31)
    predictions, answers, null_scores = random_questions(rng, 11_873)
    answers = [accepted * 2 for accepted in answers]
    started = time.perf_counter()
    question_answering_report(score_answers(predictions, answers), null_scores=null_scores, null_threshold=0.0)
    tune_null_threshold(score_answers(predictions, answers), null_scores)
    assert time.perf_counter() - started < 10


def test_report_survives_json_and_shows_its_parts() -> None:
    from rich.console import Console

    report = question_answering_report(score_answers(["x", ""], [["x y"], []]), null_scores=[0, 1], null_threshold=0.5)
    assert QuestionAnsweringReport.from_dict(json.loads(json.dumps({"kind": "qa", **report.to_dict()}))) == report
    console = Console(width=150)
    with console.capture() as capture:
        console.print(report.to_table())
    assert "without one" in capture.get()
    assert "0.667" in capture.get()
    plain = question_answering_report(score_answers(["x"], [["x"]], rules="squad1"))
    assert plain.metrics == {"exact_match": 1, "f1": 1}
    assert (plain.rules, plain.num_questions, plain.null_threshold) == ("squad1", 1, None)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="1 predictions and 2 questions"):
        score_answers(["x"], [["x"], []])
    with pytest.raises(ValueError, match="no questions: there is nothing to score"):
        score_answers([], [])
    with pytest.raises(ValueError, match="'squad3' are no rules of answers: choose squad1, squad2, korquad"):
        score_answers(["x"], [["x"]], rules="squad3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="answers 'x': give the list"):
        answer_f1("x", "x")
    with pytest.raises(ValueError, match="2 questions and null scores of shape"):
        question_answering_report(score_answers(["", ""], [[], []]), null_scores=[1.0])
    with pytest.raises(ValueError, match="null score 1 is nan"):
        find_best_threshold(score_answers(["", ""], [[], []]), [0, float("nan")])
    with pytest.raises(ValueError, match="says nothing without null scores"):
        question_answering_report(score_answers([""], [[]]), null_threshold=0.0)
