"""What a fine-tuning task is, and how it meets the training loop. Axes: B samples of a batch, M rows of logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unmask.counted import keys
from unmask.metrics.paired import mean_score
from unmask.packing import OnDevice, PackedBatch, pack
from unmask.ragged import Ragged, offsets_of, ranges, runs_of
from unmask.runtimes.pytorch import TorchRuntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from unmask.metrics.paired import SummedScore
    from unmask.tasks.options import Reading, TaskOptions
    from unmask.tokenization import Tokenizer

__all__ = [
    "IGNORED",
    "Answer",
    "FineTuning",
    "Samples",
    "Task",
    "TaskBatch",
    "evaluate_samples",
    "make_batch",
    "mean_loss",
    "predict_logits",
]

IGNORED = -100  # a target that no loss and no score counts

ExampleT = TypeVar("ExampleT")

_WINDOW_TOKENS_AT_ONCE = 8192  # of one forward pass, where the windows of a batch are many more than its samples
_TOKENS_SCORED_AT_ONCE = 2**20  # of one loss in evaluation: a set of usual size is one sum


class Answer(Protocol):
    """What a task says of one example."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""

    def to_cells(self) -> dict[str, str]:
        """What a terminal's table shows, by column."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Encoded examples, ready for a model.

    The training loop counts samples; each is one sequence, or several windows of one text. A task whose decoding needs
    to know more (where tokens stand in their text) has a kind of its own.

    Args:
        input_ids: token ids of each sequence, int64.
        token_type_ids: of the same lengths, int64.
        windows: which sequences are whose, as offsets, int64, (num_samples + 1,); None where each sample is one.
        rows: of each sequence the tokens that answer, as positions in it, int64; None leaves it to the model's head.
        targets: what each sample should give, int64 (`IGNORED` where nothing) or float32; None where it is not known.
        num_truncated_texts: texts that were cut to fit.
        num_truncated_tokens: tokens cut from them.
    """

    input_ids: Ragged
    token_type_ids: Ragged
    windows: NDArray[np.int64] | None = None
    rows: Ragged | None = None
    targets: Ragged | None = None
    num_truncated_texts: int = 0
    num_truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.input_ids) if self.windows is None else len(self.windows) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sample, all its windows together, int64, (num_samples,)."""
        return self.sum_windows(self.input_ids.lengths)

    @property
    def num_windows(self) -> NDArray[np.int64]:
        """Sequences of each sample, int64, (num_samples,)."""
        return np.ones(len(self), np.int64) if self.windows is None else np.diff(self.windows)

    def sum_windows(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add up what is counted of each sequence, int64, to what it is of each sample."""
        return counts if self.windows is None else np.diff(offsets_of(counts)[self.windows])


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


