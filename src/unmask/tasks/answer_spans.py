"""The best answers that start and end logits give, over all windows of a text: exact, with no loop over questions.

Devlin et al. 2019 (arXiv:1810.04805), sections 4.2 and 4.3: the score of a span is the logit of its start plus that of
its end, and that of no answer the same of [CLS]. `run_squad.py` pairs the 20 best starts with the 20 best ends of each
window; here all spans of allowed length are compared. A token that several windows hold is not given to the one that
shows most around it ("max context"): the highest score that any window gives a span counts. Tied spans come in any
order.

Axes: Q questions, W windows, N tokens of the questions' texts, n best spans, L allowed lengths.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.logits import find_largest
from unmask.ragged import Ragged, offsets_of, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from unmask.data.questions import QuestionExample
    from unmask.tasks.question_windows import QuestionSamples

__all__ = [
    "AnswerCandidate",
    "BestSpans",
    "QuestionAnswer",
    "find_best_spans",
    "make_answers",
]

_SPANS_AT_ONCE = 2**22  # whose scores are held at a time: 16 MB
_NEVER = 1e9  # how sure it is that there is no answer where no span can be one


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCandidate:
    """One of the n best answers.

    Args:
        text: of the answer; empty for none.
        score: its probability among the n best, in [0, 1].
        start, end: `context[start:end] == text`, in characters; None where there is no answer.
    """

    text: str
    score: float
    start: int | None
    end: int | None


@dataclass(frozen=True, kw_only=True)
class QuestionAnswer:
    """The answer to a question.

    Args:
        id: of the question, as its file has it.
        question: as it was asked.
        text, score, start, end: of the answer, as in `AnswerCandidate`.
        is_impossible: whether it is that the text holds no answer.
        null_score: score of no answer less that of the best span: the higher, the surer that there is none.
        n_best: the best spans by their score; where the model may give no answer, that stands among them too.
    """

    id: str
    question: str
    text: str
    score: float
    start: int | None
    end: int | None
    is_impossible: bool
    null_score: float
    n_best: tuple[AnswerCandidate, ...]

    def to_dict(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "n_best"}
        return own | {"n_best": [asdict(candidate) for candidate in self.n_best]}

    def to_cells(self) -> dict[str, str]:
        place = "" if self.is_impossible else f"{self.start}-{self.end}"
        answer = "no answer" if self.is_impossible else self.text
        return {"answer": answer, "score": f"{self.score:.3f}", "characters": place, "question": self.question}


@dataclass(frozen=True)
class BestSpans:
    """The best answers of each question, as half-open ranges of characters of its text, the best first.

    Args:
        starts, ends: int64, (Q, n); 0 where there are fewer than n.
        scores: start logit plus end logit, float32, (Q, n); -inf where there are fewer.
        no_answer: the lowest score of no answer among a question's windows, float32, (Q,): a text has no answer only
            where none of its windows has.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    scores: NDArray[np.float32]
    no_answer: NDArray[np.float32]

    @property
    def null_scores(self) -> NDArray[np.float64]:
        """How sure it is that there is no answer, float64, (Q,): the score of none less that of the best span."""
        best = self.scores[:, 0].astype(np.float64)
        return np.where(np.isfinite(best), self.no_answer - best, _NEVER)

    @property
    def null_scores_to_tune(self) -> NDArray[np.float64]:
        """The same to choose a threshold by: where no span can be an answer, the highest where one can.

        Such a question is answered with nothing whatever the threshold is, so it should not draw that to itself.
        """
        scores, is_real = self.null_scores, np.isfinite(self.scores[:, 0])
        return np.where(is_real, scores, scores.max(where=is_real, initial=-np.inf) if is_real.any() else 0.0)


def find_best_spans(samples: QuestionSamples, logits: Ragged, *, n_best: int, max_answer_length: int) -> BestSpans:
    """Find the best spans of each question.

    Args:
        samples: the questions.
        logits: of each question those of all its windows' tokens, float32, (tokens, 2): start and end.
        n_best: how many spans of a question, n.
        max_answer_length: tokens of the longest, L.
    """
    assert samples.windows is not None
    num_questions = len(samples)
    starts, ends = np.zeros((2, num_questions, n_best), np.int64)
    scores = np.full((num_questions, n_best), -np.inf, np.float32)
    for questions in _by_length(np.diff(samples.context_offsets)[samples.contexts], max_answer_length):
        spans = _score_spans(samples, logits, questions, max_answer_length)
        first, length, score = _best_of(spans, n_best)
        token = samples.context_offsets[samples.contexts[questions]][:, None] + first
        is_found, width = np.isfinite(score), score.shape[1]
        starts[questions, :width] = np.where(is_found, samples.spans[np.where(is_found, token, 0), 0], 0)
        ends[questions, :width] = np.where(is_found, samples.spans[np.where(is_found, token + length, 0), 1], 0)
        scores[questions, :width] = score
    first_tokens = logits.values[samples.input_ids.offsets[:-1]]  # [CLS] of each window, (W, 2)
    no_answer = np.minimum.reduceat(first_tokens.sum(axis=1), samples.windows[:-1])
    return BestSpans(starts=starts, ends=ends, scores=scores, no_answer=no_answer)


