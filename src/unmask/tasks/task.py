"""What a fine-tuning task is. Axes: B samples of a batch, M rows of logits.

Nothing here needs torch but what learns, which imports it where it computes: an exported model answers without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from unmask.metrics.paired import mean_score
from unmask.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.metrics.paired import SummedScore
    from unmask.packing import PackedBatch
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading, TaskOptions
    from unmask.tokenization import Tokenizer

__all__ = ["IGNORED", "Answer", "Samples", "Task"]

IGNORED = -100  # a target that no loss and no score counts

ExampleT = TypeVar("ExampleT")


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

    def take(self, indices: NDArray[np.int64]) -> Samples:
        """Take some sequences as samples of their own, without their targets."""
        return Samples(
            input_ids=self.input_ids.take(indices),
            token_type_ids=self.token_type_ids.take(indices),
            rows=None if self.rows is None else self.rows.take(indices),
        )


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
        import torch
        from torch.utils.checkpoint import checkpoint

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
