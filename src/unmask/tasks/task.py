"""What a fine-tuning task is, and how it meets the training loop. Axes: B samples of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch

from unmask.packing import PackedBatch, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.data import Table
    from unmask.tokenization import BatchEncoding, Tokenizer

__all__ = [
    "Columns",
    "FineTuning",
    "Samples",
    "Task",
    "TaskBatch",
    "evaluate_samples",
    "make_batch",
    "predict_logits",
]

ExampleT = TypeVar("ExampleT")

_TOKENS_AT_ONCE = 4096  # of one forward pass in evaluation: large enough for fast products, small enough for a laptop


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold what; None stands for the usual names, which each task has."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Encoded texts, ready for a model.

    Args:
        input_ids: token ids of each sample, int64.
        token_type_ids: the same shapes.
        targets: what each sample should give, int64 (num_samples,); None where it is not known.
        num_truncated_texts: texts that were cut to fit.
        num_truncated_tokens: tokens cut from them.
    """

    input_ids: list[NDArray[np.int64]]
    token_type_ids: list[NDArray[np.int64]]
    targets: NDArray[np.int64] | None
    num_truncated_texts: int
    num_truncated_tokens: int

    @classmethod
    def of(cls, encodings: BatchEncoding, targets: Sequence[int] | None) -> Samples:
        """Take what a model needs of a tokenizer's result."""
        return cls(
            input_ids=[np.asarray(ids, np.int64) for ids in encodings.input_ids],
            token_type_ids=[np.asarray(types, np.int64) for types in encodings.token_type_ids],
            targets=None if targets is None else np.asarray(targets, np.int64),
            num_truncated_texts=encodings.num_truncated_texts,
            num_truncated_tokens=encodings.num_truncated_tokens,
        )

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter((len(ids) for ids in self.input_ids), np.int64, count=len(self))


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """The samples of one forward pass and their targets, int64 (B,)."""

    inputs: PackedBatch
    targets: Tensor

    @property
    def num_targets(self) -> tuple[int]:
        return (len(self.targets),)

    @property
    def num_tokens(self) -> int:
        return self.inputs.total_tokens

    def to(self, device: torch.device) -> TaskBatch:
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device, non_blocking=True))


