"""Causal language modelling. Radford et al. 2018, "Improving language understanding by generative pre-training"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional as F

from unmask.pretraining.objectives.mlm import perplexity
from unmask.pretraining.objectives.objective import Guesses, TokenObjective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.models.outputs import EncoderOutput
    from unmask.pretraining.sequences import PretrainingBatch, SequenceRun

__all__ = ["CausalLanguageModelling"]


class CausalLanguageModelling(TokenObjective):
    """Guess the token after each, from those before it. Section 3.1, equation 1; no guess follows the last token."""

    name = "clm"
    head = "causal-lm"
    terms = ("clm",)

    def prepare(self, run: SequenceRun, keys: NDArray[np.uint64]) -> Guesses:
        is_last = np.zeros(len(run.input_ids), np.bool_)
        is_last[run.lengths.cumsum() - 1] = True
        positions = np.flatnonzero(~is_last)
        return Guesses(input_ids=run.input_ids, positions=positions, labels=run.input_ids[positions + 1])

    def compute_losses(self, model: nn.Module, batch: PretrainingBatch) -> tuple[Tensor, EncoderOutput]:
        from unmask.models.losses import linear_cross_entropy

        encoded = model.encoder(batch.inputs, rows=batch.positions)  # type: ignore[operator]
        words: Tensor = model.encoder.embeddings.word.table  # type: ignore[union-attr,assignment]
        return linear_cross_entropy(encoded.last_hidden_state, words, None, batch.labels)[None], encoded

    def measure(self, model: nn.Module, batch: PretrainingBatch) -> tuple[dict[str, float], EncoderOutput]:
        output = model(batch.inputs, batch.positions)
        logits = output.logits.float()
        return {
            "clm_loss": F.cross_entropy(logits, batch.labels, reduction="sum").item(),
            "clm_correct": (logits.argmax(-1) == batch.labels).sum().item(),
            "clm_targets": len(batch.labels),
        }, output.encoder

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        targets = max(sums["clm_targets"], 1)
        loss = sums["clm_loss"] / targets
        return {"loss": loss, "perplexity": perplexity(loss), "accuracy": sums["clm_correct"] / targets}
