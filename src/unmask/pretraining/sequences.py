"""What a pretraining step sees: sequences laid end to end, and what is to be guessed of them.

Axes: B sequences, T tokens of all sequences together, M rows to guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unmask.packing import PackedBatch, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.pretraining.formats import TrainingSequence

__all__ = ["PretrainingBatch", "SequenceRun"]


@dataclass(frozen=True, kw_only=True)
class SequenceRun:
    """Sequences as the corpus has them, packed.

    Args:
        input_ids: int64, (T,).
        token_type_ids: int64, (T,).
        is_special: true where a token is the template's and not the text's, bool, (T,).
        position_ids: position of each token in its sequence, int64, (T,).
        sequence_of: number of the sequence each token belongs to, int64, (T,).
        lengths: tokens of each sequence, int64, (B,).
        keys: the random key of each sequence, uint64, (B,).
        pair_labels: what its second text is, int64, (B,); -1 where there is no such question.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    is_special: NDArray[np.bool_]
    position_ids: NDArray[np.int64]
    sequence_of: NDArray[np.int64]
    lengths: NDArray[np.int64]
    keys: NDArray[np.uint64]
    pair_labels: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[TrainingSequence], keys: NDArray[np.uint64]) -> SequenceRun:
        lengths = np.fromiter((len(sequence.input_ids) for sequence in sequences), np.int64, count=len(sequences))
        starts = lengths.cumsum() - lengths
        return cls(
            input_ids=np.concatenate([sequence.input_ids for sequence in sequences]),
            token_type_ids=np.concatenate([sequence.token_type_ids for sequence in sequences]),
            is_special=np.concatenate([sequence.is_special for sequence in sequences]),
            position_ids=np.arange(lengths.sum()) - np.repeat(starts, lengths),
            sequence_of=np.repeat(np.arange(len(lengths)), lengths),
            lengths=lengths,
            keys=keys,
            pair_labels=np.array([-1 if s.pair_label is None else s.pair_label for s in sequences], np.int64),
        )

    def split(self, tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Cut a run of tokens, (T,), into its sequences."""
        return np.split(tokens, self.lengths.cumsum()[:-1])


@dataclass(frozen=True, kw_only=True)
class PretrainingBatch:
    """The sequences of one forward pass.

    Args:
        inputs: what the model sees, masked where an objective masks.
        original_ids: what the corpus has there, int64, (T,).
        positions: the rows to guess, int64, (M,).
        labels: what is to be guessed there, int64, (M,).
        pair_labels: the label of each pair, int64, (B,); -1 where there is none.
        draws: a number in [0, 1) for each row to guess, float64, (M,): for an objective that samples.
        num_targets: of each term of the loss.
    """

    inputs: PackedBatch
    original_ids: Tensor
    positions: Tensor
    labels: Tensor
    pair_labels: Tensor
    draws: Tensor
    num_targets: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return self.inputs.total_tokens

    def to(self, device: torch.device) -> PretrainingBatch:
        if self.original_ids.device == device:
            return self
        tensors: dict[str, Any] = {
            name: value.to(device, non_blocking=device.type != "cpu")
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return replace(self, inputs=self.inputs.to(device), **tensors)

    @classmethod
    def of(
        cls,
        run: SequenceRun,
        *,
        input_ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        labels: NDArray[np.int64],
        draws: NDArray[np.float64],
        num_targets: tuple[int, ...],
        dropout_seeds: NDArray[np.int64] | None,
    ) -> PretrainingBatch:
        """Make the batch of a run of sequences; `input_ids` is what the model sees of it."""
        return cls(
            inputs=pack(run.split(input_ids), run.split(run.token_type_ids), dropout_seeds=dropout_seeds),
            original_ids=torch.from_numpy(run.input_ids),
            positions=torch.from_numpy(positions),
            labels=torch.from_numpy(labels),
            pair_labels=torch.from_numpy(run.pair_labels),
            draws=torch.from_numpy(draws),
            num_targets=num_targets,
        )