class Task(ABC, Generic[ExampleT]):
    """One way to fine-tune, from rows of a file to scores: one file a task, one line in `tasks/__init__.py`.

    A task object knows its labels. Workflows make it from training examples (`for_training`), or from what a trained
    model and its run remember (`for_model`), and know nothing else of it.

    Attributes:
        name: as users type it.
        head: key of `unmask.models.registry.HEADS`.
        metrics: names of the scores it gives, "loss" among them.
    """

    name: ClassVar[str]
    head: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def read(cls, table: Table, columns: Columns, *, with_labels: bool = True) -> list[ExampleT]:
        """Take the examples out of a table.

        Raises:
            DataError: a column is missing, or a row cannot be used.
        """

    @classmethod
    @abstractmethod
    def for_training(cls, examples: Sequence[ExampleT], *, labels: Sequence[str] | None) -> Self:
        """Find the labels in training examples, or take them as given: `value` or `value=name`, in the order of ids.

        Raises:
            DataError: the examples cannot teach these labels.
            SettingsError: the labels given contradict one another.
        """

    @classmethod
    @abstractmethod
    def for_model(cls, id2label: Mapping[int, str], *, labels: Sequence[str] | None) -> Self:
        """Take up a trained model's labels, and the `recorded_labels` of its run, if there is one."""

    @property
    @abstractmethod
    def id2label(self) -> dict[int, str]:
        """Name of each label, as checkpoints keep them."""

    @property
    @abstractmethod
    def recorded_labels(self) -> list[str]:
        """The labels as `for_training` takes them."""

    @abstractmethod
    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Tokenizer, *, max_seq_length: int, with_targets: bool = True
    ) -> Samples:
        """Encode examples, cut to max_seq_length tokens.

        Raises:
            DataError: an example has nothing to encode, or a label that is not the task's.
        """

    @abstractmethod
    def count_targets(self, samples: Samples) -> dict[str, int]:
        """Count the targets of each label, by name."""

    @abstractmethod
    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum the loss over the targets of a batch: a scalar."""

    @abstractmethod
    def score(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, float]:
        """Score all logits of a data set against its targets: `metrics`, without the loss."""

    @abstractmethod
    def report(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, Any]:
        """Say all there is to say of these logits, as `evaluation.json` keeps it; "metrics" holds the scores."""

    @abstractmethod
    def predict(self, examples: Sequence[ExampleT], logits: NDArray[np.float32]) -> list[Any]:
        """Decode logits into what people read, one object an example with `to_dict()`."""

    @abstractmethod
    def judge(self, example: ExampleT, prediction: Any) -> dict[str, Any]:
        """Put a prediction beside the truth: a line of `predictions_dev.jsonl`."""


class FineTuning:
    """A task's samples as what the training loop learns (`unmask.training.Objective`).

    Args:
        task: the task.
        train: samples with targets.
        dev: samples with targets, to score by.
        seed: of dropout.
    """

    loss_terms = ("loss",)

    def __init__(self, task: Task[Any], train: Samples, dev: Samples, *, seed: int) -> None:
        self._task, self._train, self._dev = task, train, dev
        self._seed = seed

    @property
    def num_samples(self) -> int:
        return len(self._train)

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> TaskBatch:
        return make_batch(
            self._train, np.asarray(sample_indices), dropout_seeds=_dropout_seeds(self._seed, epoch, sample_indices)
        )

    def compute_loss(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        return self._task.compute_loss(model(batch.inputs).logits, batch.targets)[None]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return evaluate_samples(model, self._task, self._dev)[1]

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        return []


def make_batch(
    samples: Samples, indices: NDArray[np.int64], *, dropout_seeds: NDArray[np.int64] | None = None
) -> TaskBatch:
    """Pack the samples of these indices."""
    inputs = pack(
        [samples.input_ids[i] for i in indices],
        [samples.token_type_ids[i] for i in indices],
        dropout_seeds=dropout_seeds,
    )
    targets = np.zeros(0, np.int64) if samples.targets is None else samples.targets[indices]
    return TaskBatch(inputs=inputs, targets=torch.from_numpy(targets))


def predict_logits(model: nn.Module, samples: Samples) -> NDArray[np.float32]:
    """Run a model over all samples, in float32 and in their order.

    Samples of like length go together, so that attention on CPU has few empty slots.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows, order = [], []
    with torch.inference_mode():
        for indices in _by_length(samples.lengths):
            rows.append(model(make_batch(samples, indices).inputs.to(device)).logits.float().cpu())
            order.append(indices)
    model.train(was_training)
    return torch.cat(rows).numpy()[np.argsort(np.concatenate(order))]


def evaluate_samples(
    model: nn.Module, task: Task[Any], samples: Samples
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Predict all samples and score them: the logits, and the scores with the mean "loss" among them."""
    assert samples.targets is not None
    logits = predict_logits(model, samples)
    total = task.compute_loss(torch.from_numpy(logits), torch.from_numpy(samples.targets))
    return logits, {"loss": total.item() / len(samples), **task.score(logits, samples.targets)}


def _by_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split indices into runs of rising length with about `_TOKENS_AT_ONCE` tokens each."""
    order = np.argsort(lengths, kind="stable")
    run = (np.cumsum(lengths[order]) - 1) // _TOKENS_AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(run)) + 1)


def _dropout_seeds(seed: int, epoch: int, sample_indices: Sequence[int]) -> NDArray[np.int64]:
    """Draw one seed a sample, in [0, 2**63): a pure function of the run's seed, the epoch and the sample."""
    first = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return ((first + np.asarray(sample_indices, np.uint64)) & np.uint64(2**63 - 1)).astype(np.int64)
