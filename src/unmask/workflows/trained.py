"""A fine-tuned model as people have it: the model, its task, and how its run read its data."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.data import read_table
from unmask.errors import CheckpointError, DataError
from unmask.tasks import TASKS, Columns, Task
from unmask.workflows.loading import Pretrained, load
from unmask.workflows.run_folder import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.tasks import Samples

__all__ = ["Trained", "load_trained"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fine-tuned model.

    Args:
        pretrained: the model and its tokenizer.
        task: what it was trained for.
        run: settings of its run, as `config.json` has them; empty for a model folder without its run.
    """

    pretrained: Pretrained
    task: Task[Any]
    run: dict[str, Any]

    def read(
        self,
        data: str | Path,
        *,
        columns: Columns,
        column_names: Sequence[str] | None = None,
        split: str | None = None,
        data_dir: Path | None = None,
        with_labels: bool = True,
    ) -> list[Any]:
        """Read examples the way the run read its own, where nothing else is said."""
        if column_names is None and Path(str(data).removesuffix(".gz")).suffix in (".tsv", ".txt", ".csv"):
            column_names = self.run.get("column_names")  # files of the other kinds name their columns themselves
        data_dir = data_dir or self.run.get("data_dir")
        table = read_table(data, column_names=column_names or None, split=split, data_dir=data_dir)
        own = Columns(
            text=columns.text or self.run.get("text_column"),
            text_pair=columns.text_pair or self.run.get("text_pair_column"),
            label=columns.label or self.run.get("label_column"),
        )
        return self.task.read(table, own, with_labels=with_labels)

    def encode(self, examples: Sequence[Any], *, with_targets: bool = True) -> Samples:
        """Encode examples, cut where the run cut its own."""
        limit = self.pretrained.max_seq_length
        max_seq_length = min(self.run.get("max_seq_length") or limit, limit)
        samples = self.task.encode(
            examples, self.pretrained.tokenizer, max_seq_length=max_seq_length, with_targets=with_targets
        )
        if samples.num_truncated_texts:
            logging.getLogger(__name__).warning(
                "%d texts were cut to %d tokens, %d tokens in all",
                samples.num_truncated_texts,
                max_seq_length,
                samples.num_truncated_tokens,
            )
        return samples


def load_trained(model: str | Path) -> Trained:
    """Load a fine-tuned model: of a run folder, a model folder or a hub id.

    Raises:
        CheckpointError: nothing usable is found under that name, or it has no head of its task.
    """
    run = _run_settings(Path(model))
    if command_of(run) != "finetune":
        raise CheckpointError(
            f"{model}: this run pretrained a model and taught it no task: unmask finetune classification --model "
            f"{model} does"
        )
    task = TASKS[run.get("task", "classification")]
    pretrained = load(model, head=task.head)
    kind = pretrained.config.extra.get("problem_type")
    if kind not in (None, "single_label_classification") or pretrained.config.num_labels < 2:
        raise CheckpointError(
            f"{model}: its head gives {kind or 'one number'}, not one label of several; unmask reads no other so far"
        )
    return Trained(
        pretrained=pretrained,
        task=task.for_model(pretrained.config.id2label, labels=run.get("labels")),
        run=run,
    )


def _run_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of the run in this folder; empty if it is a model's folder, or no folder at all."""
    path = folder / "config.json"
    if not (folder / "model").is_dir() or not path.is_file():
        return {}
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", path=path) from error
    return settings
