"""Score a fine-tuned model on a labelled file.

unmask evaluate runs/mine --data test.tsv
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.files import write_json
from unmask.reporting import write_report
from unmask.tasks import Columns, Samples, Task, evaluate_samples
from unmask.workflows.trained import load_trained

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["evaluate", "evaluate_entry"]


def evaluate(
    model: str,
    /,
    *,
    data: str,
    split: str | None = None,
    data_dir: Path | None = None,
    column_names: tuple[str, ...] | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, Any]:
    """Score a fine-tuned classifier on a labelled file.

    A run's own folder remembers the result and shows it in its report.

    Args:
        model: a run folder, a model folder or a hub id.
        data: the labelled file, or a data set's hub id.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for; None is what the run had, or else the variable
            UNMASK_DATA_DIR.
        column_names: names for the columns of a file without a header; None is what the run had, and none at all says
            that there is a header.
        text_column: the column of the text; None is what the run had.
        text_pair_column: the column of the second text of a pair; None is what the run had.
        label_column: the column of the label; None is what the run had.

    Returns:
        data, num_examples, loss, metrics, classes and confusion_matrix, as `evaluation.json` has them.

    Raises:
        UnmaskError: the model or the file cannot be used; the message says what to do.
    """
    trained = load_trained(model)
    columns = Columns(text=text_column, text_pair=text_pair_column, label=label_column)
    examples = trained.read(data, columns=columns, column_names=column_names, split=split, data_dir=data_dir)
    samples = trained.encode(examples)
    _, entry = evaluate_entry(
        trained.pretrained.model, trained.task, samples, name=f"{data} ({split})" if split else str(data)
    )
    if trained.run:
        _remember(Path(model), entry)
    return entry


def evaluate_entry(
    model: nn.Module, task: Task[Any], samples: Samples, *, name: str
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Score a model on one set: its logits, and the set's entry of `evaluation.json`."""
    logits, scores = evaluate_samples(model, task, samples)
    assert samples.targets is not None
    return logits, {"data": name, "loss": scores["loss"], **task.report(logits, samples.targets)}


def _remember(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / "evaluation.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write_json(path, [*(other for other in before if other["data"] != entry["data"]), entry])
    write_report(folder)
