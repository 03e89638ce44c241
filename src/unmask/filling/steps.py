"""Asking a masked language model, a step at a time, without knowing what computes it. Axes: R rows, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from unmask.ragged import Ragged, runs_of
from unmask.tasks import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.runtimes import Runtime

__all__ = ["Question", "Steps", "ask", "log_softmax", "run_steps"]

ResultT = TypeVar("ResultT")
AnswerT = TypeVar("AnswerT")

Steps = Generator[Samples, Ragged, ResultT]
"""Yields samples to be computed, is sent the outputs of each of their sequences, returns the result."""

_ROWS_AT_ONCE = 512  # of one step: with 30 thousand words 60 MB of logits


@dataclass(frozen=True)
class Question:
    """Which words stand in these places of this sequence?

    Args:
        input_ids: the sequence, masks among it.
        token_type_ids: of the same length.
        rows: the places, R positions in it, none twice.
    """

    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    rows: tuple[int, ...]


def run_steps(steps: Steps[ResultT], runtime: Runtime) -> ResultT:
    """Take steps to their end, each computed by one runtime."""
    try:
        samples = next(steps)
        while True:
            samples = steps.send(runtime.run_all(samples.input_ids, samples.token_type_ids, samples.rows))
    except StopIteration as end:
        result: ResultT = end.value
        return result


def ask(questions: Sequence[Question], answer: Callable[[int, NDArray[np.float32]], AnswerT]) -> Steps[list[AnswerT]]:
    """Have questions computed, equal ones once, so many at a time that their logits fit in memory.

    Args:
        questions: any number.
        answer: makes of a question's number and its logits, float32 (R, V), what is to be kept of them.

    Returns:
        One answer a question, in their order.
    """
    distinct = list(dict.fromkeys(questions))
    askers: dict[Question, list[int]] = {question: [] for question in distinct}
    for number, question in enumerate(questions):
        askers[question].append(number)
    answers: dict[int, AnswerT] = {}
    for run in runs_of(np.array([len(question.rows) for question in distinct], np.int64), _ROWS_AT_ONCE):
        chosen = [distinct[index] for index in run]
        outputs = yield Samples(
            input_ids=Ragged.of([question.input_ids for question in chosen], np.int64),
            token_type_ids=Ragged.of([question.token_type_ids for question in chosen], np.int64),
            rows=Ragged.of([question.rows for question in chosen], np.int64),
        )
        for question, logits in zip(chosen, outputs, strict=True):
            answers |= {number: answer(number, logits) for number in askers[question]}
    return [answers[number] for number in range(len(questions))]


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of logits, over their last axis."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
