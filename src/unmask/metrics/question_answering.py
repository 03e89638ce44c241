"""Scores of extractive question answering, by the official rules of SQuAD 1.1, SQuAD 2.0 and KorQuAD 1.0.

Rajpurkar et al. 2016 (arXiv:1606.05250), section 6.1; Rajpurkar et al. 2018 (arXiv:1806.03822); Lim et al. 2019
(arXiv:1909.07005). A prediction is compared with each of a question's answers and the best counts:

* *exact match*: 1 if the two are equal once normalised, else 0;
* *F1*: harmonic mean of precision and recall of what they share, counted as a multiset: words, in Korean characters.

| rules | normalised by | F1 counts | F1 where a text is empty once normalised |
| --- | --- | --- | --- |
| `squad1` | `normalize_answer` | words | 0 |
| `squad2` | `normalize_answer` | words | 1 if both are empty, else 0; such answers are dropped beside others |
| `korquad` | `normalize_korean_answer` | characters | 0 |

A question with no answers at all asks for an empty prediction, by all three rules as SQuAD 2.0 has it. All scores here
are shares in [0, 1]; the official programs print them times 100.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from unmask.metrics.null_threshold import apply_null_threshold, find_best_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from rich.table import Table

__all__ = [
    "AnswerRules",
    "AnswerScores",
    "QuestionAnsweringReport",
    "answer_exact_match",
    "answer_f1",
    "normalize_answer",
    "normalize_korean_answer",
    "question_answering_report",
    "score_answers",
]

AnswerRules = Literal["squad1", "squad2", "korquad"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_KOREAN_TO_SPACE = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))


def normalize_answer(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles (a, an, the), single spaces: what SQuAD compares."""
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def normalize_korean_answer(text: str) -> str:
    """Spaces for quotation marks and brackets, lower case, no ASCII punctuation, single spaces: what KorQuAD compares.

    The marks that become spaces are ' " ‘ ’ 《 》 〈 〉 < > ( ); a bracket parts two words, a hyphen joins them.
    """
    return " ".join(text.translate(_KOREAN_TO_SPACE).lower().translate(_NO_PUNCTUATION).split())


@dataclass(frozen=True)
class AnswerScores:
    """Scores of each question, arrays of length N in the order of the questions.

    Args:
        exact_match: float64, 0 or 1.
        f1: float64 in [0, 1].
        has_answer: bool; whether the question has an answer in its text.
        is_answered: bool; whether the prediction is not the empty text.
        rules: by which they were counted.
    """

    exact_match: NDArray[np.float64]
    f1: NDArray[np.float64]
    has_answer: NDArray[np.bool_]
    is_answered: NDArray[np.bool_]
    rules: AnswerRules


def answer_exact_match(prediction: str, answers: Sequence[str], *, rules: AnswerRules = "squad2") -> float:
    """1.0 if the prediction equals one of the answers once normalised, else 0.0; no answers ask for an empty one."""
    return _judge(prediction, answers, rules)[0]


def answer_f1(prediction: str, answers: Sequence[str], *, rules: AnswerRules = "squad2") -> float:
    """The best F1, in [0, 1], of the prediction against one of the answers; no answers ask for an empty one."""
    return _judge(prediction, answers, rules)[1]


def score_answers(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], *, rules: AnswerRules = "squad2"
) -> AnswerScores:
    """Judge each prediction against the answers of its question.

    Args:
        predictions: one text per question; empty where nothing is answered.
        answers: of each question, every accepted answer; an empty list where the text holds none.
        rules: see the module's docstring.

    Raises:
        ValueError: the lists differ in length or are empty; no such rules.
    """
    if len(predictions) != len(answers):
        raise ValueError(f"{len(predictions)} predictions and {len(answers)} questions: there must be one of each")
    if not len(predictions):
        raise ValueError("no questions: there is nothing to score")
    both = np.array([_judge(text, accepted, rules) for text, accepted in zip(predictions, answers, strict=True)])
    return AnswerScores(
        exact_match=both[:, 0],
        f1=both[:, 1],
        has_answer=np.array([len(accepted) > 0 for accepted in answers]),
        is_answered=np.array([text != "" for text in predictions]),
        rules=rules,
    )


