"""Fine-tuning tasks, one file each. A new task adds its file and one line here.

What learns and scores with torch is imported when it is first used: all else works where there is no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from unmask.tasks.answer_spans import AnswerCandidate, QuestionAnswer
from unmask.tasks.classification import Classification, Prediction
from unmask.tasks.labels import Labels
from unmask.tasks.multi_label import LabelSet, MultiLabel
from unmask.tasks.options import Columns, Reading, TaskOptions
from unmask.tasks.question_answering import QuestionAnswering
from unmask.tasks.question_windows import QuestionSamples
from unmask.tasks.regression import Regression, Score
from unmask.tasks.tagging import Entity, TaggedText, Tagging
from unmask.tasks.task import IGNORED, Answer, Samples, Task
from unmask.tasks.texts import TextAnswer, TextExample, TextTask

if TYPE_CHECKING:
    from unmask.tasks.finetuning import (
        FineTuning,
        TaskBatch,
        evaluate_samples,
        make_batch,
        mean_loss,
        predict_logits,
    )

__all__ = [
    "IGNORED",
    "TASKS",
    "Answer",
    "AnswerCandidate",
    "Classification",
    "Columns",
    "Entity",
    "FineTuning",
    "LabelSet",
    "Labels",
    "MultiLabel",
    "Prediction",
    "QuestionAnswer",
    "QuestionAnswering",
    "QuestionSamples",
    "Reading",
    "Regression",
    "Samples",
    "Score",
    "TaggedText",
    "Tagging",
    "Task",
    "TaskBatch",
    "TaskOptions",
    "TextAnswer",
    "TextExample",
    "TextTask",
    "evaluate_samples",
    "make_batch",
    "mean_loss",
    "predict_logits",
]

TASKS: dict[str, type[Task[Any]]] = {
    task.name: task for task in (Classification, MultiLabel, QuestionAnswering, Regression, Tagging)
}

_OF_TORCH = ("FineTuning", "TaskBatch", "evaluate_samples", "make_batch", "mean_loss", "predict_logits")


def __getattr__(name: str) -> Any:
    if name not in _OF_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("unmask.tasks.finetuning"), name)
