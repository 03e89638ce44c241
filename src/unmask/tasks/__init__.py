"""Fine-tuning tasks, one file each. A new task adds its file and one line here."""

from typing import Any

from unmask.tasks.classification import Classification, Labels, Prediction, TextExample
from unmask.tasks.task import Columns, FineTuning, Samples, Task, TaskBatch, evaluate_samples, predict_logits

__all__ = [
    "TASKS",
    "Classification",
    "Columns",
    "FineTuning",
    "Labels",
    "Prediction",
    "Samples",
    "Task",
    "TaskBatch",
    "TextExample",
    "evaluate_samples",
    "predict_logits",
]

TASKS: dict[str, type[Task[Any]]] = {Classification.name: Classification}
