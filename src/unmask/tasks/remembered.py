"""What a model's config.json says of the task it was fine-tuned for: in a key of ours, else as Hugging Face have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError
from unmask.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unmask.tasks.task import Task

__all__ = ["MEMORY_KEY", "TASK_HEADS", "find_task", "read_labels"]

MEMORY_KEY = "unmask_task"  # under which a model remembers its task; Hugging Face's classes keep it
TASK_HEADS = ("sequence-classification", "token-classification", "question-answering")  # those that tasks train
_USUAL_PROBLEM = "single_label_classification"
_USUAL_LABELS = 2  # of a config.json that does not say how many


def read_labels(config: Mapping[str, Any], *, source: str | Path) -> dict[int, str]:
    """Read the names of a model's labels, in the order of their ids.

    Args:
        config: its config.json; transformers leaves usual names out of it.
        source: where it lies, for messages.

    Raises:
        CheckpointError: they are not numbered 0, 1, ...
    """
    given = config.get("id2label")
    if not given:
        return {label: f"LABEL_{label}" for label in range(config.get("num_labels") or _USUAL_LABELS)}
    if not isinstance(given, dict) or given.keys() != {str(label) for label in range(len(given))}:
        raise CheckpointError(
            f"{source}: id2label in its config.json is {given!r}, which does not number labels 0, 1, ...: copy or "
            "export the folder again"
        )
    return {label: str(given[str(label)]) for label in range(len(given))}


def find_task(
    source: str | Path, *, name: str | None, head: str, problem_type: str | None, num_labels: int
) -> type[Task[Any]]:
    """Find what a model was fine-tuned for.

    Args:
        source: where it lies, for messages.
        name: the task's; None leaves it to what a checkpoint of others says of its head.
        head: key of `unmask.models.registry.HEADS`; of a model that has none, classification is what loading will miss.
        problem_type: of its config.json; None where it has none.
        num_labels: how many it tells.

    Raises:
        CheckpointError: there is no such task.
    """
    if name is not None:
        if name not in TASKS:
            raise CheckpointError(f"{source}: it was trained for {name}, which this version of unmask does not know")
        return TASKS[name]
    if all(head != task.head for task in TASKS.values()):
        return TASKS["classification"]
    kind = problem_type
    if kind is None and head == "sequence-classification" and num_labels == 1:
        kind = "regression"  # as Hugging Face's classes take it
    for task in TASKS.values():
        if task.head == head and (task.problem_type or _USUAL_PROBLEM) == (kind or _USUAL_PROBLEM):
            return task
    raise CheckpointError(
        f"{source}: its head gives {kind or head}, and unmask knows no task for it; it knows {', '.join(TASKS)}"
    )
