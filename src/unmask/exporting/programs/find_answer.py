"""Answers to questions, each a span of the text it is asked of, or none. The question comes first."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.programs.shared import Model, main

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOC_STRIDE, _MAX_QUERY_LENGTH, _MAX_ANSWER_LENGTH, _N_BEST = 128, 64, 30, 20
_NEVER = 1e9  # how sure it is that there is no answer where no span can be one


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The best span over all windows of the text, where it stands, and its probability among the best.

    There is none where the score of no answer is above that of the best span by more than the model's threshold.
    """
    for given in inputs:
        if not (given["text_pair"] or "").strip():
            raise SystemExit("a question is asked of a text: give it with --pair, or as context in JSON")
        yield _answer(model, given["text"], given["text_pair"])


def _answer(model: Model, question: str, context: str) -> dict[str, Any]:
    longest = model.task.get("max_answer_length") or _MAX_ANSWER_LENGTH
    threshold = model.task.get("null_score_diff_threshold")
    windows, spans, may_start, may_end, first_row = _read(model, question, context)
    outputs = model.run([sequence for sequence, _, _ in windows])
    scores = np.full((len(spans), longest), -np.inf, np.float32)  # of each first token, and length less 1
    null = np.inf
    for logits, (_, start, stop) in zip(outputs, windows, strict=True):
        null = min(null, float(logits[0].sum()))
        own = logits[first_row : first_row + stop - start]
        starts = np.where(may_start[start:stop], own[:, 0], -np.inf)
        ends = np.where(may_end[start:stop], own[:, 1], -np.inf)
        for length in range(min(longest, stop - start)):
            sums = starts[: stop - start - length] + ends[length:]
            scores[start : stop - length, length] = np.maximum(scores[start : stop - length, length], sums)
    flat = scores.reshape(-1)
    best = np.argsort(-flat, kind="stable")[: model.task.get("n_best_size") or _N_BEST]
    best = best[np.isfinite(flat[best])]
    null_score = null - float(flat[best[0]]) if len(best) else _NEVER
    compared = np.append(flat[best], [null] if threshold is not None or not len(best) else []).astype(np.float64)
    shares = np.exp(compared - compared.max())
    shares /= shares.sum()
    is_impossible = not len(best) or (threshold is not None and null_score > threshold)
    result: dict[str, Any] = {"question": question, "text": "", "score": float(shares[-1]), "start": None, "end": None}
    if not is_impossible:
        first, length = divmod(int(best[0]), longest)
        start, end = int(spans[first, 0]), int(spans[first + length, 1])
        result |= {"text": context[start:end], "score": float(shares[0]), "start": start, "end": end}
    return {**result, "is_impossible": is_impossible, "null_score": null_score}


def _read(model: Model, question: str, context: str) -> tuple[Any, ...]:
    """The windows, each with its tokens and which tokens of the text it holds; then what `_places` tells of these.

    Last comes where in each window the text begins.
    """
    sample = model.tokenizer.encode("a", "a")
    owners = sample.sequence_ids
    bounds = [
        owners.index(0),
        len(owners) - owners[::-1].index(0),
        owners.index(1),
        len(owners) - owners[::-1].index(1),
    ]
    runs = [range(bounds[0]), range(bounds[1], bounds[2]), range(bounds[3], len(owners))]
    types = sample.type_ids
    room = model.max_length - sum(map(len, runs))
    longest = min(model.task.get("max_query_length") or _MAX_QUERY_LENGTH, room // 2)
    asked = model.tokenizer.encode(question, add_special_tokens=False).ids[:longest]
    encoding = model.tokenizer.encode(context, add_special_tokens=False)
    if not asked or not encoding.ids:
        raise SystemExit("the tokenizer leaves nothing of the question or of its text: write another")
    room -= len(asked)
    stride = min(model.task.get("doc_stride") or _DOC_STRIDE, room)
    windows = []
    for number in range(-(-max(0, len(encoding.ids) - room) // stride) + 1):
        start = number * stride
        own = encoding.ids[start : start + room]
        parts = [(asked, types[bounds[0]]), (own, types[bounds[2]])]
        ids: list[int] = []
        kinds: list[int] = []
        for index, run in enumerate(runs):
            ids += [sample.ids[place] for place in run]
            kinds += [types[place] for place in run]
            if index < len(parts):
                ids += parts[index][0]
                kinds += [parts[index][1]] * len(parts[index][0])
        windows.append(((ids, kinds), start, start + len(own)))
    first_row = len(runs[0]) + len(asked) + len(runs[1])
    return (windows, *_places(context, encoding.offsets), first_row)


def _places(context: str, offsets: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each token its characters, (N, 2), and whether answers may begin or end at it, (N,).

    It has no blanks at its ends, and the accents after it. Answers begin where it brings a character that none before
    it brought, and end where none after it has its first.
    """
    spans = []
    for start, end in offsets:
        stripped = context[start:end].strip()
        start += len(context[start:end]) - len(context[start:end].lstrip())
        spans.append((start, start + len(stripped)))
    may_start, may_end = [], []
    reached, next_start = 0, len(context)
    for index in range(len(spans) - 1, -1, -1):
        start, end = spans[index]
        may_end.append(start < end and start < next_start)
        if start < end:
            while end < next_start and (unicodedata.category(context[end])[0] == "M" or context[end] in "\u200c\u200d"):
                end += 1
            spans[index] = start, end
            next_start = min(next_start, start)
    for start, end in spans:
        may_start.append(start < end and end > reached)
        reached = max(reached, end) if start < end else reached
    return np.array(spans), np.array(may_start), np.array(may_end[::-1])


if __name__ == "__main__":
    main(answer, ("question", "context"))
