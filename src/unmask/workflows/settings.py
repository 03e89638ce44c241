"""What a fine-tuning run is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from unmask.tasks import TASKS, Columns
from unmask.workflows.run_settings import RunSettings

__all__ = ["FinetuneSettings"]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(RunSettings):
    """Fine-tune a pretrained model on labelled texts, evaluate it, and leave a model folder and a report.

    Args:
        metric_for_best: the score that chooses the best checkpoint: mcc, accuracy, f1 or loss.
        task: what to learn; "classification" gives each text, or pair of texts, one label.
        model: a folder, a hub id, or "minilm", the pretrained BERT that comes as a pip package.
        train: the labelled file to learn from: TSV, CSV, JSON lines or Parquet, or a data set's hub id.
        dev: files to choose the best checkpoint by, scored together and each alone; without any, a part of train.
        dev_fraction: how much of train is held back where there is no dev file, a fraction in (0, 1).
        test: files that no choice is made on, scored once by the best checkpoint.
        column_names: names for the columns of files without a header.
        text_column: the column of the text; None takes sentence, text, ... whichever there is.
        text_pair_column: the column of the second text of a pair; None where texts stand alone.
        label_column: the column of the label; None takes label, labels or class.
        labels: the labels in the order of their ids, each `value` or `value=name`; None takes what
            the training file has, sorted.
        max_seq_length: tokens of the longest input, special tokens included; longer texts are cut. None is the model's
            own limit.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str] = "finetune"

    task: Literal["classification"] = "classification"
    metric_for_best: str = "mcc"
    model: str = "minilm"
    train: str | None = None
    dev: tuple[str, ...] = ()
    dev_fraction: float = 0.1
    test: tuple[str, ...] = ()
    column_names: tuple[str, ...] | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    max_seq_length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("dev_fraction", "in (0, 1)", 0 < self.dev_fraction < 1)
        self._require("max_seq_length", "3 or more", self.max_seq_length is None or self.max_seq_length >= 3)
        self._require("task", f"one of {', '.join(TASKS)}", self.task in TASKS)
        metrics = TASKS[self.task].metrics
        self._require("metric_for_best", f"one of {', '.join(metrics)}", self.metric_for_best in metrics)

    @property
    def columns(self) -> Columns:
        return Columns(text=self.text_column, text_pair=self.text_pair_column, label=self.label_column)
