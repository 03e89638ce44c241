"""Scores of a tagger: the share of words with the right tag, and of spans found exactly.

A span counts as found if type, first and last word are all right; nothing is given for part of a span. Both the true
tags and the predicted ones are read as `metrics.tag_schemes` says, so precision, recall and F1 are those of
`conlleval` and of seqeval's `classification_report(..., mode=None)`, malformed predictions included: seqeval knows the
letters B, I, E and S, and `bilou` is scored as the same tags in `iobes`. Micro scores count all spans together, which
is what papers call F1; macro scores are means over the types that occur among true or predicted spans. A score with
nothing to divide by is 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.metrics.classification import ClassScores
from unmask.metrics.ratios import divide
from unmask.metrics.tag_schemes import find_malformed, read_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rich.table import Table

    from unmask.metrics.tag_schemes import TagScheme

__all__ = ["SpanScores", "TaggingReport", "tagging_metrics", "tagging_report"]


@dataclass(frozen=True)
class SpanScores:
    """How well the spans of one type were found.

    Args:
        name: the type, such as PER.
        precision: of the spans predicted, the share that is right; in [0, 1].
        recall: of the true spans, the share that was found; in [0, 1].
        f1: harmonic mean of the two.
        support: number of true spans.
        num_predicted: number of spans predicted.
        num_correct: number of spans that are in both.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    num_predicted: int
    num_correct: int


@dataclass(frozen=True)
class TaggingReport:
    """All that is to be said about the tags predicted for some sequences.

    Args:
        metrics: what `tagging_metrics` gives.
        scheme: how the tags mark spans; None where they mark none, as parts of speech.
        types: the spans type by type, in alphabetical order; empty without a scheme.
        tags: the words tag by tag, in the order of `tag_names`.
        confusion_matrix: counts of words; row = true tag, column = predicted tag.
        num_sequences: number of sequences judged.
        num_malformed: predicted tags which the scheme does not allow where they stand; 0 without a scheme.
    """

    metrics: dict[str, float]
    scheme: TagScheme | None
    types: tuple[SpanScores, ...]
    tags: tuple[ClassScores, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    num_sequences: int
    num_malformed: int

    @property
    def num_words(self) -> int:
        """Number of words judged."""
        return sum(tag.support for tag in self.tags)

    @property
    def most_frequent(self) -> ClassScores:
        """The tag that most words have: the accuracy of always answering it is the one to beat."""
        return max(self.tags, key=lambda tag: tag.support)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; `from_dict` reads them back."""
        return {
            "num_sequences": self.num_sequences,
            "num_words": self.num_words,
            "num_malformed": self.num_malformed,
            "scheme": self.scheme,
            "metrics": dict(self.metrics),
            "types": [asdict(scores) for scores in self.types],
            "tags": [asdict(scores) for scores in self.tags],
            "confusion_matrix": [list(row) for row in self.confusion_matrix],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TaggingReport:
        """The report that `to_dict` wrote; keys of other writers are passed over."""
        return cls(
            metrics=dict(content["metrics"]),
            scheme=content["scheme"],
            types=tuple(SpanScores(**scores) for scores in content["types"]),
            tags=tuple(ClassScores(**scores) for scores in content["tags"]),
            confusion_matrix=tuple(tuple(row) for row in content["confusion_matrix"]),
            num_sequences=content["num_sequences"],
            num_malformed=content["num_malformed"],
        )

    def to_table(self) -> Table:
        """The scores per type of span, or per tag without a scheme; the caption holds those of all together."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(caption="  ".join(f"{name} {value:.3f}" for name, value in self.metrics.items()))
        table.add_column("tag" if self.scheme is None else "type")
        for column in ("precision", "recall", "f1", "support"):
            table.add_column(column, justify="right")
        rows: tuple[ClassScores | SpanScores, ...] = self.tags if self.scheme is None else self.types
        for row in rows:
            scores = (f"{score:.3f}" for score in (row.precision, row.recall, row.f1))
            table.add_row(escape(row.name), *scores, f"{row.support:,}")
        return table


def tagging_metrics(
    tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], *, scheme: TagScheme | None
) -> dict[str, float]:
    """Accuracy of tags; with a scheme, precision, recall and F1 of spans.

    Args:
        tags: the true tags, one sequence per text.
        predictions: the predicted tags, in the same order and of the same lengths.
        scheme: how the tags mark spans; None where they mark none.

    Returns:
        `accuracy`: share of words with their tag, in [0, 1].
        With a scheme also `precision`, `recall`, `f1` (micro: all spans together) and `macro_precision`,
        `macro_recall`, `macro_f1` (means over types; 0 where there is no span). Without one also `macro_f1`, the mean
        F1 of the tags that occur in either list.

    Raises:
        DataError: a tag is not one of the scheme's.
        ValueError: the sequences differ in number or length, or there is no word at all.
    """
    return tagging_report(tags, predictions, scheme=scheme).metrics


