"""When a question is better answered with nothing: a threshold on how sure the model is that there is no answer.

A model of SQuAD 2.0 gives each question its best answer and a *null score*, high where the text seems to hold none
(Devlin et al. 2019, arXiv:1810.04805, section 4.3: the score of [CLS] less that of the best span). Above the threshold
the answer becomes the empty text.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from unmask.metrics.question_answering import AnswerScores

__all__ = ["apply_null_threshold", "find_best_threshold", "tune_null_threshold"]


def apply_null_threshold(scores: AnswerScores, null_scores: ArrayLike, threshold: float) -> AnswerScores:
    """The scores if each question whose null score is above the threshold is answered with nothing.

    Args:
        scores: of the predictions as they are.
        null_scores: (N,), how sure the model is that there is no answer; any scale.
        threshold: on the same scale.

    Raises:
        ValueError: null scores of another number, or not finite.
    """
    is_null = _check_null_scores(scores, null_scores) > threshold
    right = (~scores.has_answer).astype(np.float64)
    return replace(
        scores,
        exact_match=np.where(is_null, right, scores.exact_match),
        f1=np.where(is_null, right, scores.f1),
        is_answered=scores.is_answered & ~is_null,
    )


def find_best_threshold(
    scores: AnswerScores, null_scores: ArrayLike, *, metric: Literal["exact_match", "f1"] = "f1"
) -> tuple[float, float]:
    """The best mean score that some threshold gives, and the threshold, by the rules of the official program.

    It starts with nothing answered and the threshold 0, and lets questions be answered by rising null score: an
    answerable one adds its score, another one takes 1 away if its prediction is not empty. The threshold is the null
    score of the last one answered when the sum was highest. Two things follow, which `tune_null_threshold` mends: among
    equal null scores it stops midway, which no threshold can; and 0 stands for "answer nothing" on every scale.

    Args:
        scores: of the predictions as they are, none of them emptied by a threshold yet.
        null_scores: (N,), on any scale; the questions' order decides between equal ones.
        metric: which score.

    Returns:
        The score in [0, 1] (`best_exact` or `best_f1`, over 100), and its threshold.

    Raises:
        ValueError: as `apply_null_threshold`.
    """
    null_scores = _check_null_scores(scores, null_scores)
    order = np.argsort(null_scores, kind="stable")
    gain = np.where(scores.has_answer, getattr(scores, metric), -scores.is_answered.astype(np.float64))[order]
    sums = np.cumsum(np.concatenate([[np.count_nonzero(~scores.has_answer)], gain]))
    best = int(np.argmax(sums))
    return float(sums[best] / len(order)), float(null_scores[order[best - 1]]) if best else 0.0


def tune_null_threshold(
    scores: AnswerScores, null_scores: ArrayLike, *, metric: Literal["exact_match", "f1"] = "f1"
) -> float:
    """Choose the threshold to keep with a model: the one which, applied to these questions, scores best.

    A prediction becomes empty where its null score is above it (`apply_null_threshold`). It lies midway between two
    null scores, so that rounding does not matter; below the lowest where nothing should be answered, at the highest
    where everything should. Of equally good ones the lowest is chosen.

    Args:
        scores, null_scores, metric: as `find_best_threshold`.

    Raises:
        ValueError: as `apply_null_threshold`.
    """
    null_scores = _check_null_scores(scores, null_scores)
    order = np.argsort(null_scores, kind="stable")
    ordered = null_scores[order]
    kept = getattr(scores, metric)[order]
    emptied = (~scores.has_answer).astype(np.float64)[order]
    sums = np.concatenate([[0.0], np.cumsum(kept - emptied)]) + emptied.sum()  # sums[k]: the k lowest are answered
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    k = int(np.argmax(np.where(possible, sums, -np.inf)))
    if k == 0:
        return float(np.nextafter(ordered[0], -np.inf))
    if k == len(ordered):
        return float(ordered[-1])
    low, high = float(ordered[k - 1]), float(ordered[k])
    middle = low + (high - low) / 2
    return middle if middle < high else low


def _check_null_scores(scores: AnswerScores, null_scores: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(null_scores, np.float64)
    if array.shape != scores.f1.shape:
        raise ValueError(
            f"{len(scores.f1)} questions and null scores of shape {array.shape}: there must be one of each"
        )
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"null score {index} is {array[index]}: give finite numbers")
    return array
