"""Asking a masked language model, a step at a time, without knowing what computes it. Axes: R rows, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from unmask.logits import find_likeliest
from unmask.ragged import Ragged, runs_of
from unmask.tasks import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from unmask.filling.texts import TextWithMasks
    from unmask.runtimes import Steps
    from unmask.tokenization import Tokenizer

__all__ = ["Question", "ask", "guess_pieces"]

AnswerT = TypeVar("AnswerT")

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


def guess_pieces(
    texts: Sequence[TextWithMasks], tokenizer: Tokenizer, *, top_k: int, among: NDArray[np.int64] | None = None
) -> Steps[list[list[list[tuple[int, float]]]]]:
    """Guess the piece behind each mask, as if nothing were known of the other masks.

    Args:
        texts: any number.
        tokenizer: the model's.
        top_k: guesses a mask; fewer where there are no more.
        among: ids to choose from; None is the vocabulary. Embeddings may have more rows than that; such a row is no
            guess.

    Returns:
        For each text and each of its masks ids and their probabilities, the likeliest first.
    """
    chosen = np.arange(tokenizer.vocab_size) if among is None else among

    def answer(number: int, logits: NDArray[np.float32]) -> list[list[tuple[int, float]]]:
        found = (find_likeliest(row, top_k, among=chosen) for row in logits)
        return [list(zip(ids.tolist(), scores.tolist(), strict=True)) for ids, scores in found]

    questions = [Question(tuple(text.input_ids), tuple(text.token_type_ids), tuple(text.positions)) for text in texts]
    return (yield from ask(questions, answer))
