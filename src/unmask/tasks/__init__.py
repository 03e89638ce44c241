"""Fine-tuning tasks, one file each. A new task adds its file and one line here."""

from unmask.tasks.classification import Classification, Columns, Labels, TextExample, encode_texts, read_examples
from unmask.tasks.task import FineTuning, Samples, Task, TaskBatch, evaluate_samples, predict_logits

__all__ = [
    "TASKS",
    "Classification",
    "Columns",
    "FineTuning",
    "Labels",
    "Samples",
    "Task",
    "TaskBatch",
    "TextExample",
    "encode_texts",
    "evaluate_samples",
    "predict_logits",
    "read_examples",
]

TASKS: dict[str, type[Task]] = {Classification.name: Classification}
