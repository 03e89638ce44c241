"""One label for each text (CoLA, sentiment) or pair of texts. Devlin et al. 2019 (arXiv:1810.04805), figure 4 a and b.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | any word or number; its values become the labels | the first there is of label, labels, class |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F

from unmask.errors import DataError, SettingsError
from unmask.metrics import classification_metrics
from unmask.tasks.task import Samples, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.data import Table
    from unmask.tokenization import Tokenizer

__all__ = ["Classification", "Columns", "Labels", "TextExample", "encode_texts", "read_examples"]

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


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold what; None stands for the usual names."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


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

    def items(self) -> Iterator[tuple[str, str]]:
        """Give each label's value and name."""
        return zip(self.values, self.names, strict=True)

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


class Classification(Task):
    """Cross-entropy over the labels; accuracy, Matthews correlation and F1."""

    name = "classification"
    head = "sequence-classification"
    metrics = ("loss", "accuracy", "mcc", "f1")

    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="sum")

    def score(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, float]:
        predictions = logits.argmax(axis=1).tolist()
        return classification_metrics(targets.tolist(), predictions, num_labels=logits.shape[1])


def read_examples(table: Table, columns: Columns, *, with_labels: bool = True) -> list[TextExample]:
    """Take the examples out of a table.

    Raises:
        DataError: if a column is missing, or a text is empty.
    """
    texts = table.column(columns.text or _usual(table, _TEXT_COLUMNS, "text"))
    pairs = table.column(columns.text_pair) if columns.text_pair else [None] * len(texts)
    labels: Sequence[str | None] = [None] * len(texts)
    if with_labels:
        labels = [label.strip() for label in table.column(columns.label or _usual(table, _LABEL_COLUMNS, "label"))]
    examples = [
        TextExample(text=text, text_pair=pair, label=label, source=table.source, line=line)
        for text, pair, label, line in zip(texts, pairs, labels, table.lines, strict=True)
    ]
    for example in examples:
        if example.label == "":
            raise DataError(
                "the label is empty: fill it in, or leave the row out", path=table.source, line=example.line
            )
    return examples


def encode_texts(
    examples: Sequence[TextExample], tokenizer: Tokenizer, *, max_seq_length: int, targets: Sequence[int] | None = None
) -> Samples:
    """Encode texts or pairs as [CLS] text [SEP] or [CLS] text [SEP] pair [SEP], cut to max_seq_length tokens.

    Raises:
        DataError: if a text has no token, or none is left of it.
    """
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
    return Samples.of(encodings, targets)


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
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
