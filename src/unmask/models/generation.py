"""A causal model writes: one token after the other, each chosen from the model's probabilities.

Axes: B sequences that still grow, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from unmask import counted
from unmask.errors import SettingsError
from unmask.models.cache import KeyValueCache
from unmask.packing import pack

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from unmask.models.headed import ForCausalLM

__all__ = ["Continuation", "Sampling", "generate_ids"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is chosen from its probabilities.

    Without temperature, top_k and top_p the most probable is taken ("greedy"). With any of them one is drawn, by a
    random number that is a pure function of (seed, prompt, copy, token): nothing else in the batch changes it.

    Args:
        temperature: logits are divided by it, above 0: below 1 makes likely tokens likelier still.
        top_k: draw among the k most probable tokens only (Fan et al. 2018, arXiv:1805.04833, section 5.1); of equally
            probable ones on the brink some are in and some are out.
        top_p: draw among the fewest most probable tokens that together have at least this probability, in (0, 1]
            (Holtzman et al. 2020, arXiv:1904.09751, section 3.1). Applied after top_k, to what that leaves.
        seed: a whole number.

    Raises:
        SettingsError: if a value lies outside its range.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise SettingsError(
                f"temperature is {self.temperature}: it must be more than 0; without it the likeliest token is taken"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SettingsError(f"top_k is {self.top_k}: it must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p}: it must be more than 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed is {self.seed}: it must be from 0 to 2**63 - 1")

    @property
    def is_greedy(self) -> bool:
        return self.temperature is None and self.top_k is None and self.top_p is None

    def choose(self, logits: Tensor, prompts: Sequence[int], copies: Sequence[int], step: int) -> list[int]:
        """Choose the next token of each sequence.

        Args:
            logits: (B, V).
            prompts: number of each sequence's prompt, from 0.
            copies: number of each sequence among those of its prompt, from 0.
            step: tokens written before this one.
        """
        if self.is_greedy:
            return logits.argmax(-1).tolist()
        num_kept = min(self.top_k or logits.shape[-1], logits.shape[-1])
        best = logits.double().cpu().topk(num_kept)  # sorted, the likeliest first
        probabilities = (best.values / (self.temperature or 1.0)).softmax(-1)
        if self.top_p is not None:
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.masked_fill(before >= self.top_p, 0.0)
        ends = probabilities.cumsum(-1).numpy()
        drawn = counted.uniform(counted.keys(self.seed, np.asarray(prompts), np.asarray(copies)), step)
        ranks = (ends <= (drawn * ends[:, -1])[:, None]).sum(-1)
        # Rounding may leave the last number drawn on the very end: what it meets must have a probability.
        last = (probabilities > 0).sum(-1).numpy() - 1
        rows = torch.from_numpy(np.minimum(ranks, last))[:, None]
        return best.indices.gather(-1, rows)[:, 0].tolist()


@dataclass(kw_only=True)
class Continuation:
    """What was written after a prompt.

    Args:
        token_ids: the new tokens, the one that ends the text included.
        finish_reason: "end" where the model ended the text, "length" where it wrote as much as it was asked for,
            "positions" where it has no position left.
    """

    token_ids: list[int] = field(default_factory=list)
    finish_reason: Literal["end", "length", "positions"] = "length"


@torch.inference_mode()
def generate_ids(
    model: ForCausalLM,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    num_return_sequences: int = 1,
    end_ids: Collection[int] = (),
) -> list[list[Continuation]]:
    """Go on from each prompt; all are read in one packed batch, then grow together by a token at a time.

    Keys and values are kept (`KeyValueCache`), so each token is read once; a sequence that ends leaves the batch. Where
    positions end the writing ends: the oldest tokens are not dropped to make room.

    Args:
        model: in eval mode.
        prompts: token ids of each, at least one, and fewer than the model has positions.
        max_new_tokens: tokens to write at most.
        sampling: how they are chosen; None takes the likeliest.
        num_return_sequences: continuations of each prompt.
        end_ids: tokens that end a text.

    Returns:
        For each prompt, its continuations.

    Raises:
        ValueError: if the model is in training mode, or a prompt has no token or leaves no position.
    """
    sampling = sampling or Sampling()
    encoder, lengths = model.encoder, [len(prompt) for prompt in prompts]
    positions, device = encoder.embeddings.max_seq_length, encoder.embeddings.word.weight.device
    if max(lengths) >= positions:
        raise ValueError(f"a prompt has {max(lengths)} tokens, and the model {positions} positions: none to write at")
    cache = KeyValueCache(num_sequences=len(prompts), capacity=min(max(lengths) + max_new_tokens, positions))
    batch = pack(prompts).to(device)
    logits = model(batch, batch.cu_seqlens[1:].to(torch.int64) - 1, cache=cache).logits  # (B, V)
    owners = [(prompt, copy) for prompt in range(len(prompts)) for copy in range(num_return_sequences)]
    written = {owner: Continuation() for owner in owners}
    if num_return_sequences > 1:
        logits = logits.repeat_interleave(num_return_sequences, dim=0)
        cache.select(torch.arange(len(prompts)).repeat_interleave(num_return_sequences))
    for step in range(max_new_tokens):
        chosen = sampling.choose(logits, [prompt for prompt, _ in owners], [copy for _, copy in owners], step)
        grows = []
        for row, (owner, token_id) in enumerate(zip(owners, chosen, strict=True)):
            text = written[owner]
            text.token_ids.append(token_id)
            if token_id in end_ids:
                text.finish_reason = "end"
            elif lengths[owner[0]] + len(text.token_ids) == positions:
                text.finish_reason = "positions"
            else:
                grows.append(row)
        if not grows or step + 1 == max_new_tokens:
            break
        if len(grows) < len(owners):
            owners = [owners[row] for row in grows]
            cache.select(torch.tensor(grows))
        logits = model(pack([[chosen[row]] for row in grows]).to(device), cache=cache).logits
    return [[written[prompt, copy] for copy in range(num_return_sequences)] for prompt in range(len(prompts))]
