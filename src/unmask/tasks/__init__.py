"""Fine-tuning tasks, one file each. A new task adds its file and one line here.

Each is imported when it is first asked for, and so is what learns and scores with torch: all else works where there is
no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unmask.lookup import look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.tasks.answer_spans import AnswerCandidate, QuestionAnswer
    from unmask.tasks.classification import Classification, Prediction
    from unmask.tasks.finetuning import (
        FineTuning,
        TaskBatch,
        evaluate_samples,
        make_batch,
        mean_loss,
        predict_logits,
    )
    from unmask.tasks.labels import Labels
    from unmask.tasks.multi_label import LabelSet, MultiLabel
    from unmask.tasks.options import Columns, Reading, TaskOptions
    from unmask.tasks.question_answering import QuestionAnswering
    from unmask.tasks.question_windows import QuestionSamples
    from unmask.tasks.regression import Regression, Score
    from unmask.tasks.tagging import Entity, TaggedText, Tagging
    from unmask.tasks.task import IGNORED, Answer, Samples, Task
    from unmask.tasks.texts import TextAnswer, TextExample, TextTask

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

_HOMES = {
    "IGNORED": "task",
    "Answer": "task",
    "AnswerCandidate": "answer_spans",
    "Classification": "classification",
    "Columns": "options",
    "Entity": "tagging",
    "FineTuning": "finetuning",
    "LabelSet": "multi_label",
    "Labels": "labels",
    "MultiLabel": "multi_label",
    "Prediction": "classification",
    "QuestionAnswer": "answer_spans",
    "QuestionAnswering": "question_answering",
    "QuestionSamples": "question_windows",
    "Reading": "options",
    "Regression": "regression",
    "Samples": "task",
    "Score": "regression",
    "TaggedText": "tagging",
    "Tagging": "tagging",
    "Task": "task",
    "TaskBatch": "finetuning",
    "TaskOptions": "options",
    "TextAnswer": "texts",
    "TextExample": "texts",
    "TextTask": "texts",
    "evaluate_samples": "finetuning",
    "make_batch": "finetuning",
    "mean_loss": "finetuning",
    "predict_logits": "finetuning",
}

__getattr__ = look_up(__name__, _HOMES)

_CLASSES = {
    "classification": "Classification",
    "multi-label": "MultiLabel",
    "question-answering": "QuestionAnswering",
    "regression": "Regression",
    "tagging": "Tagging",
}


class _Tasks(Mapping[str, "type[Task[Any]]"]):
    """Each task by its name."""

    def __getitem__(self, name: str) -> type[Task[Any]]:
        task: type[Task[Any]] = __getattr__(_CLASSES[name])
        return task

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES


TASKS = _Tasks()
