"""What a fine-tuning run is told of its data; the data doctor is told the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from annotations
from typing import Literal

from unmask.data import names_a_file
from unmask.tasks import Columns, Reading, TaskOptions

__all__ = ["DataSettings"]


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The files of a run, and how they are read.

    Args:
        task: what to learn of each text, or pair of texts: "classification" gives it one label, "multi-label" any
            number of them, "regression" a number; "question-answering" finds the answer to a question in a text;
            "tagging" gives each word a label.
        train: the labelled file to learn from: TSV, CSV, JSON lines or Parquet, or a data set's hub id; of questions
            SQuAD's JSON or JSON lines; of tags CoNLL columns, CoNLL-U, JSON lines or a file of characters.
        dev: files to choose the best checkpoint by, scored together and each alone; without any, a part of train.
        test: files that no choice is made on, scored once by the best checkpoint.
        column_names: names for the columns of files without a header.
        text_column: the column of the text; None takes sentence, text, ... whichever there is. In files of tagged words
            that of the words, a number from 1 or a key; None takes the first, or tokens.
        text_pair_column: the column of the second text of a pair; None where texts stand alone.
        label_column: the column of the label, or of the score; None takes label, labels, class, score, ... whichever
            there is. In files of tagged words that of the tags, a number, a key or a name of CoNLL-U; None takes the
            last, or tags, ner_tags, upos.
        data_dir: folder in which relative paths are also looked for; None is the variable UNMASK_DATA_DIR.
    """

    task: Literal["classification", "multi-label", "question-answering", "regression", "tagging"] = "classification"
    train: str | None = None
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    column_names: tuple[str, ...] | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    data_dir: Path | None = None

    @property
    def task_options(self) -> TaskOptions:
        """What the task is told, where these are the settings of a class that has its options too."""
        return TaskOptions.of(vars(self))

    def reading(self, source: str, split: str) -> Reading:
        """How a file is read, or the part `split` of a data set."""
        return Reading(
            columns=Columns(text=self.text_column, text_pair=self.text_pair_column, label=self.label_column),
            column_names=self.column_names,
            split=None if names_a_file(source) else split,
            data_dir=self.data_dir,
            options=self.task_options,
        )
