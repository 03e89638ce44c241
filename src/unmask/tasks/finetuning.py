"""A task's samples as the training loop takes them: batches, what is learnt of them, and how well they are told.

Axes: B samples of a batch, M rows of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unmask.counted import keys
from unmask.packing import OnDevice, pack
from unmask.ragged import offsets_of, ranges, runs_of
from unmask.runtimes.pytorch import TorchRuntime
from unmask.tasks.task import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.packing import PackedBatch
    from unmask.ragged import Ragged
    from unmask.tasks.task import Samples, Task

__all__ = ["FineTuning", "TaskBatch", "evaluate_samples", "make_batch", "mean_loss", "predict_logits"]

_WINDOW_TOKENS_AT_ONCE = 8192  # of one forward pass, where the windows of a batch are many more than its samples
_TOKENS_SCORED_AT_ONCE = 2**20  # of one loss in evaluation: a set of usual size is one sum


@dataclass(frozen=True, kw_only=True)
class TaskBatch(OnDevice):
    """The samples of one forward pass.

    Args:
        inputs: their sequences, the windows of a sample side by side.
        windows: which sequences are whose, as offsets, int64, (B + 1,); None where each sample is one.
        rows: the tokens that answer, as positions among the packed ones, int64, (M,); None leaves it to the head.
        row_offsets: where each sequence's rows begin among these, and M last, int64; None where rows is.
        targets: all targets of the samples, end to end; of no length where they are not known.
        num_targets: those that are not ignored.
    """

    inputs: PackedBatch
    windows: Tensor | None
    rows: Tensor | None
    row_offsets: Tensor | None
    targets: Tensor
    num_targets: tuple[int]

    @property
    def num_tokens(self) -> int:
        return self.inputs.total_tokens

    def parts(self) -> list[tuple[PackedBatch, Tensor | None]]:
        """Sequences and rows as they are computed at a time: all, unless there are many more windows than samples.

        Then parts have about twice the tokens that so many single sequences would.
        """
        inputs, most = self.inputs, _WINDOW_TOKENS_AT_ONCE
        if self.windows is not None:
            most = max(most, 2 * (len(self.windows) - 1) * inputs.max_seqlen)
        if self.windows is None or inputs.total_tokens <= most:
            return [(inputs, self.rows)]
        bounds = inputs.cu_seqlens.tolist()
        row_offsets = None if self.row_offsets is None else self.row_offsets.tolist()
        parts = []
        for run in runs_of(np.diff(bounds), most):
            first, stop = int(run[0]), int(run[-1]) + 1
            rows = self.rows
            if rows is not None and row_offsets is not None:
                rows = rows[row_offsets[first] : row_offsets[stop]] - bounds[first]
            parts.append((inputs.sequences(first, stop), rows))
        return parts


class FineTuning:
    """A task's samples as what the training loop learns (`unmask.training.Objective`).

    Args:
        task: the task.
        train: samples with targets.
        dev: samples with targets, to score by.
        dev_examples: the examples of the latter, for tasks that score answers and not targets.
        seed: of dropout.
    """

    loss_terms = ("loss",)

    def __init__(
        self, task: Task[Any], train: Samples, dev: Samples, *, dev_examples: Sequence[Any] = (), seed: int
    ) -> None:
        self._task, self._train, self._dev, self._dev_examples = task, train, dev, dev_examples
        self._seed = seed

    @property
    def num_samples(self) -> int:
        return len(self._train)

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> TaskBatch:
        indices = np.asarray(sample_indices, np.int64)
        return make_batch(self._train, indices, dropout_seeds=_dropout_seeds(self._seed, epoch, indices))

    def compute_loss(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        return self._task.compute_loss(self._task.compute_logits(model, batch), batch)[None]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return evaluate_samples(model, self._task, self._dev_examples, self._dev)[1]

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        return []


def make_batch(
    samples: Samples, indices: NDArray[np.int64], *, dropout_seeds: NDArray[np.int64] | None = None
) -> TaskBatch:
    """Pack samples.

    Args:
        samples: all there are.
        indices: those to pack, int64, (B,).
        dropout_seeds: one a sample, int64, (B,); the first window has its sample's, each later one a mix of that and
            its number.
    """
    sequences, windows = indices, None
    if samples.windows is not None:
        counts = samples.windows[indices + 1] - samples.windows[indices]
        windows = offsets_of(counts)
        sequences = ranges(samples.windows[indices], counts)
        if dropout_seeds is not None:
            seeds, numbers = np.repeat(dropout_seeds, counts), ranges(np.zeros_like(counts), counts)
            mixed = (keys(seeds, numbers) >> np.uint64(1)).astype(np.int64)
            dropout_seeds = np.where(numbers == 0, seeds, mixed)
    inputs = pack(
        samples.input_ids.take(sequences), samples.token_type_ids.take(sequences), dropout_seeds=dropout_seeds
    )
    rows = None if samples.rows is None else samples.rows.take(sequences)
    targets = np.zeros(0, np.int64) if samples.targets is None else samples.targets.take(indices).values
    return TaskBatch(
        inputs=inputs,
        windows=None if windows is None else torch.from_numpy(windows),
        rows=None
        if rows is None
        else torch.from_numpy(rows.values + np.repeat(inputs.cu_seqlens[:-1].numpy().astype(np.int64), rows.lengths)),
        row_offsets=None if rows is None else torch.from_numpy(rows.offsets),
        targets=torch.from_numpy(targets),
        num_targets=(int((targets != IGNORED).sum()) if targets.dtype == np.int64 else targets.size,),
    )


def predict_logits(model: nn.Module, task: Task[Any], samples: Samples) -> Ragged:
    """Run a model over all samples, in float32: the logits of each, in their order."""
    was_training = model.training
    runtime = TorchRuntime(model.eval(), max_seq_length=int(samples.input_ids.lengths.max(initial=1)))
    outputs = runtime.run_all(samples.input_ids, samples.token_type_ids, samples.rows)
    model.train(was_training)
    return task.gather(outputs, samples)


def evaluate_samples(
    model: nn.Module, task: Task[Any], examples: Sequence[Any], samples: Samples
) -> tuple[Ragged, dict[str, float]]:
    """Predict all samples and score them: the logits of each, and the scores with the mean "loss" among them."""
    logits = predict_logits(model, task, samples)
    return logits, {"loss": mean_loss(task, samples, logits), **task.score(examples, samples, logits)}


def mean_loss(task: Task[Any], samples: Samples, logits: Ragged) -> float:
    """Average the loss of these logits over the targets of all samples."""
    total, count = 0.0, 0
    for indices in runs_of(samples.lengths, _TOKENS_SCORED_AT_ONCE):
        batch = make_batch(samples, indices)
        total += task.compute_loss(torch.from_numpy(logits.take(indices).values), batch).item()
        count += batch.num_targets[0]
    return total / max(count, 1)


def _dropout_seeds(seed: int, epoch: int, sample_indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw one seed a sample, in [0, 2**63): a pure function of the run's seed, the epoch and the sample."""
    first = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return ((first + sample_indices.astype(np.uint64)) & np.uint64(2**63 - 1)).astype(np.int64)
