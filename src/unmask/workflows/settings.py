"""What a fine-tuning run is told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from unmask.errors import SettingsError
from unmask.tasks import TASKS, TaskOptions
from unmask.training import Tuning
from unmask.workflows.data_settings import DataSettings
from unmask.workflows.run_settings import RunSettings

if TYPE_CHECKING:
    from unmask.tasks import Task
    from unmask.training import TrainingSettings

__all__ = ["FinetuneSettings"]

_USUAL_LEARNING_RATE, _HIGHER_LEARNING_RATE = 2e-5, 5e-4  # where all is trained, and where a small part is


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(RunSettings, TaskOptions, Tuning, DataSettings):
    """Fine-tune a pretrained model on labelled texts, evaluate it, and leave a model folder and a report.

    Args:
        learning_rate: at its peak, after warm-up; None takes 2e-5 where all is tuned, and 5e-4 for lora, bitfit and
            head, whose few parameters have a longer way to go.
        seeds: so many runs that differ in their seed alone, from `seed` on, each in a folder of its own in the output
            folder (seed-0, seed-1, ...); their mean and spread is the result, and the best of them by dev is kept.
        metric_for_best: the score that chooses the best checkpoint, of those the task gives, or loss; "auto" takes mcc
            for classification, micro_f1 for multi-label, pearson for regression, f1 for question-answering, and for
            tagging f1 where tags mark spans, else accuracy.
        model: a folder, a hub id, or "minilm", the pretrained BERT that comes as a pip package.
        check: look at the data before training, as unmask check does, and tell what is odd.
        dev_fraction: how much of train is held back where there is no dev file, a fraction in (0, 1).
        dev_seed: draws what is held back; None takes `seed`. Runs of several seeds hold back the same.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str] = "finetune"
    may_change: ClassVar[tuple[str, ...]] = (*RunSettings.may_change, "check")
    recorded: ClassVar[tuple[str, ...]] = ("num_trainable", "num_total")

    learning_rate: float | None = None  # type: ignore[assignment]  # `training` always has a number
    seeds: int = 1
    metric_for_best: str = "auto"
    model: str = "minilm"
    check: bool = True
    dev_fraction: float = 0.1
    dev_seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        TaskOptions.__post_init__(self)
        Tuning.__post_init__(self)
        self._require("seeds", "1 or more", self.seeds >= 1)
        self._require("dev_seed", "0 or more and below 2**63", self.dev_seed is None or 0 <= self.dev_seed < 2**63)
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
    def peak_learning_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return _USUAL_LEARNING_RATE if self.tune == "all" else _HIGHER_LEARNING_RATE

    @property
    def training(self) -> TrainingSettings:
        if self.learning_rate is None:
            return dataclasses.replace(self, learning_rate=self.peak_learning_rate).training
        metric = TASKS[self.task].metric_for_best if self.metric_for_best == "auto" else self.metric_for_best
        return dataclasses.replace(super().training, metric_for_best=metric)

    def for_task(self, task: Task[Any]) -> Self:
        """The same, with nothing left open: the score that chooses the best checkpoint, now that the task has seen its
        labels, and the learning rate.

        Raises:
            SettingsError: the task does not give the score that was named.
        """
        metric = task.metric_for_best if self.metric_for_best == "auto" else self.metric_for_best
        if metric not in task.metrics:
            raise SettingsError(
                f"metric_for_best is {metric!r}, which {task.name} does not give with these labels: choose one of "
                f"{', '.join(task.metrics)}"
            )
        return dataclasses.replace(self, metric_for_best=metric, learning_rate=self.peak_learning_rate)

    @property
    def tuning(self) -> Tuning:
        """What of the model is trained."""
        return Tuning(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Tuning)})
