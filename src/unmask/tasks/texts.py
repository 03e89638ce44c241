"""What tasks that answer once for a text, or a pair of texts, have in common: reading, encoding, long texts.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | what is to be learnt | see the task |
"""

from __future__ import annotations

import logging
import reprlib
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unmask.data import plan_windows, read_table
from unmask.data.findings import count_of
from unmask.errors import DataError, SettingsError
from unmask.ragged import Ragged, offsets_of
from unmask.tasks.task import Samples, Task
from unmask.tokenization.encoding import truncate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.data import Table
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading, TaskOptions, Truncate
    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["TextAnswer", "TextExample", "TextTask"]

_TEXT_COLUMNS = ("sentence", "text", "sentence1", "document", "review")
_HEAD = 128 / 510  # how much of a text's room its head gets, and its tail the rest; Sun et al. 2019, section 5.3.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TextExample:
    """One row: a text, perhaps its pair, and the value of its label column as it stands in the file.

    A value that is a list, as JSON lines may have it, stands here as JSON. `label_column` is the name of that column.
    """

    text: str
    text_pair: str | None
    label: str | None
    source: str
    line: int
    label_column: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no text, nor a second one."""
        return not (self.text.strip() or (self.text_pair or "").strip())


@dataclass(frozen=True, kw_only=True)
class TextAnswer:
    """What is said of a text or a pair.

    Args:
        text: the text.
        text_pair: its second text, or None.
    """

    text: str
    text_pair: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text_cell(self) -> dict[str, str]:
        """The texts, for a table."""
        return {"text": self.text if self.text_pair is None else f"{self.text} | {self.text_pair}"}


class TextTask(Task[TextExample]):
    """A task of one answer for each text or pair, from the head of the whole sequence.

    Texts longer than the model are cut: at their end, their beginning or between the two (`truncate`; Sun et al. 2019,
    "How to Fine-Tune BERT for Text Classification?", arXiv:1905.05583, section 5.3.1). Or they are read whole, as
    overlapping windows whose logits are pooled, in training as in prediction (`long_texts`; section 5.3.2).

    Attributes:
        label_columns: names that the label column usually has.
    """

    head = "sequence-classification"
    pipeline_tag = "text-classification"
    label_columns: ClassVar[tuple[str, ...]]
    option_names: ClassVar[tuple[str, ...]] = (
        "max_seq_length",
        "skip_empty",
        "truncate",
        "long_texts",
        "doc_stride",
        "window_pooling",
    )

    @classmethod
    def read(cls, source: str | Path, reading: Reading, *, with_labels: bool = True) -> list[TextExample]:
        table = read_table(source, column_names=reading.column_names, split=reading.split, data_dir=reading.data_dir)
        return cls.from_table(table, reading, with_labels=with_labels)

    @classmethod
    def from_table(cls, table: Table, reading: Reading, *, with_labels: bool = True) -> list[TextExample]:
        """Take the examples out of a table.

        Raises:
            DataError: a column is missing, or a row cannot be used.
        """
        columns = reading.columns
        texts = table.column(columns.text or _usual(table, _TEXT_COLUMNS, "text"))
        pairs = table.column(columns.text_pair) if columns.text_pair else [None] * len(texts)
        labels: Sequence[str | None] = [None] * len(texts)
        field = None
        if with_labels:
            field = columns.label or _usual(table, cls.label_columns, "label")
            labels = [label.strip() for label in cls.label_texts(table, field)]
        examples = [
            TextExample(text=text, text_pair=pair, label=label, source=table.source, line=line, label_column=field)
            for text, pair, label, line in zip(texts, pairs, labels, table.lines, strict=True)
        ]
        if field is not None:
            if reading.options.skip_empty:
                examples = _leave_out_empty(examples, table)
            cls.check_labels(examples, field, reading)
        return examples

    @classmethod
    def label_texts(cls, table: Table, field: str) -> list[str]:
        """Take the label column out of a table, one string a row."""
        return table.column(field)

    @classmethod
    def check_labels(cls, examples: Sequence[TextExample], field: str, reading: Reading) -> None:
        """Make sure that every label is one, as far as a row alone tells.

        Raises:
            DataError: a label is not; the message names its line and column.
        """
        for example in examples:
            if not example.label:
                raise DataError(
                    "the label is empty: fill it in, or leave the row out",
                    path=example.source,
                    line=example.line,
                    field=field,
                )

    @classmethod
    def from_text(cls, text: str, text_pair: str | None = None, *, source: str, line: int) -> TextExample:
        return TextExample(text=text, text_pair=text_pair, label=None, source=source, line=line)

    @classmethod
    def check_options(cls, options: TaskOptions) -> None:
        """Make sure that no option is told in vain: a text is cut, or read as windows.

        Raises:
            SettingsError: one is.
        """
        idle, fate, other = {
            "cut": (("doc_stride", "window_pooling"), "cut", "windows"),
            "windows": (("truncate",), "read whole", "cut"),
        }[options.long_texts]
        for name in idle:
            if name in options.changed():
                raise SettingsError(
                    f"{name} is {getattr(options, name)!r}, and long texts are {fate}: leave it out, or set long_texts "
                    f"to {other}"
                )

    @abstractmethod
    def targets_of(self, examples: Sequence[TextExample]) -> NDArray[Any]:
        """Make the target of each example, one row each: int64 or float32, (N, ...).

        Raises:
            DataError: a label is not the task's.
        """

    def encode(
        self, examples: Sequence[TextExample], tokenizer: Tokenizer, *, max_seq_length: int, with_targets: bool = True
    ) -> Samples:
        """Encode [CLS] text [SEP], or [CLS] text [SEP] pair [SEP]."""
        pairs = [example.text_pair for example in examples if example.text_pair is not None]
        if pairs and len(pairs) < len(examples):
            lone = next(example for example in examples if example.text_pair is None)
            raise DataError("some examples are pairs, and this is a text alone", path=lone.source, line=lone.line)
        has_windows = self.options.long_texts == "windows"
        if pairs and has_windows:
            raise SettingsError("long_texts is 'windows', which read a text alone: pairs of texts are cut")
        is_cut_at_its_end = self.options.truncate == "head" and not has_windows
        encodings = tokenizer.encode_batch(
            [example.text for example in examples],
            pairs or None,
            max_length=max_seq_length,
            truncation="longest_first" if is_cut_at_its_end else "do_not_truncate",
        ).encodings
        sequences, num_windows = encodings, np.ones(len(encodings), np.int64)
        if has_windows:
            split = [_windows(encoding, max_seq_length, self.options.doc_stride) for encoding in encodings]
            sequences = [window for windows in split for window in windows]
            num_windows = np.array([len(windows) for windows in split], np.int64)
        elif not is_cut_at_its_end:
            sequences = [_cut(encoding, max_seq_length, self.options.truncate) for encoding in encodings]
        for example, encoding in zip(examples, encodings if has_windows else sequences, strict=True):
            if all(encoding.special_tokens_mask):
                if encoding.num_truncated_tokens:
                    problem = f"nothing is left of the text in {max_seq_length} tokens: raise max_seq_length"
                elif example.is_empty:
                    problem = (
                        "the text is empty, there is nothing to read in it: fill it in, or leave the row out, as "
                        "training does with --skip-empty"
                    )
                else:
                    problem = (
                        f"the tokenizer leaves nothing of the text {reprlib.repr(example.text)}: write another, or "
                        "leave the row out"
                    )
                raise DataError(problem, path=example.source, line=example.line)
        num_cut = [sequence.num_truncated_tokens for sequence in sequences]
        return Samples(
            input_ids=Ragged.of((sequence.input_ids for sequence in sequences), np.int64),
            token_type_ids=Ragged.of((sequence.token_type_ids for sequence in sequences), np.int64),
            windows=offsets_of(num_windows) if has_windows else None,
            targets=Ragged.of_rows(self.targets_of(examples)) if with_targets else None,
            num_truncated_texts=sum(number > 0 for number in num_cut),
            num_truncated_tokens=sum(num_cut),
        )

    def num_logits(self, samples: Samples) -> NDArray[np.int64]:
        """One row a text, however many windows it has."""
        return np.ones(len(samples), np.int64)

    def compute_logits(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """Logits of each text, (B, num_labels): the mean, or the largest, of those of its windows."""
        import torch

        logits = super().compute_logits(model, batch)
        if batch.windows is None:
            return logits
        counts = batch.windows.diff()
        owners = torch.arange(len(counts), device=logits.device).repeat_interleave(counts)
        how = {"mean": "mean", "max": "amax"}[self.options.window_pooling]
        return logits.new_zeros(len(counts), logits.shape[1]).scatter_reduce(
            0, owners[:, None].expand_as(logits), logits, how, include_self=False
        )

    def gather(self, outputs: Ragged, samples: Samples) -> Ragged:
        if samples.windows is None:
            return outputs
        first = samples.windows[:-1]
        if self.options.window_pooling == "max":
            return Ragged.of_rows(np.maximum.reduceat(outputs.values, first))
        return Ragged.of_rows(np.add.reduceat(outputs.values, first) / samples.num_windows[:, None].astype(np.float32))


def _leave_out_empty(examples: Sequence[TextExample], table: Table) -> list[TextExample]:
    """Leave out the rows without a text, and say how many there are.

    Raises:
        DataError: no row has one.
    """
    kept = [example for example in examples if not example.is_empty]
    if not kept:
        raise DataError("every text is empty: is this the column of the texts?", path=table.source)
    if len(kept) < len(examples):
        _log.warning("%s: %s without a text left out", table.source, count_of(len(examples) - len(kept), "row"))
    return kept


def _usual(table: Table, names: Sequence[str], what: str) -> str:
    for name in names:
        if name in table.columns:
            return name
    raise DataError(
        f"no column is named {' or '.join(names)}; the columns are {', '.join(table.columns)}: "
        f"say which one holds the {what} with --{what}-column",
        path=table.source,
    )


def _cut(encoding: Encoding, max_length: int, kept: Truncate) -> Encoding:
    """Cut a text, or each text of a pair to the length that cutting ends would leave it, to its tail or both ends."""
    if len(encoding) <= max_length:
        return encoding
    at_end = truncate(encoding, max_length, "longest_first", name="text")
    owners = np.array([-1 if owner is None else owner for owner in encoding.sequence_ids])
    is_kept = owners == -1
    for owner in (0, 1):
        places = np.flatnonzero(owners == owner)
        room = at_end.sequence_ids.count(owner)
        head = 0 if kept == "tail" else round(room * _HEAD) if room < len(places) else room
        is_kept[places[:head]] = True
        is_kept[places[len(places) - (room - head) :]] = True
    return _at(encoding, np.flatnonzero(is_kept), num_truncated_tokens=len(encoding) - len(at_end))


def _windows(encoding: Encoding, max_length: int, stride: int | None) -> list[Encoding]:
    """Part a text into windows, each with the special tokens around it: all full, and at even distances.

    These are of `stride` tokens at most, by default seven eighths of a window.
    """
    if len(encoding) <= max_length:
        return [encoding]
    is_text = np.array([owner is not None for owner in encoding.sequence_ids])
    places, special = np.flatnonzero(is_text), np.flatnonzero(~is_text)
    room = max_length - len(special)
    if room < 1:
        raise SettingsError(f"max_seq_length is {max_length}: nothing of a text fits beside its special tokens")
    [windows] = plan_windows([len(places)], room, stride or max(1, room - room // 8), evenly=True)
    return [_at(encoding, np.sort(np.concatenate((special, places[start:stop])))) for start, stop in windows.tolist()]


def _at(encoding: Encoding, positions: NDArray[np.int64], *, num_truncated_tokens: int = 0) -> Encoding:
    columns = {name: [values[i] for i in positions.tolist()] for name, values in encoding.columns().items()}
    return type(encoding)(**columns, num_truncated_tokens=num_truncated_tokens)