def make_answers(
    examples: Sequence[QuestionExample], spans: BestSpans, *, null_threshold: float | None
) -> list[QuestionAnswer]:
    """Make the answer to each question of its n best spans.

    Their probabilities are the softmax of their scores, as in `run_squad.py`; no answer takes part where it is allowed.

    Args:
        examples: the questions.
        spans: of each.
        null_threshold: there is no answer where the null score is above it; None: there is always one, unless no span
            can be one.
    """
    scores = spans.scores
    if null_threshold is not None:
        scores = np.concatenate((scores, spans.no_answer[:, None]), axis=1)
    most = scores.max(axis=1, keepdims=True)
    shares = np.exp(scores.astype(np.float64) - np.where(np.isfinite(most), most, 0))
    probabilities = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    is_null = np.isneginf(spans.scores[:, 0])
    if null_threshold is not None:
        is_null |= spans.null_scores > null_threshold

    answers = []
    columns = (spans.starts, spans.ends, probabilities, is_null, spans.null_scores)
    for example, starts, ends, shares_of, is_impossible, null_score in zip(
        examples, *(column.tolist() for column in columns), strict=True
    ):
        n_best: dict[tuple[int, int], AnswerCandidate] = {}  # tokens that overlap may make one span twice
        for start, end, probability in zip(starts, ends, shares_of, strict=False):
            if start < end and (start, end) not in n_best:
                n_best[start, end] = AnswerCandidate(
                    text=example.context[start:end], score=probability, start=start, end=end
                )
        candidates = [*n_best.values()]
        chosen = candidates[0] if candidates else None
        if is_impossible or null_threshold is not None:
            null = AnswerCandidate(
                text="", score=shares_of[-1] if null_threshold is not None else 1.0, start=None, end=None
            )
            candidates = sorted([*candidates, null], key=lambda candidate: -candidate.score)
            chosen = null if is_impossible else chosen
        assert chosen is not None
        answers.append(
            QuestionAnswer(
                id=example.id,
                question=example.question,
                text=chosen.text,
                score=chosen.score,
                start=chosen.start,
                end=chosen.end,
                is_impossible=is_impossible,
                null_score=null_score,
                n_best=tuple(candidates),
            )
        )
    return answers


def _by_length(num_tokens: NDArray[np.int64], max_answer_length: int) -> Iterator[NDArray[np.int64]]:
    """Part the questions into runs of falling length: `_SPANS_AT_ONCE` spans, were all texts as long as the longest."""
    order = np.argsort(-num_tokens, kind="stable")
    first = 0
    while first < len(order):
        longest = num_tokens[order[first]]
        stop = first + max(1, _SPANS_AT_ONCE // max(1, int(longest * max_answer_length)))
        yield order[first:stop]
        first = stop


def _score_spans(
    samples: QuestionSamples, logits: Ragged, questions: NDArray[np.int64], max_answer_length: int
) -> Ragged:
    """Score every span of these questions' texts: of each text float32, (tokens, L), by first token and length less 1.

    A span that no window holds, or that may not be an answer, has -inf.
    """
    assert samples.windows is not None
    contexts = samples.contexts[questions]
    num_tokens = np.diff(samples.context_offsets)[contexts]
    bounds = offsets_of(num_tokens)
    of_text = ranges(samples.context_offsets[contexts], num_tokens)  # of each token, its number among all texts'
    may_start, may_end = samples.may_start[of_text], samples.may_end[of_text]
    scores = np.full((bounds[-1], max_answer_length), -np.inf, np.float32)
    num_windows = samples.num_windows[questions]
    for number in range(num_windows.max()):  # the first window of each question, the second of those that have it, ...
        holders = np.flatnonzero(num_windows > number)
        windows = samples.windows[questions[holders]] + number
        counts = samples.num_context_tokens[windows]
        rows = ranges(samples.input_ids.offsets[windows] + samples.first_rows[windows], counts)
        tokens = ranges(bounds[holders] + samples.first_tokens[windows], counts)
        start = np.where(may_start[tokens], logits.values[rows, 0], -np.inf)
        end = np.where(may_end[tokens], logits.values[rows, 1], -np.inf)
        to_come = np.repeat(offsets_of(counts)[1:], counts) - np.arange(len(tokens))  # tokens of the window from here
        padded = np.append(end, np.full(max_answer_length - 1, -np.inf, end.dtype))
        these = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, max_answer_length)
        these[np.arange(max_answer_length) >= to_come[:, None]] = -np.inf
        scores[tokens] = these if number == 0 else np.maximum(scores[tokens], these)
    return Ragged(scores, bounds)


def _best_of(spans: Ragged, n_best: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Choose the best spans of each text: first tokens, lengths less 1 and scores, (Q, n or fewer), the best first.

    The n best spans start at n of the first tokens whose own best spans are the n best of such.
    """
    num_texts, num_lengths = len(spans), spans.values.shape[1]
    best = np.full((num_texts, spans.lengths.max()), -np.inf, np.float32)
    owner = np.repeat(np.arange(num_texts), spans.lengths)
    best[owner, ranges(np.zeros_like(spans.lengths), spans.lengths)] = spans.values.max(axis=1)
    first = find_largest(best, n_best)
    is_there = np.take_along_axis(best, first, axis=1) > -np.inf
    rows = np.where(is_there, spans.offsets[:-1, None] + first, 0)
    candidates = np.where(is_there[:, :, None], spans.values[rows], -np.inf).reshape(num_texts, -1)
    chosen = find_largest(candidates, n_best)
    score = np.take_along_axis(candidates, chosen, axis=1)
    return np.take_along_axis(first, chosen // num_lengths, axis=1), chosen % num_lengths, score
