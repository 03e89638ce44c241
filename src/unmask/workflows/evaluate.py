"""Score a fine-tuned model on a labelled file.

unmask evaluate runs/mine --data test.tsv
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unmask.data import read_table
from unmask.errors import DataError
from unmask.files import write_json
from unmask.metrics import classification_report
from unmask.reporting import write_report
from unmask.tasks import Columns, Labels, TextExample, encode_texts, evaluate_samples, read_examples
from unmask.tasks.classification import Classification
from unmask.workflows.loading import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from unmask.tasks import Samples, Task

__all__ = ["evaluate", "evaluate_entry", "prediction_lines", "read_for_run", "run_settings"]


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
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.
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
    run = run_settings(model)
    examples = read_for_run(
        run,
        data,
        split=split,
        data_dir=data_dir,
        column_names=column_names,
        columns=Columns(text=text_column, text_pair=text_pair_column, label=label_column),
    )
    pretrained = load(model, head=Classification.head)
    names = tuple(pretrained.config.id2label.values())
    given = run.get("labels") or names
    values = [label.removesuffix(f"={name}") for label, name in zip(given, names, strict=True)]
    labels = Labels(tuple(values), names)
    samples = encode_texts(
        examples,
        pretrained.tokenizer,
        max_seq_length=min(run.get("max_seq_length") or pretrained.max_seq_length, pretrained.max_seq_length),
        targets=labels.ids_of(examples),
    )
    _, entry = evaluate_entry(pretrained.model, Classification(), samples, names, name=str(data))
    if run:
        _remember(Path(model), entry)
    return entry


def read_for_run(
    run: dict[str, Any],
    data: str,
    *,
    split: str | None,
    data_dir: Path | None,
    column_names: Sequence[str] | None,
    columns: Columns,
    with_labels: bool = True,
) -> list[TextExample]:
    """Read examples the way a run read its own, where nothing else is said."""
    if column_names is None and Path(str(data).removesuffix(".gz")).suffix in (".tsv", ".txt", ".csv"):
        column_names = run.get("column_names")  # files of the other kinds name their columns themselves
    table = read_table(
        data,
        column_names=column_names or None,
        split=split,
        data_dir=data_dir or run.get("data_dir"),
    )
    own = Columns(
        text=columns.text or run.get("text_column"),
        text_pair=columns.text_pair or run.get("text_pair_column"),
        label=columns.label or run.get("label_column"),
    )
    return read_examples(table, own, with_labels=with_labels)


def evaluate_entry(
    model: nn.Module, task: Task, samples: Samples, label_names: Sequence[str], *, name: str
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Score a model on one set: its logits, and the set's entry of `evaluation.json`."""
    logits, scores = evaluate_samples(model, task, samples)
    assert samples.targets is not None
    report = classification_report(samples.targets.tolist(), logits.argmax(1).tolist(), label_names=label_names)
    return logits, {"data": name, "loss": scores["loss"], **report.to_dict()}


def prediction_lines(examples: Sequence[TextExample], logits: NDArray[np.float32], labels: Labels) -> Iterator[str]:
    """Write each example's label and prediction as a line of JSON."""
    probabilities = torch.from_numpy(logits).softmax(1).tolist()
    for example, label_id, row in zip(examples, labels.ids_of(examples), probabilities, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        line = {
            "text": example.text,
            "text_pair": example.text_pair,
            "label": labels.names[label_id],
            "predicted": labels.names[best],
            "probability": row[best],
            "probabilities": dict(zip(labels.names, row, strict=True)),
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def run_settings(model: str | Path) -> dict[str, Any]:
    """Read the settings of the run in this folder; empty if it is a model's folder, or no folder at all."""
    folder = Path(model)
    if not (folder / "model").is_dir() or not (folder / "config.json").is_file():
        return {}
    try:
        settings: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", path=folder / "config.json") from error
    return settings


def _remember(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / "evaluation.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write_json(path, [*(other for other in before if other["data"] != entry["data"]), entry])
    write_report(folder)
