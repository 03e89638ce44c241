"""Replaced token detection. Clark et al. 2020, "ELECTRA" (arXiv:2003.10555), sections 2 and 3.

A small generator fills masked tokens with guesses drawn from its own distribution; the discriminator, the model that is
kept, says of every token whether it is the text's own. Where a guess happens to be right, the token counts as original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.pretraining.objectives.mlm import MaskedLanguageModelling, perplexity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.models.outputs import EncoderOutput
    from unmask.packing import PackedBatch
    from unmask.pretraining.masking import Masking
    from unmask.pretraining.objectives.objective import Guesses
    from unmask.pretraining.sequences import PretrainingBatch, SequenceRun
    from unmask.pretraining.vocabulary import Vocabulary

__all__ = ["GeneratorAndDiscriminator", "ReplacedTokenDetection"]

_DISCRIMINATOR = 1 << 62  # parts its dropout from the generator's, which reads the same sequences


class GeneratorAndDiscriminator(nn.Module):
    """Both models of ELECTRA, with one set of embeddings between them (section 3.2, "weight sharing").

    Args:
        generator: an `unmask.models.headed.ForMaskedLM`; its embeddings become the discriminator's.
        discriminator: an `unmask.models.headed.ForReplacedTokenDetection`.

    Raises:
        ValueError: if their embeddings differ in shape.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        shapes = [
            {name: tuple(p.shape) for name, p in model.encoder.embeddings.named_parameters()}  # type: ignore[union-attr]
            for model in (generator, discriminator)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"generator and discriminator share their embeddings, but have {shapes[0]} and {shapes[1]}"
            )
        self.discriminator, self.generator = discriminator, generator
        generator.encoder.embeddings = discriminator.encoder.embeddings  # type: ignore[union-attr]

    @property
    def encoder(self) -> Any:
        """The encoder that is kept."""
        return self.discriminator.encoder

    @property
    def config(self) -> Any:
        """The configuration of the model that is kept."""
        return self.discriminator.config


class ReplacedTokenDetection(MaskedLanguageModelling):
    """Tell replaced tokens from the text's own, at every real token.

    Args:
        masking: what the generator must guess; ELECTRA always shows it [MASK].
        vocabulary: of the tokenizer.
        discriminator_weight: of the discriminator's loss beside the generator's (lambda = 50, section 2 and table 6).
    """

    name = "rtd"
    head = "replaced-token"
    terms = ("generator", "discriminator")  # type: ignore[assignment]

    def __init__(self, masking: Masking, vocabulary: Vocabulary, *, discriminator_weight: float = 50.0) -> None:
        super().__init__(masking, vocabulary)
        self.discriminator_weight = discriminator_weight

    def count_targets(self, run: SequenceRun, guesses: Guesses) -> tuple[int, ...]:
        return len(guesses.positions), len(run.input_ids)

    def compute_losses(self, model: nn.Module, batch: PretrainingBatch) -> tuple[Tensor, EncoderOutput]:
        assert isinstance(model, GeneratorAndDiscriminator)
        generator: Any = model.generator
        logits = generator(batch.inputs, batch.positions).logits
        generator_loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum")
        # What is drawn has no gradient, so the discriminator's does not reach the generator (section 2).
        corrupted = replace_tokens(batch, sample_tokens(logits.detach(), batch.draws))
        output = model.discriminator(corrupted)
        is_replaced = (corrupted.input_ids != batch.original_ids).float()
        discriminator_loss = F.binary_cross_entropy_with_logits(output.logits.float(), is_replaced, reduction="sum")
        return torch.stack((generator_loss, self.discriminator_weight * discriminator_loss)), output.encoder

    def measure(self, model: nn.Module, batch: PretrainingBatch) -> tuple[dict[str, float], EncoderOutput]:
        assert isinstance(model, GeneratorAndDiscriminator)
        logits = model.generator(batch.inputs, batch.positions).logits.float()
        corrupted = replace_tokens(batch, sample_tokens(logits, batch.draws))
        output = model.discriminator(corrupted)
        said = output.logits.float()
        is_replaced, is_flagged = corrupted.input_ids != batch.original_ids, said > 0
        return {
            "generator_loss": F.cross_entropy(logits, batch.labels, reduction="sum").item(),
            "generator_correct": (logits.argmax(-1) == batch.labels).sum().item(),
            "generator_targets": len(batch.labels),
            "discriminator_loss": F.binary_cross_entropy_with_logits(said, is_replaced.float(), reduction="sum").item(),
            "tokens": len(said),
            "replaced": is_replaced.sum().item(),
            "flagged": is_flagged.sum().item(),
            "rightly_flagged": (is_flagged & is_replaced).sum().item(),
            "right": (is_flagged == is_replaced).sum().item(),
        }, output.encoder

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        generator_loss = sums["generator_loss"] / max(sums["generator_targets"], 1)
        discriminator_loss = sums["discriminator_loss"] / max(sums["tokens"], 1)
        return {
            "loss": generator_loss + self.discriminator_weight * discriminator_loss,
            "generator_loss": generator_loss,
            "generator_perplexity": perplexity(generator_loss),
            "masked_accuracy": sums["generator_correct"] / max(sums["generator_targets"], 1),
            "rtd_loss": discriminator_loss,
            "rtd_accuracy": sums["right"] / max(sums["tokens"], 1),
            "rtd_precision": sums["rightly_flagged"] / max(sums["flagged"], 1),
            "rtd_recall": sums["rightly_flagged"] / max(sums["replaced"], 1),
        }


def sample_tokens(logits: Tensor, draws: Tensor) -> Tensor:
    """Draw a token for each row from softmax(logits), (M, V) -> int64 (M,), by inverting its distribution function.

    Args:
        logits: (M, V).
        draws: a number in [0, 1) for each row, float64, (M,): equal draws give equal tokens.
    """
    cumulative = logits.float().softmax(-1).cumsum(-1, dtype=torch.float64 if logits.is_cpu else torch.float32)
    wanted = draws.to(cumulative)[:, None] * cumulative[:, -1:]  # the last is 1 but for rounding
    return torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def replace_tokens(batch: PretrainingBatch, tokens: Tensor) -> PackedBatch:
    """Put tokens, int64 (M,), where the masked ones stood; what was not to be guessed is as the text has it."""
    from dataclasses import replace

    inputs = batch.inputs
    seeds = None if inputs.dropout_seeds is None else inputs.dropout_seeds ^ _DISCRIMINATOR  # noise of its own
    return replace(inputs, input_ids=batch.original_ids.index_copy(0, batch.positions, tokens), dropout_seeds=seeds)
