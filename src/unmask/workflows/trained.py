"""A fine-tuned model as people have it: what computes it, its task, and how its run read its data."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.data.sources import suffix_of
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines.opening import open_model
from unmask.tasks import Columns, Reading, Task, TaskOptions
from unmask.tasks.remembered import MEMORY_KEY, find_task
from unmask.workflows.run_folder import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from unmask.ragged import Ragged
    from unmask.runtimes import Runtime, RuntimeName
    from unmask.tasks import Samples
    from unmask.tokenization import Tokenizer
    from unmask.workflows.loading import Pretrained

__all__ = ["Trained", "load_trained", "remember_task"]

_PROBLEM_TYPE = "problem_type"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fine-tuned model, ready to answer.

    Args:
        runtime: what computes it.
        tokenizer: the one it was trained with.
        task: what it was trained for.
        run: settings of its run, as `config.json` has them; empty for a model folder without its run.
        pretrained: the model itself, on the device it was loaded for; None where it is an exported graph.
    """

    runtime: Runtime
    tokenizer: Tokenizer
    task: Task[Any]
    run: dict[str, Any]
    pretrained: Pretrained | None = None

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
        if column_names is None and suffix_of(Path(data)) in (".tsv", ".txt", ".csv"):
            column_names = self.run.get("column_names")  # files of the other kinds name their columns themselves
        own = Columns(
            text=columns.text or self.run.get("text_column"),
            text_pair=columns.text_pair or self.run.get("text_pair_column"),
            label=columns.label or self.run.get("label_column"),
        )
        reading = Reading(
            columns=own,
            column_names=column_names or None,
            split=split,
            data_dir=data_dir or self.run.get("data_dir"),
            options=self.task.options,
        )
        return self.task.read(data, reading, with_labels=with_labels)

    def encode(self, examples: Sequence[Any], *, with_targets: bool = True) -> Samples:
        """Encode examples, cut where the run cut its own."""
        limit = self.runtime.max_seq_length
        max_seq_length = min(self.task.options.max_seq_length or limit, limit)
        samples = self.task.encode(examples, self.tokenizer, max_seq_length=max_seq_length, with_targets=with_targets)
        if samples.num_truncated_texts:
            logging.getLogger(__name__).warning(
                "%d texts were cut to %d tokens, %d tokens in all",
                samples.num_truncated_texts,
                max_seq_length,
                samples.num_truncated_tokens,
            )
        return samples

    def predict_logits(self, samples: Samples) -> Ragged:
        """Compute the logits of samples, one at least, in their order."""
        outputs = self.runtime.run_all(samples.input_ids, samples.token_type_ids, samples.rows)
        return self.task.gather(outputs, samples)


def load_trained(model: str | Path, *, device: str | None = None, runtime: RuntimeName = "torch") -> Trained:
    """Load a fine-tuned model, ready to answer.

    Args:
        model: a run folder, a model folder or a hub id; for "onnx" an exported folder.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one. ONNX computes on the CPU.
        runtime: what computes it: "torch", or "onnx", which needs no torch.

    Raises:
        CheckpointError: nothing usable is found under that name, or it has no head of its task.
        SettingsError: there is no such device or runtime.
    """
    if runtime == "onnx":
        exported = open_model(model, device=device, runtime="onnx")
        return Trained(runtime=exported.runtime, tokenizer=exported.tokenizer, task=exported.task, run={})
    if runtime != "torch":
        raise SettingsError(f"runtime is {runtime!r}: it must be torch or onnx")
    from unmask.models.registry import read_model_config, saved_head
    from unmask.runtimes.onnx import is_graph_alone
    from unmask.runtimes.pytorch import TorchRuntime
    from unmask.training import TrainingSettings, training_device
    from unmask.workflows.loading import find_model, load

    place = training_device(TrainingSettings(device=device))
    run = _run_settings(Path(model))
    if command_of(run) == "pretrain":
        raise CheckpointError(
            f"{model}: this run pretrained a model and taught it no task: unmask finetune classification --model "
            f"{model} does"
        )
    folder = find_model(model)
    config = read_model_config(folder)
    memory = config.extra.get(MEMORY_KEY) or {}
    if is_graph_alone(folder):
        raise CheckpointError(f"{folder}: an exported graph, without weights for torch: --runtime onnx computes it")
    task = find_task(
        model,
        name=memory.get("task") or run.get("task"),
        head=saved_head(config),
        problem_type=config.extra.get(_PROBLEM_TYPE),
        num_labels=config.num_labels,
    )
    pretrained = load(folder, head=task.head)
    pretrained.model.to(place)
    return Trained(
        runtime=TorchRuntime(pretrained.model, max_seq_length=pretrained.max_seq_length),
        tokenizer=pretrained.tokenizer,
        task=task.for_model(pretrained.config.id2label, TaskOptions.of(run | memory)),
        run=run,
        pretrained=pretrained,
    )


def remember_task(model: nn.Module, task: Task[Any]) -> None:
    """Let a model's config say what it was trained for, so that its folder alone tells how to use it."""
    from unmask.models.config import ModelConfig

    config = model.config
    assert isinstance(config, ModelConfig)
    extra = {**config.extra, MEMORY_KEY: task.memory}
    if task.problem_type is not None:
        extra[_PROBLEM_TYPE] = task.problem_type
    model.config = dataclasses.replace(config, extra=extra)


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