@dataclass(frozen=True)
class QuestionAnsweringReport:
    """All that is to be said about one set of answers.

    Args:
        metrics: `exact_match` and `f1` over all questions; where some have no answer also both with the prefixes
            `has_answer_` and `no_answer_` (a kind that does not occur is left out); with null scores also
            `best_exact_match`, `best_exact_match_threshold`, `best_f1`, `best_f1_threshold` (`find_best_threshold`).
        rules: by which they were counted.
        num_has_answer: number of questions that have an answer.
        num_no_answer: number of questions that have none.
        null_threshold: the threshold that was applied; None: predictions were judged as they are.
    """

    metrics: dict[str, float]
    rules: AnswerRules
    num_has_answer: int
    num_no_answer: int
    null_threshold: float | None

    @property
    def num_questions(self) -> int:
        """Number of questions that were judged."""
        return self.num_has_answer + self.num_no_answer

    @property
    def score_of_no_answers(self) -> float:
        """Exact match and F1 of always answering nothing: what there is to beat where questions have no answer."""
        return self.num_no_answer / self.num_questions

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; `from_dict` reads them back."""
        return {
            "num_questions": self.num_questions,
            "num_has_answer": self.num_has_answer,
            "num_no_answer": self.num_no_answer,
            "rules": self.rules,
            "null_threshold": self.null_threshold,
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> QuestionAnsweringReport:
        """The report that `to_dict` wrote; keys of other writers are passed over."""
        return cls(
            metrics=dict(content["metrics"]),
            rules=content["rules"],
            num_has_answer=content["num_has_answer"],
            num_no_answer=content["num_no_answer"],
            null_threshold=content["null_threshold"],
        )

    def to_table(self) -> Table:
        """The scores of all questions, and of those with and without an answer, for the terminal."""
        from rich.table import Table

        best = {name: value for name, value in self.metrics.items() if name.startswith("best_")}
        table = Table(caption="  ".join(f"{name} {value:.3f}" for name, value in best.items()) or None)
        table.add_column("questions")
        for column in ("exact match", "f1", "number"):
            table.add_column(column, justify="right")
        for prefix, name, number in (
            ("", "all", self.num_questions),
            ("has_answer_", "with an answer", self.num_has_answer),
            ("no_answer_", "without one", self.num_no_answer),
        ):
            if f"{prefix}f1" in self.metrics:
                scores = (f"{self.metrics[prefix + score]:.3f}" for score in ("exact_match", "f1"))
                table.add_row(name, *scores, f"{number:,}")
        return table


def question_answering_report(
    raw: AnswerScores, *, null_scores: ArrayLike | None = None, null_threshold: float | None = None
) -> QuestionAnsweringReport:
    """Sum up what answers are worth as the official programs do.

    Args:
        raw: scores of the predictions as they are (`score_answers`), none of them emptied by a threshold yet.
        null_scores: (N,), how sure the model is that there is no answer; with them the best thresholds are reported.
        null_threshold: predictions whose null score is above it count as empty; None: they are judged as they are.

    Raises:
        ValueError: as `apply_null_threshold`; a threshold without null scores.
    """
    scores = raw
    if null_threshold is not None:
        if null_scores is None:
            raise ValueError("a null threshold says nothing without null scores: give both or neither")
        scores = apply_null_threshold(raw, null_scores, null_threshold)
    metrics = {"exact_match": float(scores.exact_match.mean()), "f1": float(scores.f1.mean())}
    if not scores.has_answer.all():
        for prefix, these in (("has_answer_", scores.has_answer), ("no_answer_", ~scores.has_answer)):
            if these.any():
                metrics[f"{prefix}exact_match"] = float(scores.exact_match[these].mean())
                metrics[f"{prefix}f1"] = float(scores.f1[these].mean())
    if null_scores is not None:
        for metric in ("exact_match", "f1"):
            best, threshold = find_best_threshold(raw, null_scores, metric=metric)
            metrics |= {f"best_{metric}": best, f"best_{metric}_threshold": threshold}
    return QuestionAnsweringReport(
        metrics=metrics,
        rules=raw.rules,
        num_has_answer=int(scores.has_answer.sum()),
        num_no_answer=int((~scores.has_answer).sum()),
        null_threshold=null_threshold,
    )


def _judge(prediction: str, answers: Sequence[str], rules: AnswerRules) -> tuple[float, float]:
    """Exact match and F1 of one prediction against the best of its answers."""
    if isinstance(answers, str):
        raise ValueError(f"answers {answers!r}: give the list of all accepted answers, not one text")
    normalize: Callable[[str], str]
    if rules == "korquad":
        normalize, units = normalize_korean_answer, _characters
    elif rules in get_args(AnswerRules):
        normalize, units = normalize_answer, _words
    else:
        raise ValueError(f"{rules!r} are no rules of answers: choose {', '.join(get_args(AnswerRules))}")
    given = normalize(prediction)
    accepted = {normalize(answer) for answer in answers}  # equal answers are compared once
    if rules == "squad2":
        accepted.discard("")
    if not accepted:  # no answers, or with squad2 only such as are empty once normalised
        return (1.0, 1.0) if given == "" else (0.0, 0.0)
    predicted = Counter(units(given))
    return float(given in accepted), max(_f1(predicted, Counter(units(text))) for text in accepted)


def _words(text: str) -> list[str]:
    return text.split()


def _characters(text: str) -> list[str]:
    return list(text.replace(" ", ""))


def _f1(predicted: Counter[str], accepted: Counter[str]) -> float:
    num_shared = sum(min(count, accepted[unit]) for unit, count in predicted.items() if unit in accepted)
    if not num_shared:
        return 0.0
    precision, recall = num_shared / predicted.total(), num_shared / accepted.total()
    return 2 * precision * recall / (precision + recall)
