"""What a pretraining objective is. Axes: T tokens of packed sequences, B sequences, M rows to guess, D hidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.models.outputs import EncoderOutput
    from unmask.pretraining.sequences import PretrainingBatch, SequenceRun

__all__ = ["Guesses", "PairObjective", "TokenObjective"]


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """What a token objective asks of a run of sequences.

    Args:
        input_ids: what the model sees, int64, (T,).
        positions: the rows to guess, int64, (M,).
        labels: what is to be guessed there, int64, (M,).
    """

    input_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


class TokenObjective(ABC):
    """Something to be learnt at each of many tokens: masked words, replaced tokens, next tokens. One file each.

    Attributes:
        name: as users type it.
        head: key of `unmask.models.registry.HEADS` of the model that is kept.
        terms: names of the terms of its loss.
    """

    name: ClassVar[str]
    head: ClassVar[str]
    terms: ClassVar[tuple[str, ...]]

    @abstractmethod
    def prepare(self, run: SequenceRun, keys: NDArray[np.uint64]) -> Guesses:
        """Choose what is to be guessed.

        Args:
            run: the sequences.
            keys: for each sequence what its random numbers come from, uint64, (B,).
        """

    def count_targets(self, run: SequenceRun, guesses: Guesses) -> tuple[int, ...]:
        """Count the targets of each term of the loss."""
        return (len(guesses.positions),)

    @abstractmethod
    def compute_losses(self, model: nn.Module, batch: PretrainingBatch) -> tuple[Tensor, EncoderOutput]:
        """Run the model: each term of the loss, weighted and summed over targets, (terms,); and what was encoded."""

    @abstractmethod
    def measure(self, model: nn.Module, batch: PretrainingBatch) -> tuple[dict[str, float], EncoderOutput]:
        """Count what `summarise` needs of a batch; counts of batches are added."""

    @abstractmethod
    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Make scores of the counts of all batches; "loss" among them, with the weights of training."""


class PairObjective(ABC):
    """Something to be learnt of each pair of texts.

    Attributes:
        name: as users type it.
        label_names: what label 0 and label 1 say of a pair.
    """

    name: ClassVar[str]
    label_names: ClassVar[tuple[str, str]]

    def compute_loss(self, model: nn.Module, encoded: EncoderOutput, labels: Tensor) -> Tensor:
        """Sum the cross-entropy over the pairs of a batch, a scalar; sequences of label -1 are no pairs."""
        from torch.nn import functional as F

        logits = model.next_sentence(encoded)  # type: ignore[operator]
        return F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="sum")

    def measure(self, model: nn.Module, encoded: EncoderOutput, labels: Tensor) -> dict[str, float]:
        """Count what `summarise` needs of a batch."""
        from torch.nn import functional as F

        logits = model.next_sentence(encoded).float()  # type: ignore[operator]
        return {
            f"{self.name}_loss": F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum").item(),
            f"{self.name}_correct": (logits.argmax(-1) == labels).sum().item(),
            f"{self.name}_targets": (labels >= 0).sum().item(),
        }

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Make scores of the counts of all batches."""
        targets = max(sums[f"{self.name}_targets"], 1)
        return {
            f"{self.name}_loss": sums[f"{self.name}_loss"] / targets,
            f"{self.name}_accuracy": sums[f"{self.name}_correct"] / targets,
        }
