"""Masked language modelling. Devlin et al. 2019 (arXiv:1810.04805), section 3.1 "Task #1"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.nn import functional as F

from unmask.pretraining.masking import Masking, mask_tokens
from unmask.pretraining.objectives.objective import Guesses, TokenObjective

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.models.outputs import EncoderOutput
    from unmask.pretraining.sequences import PretrainingBatch, SequenceRun
    from unmask.pretraining.vocabulary import Vocabulary

__all__ = ["MaskedLanguageModelling", "perplexity"]


class MaskedLanguageModelling(TokenObjective):
    """Guess the tokens that were chosen, from both sides. The projection onto the vocabulary runs on them alone.

    Args:
        masking: how many are chosen, and what is seen in their place.
        vocabulary: of the tokenizer.
    """

    name = "mlm"
    head = "masked-lm"
    terms = ("mlm",)

    def __init__(self, masking: Masking, vocabulary: Vocabulary) -> None:
        self.masking, self.vocabulary = masking, vocabulary
        self.mask_token_id = vocabulary.require_mask_token(self.name)

    def prepare(self, run: SequenceRun, keys: NDArray[np.uint64]) -> Guesses:
        masked = mask_tokens(
            run.input_ids,
            is_special=run.is_special,
            position_ids=run.position_ids,
            keys=keys[run.sequence_of],
            word_starts=self.vocabulary.word_starts,
            masking=self.masking,
            mask_token_id=self.mask_token_id,
            random_tokens=self.vocabulary.ordinary_tokens,
        )
        return Guesses(input_ids=masked.input_ids, positions=masked.positions, labels=masked.labels)

    def compute_losses(self, model: nn.Module, batch: PretrainingBatch) -> tuple[Tensor, EncoderOutput]:
        encoded = model.encoder(batch.inputs, rows=batch.positions)  # type: ignore[operator]
        words = model.encoder.embeddings.word.table  # type: ignore[union-attr]
        loss = model.masked_lm.loss_sum(encoded.last_hidden_state, words, batch.labels)  # type: ignore[union-attr, operator]
        return loss[None], encoded

    def measure(self, model: nn.Module, batch: PretrainingBatch) -> tuple[dict[str, float], EncoderOutput]:
        encoded = model.encoder(batch.inputs, rows=batch.positions)  # type: ignore[operator]
        words = model.encoder.embeddings.word.table  # type: ignore[union-attr]
        logits = model.masked_lm(encoded.last_hidden_state, words).float()  # type: ignore[operator]
        return {
            "mlm_loss": F.cross_entropy(logits, batch.labels, reduction="sum").item(),
            "mlm_correct": (logits.argmax(-1) == batch.labels).sum().item(),
            "mlm_targets": len(batch.labels),
        }, encoded

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        targets = max(sums["mlm_targets"], 1)
        loss = sums["mlm_loss"] / targets
        return {
            "loss": loss,
            "mlm_loss": loss,
            "perplexity": perplexity(loss),
            "masked_accuracy": sums["mlm_correct"] / targets,
        }


def perplexity(loss: float) -> float:
    """How many equally likely tokens would leave a model as surprised as a loss in nats says: e to the loss."""
    return math.exp(min(loss, 700.0))  # beyond that a float ends
