"""What the loop needs to know of a fine-tuning task or a pretraining objective, and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

__all__ = ["Batch", "Objective"]


class Batch(Protocol):
    """The samples of one forward pass.

    Args:
        num_targets: for each term of the loss, what it is averaged over: labels, masked tokens, ...; the loop sums
            it over micro-batches and processes before it divides.
        num_tokens: real tokens, for tokens per second.
    """

    @property
    def num_targets(self) -> tuple[int, ...]: ...

    @property
    def num_tokens(self) -> int: ...

    def to(self, device: torch.device) -> Self: ...


BatchT = TypeVar("BatchT", bound=Batch)


class Objective(Protocol[BatchT]):
    """What is learnt: samples, their batches, their loss and the scores that tell how well.

    Args:
        num_samples: samples an epoch.
        loss_terms: a name for each term of the loss; most objectives have one.
    """

    @property
    def loss_terms(self) -> tuple[str, ...]: ...

    @property
    def num_samples(self) -> int: ...

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> BatchT:
        """Make a batch: a pure function of the objective's own seed, the epoch and each index.

        Dropout keys, masking and all other randomness belong here, sample by sample, so that how samples are batched
        changes nothing.
        """

    def compute_loss(self, model: nn.Module, batch: BatchT) -> Tensor:
        """Each term of the loss, SUMMED over its targets in the batch, (terms,); all trainable parameters take part.

        The loss is the sum over terms of term / number of its targets; a term's weight is already in it.
        """

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on the dev set by name, "loss" among them; called in eval mode, under inference mode."""

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        """What a person may look at as training goes on, as JSON has it; called after `evaluate`. Empty for nothing."""
