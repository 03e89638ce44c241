"""What a fine-tuning run is told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unmask.errors import SettingsError
from unmask.tasks import TASKS, Columns, TaskOptions
from unmask.workflows.run_settings import RunSettings

if TYPE_CHECKING:
    from unmask.training import TrainingSettings

__all__ = ["FinetuneSettings"]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(RunSettings, TaskOptions):
    """Fine-tune a pretrained model on labelled texts, evaluate it, and leave a model folder and a report.

    Args:
        metric_for_best: the score that chooses the best checkpoint, of those the task gives, or loss; "auto" takes mcc
            for classification, micro_f1 for multi-label, pearson for regression.
        task: what to learn of each text, or pair of texts: "classification" gives it one label, "multi-label" any
            number of them, "regression" a number.
        model: a folder, a hub id, or "minilm", the pretrained BERT that comes as a pip package.
        train: the labelled file to learn from: TSV, CSV, JSON lines or Parquet, or a data set's hub id.
        dev: files to choose the best checkpoint by, scored together and each alone; without any, a part of train.
        dev_fraction: how much of train is held back where there is no dev file, a fraction in (0, 1).
        test: files that no choice is made on, scored once by the best checkpoint.
        column_names: names for the columns of files without a header.
        text_column: the column of the text; None takes sentence, text, ... whichever there is.
        text_pair_column: the column of the second text of a pair; None where texts stand alone.
        label_column: the column of the label, or of the score; None takes label, labels, class, score, ... whichever
            there is.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str] = "finetune"

    task: Literal["classification", "multi-label", "regression"] = "classification"
    metric_for_best: str = "auto"
    model: str = "minilm"
    train: str | None = None
    dev: tuple[str, ...] = ()
    dev_fraction: float = 0.1
    test: tuple[str, ...] = ()
    column_names: tuple[str, ...] | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        TaskOptions.__post_init__(self)
        self._require("dev_fraction", "in (0, 1)", 0 < self.dev_fraction < 1)
        self._require("task", f"one of {', '.join(TASKS)}", self.task in TASKS)
        metrics = TASKS[self.task].metrics
        self._require("metric_for_best", f"one of {', '.join(metrics)}", self.metric_for_best in ("auto", *metrics))
        for name in self.changed():
            if name not in TASKS[self.task].option_names:
                users = ", ".join(task for task, kind in TASKS.items() if name in kind.option_names)
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and {self.task} has no use for it: leave it out; it is for "
                    f"{users}"
                )

    @property
    def training(self) -> TrainingSettings:
        metric = TASKS[self.task].metric_for_best if self.metric_for_best == "auto" else self.metric_for_best
        return dataclasses.replace(super().training, metric_for_best=metric)

    @property
    def task_options(self) -> TaskOptions:
        return TaskOptions.of(vars(self))

    @property
    def columns(self) -> Columns:
        return Columns(text=self.text_column, text_pair=self.text_pair_column, label=self.label_column)
