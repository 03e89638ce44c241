"""Checks of the labels, scores and tags: too few, too rare, unknown, or one written in two ways."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from unmask.tasks import TASKS
from unmask.tasks.labels import NO_LABELS, Labels, say_one_class, say_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding
    from unmask.data.findings import Severity
    from unmask.tasks import TaskOptions

__all__ = [
    "apply_labels",
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
    "tell_missing",
]

_RARE = 10  # examples
_MOST_SHOWN = 10  # labels in one message
_MOST_RARE = 20  # that are told one by one
_MAJORITY = 0.9  # of the examples


def apply_labels(task: str, sets: Sequence[DataSet], options: TaskOptions) -> tuple[Labels | None, tuple[DataSet, ...]]:
    """Read the labels that were given, and write those of all files in one way.

    A file may have a label's value or its name: checks see values, and the names of tags, whose spans tell by them.

    Args:
        task: key of `unmask.checks.READERS`.
        sets: the files.
        options: of which `labels` are the labels that were given.

    Returns:
        The labels, None where none were given; and the files.

    Raises:
        SettingsError: a label was given twice.
    """
    if options.labels is None or "labels" not in TASKS[task].option_names:
        return None, tuple(sets)
    found = {label for data in sets if data.role == "train" for label in data.first_with}
    labels = Labels.parse(options.labels, found)
    written = labels.names if task == "tagging" else labels.values
    one_way = {label: written[label_id] for label, label_id in labels.ids.items()}

    def rewritten(item: Item) -> Item:
        own = tuple(one_way.get(label, label) for label in item.labels)
        return replace(item, labels=tuple(sorted(set(own))) if task == "multi-label" else own)

    return labels, tuple(replace(data, items=[rewritten(item) for item in data.items]) for data in sets)


def find_few_examples(subject: Subject) -> Iterator[Finding]:
    """A training file of one example: one label, one score, and nothing to hold back for dev."""
    for data in subject.sets:
        if data.role == "train" and len(data.items) == 1:
            has_dev = any(other.role == "dev" for other in subject.sets)
            is_refused = subject.task in ("classification", "regression") or not has_dev
            yield data.finding(
                "few_examples",
                f"there is one {TASKS[subject.task].unit.removesuffix('s')}, and nothing to tell it from",
                data.items[0],
                severity="error" if is_refused else "warning",
                advice="is the blank line between sentences missing? If not, give more"
                if subject.task == "tagging" and len(data.items[0].pieces) > 1
                else "give more examples",
            )


def find_one_class(subject: Subject) -> Iterator[Finding]:
    """A training file whose every label is the same."""
    for data in _training_sets(subject):
        if len(data.label_counts) == 1:
            [label] = data.label_counts
            problem, advice = say_one_class("tag" if subject.task == "tagging" else "label", label)
            yield data.finding("one_class", problem, severity="error", advice=advice)


def find_no_labels(subject: Subject) -> Iterator[Finding]:
    """A training file of label sets that are all empty."""
    for data in _training_sets(subject):
        if not data.label_counts:
            problem, advice = NO_LABELS
            yield data.finding("one_class", problem, severity="error", advice=advice)


def find_rare_labels(subject: Subject) -> Iterator[Finding]:
    """Labels of fewer than ten examples to learn from."""
    severity: Severity = "note" if subject.task == "tagging" else "warning"
    for data in _training_sets(subject):
        rare = {label: count for label, count in data.label_counts.items() if count < _RARE}
        if len(rare) > _MOST_RARE:
            some = ", ".join(map(repr, list(rare)[-_MOST_SHOWN:]))
            yield data.finding(
                "rare_label",
                f"{len(rare):,} of {len(data.label_counts):,} labels have fewer than {_RARE} examples, such as {some}",
                severity=severity,
                advice="is this the column of the labels? If so, join those that are rare, or give more examples",
            )
            continue
        for label, count in rare.items():
            yield data.finding(
                "rare_label",
                f"the label {label!r} stands in {count} of {len(data.items):,} examples",
                data.first_with[label],
                severity=severity,
                advice=f"a label wants {_RARE} examples and better many more: give more, or join it with another",
            )


def find_majority(subject: Subject) -> Iterator[Finding]:
    """A label that nearly every example has."""
    for data in subject.sets:
        for label, count in data.label_counts.most_common(1):
            if len(data.items) > 1 and _MAJORITY * len(data.items) <= count and len(data.label_counts) > 1:
                yield data.finding(
                    "majority",
                    f"{count / len(data.items):.1%} of the examples have the label {label!r}",
                    advice="accuracy says little here: choose by mcc or f1, or weigh labels (--class-weights balanced)",
                )


def find_unseen_labels(subject: Subject) -> Iterator[Finding]:
    """Labels of dev or test that no training example has; labels that are not among those given."""
    given = subject.labels
    listed = sorted(_learnt(subject)) if given is None else given.values
    known = set(listed)
    for data in subject.sets if listed else ():
        if data.role == "train" and given is None:
            continue
        for label in data.label_counts:
            if label not in known:
                problem, advice = say_unknown("label", label, listed)
                first = data.first_with[label]
                yield data.finding("unseen_label", problem, first, of_label=True, severity="error", advice=advice)


def find_missing_labels(subject: Subject) -> Iterator[Finding]:
    """Labels to learn of which a dev or test file has no example."""
    yield from tell_missing(subject, lambda data: set(data.label_counts), "label")


def tell_missing(subject: Subject, names_of: Callable[[DataSet], set[str]], kind: str) -> Iterator[Finding]:
    """What there is to learn, and is missing in a dev or test file.

    Args:
        subject: the files.
        names_of: what there is in one.
        kind: what it is called: "label".
    """
    known = {name for data in subject.sets if data.role == "train" for name in names_of(data)}
    for data in subject.sets:
        if data.role == "train" or not data.items:
            continue
        missing = sorted(known - names_of(data))
        if missing:
            listed = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            yield data.finding(
                "missing_label",
                f"no example has {f'the {kind}' if len(missing) == 1 else f'one of the {kind}s'} {listed}",
                severity="note",
                advice="nothing will be known of how well it is told",
            )


def find_similar_labels(subject: Subject) -> Iterator[Finding]:
    """Labels that differ in case, blanks, hyphens or Unicode's form alone; of tags, in case."""
    for data in _training_sets(subject):
        seen: dict[str, str] = {}
        for label in data.label_counts:
            plain = label.casefold()
            if subject.task != "tagging":
                plain = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", plain)).strip()
            other = seen.setdefault(plain, label)
            if other != label:
                is_refused = label.casefold() == other.casefold() and subject.options.labels is None
                yield data.finding(
                    "similar_labels",
                    f"the labels {other!r} and {label!r} differ in case, blanks or form alone",
                    data.first_with[label],
                    of_label=True,
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
                f"every score is {scores.pop()}",
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
                    f"the score {_score(item)} lies outside those of training, {least} to {most}",
                    item,
                    advice="see whether both files are on one scale; --score-range refuses what lies outside",
                )


def _training_sets(subject: Subject) -> list[DataSet]:
    return [data for data in subject.sets if data.role == "train" and len(data.items) > 1]


def _learnt(subject: Subject) -> set[str]:
    """The labels that there are training examples of."""
    return {label for data in subject.sets if data.role == "train" for label in data.label_counts}


def _score(item: Item) -> float:
    return float(item.labels[0])
