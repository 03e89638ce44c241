"""Pretraining as the training loop sees it: a format's sequences, an objective at tokens, perhaps one at pairs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unmask.counted import keys, uniform
from unmask.errors import SettingsError
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.sequences import PretrainingBatch, SequenceRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.pretraining.formats import SequenceSource
    from unmask.pretraining.masking import Masking
    from unmask.pretraining.objectives import PairObjective, TokenObjective

__all__ = ["Pretraining"]

_SEQUENCES, _MASKS, _DROPOUT, _DRAWS = range(4)  # what random numbers are for: each use has keys of its own
_EVALUATION = 2**32  # the epoch of evaluation: its masks are the same every time, so that losses compare


class Pretraining:
    """What is learnt of raw text (`unmask.training.Objective`).

    A sample is a pack of sequences that fill a budget of tokens together, or one sequence where there are no packs.
    Everything drawn (pairs, masks, replacements, dropout) is a pure function of (seed, epoch, sequence).

    Args:
        tokens: what is learnt at tokens.
        pairs: what is learnt of pairs; None for nothing.
        train: sequences to learn from.
        dev: sequences to score by, always masked alike.
        seed: of all that is drawn in training.
        dev_seed: of what is drawn of the dev sequences.
        packs: sequences of each sample, as `unmask.pretraining.packs.pack_to_budget` gives them.
        show: makes `examples` of a model; None for none.

    Raises:
        SettingsError: the two objectives do not go together.
    """

    def __init__(
        self,
        tokens: TokenObjective,
        pairs: PairObjective | None,
        train: SequenceSource,
        dev: SequenceSource,
        *,
        seed: int,
        dev_seed: int = 0,
        packs: Sequence[NDArray[np.int64]] | None = None,
        show: Callable[[nn.Module], list[dict[str, Any]]] | None = None,
    ) -> None:
        if pairs is not None and tokens.name != MaskedLanguageModelling.name:
            raise SettingsError(
                f"{pairs.name} goes with mlm, not with {tokens.name}: the question about pairs is answered by the "
                "model that guesses masked words"
            )
        self.tokens, self.pairs, self.train, self.dev = tokens, pairs, train, dev
        self.packs = packs
        self._seed, self._dev_seed, self._show = seed, dev_seed, show

    @property
    def loss_terms(self) -> tuple[str, ...]:
        return self.tokens.terms if self.pairs is None else (*self.tokens.terms, self.pairs.name)

    @property
    def head(self) -> str:
        """Key of `unmask.models.registry.HEADS` of the model that is trained and kept."""
        return self.tokens.head if self.pairs is None else "pre-training"

    @property
    def num_samples(self) -> int:
        return len(self.train) if self.packs is None else len(self.packs)

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> PretrainingBatch:
        indices = np.asarray(sample_indices, np.int64)
        if self.packs is not None:
            indices = np.concatenate([self.packs[index] for index in indices])
        return self.make_batch(self.train, indices, epoch=epoch, with_dropout=True)[0]

    def make_batch(
        self, source: SequenceSource, indices: NDArray[np.int64], *, epoch: int, with_dropout: bool = False
    ) -> tuple[PretrainingBatch, SequenceRun]:
        """Build sequences, choose what is to be guessed of them, and pack them.

        Returns:
            The batch, and the sequences as the corpus has them.
        """
        seed = self._dev_seed if epoch == _EVALUATION else self._seed
        masking: Masking | None = getattr(self.tokens, "masking", None)
        copy = epoch if masking is None else masking.copy_of(epoch)  # of the whole sequence, its second text too
        run = SequenceRun.of(
            [source.build(int(index), epoch=copy) for index in indices], keys(_SEQUENCES, seed, copy, indices)
        )
        guesses = self.tokens.prepare(run, keys(_MASKS, seed, copy, indices))
        num_targets = self.tokens.count_targets(run, guesses)
        if self.pairs is not None:
            num_targets = (*num_targets, int((run.pair_labels >= 0).sum()))
        places = run.sequence_of[guesses.positions]
        draws = uniform(keys(_DRAWS, seed, epoch, indices)[places], run.position_ids[guesses.positions])
        seeds = (keys(_DROPOUT, seed, epoch, indices) >> np.uint64(1)).astype(np.int64)
        batch = PretrainingBatch.of(
            run,
            input_ids=guesses.input_ids,
            positions=guesses.positions,
            labels=guesses.labels,
            draws=draws,
            num_targets=num_targets,
            dropout_seeds=seeds if with_dropout else None,
        )
        return batch, run

    def compute_loss(self, model: nn.Module, batch: PretrainingBatch) -> Tensor:
        losses, encoded = self.tokens.compute_losses(model, batch)
        if self.pairs is None:
            return losses
        return torch.cat((losses, self.pairs.compute_loss(model, encoded, batch.pair_labels)[None]))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score the dev sequences: their masks and pairs are the same at every call."""
        device = next(model.parameters()).device
        sums: Counter[str] = Counter()
        for indices in _by_length(self.dev.lengths):
            batch = self.make_batch(self.dev, indices, epoch=_EVALUATION)[0].to(device)
            counts, encoded = self.tokens.measure(model, batch)
            sums.update(counts)
            if self.pairs is not None:
                sums.update(self.pairs.measure(model, encoded, batch.pair_labels))
        scores = self.tokens.summarise(sums)
        if self.pairs is not None:
            pair_scores = self.pairs.summarise(sums)
            scores = {"loss": scores["loss"] + pair_scores[f"{self.pairs.name}_loss"]} | {
                name: value for name, value in (scores | pair_scores).items() if name != "loss"
            }
        return scores

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        return [] if self._show is None else self._show(model)


_TOKENS_AT_ONCE = 4096  # of one forward pass in evaluation


def _by_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split indices into runs of rising length with about `_TOKENS_AT_ONCE` tokens each."""
    order = np.argsort(lengths, kind="stable")
    run = (np.cumsum(lengths[order]) - 1) // _TOKENS_AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(run)) + 1)
