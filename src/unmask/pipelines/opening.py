"""From a name to a model that can be asked: what computes it, its tokenizer, and what its folder says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from unmask import hub
from unmask.errors import CheckpointError, SettingsError
from unmask.runtimes import RuntimeName
from unmask.tasks import TaskOptions
from unmask.tasks.remembered import MEMORY_KEY, find_task, read_labels
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.runtimes import Runtime
    from unmask.tasks import Task
    from unmask.workflows.loading import Pretrained

__all__ = ["OpenModel", "Pooling", "SentenceVectors", "open_model"]

Pooling = Literal["cls", "mean", "max"]


@dataclass(frozen=True, kw_only=True)
class SentenceVectors:
    """How a folder in sentence-transformers' layout makes one vector of a text.

    Args:
        pooling: None if it is none of "cls", "mean" and "max".
        normalize: whether vectors have length 1.
        max_seq_length: tokens it reads of a text; it cuts the rest.
        obstacle: what else it does to a text or vector, which is not computed here; None if there is no such thing.
    """

    pooling: Pooling | None
    normalize: bool
    max_seq_length: int | None
    obstacle: str | None = None


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model that can be asked.

    Args:
        name: as it was asked for, for messages.
        folder: where it was found.
        config: its config.json.
        runtime: what computes it.
        tokenizer: the one it was trained with.
        pretrained: the model itself, where torch computes it.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    runtime: Runtime
    tokenizer: Tokenizer
    pretrained: Pretrained | None = None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Name of each of its labels, in the order of their ids.

        Raises:
            CheckpointError: they are not numbered 0, 1, ...
        """
        return tuple(read_labels(self.config, source=self.name).values())

    @property
    def memory(self) -> Mapping[str, Any]:
        """What it remembers of its fine-tuning; empty for models that were not fine-tuned by unmask."""
        return self.config.get(MEMORY_KEY) or {}

    @cached_property
    def task(self) -> Task[Any]:
        """What it was fine-tuned for; of another's checkpoint what its head says.

        Raises:
            CheckpointError: there is no such task, or it needs another head.
        """
        found = find_task(
            self.name,
            name=self.memory.get("task"),
            head=self.runtime.head,
            problem_type=self.config.get("problem_type"),
            num_labels=len(self.labels),
        )
        if found.head != self.runtime.head:
            raise CheckpointError(
                f"{self.name}: its head is {self.runtime.head}, and {found.name} needs {found.head}: give a model that "
                "was fine-tuned for it"
            )
        return found.for_model(dict(enumerate(self.labels)), TaskOptions.of(self.memory))

    @property
    def max_trained_length(self) -> int:
        """Tokens of the longest text its task reads, special ones included; longer ones it was taught to cut."""
        return min(self.task.options.max_seq_length or self.runtime.max_seq_length, self.runtime.max_seq_length)

    @cached_property
    def sentence_vectors(self) -> SentenceVectors | None:
        """How it makes a vector of a text, if its folder is of sentence-transformers; else None.

        Raises:
            CheckpointError: a file of that layout is broken.
        """
        modules = _read_json(self.folder / "modules.json")
        if modules is None:
            return None
        if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
            raise CheckpointError(
                f"{self.folder / 'modules.json'}: not a list of modules, as sentence-transformers has it"
            )
        pooling: Pooling | None = None
        normalize, obstacle = False, None
        for module in modules:
            kind = str(module.get("type", "")).rpartition(".")[-1]
            if kind == "Pooling":
                pooling = _pooling_of(_read_json(self.folder / str(module.get("path", "")) / "config.json") or {})
            elif kind == "Normalize":
                normalize = True
            elif kind != "Transformer":
                obstacle = f"a module {kind}"
        reading = _read_json(self.folder / "sentence_bert_config.json") or {}
        max_seq_length = reading.get("max_seq_length")
        if not isinstance(max_seq_length, int | None):
            path = self.folder / "sentence_bert_config.json"
            raise CheckpointError(f"{path}: max_seq_length is {max_seq_length!r}, and no whole number")
        if reading.get("do_lower_case"):
            obstacle = "do_lower_case in sentence_bert_config.json"
        return SentenceVectors(
            pooling=pooling,
            normalize=normalize,
            max_seq_length=max_seq_length,
            obstacle=obstacle,
        )


