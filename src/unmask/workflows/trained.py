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
from unmask.tasks import TASKS, Columns, Reading, Task, TaskOptions
from unmask.tokenization import Tokenizer
from unmask.workflows.run_folder import command_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from unmask.ragged import Ragged
    from unmask.runtimes import Runtime, RuntimeName
    from unmask.tasks import Samples
    from unmask.workflows.loading import Pretrained

__all__ = ["Trained", "load_trained", "remember_task"]

_MEMORY = "unmask_task"  # the key of config.json under which a model remembers its task; Hugging Face's classes keep it
_PROBLEM_TYPE, _USUAL_PROBLEM = "problem_type", "single_label_classification"


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
        return _load_exported(Path(model), device)
    if runtime != "torch":
        raise SettingsError(f"runtime is {runtime!r}: it must be torch or onnx")
    from unmask.models.registry import read_model_config, saved_head
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
    memory = config.extra.get(_MEMORY) or {}
    if (folder / "model.onnx").is_file() and not any(folder.glob("*.safetensors*")):
        raise CheckpointError(f"{folder}: an exported graph, without weights for torch: --runtime onnx computes it")
    name = memory.get("task") or run.get("task")
    task = _find_task(model, name, saved_head(config), config.extra.get(_PROBLEM_TYPE), config.num_labels)
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
    extra = {**config.extra, _MEMORY: task.memory}
    if task.problem_type is not None:
        extra[_PROBLEM_TYPE] = task.problem_type
    model.config = dataclasses.replace(config, extra=extra)


def _load_exported(folder: Path, device: str | None) -> Trained:
    from unmask.runtimes.onnx import OnnxRuntime

    if device not in (None, "cpu"):
        raise SettingsError(f"device is {device!r}, and an exported model runs on the CPU: leave it out")
    runtime = OnnxRuntime(folder)
    config, labels = runtime.config, _labels_of(runtime.config, folder)
    memory = config.get(_MEMORY) or {}
    task = _find_task(folder, memory.get("task"), runtime.head, config.get(_PROBLEM_TYPE), len(labels))
    if task.head != runtime.head:
        raise CheckpointError(
            f"{folder}: its graph gives {runtime.head}, and {task.name} needs {task.head}: export a model that was "
            "fine-tuned for it"
        )
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.vocab_size > config.get("vocab_size", 0):
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} words and the model {config.get('vocab_size')} "
            "embeddings; they are not of the same model"
        )
    return Trained(runtime=runtime, tokenizer=tokenizer, task=task.for_model(labels, TaskOptions.of(memory)), run={})


def _labels_of(config: Mapping[str, Any], folder: Path) -> dict[int, str]:
    """Read the names of the labels, in the order of their ids."""
    given = config.get("id2label")
    try:
        labels = {int(label): str(name) for label, name in given.items()} if isinstance(given, dict) else {}
    except ValueError:
        labels = {}
    if not labels or labels.keys() != set(range(len(labels))):
        raise CheckpointError(
            f"{folder / 'config.json'}: id2label is {given!r}, which does not number labels 0, 1, ...: copy or export "
            "the folder again"
        )
    return dict(sorted(labels.items()))


def _find_task(
    model: str | Path, name: str | None, head: str, problem_type: str | None, num_labels: int
) -> type[Task[Any]]:
    """Find the task by its name, or by what a checkpoint of others says of its head.

    Raises:
        CheckpointError: there is none.
    """
    if name is not None:
        if name not in TASKS:
            raise CheckpointError(f"{model}: it was trained for {name}, which this version of unmask does not know")
        return TASKS[name]
    if all(head != task.head for task in TASKS.values()):  # loading will say what it lacks
        return TASKS["classification"]
    kind = problem_type
    if kind is None and head == "sequence-classification" and num_labels == 1:
        kind = "regression"  # as Hugging Face's classes take it
    for task in TASKS.values():
        if task.head == head and (task.problem_type or _USUAL_PROBLEM) == (kind or _USUAL_PROBLEM):
            return task
    raise CheckpointError(
        f"{model}: its head gives {kind or head}, and unmask knows no task for it; it knows {', '.join(TASKS)}"
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
