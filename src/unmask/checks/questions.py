"""Checks of questions: one id for two, answers that no token can begin or end with, answers that are never wanted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unmask.checks.tokens import describe_ends, encode_ids, places_inside
from unmask.data.findings import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding

__all__ = ["find_answers", "find_ids", "find_long_questions", "find_misaligned_answers", "find_unanswerable"]

_CONTEXTS_AT_ONCE = 256


def find_ids(subject: Subject) -> Iterator[Finding]:
    """Questions of one file that have the same id."""
    for data in subject.sets:
        first: dict[str, Item] = {}
        for item in data.items:
            before = first.setdefault(item.example.id, item)
            if before is not item:
                yield data.finding(
                    "duplicate_id",
                    f"the id {item.example.id!r} is that of {before.place} too",
                    item,
                    severity="error",
                    advice="give each question its own",
                )


def find_answers(subject: Subject) -> Iterator[Finding]:
    """A training file without an answer."""
    for data in subject.sets:
        if data.role == "train" and data.items and not any(item.example.answers for item in data.items):
            yield data.finding(
                "no_answer",
                "no question has an answer, so there is nothing to find",
                severity="error",
                advice="give some that have",
            )


def find_long_questions(subject: Subject) -> Iterator[Finding]:
    """Questions longer than what is read of one."""
    if subject.tokenizer is None:
        return
    limit = subject.options.max_query_length
    for data in subject.sets:
        questions = [item.texts[0] for item in data.items]
        lengths = [len(ids) for ids in encode_ids(subject.tokenizer, questions)]
        if cut := [item for item, length in zip(data.items, lengths, strict=True) if length > limit]:
            yield data.finding(
                "long_questions",
                f"more than {count_of(limit, 'token')} in {count_of(len(cut), 'question')}, {max(lengths):,} in the "
                "longest: the rest is cut",
                cut[0],
                advice="raise --max-query-length, if the end of the question is what is asked",
            )


def find_unanswerable(subject: Subject) -> Iterator[Finding]:
    """Files with questions that have no answer beside a training file without."""
    if subject.train is None or not subject.train.items:
        return
    learnt = Counter(item.labels for item in subject.train.items)
    for data in subject.sets:
        if data.role != "train" and not learnt["impossible",]:
            impossible = [item for item in data.items if item.labels == ("impossible",)]
            if impossible:
                yield data.finding(
                    "unanswerable",
                    f"no answer to {len(impossible):,} of {count_of(len(data.items), 'question')}, and none is without "
                    f"in {subject.train.path}",
                    impossible[0],
                    advice="a model will not learn to leave a question unanswered: train on such questions too",
                )


def find_misaligned_answers(subject: Subject) -> Iterator[Finding]:
    """Answers that begin or end inside a token, so that no span of tokens is the answer."""
    if subject.tokenizer is None:
        return
    for data in subject.sets:
        by_context: dict[str, list[Item]] = {}
        for item in data.items:
            if item.example.answers:
                by_context.setdefault(item.example.context, []).append(item)
        contexts = list(by_context)
        for start in range(0, len(contexts), _CONTEXTS_AT_ONCE):
            some = contexts[start : start + _CONTEXTS_AT_ONCE]
            encodings = subject.tokenizer.encode_batch(some, add_special_tokens=False).encodings
            for context, encoding in zip(some, encodings, strict=True):
                inside = places_inside(context, encoding.offsets)
                for item in by_context[context]:
                    yield from _misaligned(data, item, inside, subject.model)


def _misaligned(data: DataSet, item: Item, inside: frozenset[int], model: str) -> Iterator[Finding]:
    """Hold the answer that training takes, the first, against the places within tokens."""
    answer = item.example.answers[0]
    if which := describe_ends(item.example.context, answer.start, answer.end, inside):
        yield data.finding(
            "misaligned_answer",
            f"the answer {answer.text[:40]!r} {which} inside a token of {model}",
            item,
            advice="no span of tokens is that answer, only a longer one: widen it to whole words if it may be",
        )
