"""Checks of the labels, scores and tags: too few, too rare, unknown, or one written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding

__all__ = [
    "count_labels",
    "find_constant_scores",
    "find_few_examples",
    "find_majority",
    "find_missing_labels",
    "find_no_labels",
    "find_one_class",
    "find_rare_labels",
    "find_scores_beyond",
    "find_similar_labels",
    "find_unseen_labels",
]

_RARE = 10  # examples
_MOST_SHOWN = 10  # labels in one message
_MAJORITY = 0.9  # of the examples


def count_labels(data: DataSet) -> Counter[str]:
    """How often each label stands in a set, most often first."""
    counts = Counter(label for item in data.items for label in item.labels)
    return Counter(dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))))


def find_few_examples(subject: Subject) -> Iterator[Finding]:
    """A training file of one example."""
    for data in subject.sets:
        if data.role == "train" and len(data.items) == 1:
            yield data.finding(
                "few_examples",
                "there is one example, and nothing to tell it from",
                data.items[0],
                severity="error",
                advice="give more examples",
            )


def find_one_class(subject: Subject) -> Iterator[Finding]:
    """A training file whose every label is the same."""
    for data in _training_sets(subject):
        counts = count_labels(data)
        if len(counts) == 1:
            yield data.finding(
                "one_class",
                f"every label is {next(iter(counts))!r}",
                severity="error",
                advice="a classifier needs examples of at least two classes",
            )


def find_no_labels(subject: Subject) -> Iterator[Finding]:
    """A training file of label sets that are all empty."""
    for data in _training_sets(subject):
        if not count_labels(data):
            yield data.finding("one_class", "no text has a label", severity="error", advice="give texts labels")


def find_rare_labels(subject: Subject) -> Iterator[Finding]:
    """Labels of fewer than ten examples to learn from."""
    for data in _training_sets(subject):
        for label, count in count_labels(data).items():
            if count < _RARE:
                yield data.finding(
                    "rare_label",
                    f"the label {label!r} stands in {count} of {len(data.items):,} examples",
                    _first(data, label),
                    severity="note" if subject.task == "tagging" else "warning",
                    advice=f"a label wants {_RARE} examples and better many more: give more, or join it with another",
                )


def find_majority(subject: Subject) -> Iterator[Finding]:
    """A label that nearly every example has."""
    for data in subject.sets:
        for label, count in count_labels(data).most_common(1):
            if len(data.items) > 1 and _MAJORITY * len(data.items) <= count and len(count_labels(data)) > 1:
                yield data.finding(
                    "majority",
                    f"{count / len(data.items):.1%} of the examples have the label {label!r}",
                    advice="accuracy says little here: choose by mcc or f1, or weigh labels (--class-weights balanced)",
                )


def find_unseen_labels(subject: Subject) -> Iterator[Finding]:
    """Labels of dev or test that no training example has; labels that are not among those given."""
    given = {part for label in subject.options.labels or () for part in (label, *label.split("=", 1))}
    learnt = sorted({label for data in _training_sets(subject) for label in count_labels(data)})
    listed = [label.split("=", 1)[0] for label in subject.options.labels or learnt]
    shown = ", ".join(listed[:_MOST_SHOWN]) + (f", {len(listed) - _MOST_SHOWN} more" if listed[_MOST_SHOWN:] else "")
    for data in subject.sets if listed else ():
        if data.role == "train" and not given:
            continue
        for label in count_labels(data):
            if label not in (given or learnt):
                yield data.finding(
                    "unseen_label",
                    f"the label {label!r} is not one the model was given to learn ({shown})",
                    _first(data, label),
                    severity="error",
                    advice="mend the label, or add examples of it to the training file",
                )


def find_missing_labels(subject: Subject) -> Iterator[Finding]:
    """Labels to learn of which a dev or test file has no example."""
    known = {label for data in _training_sets(subject) for label in count_labels(data)}
    for data in subject.sets:
        if data.role == "train" or not data.items:
            continue
        missing = sorted(known - count_labels(data).keys())
        if missing:
            listed = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            yield data.finding(
                "missing_label",
                f"no example has {'the label' if len(missing) == 1 else 'one of the labels'} {listed}",
                severity="note",
                advice="nothing will be known of how well it is told",
            )


def find_similar_labels(subject: Subject) -> Iterator[Finding]:
    """Labels that differ in case, blanks, hyphens or Unicode's form alone; of tags, in case."""
    for data in _training_sets(subject):
        seen: dict[str, str] = {}
        for label in count_labels(data):
            plain = label.casefold()
            if subject.task != "tagging":
                plain = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", plain)).strip()
            other = seen.setdefault(plain, label)
            if other != label:
                is_refused = label.casefold() == other.casefold() and subject.options.labels is None
                yield data.finding(
                    "similar_labels",
                    f"the labels {other!r} and {label!r} differ in case, blanks or form alone",
                    _first(data, label),
                    severity="error" if is_refused else "warning",
                    advice="write them alike, or name both with --labels if they are two",
                )


def find_constant_scores(subject: Subject) -> Iterator[Finding]:
    """A training file whose every score is the same."""
    for data in _training_sets(subject):
        scores = {_score(item) for item in data.items}
        if len(scores) == 1:
            yield data.finding(
                "constant_scores",
                f"every score is {scores.pop():g}",
                severity="error",
                advice="give examples of two scores or more",
            )


def find_scores_beyond(subject: Subject) -> Iterator[Finding]:
    """Scores of dev or test outside those that can be learnt from."""
    if subject.train is None or not subject.train.items:
        return
    scores = [_score(item) for item in subject.train.items]
    least, most = min(scores), max(scores)
    for data in subject.sets:
        for item in data.items if data.role != "train" else ():
            if not least <= _score(item) <= most:
                yield data.finding(
                    "scores_beyond",
                    f"the score {_score(item):g} lies outside those of training, {least:g} to {most:g}",
                    item,
                    advice="see whether both files are on one scale; --score-range refuses what lies outside",
                )


def _training_sets(subject: Subject) -> list[DataSet]:
    return [data for data in subject.sets if data.role == "train" and len(data.items) > 1]


def _first(data: DataSet, label: str) -> Item:
    return next(item for item in data.items if label in item.labels)


def _score(item: Item) -> float:
    return float(item.labels[0])
