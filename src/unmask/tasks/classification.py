"""One label for each text (CoLA, sentiment) or pair of texts. Devlin et al. 2019 (arXiv:1810.04805), figure 4 a and b.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | any word or number; its values become the labels | the first there is of label, labels, class |
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from unmask.errors import DataError, SettingsError
from unmask.metrics import classification_metrics, classification_report
from unmask.tasks.task import Samples, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.data import Table
    from unmask.tasks.task import Columns
    from unmask.tokenization import Tokenizer

__all__ = ["Classification", "Labels", "Prediction", "TextExample"]

_TEXT_COLUMNS = ("sentence", "text", "sentence1", "document", "review")
_LABEL_COLUMNS = ("label", "labels", "class")


@dataclass(frozen=True, kw_only=True)
class TextExample:
    """One row: a text, perhaps its pair, and the value of its label column as it stands in the file."""

    text: str
    text_pair: str | None
    label: str | None
    source: str
    line: int


@dataclass(frozen=True)
class Labels:
    """The labels, in the order of their ids.

    Args:
        values: what the label column says.
        names: what people are shown and checkpoints keep.
    """

    values: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def find(cls, examples: Sequence[TextExample], given: Sequence[str] | None) -> Labels:
        """Take the labels from the training examples, or as given: `value` or `value=name`, in the order of ids.

        Raises:
            DataError: if the examples have one label only, or one that was not given.
            SettingsError: if labels are given twice.
        """
        first = examples[0]
        found = {example.label for example in examples if example.label is not None}
        if len(found) < 2:
            raise DataError(
                f"every label is {next(iter(found))!r}: a classifier needs examples of at least two classes",
                path=first.source,
            )
        if given is None:
            values = tuple(sorted(found, key=_number_or_word))
            return cls(values, values)
        pairs = [[label] if label in found else label.split("=", 1) for label in given]
        labels = cls(tuple(pair[0] for pair in pairs), tuple(pair[-1] for pair in pairs))
        if len(set(labels.values)) < len(pairs) or len(set(labels.names)) < len(pairs):
            raise SettingsError(f"labels {' '.join(given)}: each value and each name may stand once")
        labels.ids_of(examples)
        return labels

    def ids_of(self, examples: Iterable[TextExample]) -> list[int]:
        """Look up the id of each example's label, written as the file or as people have it.

        Raises:
            DataError: if a label is none of these.
        """
        ids = {name: label_id for label_id, name in enumerate(self.names)}
        ids |= {value: label_id for label_id, value in enumerate(self.values)}
        found = []
        for example in examples:
            if example.label not in ids:
                raise DataError(
                    f"the label {example.label!r} is not one the model was given to learn ({', '.join(self.values)}): "
                    "mend the label, or add examples of it to the training file",
                    path=example.source,
                    line=example.line,
                )
            found.append(ids[example.label])
        return found


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A label for a text.

    Args:
        text: the text.
        text_pair: its second text, or None.
        label: the most probable label.
        probability: its probability, in [0, 1].
        probabilities: of every label.
    """

    text: str
    text_pair: str | None
    label: str
    probability: float
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Classification(Task[TextExample]):
    """Cross-entropy over the labels; accuracy, Matthews correlation and F1.

    Args:
        labels: values and names.
    """

    name = "classification"
    head = "sequence-classification"
    metrics = ("loss", "accuracy", "mcc", "f1")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    @classmethod
    def read(cls, table: Table, columns: Columns, *, with_labels: bool = True) -> list[TextExample]:
        texts = table.column(columns.text or _usual(table, _TEXT_COLUMNS, "text"))
        pairs = table.column(columns.text_pair) if columns.text_pair else [None] * len(texts)
        labels: Sequence[str | None] = [None] * len(texts)
        if with_labels:
            labels = [label.strip() for label in table.column(columns.label or _usual(table, _LABEL_COLUMNS, "label"))]
        for label, line in zip(labels, table.lines, strict=True):
            if label == "":
                raise DataError("the label is empty: fill it in, or leave the row out", path=table.source, line=line)
        return [
            TextExample(text=text, text_pair=pair, label=label, source=table.source, line=line)
            for text, pair, label, line in zip(texts, pairs, labels, table.lines, strict=True)
        ]

    @classmethod
    def for_training(cls, examples: Sequence[TextExample], *, labels: Sequence[str] | None) -> Classification:
        return cls(Labels.find(examples, labels))

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], *, labels: Sequence[str] | None) -> Classification:
        names = tuple(id2label.values())
        values = [label.removesuffix(f"={name}") for label, name in zip(labels or names, names, strict=True)]
        return cls(Labels(tuple(values), names))

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.labels.names))

    @property
    def recorded_labels(self) -> list[str]:
        pairs = zip(self.labels.values, self.labels.names, strict=True)
        return [value if value == name else f"{value}={name}" for value, name in pairs]

    def encode(
        self, examples: Sequence[TextExample], tokenizer: Tokenizer, *, max_seq_length: int, with_targets: bool = True
    ) -> Samples:
        """Encode [CLS] text [SEP], or [CLS] text [SEP] pair [SEP], cut at the end of the longer one."""
        pairs = [example.text_pair for example in examples if example.text_pair is not None]
        encodings = tokenizer.encode_batch(
            [example.text for example in examples],
            pairs or None,
            max_length=max_seq_length,
            truncation="longest_first",
        )
        for example, encoding in zip(examples, encodings.encodings, strict=True):
            if all(encoding.special_tokens_mask):
                raise DataError(
                    f"nothing is left of the text in {max_seq_length} tokens: raise max_seq_length"
                    if encoding.num_truncated_tokens
                    else "the text is empty, there is nothing to read in it: fill it in, or leave the row out",
                    path=example.source,
                    line=example.line,
                )
        return Samples.of(encodings, self.labels.ids_of(examples) if with_targets else None)

    def count_targets(self, samples: Samples) -> dict[str, int]:
        assert samples.targets is not None
        return {name: int((samples.targets == label_id).sum()) for label_id, name in self.id2label.items()}

    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="sum")

    def score(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, float]:
        predictions = logits.argmax(axis=1).tolist()
        return classification_metrics(targets.tolist(), predictions, num_labels=logits.shape[1])

    def report(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, Any]:
        predictions = logits.argmax(axis=1).tolist()
        return classification_report(targets.tolist(), predictions, label_names=self.labels.names).to_dict()

    def predict(self, examples: Sequence[TextExample], logits: NDArray[np.float32]) -> list[Prediction]:
        names = self.labels.names
        return [
            Prediction(
                text=example.text,
                text_pair=example.text_pair,
                label=names[row.index(max(row))],
                probability=max(row),
                probabilities=dict(zip(names, row, strict=True)),
            )
            for example, row in zip(examples, torch.from_numpy(logits).softmax(1).tolist(), strict=True)
        ]

    def judge(self, example: TextExample, prediction: Prediction) -> dict[str, Any]:
        [label_id] = self.labels.ids_of([example])
        return prediction.to_dict() | {"label": self.labels.names[label_id], "predicted": prediction.label}


def _usual(table: Table, names: Sequence[str], what: str) -> str:
    for name in names:
        if name in table.columns:
            return name
    raise DataError(
        f"no column is named {' or '.join(names)}; the columns are {', '.join(table.columns)}: "
        f"say which one holds the {what} with --{what}-column",
        path=table.source,
    )


def _number_or_word(value: str) -> tuple[bool, float, str]:
    """Sort numbers by size, before words."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (False, number, value) if math.isfinite(number) else (True, 0.0, value)
