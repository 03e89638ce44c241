"""Score a fine-tuned model on a labelled file.

unmask evaluate runs/mine --data test.tsv
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.files import write_json
from unmask.reporting import write_report
from unmask.runtimes import RuntimeName  # noqa: TC001 - the command line is made from these annotations
from unmask.tasks import Columns, Samples, Task
from unmask.workflows.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.ragged import Ragged

__all__ = ["evaluate", "make_entry"]


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
    device: str | None = None,
    runtime: RuntimeName = "torch",
) -> dict[str, Any]:
    """Score a fine-tuned model on a labelled file.

    A run's own folder remembers the result and shows it in its report.

    Args:
        model: a run folder, a model folder or a hub id; for "onnx" an exported folder.
        data: the labelled file, or a data set's hub id.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for; None is what the run had, or else the variable
            UNMASK_DATA_DIR.
        column_names: names for the columns of a file without a header; None is what the run had, and none at all says
            that there is a header.
        text_column: the column of the text; None is what the run had.
        text_pair_column: the column of the second text of a pair; None is what the run had.
        label_column: the column of the label; None is what the run had.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: what computes the model: "torch", or "onnx".

    Returns:
        data, loss, kind (the task), num_examples, metrics, and what else the task's report has (of a classifier classes
        and confusion_matrix), as `evaluation.json` has them.

    Raises:
        UnmaskError: the model or the file cannot be used; the message says what to do.
    """
    trained = load_trained(model, device=device, runtime=runtime)
    columns = Columns(text=text_column, text_pair=text_pair_column, label=label_column)
    examples = trained.read(data, columns=columns, column_names=column_names, split=split, data_dir=data_dir)
    samples = trained.encode(examples)
    logits = trained.predict_logits(samples)
    name = f"{data} ({split})" if split else str(data)
    entry = make_entry(trained.task, examples, samples, logits, name=name)
    if trained.run:
        _remember(Path(model), entry)
    return entry


def make_entry(
    task: Task[Any], examples: Sequence[Any], samples: Samples, logits: Ragged, *, name: str
) -> dict[str, Any]:
    """Judge the logits of one set: its entry of `evaluation.json`."""
    from unmask.tasks import mean_loss  # with torch, which the help of the command can do without

    return {"data": name, "loss": mean_loss(task, samples, logits), **task.report(examples, samples, logits)}


def _remember(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / "evaluation.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write_json(path, [*(other for other in before if other["data"] != entry["data"]), entry])
    write_report(folder)