class Task(ABC, Generic[ExampleT]):
    """One way to fine-tune, from rows of a file to scores: one file a task, one line in `tasks/__init__.py`.

    A task object knows its labels and its options. Workflows make it from training examples (`for_training`), or from
    what a trained model remembers (`for_model`), and know nothing else of it.

    Args:
        options: what it was told; as far as examples have to say the rest, it is said here.

    Attributes:
        name: as users type it; it also tells reports which kind of report a task gives.
        head: key of `unmask.models.registry.HEADS`.
        problem_type: what Hugging Face call it in config.json, where their classes ask; else None.
        pipeline_tag: what Hugging Face's hub calls it.
        pipeline_options: what else their pipeline must be told, as its arguments are written.
        unit: what people call its examples, many of them.
        metrics: the scores a checkpoint may be chosen by, "loss" among them; a task may give more.
        metric_for_best: the one that chooses the best checkpoint unless the user names another.
        option_names: the fields of `TaskOptions` it has a use for.
        example_keys: the keys of a line of `predictions_dev.jsonl` that say which example it is, and what is right.
    """

    name: ClassVar[str]
    head: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    pipeline_tag: ClassVar[str]
    pipeline_options: ClassVar[str] = ""
    unit: ClassVar[str] = "texts"
    metrics: ClassVar[tuple[str, ...]]
    metric_for_best: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]] = ("max_seq_length",)
    example_keys: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")

    def __init__(self, options: TaskOptions) -> None:
        self.options = options

    # Examples.

    @classmethod
    @abstractmethod
    def read(cls, source: str | Path, reading: Reading, *, with_labels: bool = True) -> list[ExampleT]:
        """Read examples of a file or data set.

        Raises:
            DataError: it is missing or broken, or an example cannot be used.
        """

    @classmethod
    @abstractmethod
    def from_text(cls, text: str, text_pair: str | None = None, *, source: str, line: int) -> ExampleT:
        """Make an example, without its answer, of what a user typed.

        Raises:
            DataError: it cannot be one.
        """

    # The task of some examples.

    @classmethod
    @abstractmethod
    def for_training(cls, examples: Sequence[ExampleT], options: TaskOptions) -> Self:
        """Find in training examples what the options leave open, such as the labels.

        Raises:
            DataError: the examples cannot teach this.
            SettingsError: the options contradict one another.
        """

    @classmethod
    @abstractmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> Self:
        """Take up a trained model's labels and the options it remembers, or the defaults."""

    @property
    @abstractmethod
    def id2label(self) -> dict[int, str]:
        """Name of each label, as checkpoints keep them; of each output, where there are no labels."""

    @property
    def recorded_labels(self) -> list[str] | None:
        """The labels as the option `labels` takes them; None for a task without."""
        return None

    @abstractmethod
    def summary(self, *, pairs: bool) -> str:
        """What a model of this task does, in a sentence for its model card; `pairs` tells whether of pairs of texts."""

    def usage(self, *, pairs: bool) -> str:
        """How such a model is asked, in Python for its model card; its folder is FOLDER, `pairs` as in `summary`."""
        typed = '"a text" --text-pair "another"' if pairs else '"a text"'
        asked = '{"text": "a text", "text_pair": "another"}' if pairs else '"a text"'
        return (
            f"from transformers import pipeline  # or: unmask predict FOLDER {typed}\n\n"
            f'pipeline("{self.pipeline_tag}", model="FOLDER"{self.pipeline_options})({asked})'
        )

    @property
    def memory(self) -> dict[str, Any]:
        """What a trained model is to remember of its task, as JSON has it: its name, and the options it uses."""
        used = {name: value for name, value in asdict(self.options).items() if name in self.option_names}
        used |= {"labels": self.recorded_labels} if "labels" in used else {}
        return {"task": self.name} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in used.items()
        }

    # From examples to logits.

    @abstractmethod
    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Tokenizer, *, max_seq_length: int, with_targets: bool = True
    ) -> Samples:
        """Encode examples, each sequence of max_seq_length tokens at most.

        Raises:
            DataError: an example has nothing to encode, or a label that is not the task's.
        """

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        """Count what is to be learnt, as `data.json` keeps it.

        "labels" counts targets by the name of their label. "no_skill_loss" is the lowest loss of any constant answer.
        """
        return {}

    def num_logits(self, samples: Samples) -> NDArray[np.int64]:
        """Count the rows of logits of each sample, int64, (num_samples,)."""
        return samples.num_windows if samples.rows is None else samples.sum_windows(samples.rows.lengths)

    def compute_logits(self, model: nn.Module, batch: TaskBatch) -> Tensor:
        """Run the model: rows of logits, (M, ...), sample by sample.

        Where a text is so long that the batch has many more windows than samples, they are computed some at a time, and
        once more in the backward pass, in place of keeping what that needs. That changes no number: dropout is counted
        (on CUDA torch keeps the state of its generator).
        """

        def run(inputs: PackedBatch, rows: Tensor | None) -> Tensor:
            logits: Tensor = (model(inputs) if rows is None else model(inputs, rows=rows)).logits
            return logits

        parts = batch.parts()
        if len(parts) == 1:
            return run(*parts[0])
        if not torch.is_grad_enabled():
            return torch.cat([run(*part) for part in parts])
        return torch.cat([checkpoint(run, *part, use_reentrant=False) for part in parts])

    def gather(self, outputs: Ragged, samples: Samples) -> Ragged:
        """Make the logits of each sample of what a runtime gave for each of its sequences; as `compute_logits` does.

        Args:
            outputs: of each sequence the rows of logits, float32 (rows, ...).
            samples: whose sequences they are.
        """
        return Ragged(outputs.values, offsets_of(self.num_logits(samples)))

    @abstractmethod
    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        """Sum the loss over the targets of a batch: a scalar."""

    # From logits to answers.

    def tuned(self, examples: Sequence[ExampleT], samples: Samples, logits: Ragged) -> Self:
        """Fit what is chosen on the dev set and not learnt, once the best weights are known; by default nothing."""
        return self

    @abstractmethod
    def score(self, examples: Sequence[ExampleT], samples: Samples, logits: Ragged) -> dict[str, float]:
        """Score the logits of a data set: `metrics` without the loss, and others."""

    @abstractmethod
    def report(self, examples: Sequence[ExampleT], samples: Samples, logits: Ragged) -> dict[str, Any]:
        """Say all there is to say of these logits, as `evaluation.json` keeps it.

        "kind" is the task's name, "num_examples" counts what was judged, "metrics" holds the scores.
        """

    @abstractmethod
    def predict(self, examples: Sequence[ExampleT], samples: Samples, logits: Ragged) -> Sequence[Answer]:
        """Decode logits into what people read, one answer an example."""

    @abstractmethod
    def judge(self, example: ExampleT, prediction: Any) -> dict[str, Any]:
        """Put an answer beside the truth: a line of `predictions_dev.jsonl`."""

    # From those lines, which is where runs are compared.

    @classmethod
    def keys_of_example(cls, lines: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """Name what must be the same in the lines of two runs if they are to be of the same examples."""
        return cls.example_keys

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        """The scores that two runs can be compared by, made of lines of `predictions_dev.jsonl` of both of them.

        One that is the mean of 0 for a wrong answer and 1 for a right one is also compared by counting those.
        """
        return {"accuracy": mean_score(lambda line: line["predicted"] == line["label"])}

    @classmethod
    def decisions(cls, line: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """What was decided of an example, and what is right: a run has collapsed where all it decides is the same."""
        return [(line["predicted"], line[cls.example_keys[-1]])]


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