def open_model(
    model: str | Path,
    *,
    head: str | None = None,
    device: str | None = None,
    runtime: RuntimeName = "torch",
    asked_for: str = "this",
) -> OpenModel:
    """Load a model, ready to answer.

    Args:
        model: a run folder, a model folder, a hub id or "minilm"; or the folder of an exported model.
        head: the head it is to have, a key of `unmask.models.registry.HEADS`; None takes the one it was saved with.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: "torch"; or "onnx" for an exported model, which needs no torch.
        asked_for: what it is to do, for messages.

    Raises:
        CheckpointError: nothing usable is found under that name, or it has no such head.
        SettingsError: there is no such device or runtime.
    """
    if runtime not in get_args(RuntimeName):
        raise SettingsError(f"runtime is {runtime!r}: it must be one of {', '.join(get_args(RuntimeName))}")
    if runtime == "torch":
        return _open_with_torch(model, head=head, device=device, asked_for=asked_for)
    if device not in (None, "cpu"):
        raise SettingsError(f"device is {device!r}, and an exported model runs on the CPU: leave it out")
    return _open_exported(model, head=head, asked_for=asked_for)


def _open_with_torch(model: str | Path, *, head: str | None, device: str | None, asked_for: str) -> OpenModel:
    from unmask.models.registry import encoder_of, read_model_config, saved_head
    from unmask.runtimes.onnx import is_graph_alone
    from unmask.runtimes.pytorch import TorchRuntime
    from unmask.training import TrainingSettings, training_device
    from unmask.workflows.loading import find_model, load

    place = training_device(TrainingSettings(device=device))
    folder = find_model(model)
    config = read_model_config(folder)
    saved = saved_head(config)
    if head is None:
        head = "masked-lm" if saved == "pre-training" else saved
    if head == "masked-lm" and saved == "replaced-token" and (folder.parent / "generator" / "config.json").is_file():
        folder = folder.parent / "generator"  # of an ELECTRA's run the half that guesses words
    elif head not in ("encoder", saved) and not (saved == "pre-training" and head in ("masked-lm", "next-sentence")):
        raise _no_head(model, ", ".join(config.architectures) or "an encoder alone", head, asked_for)
    if is_graph_alone(folder):
        raise CheckpointError(f'{model}: an exported graph, without weights for torch: runtime "onnx" computes it')
    # An encoder is taken out of what was saved with it: that of a masked LM may have no pooler, and needs none.
    pretrained = load(folder, head=None if head == "encoder" else head)
    pretrained.model.to(place)
    asked = encoder_of(pretrained.model) if head == "encoder" else pretrained.model
    return OpenModel(
        name=str(model),
        folder=folder,
        config=hub.read_config(folder),
        runtime=TorchRuntime(asked, max_seq_length=pretrained.max_seq_length),
        tokenizer=pretrained.tokenizer,
        pretrained=pretrained,
    )


def _open_exported(model: str | Path, *, head: str | None, asked_for: str) -> OpenModel:
    from unmask.runtimes.onnx import OnnxRuntime

    folder = Path(model)
    runtime = OnnxRuntime(folder)
    if head not in (None, runtime.head):
        raise _no_head(model, f"a graph with the head {runtime.head}", head, asked_for)
    tokenizer = Tokenizer.from_folder(folder)
    num_embeddings = runtime.config.get("vocab_size", 0)
    if tokenizer.vocab_size > num_embeddings:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} words and the model {num_embeddings} embeddings; they "
            "are not of the same model"
        )
    return OpenModel(name=str(model), folder=folder, config=runtime.config, runtime=runtime, tokenizer=tokenizer)


def _no_head(model: str | Path, there_is: str, head: str, asked_for: str) -> CheckpointError:
    advice = {
        "sequence-classification": "fine-tune it: unmask finetune classification",
        "token-classification": "fine-tune it: unmask finetune tagging",
        "question-answering": "fine-tune it: unmask finetune question-answering",
        "masked-lm": "give a checkpoint pretrained to guess words, such as google-bert/bert-base-uncased",
        "next-sentence": "give a checkpoint pretrained on pairs, such as google-bert/bert-base-uncased",
        "replaced-token": "give an ELECTRA discriminator, such as google/electra-small-discriminator",
        "causal-lm": "give a GPT, such as openai-community/gpt2",
        "encoder": "export the encoder of a model: unmask export --head encoder",
    }
    return CheckpointError(
        f"{model}: this checkpoint ({there_is}) has no {head} head, which {asked_for} asks: {advice[head]}"
    )


def _pooling_of(config: Mapping[str, Any]) -> Pooling | None:
    """The pooling in either of the forms that sentence-transformers wrote; None if there are several, or another."""
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [
            key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
            for key, is_used in config.items()
            if key.startswith("pooling_mode_") and is_used
        ]
    modes = [modes] if isinstance(modes, str) else list(modes)
    return next((known for known in get_args(Pooling) if modes == [known]), None)


def _read_json(path: Path) -> Any:
    """Read a JSON file; None if it is not there."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