def tagging_report(
    tags: Sequence[Sequence[str]],
    predictions: Sequence[Sequence[str]],
    *,
    scheme: TagScheme | None,
    tag_names: Sequence[str] | None = None,
) -> TaggingReport:
    """Judge predicted tags word by word, and with a scheme span by span.

    Args:
        tags, predictions, scheme: as `tagging_metrics`.
        tag_names: the order of the tags in the report; left out, all that occur, in alphabetical order.

    Raises:
        DataError: a tag is not one of the scheme's.
        ValueError: as `tagging_metrics`; a tag is not in `tag_names`.
    """
    _check(tags, predictions)
    confusion, names = _confusion(tags, predictions, tag_names)
    by_tag = _score(names, confusion.sum(1), confusion.sum(0), confusion.diagonal())
    metrics = {"accuracy": float(confusion.trace() / confusion.sum())}
    types: tuple[SpanScores, ...] = ()
    num_malformed = 0
    if scheme is None:
        metrics["macro_f1"] = float(np.mean([tag.f1 for tag in by_tag if tag.support or tag.num_predicted]))
    else:
        types = _score_types(tags, predictions, scheme)
        totals = (sum(getattr(one, of) for one in types) for of in ("support", "num_predicted", "num_correct"))
        (micro,) = _score(["micro"], *(np.array([total]) for total in totals))
        metrics |= {"precision": micro.precision, "recall": micro.recall, "f1": micro.f1}
        for name in ("precision", "recall", "f1"):
            metrics[f"macro_{name}"] = float(np.mean([getattr(one, name) for one in types])) if types else 0.0
        num_malformed = sum(len(find_malformed(sequence, scheme)) for sequence in predictions)
    return TaggingReport(
        metrics=metrics,
        scheme=scheme,
        types=types,
        tags=tuple(ClassScores(tag.name, tag.precision, tag.recall, tag.f1, tag.support) for tag in by_tag),
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
        num_sequences=len(tags),
        num_malformed=num_malformed,
    )


def _score_types(
    tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], scheme: TagScheme
) -> tuple[SpanScores, ...]:
    counts: dict[str, list[int]] = {}
    for true_tags, predicted_tags in zip(tags, predictions, strict=True):
        true, predicted = set(read_spans(true_tags, scheme)), set(read_spans(predicted_tags, scheme))
        for column, spans in enumerate((true, predicted, true & predicted)):
            for span in spans:
                counts.setdefault(span.type, [0, 0, 0])[column] += 1
    names = sorted(counts)
    columns = np.array([counts[name] for name in names], np.int64).reshape(-1, 3).T
    return _score(names, *columns)


def _score(
    names: Sequence[str], true: NDArray[np.int64], predicted: NDArray[np.int64], correct: NDArray[np.int64]
) -> tuple[SpanScores, ...]:
    precision, recall, f1 = divide(correct, predicted), divide(correct, true), divide(2 * correct, true + predicted)
    columns = (column.tolist() for column in (precision, recall, f1, true, predicted, correct))
    return tuple(SpanScores(*row) for row in zip(names, *columns, strict=True))


def _confusion(
    tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], tag_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    true = [tag for sequence in tags for tag in sequence]
    predicted = [tag for sequence in predictions for tag in sequence]
    names = sorted({*true, *predicted}) if tag_names is None else list(tag_names)
    ids = {name: index for index, name in enumerate(names)}
    if unknown := {*true, *predicted} - ids.keys():
        raise ValueError(f"tag {min(unknown)!r} is not one of the {len(names)} tag names")
    cells = np.array([ids[tag] for tag in true]) * len(names) + np.array([ids[tag] for tag in predicted])
    return np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), -1), names


def _check(tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> None:
    if len(tags) != len(predictions):
        raise ValueError(f"{len(tags)} sequences of tags and {len(predictions)} predictions: there must be one of each")
    for index, (true, predicted) in enumerate(zip(tags, predictions, strict=True)):
        if len(true) != len(predicted):
            raise ValueError(f"sequence {index} has {len(true)} tags and {len(predicted)} predictions: one each a word")
    if not any(map(len, tags)):
        raise ValueError("no tags: there is nothing to score")
