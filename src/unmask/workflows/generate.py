"""Go on from a text with a causal model.

unmask generate "The whale" --model M --temperature 0.8 --top-k 40
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.hub import resolve
from unmask.models.generation import Sampling, generate_ids
from unmask.models.headed import ForCausalLM
from unmask.models.registry import FAMILIES, encoder_of, read_model_config
from unmask.workflows.loading import Pretrained, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Generation", "generate"]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One continuation of one prompt.

    Args:
        prompt: as it was given.
        text: what the model wrote after it, without special tokens.
        token_ids: its tokens, the one that ends the text included.
        finish_reason: "end" where the model ended the text, "length" where it wrote max_new_tokens, "positions" where
            it came to its last position.
    """

    prompt: str
    text: str
    token_ids: list[int]
    finish_reason: Literal["end", "length", "positions"]


def generate(
    prompts: str | Sequence[str],
    /,
    *,
    model: str | Path | Pretrained,
    max_new_tokens: int = 40,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    num_return_sequences: int = 1,
) -> list[list[Generation]]:
    """Continue texts with a causal model: by the likeliest token always, or with temperature, top_k or top_p by chance.

    Args:
        prompts: one text or several; an empty one begins where texts begin.
        model: a folder or hub id of a GPT, or what `load` made of one with the causal-lm head.
        max_new_tokens: tokens to write at most; fewer where the model ends the text or has no position left.
        temperature: divides the logits, above 0; below 1 makes likely tokens likelier.
        top_k: draw among so many likeliest tokens.
        top_p: draw among the fewest likeliest tokens that together have this probability, in (0, 1].
        seed: of the draws; each depends on it, the prompt's number, the copy's and the token's alone.
        num_return_sequences: continuations of each prompt; without chance all would be one.

    Returns:
        For each prompt, its continuations.

    Raises:
        CheckpointError: the model is no causal one, or knows no token that begins texts, for an empty prompt.
        DataError: a prompt has more tokens than the model has positions to write after.
        SettingsError: a setting lies outside its range, or several continuations are asked for without chance.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    for name, value in (("max_new_tokens", max_new_tokens), ("num_return_sequences", num_return_sequences)):
        if value < 1:
            raise SettingsError(f"{name} is {value}: it must be 1 or more")
    if num_return_sequences > 1 and sampling.is_greedy:
        raise SettingsError(
            f"num_return_sequences is {num_return_sequences}, and without chance all would be the same: "
            "set temperature, top_k or top_p"
        )
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts:
        return []
    pretrained = model if isinstance(model, Pretrained) else load(model, head=_causal_head(model))
    if not isinstance(pretrained.model, ForCausalLM):
        raise CheckpointError(f'{pretrained.folder}: load it with head="causal-lm" to generate')
    ids = [_encode(pretrained, prompt, number) for number, prompt in enumerate(prompts, start=1)]
    continuations = generate_ids(
        pretrained.model,
        ids,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        num_return_sequences=num_return_sequences,
        end_ids=_end_ids(pretrained),
    )
    return [
        [
            Generation(
                prompt=prompt,
                text=_written(pretrained, prompt_ids, continuation.token_ids),
                token_ids=continuation.token_ids,
                finish_reason=continuation.finish_reason,
            )
            for continuation in copies
        ]
        for prompt, prompt_ids, copies in zip(prompts, ids, continuations, strict=True)
    ]


def _causal_head(model: str | Path) -> str:
    folder = resolve(model)
    family = read_model_config(folder).model_type
    if "causal-lm" not in FAMILIES[family].heads:
        raise CheckpointError(f"{folder}: a {family} model cannot generate text, as a GPT does; it can fill masks")
    return "causal-lm"


def _encode(pretrained: Pretrained, prompt: str, number: int) -> list[int]:
    tokenizer = pretrained.tokenizer
    ids = list(tokenizer.encode(prompt, add_special_tokens=False).input_ids)
    if not ids:
        if tokenizer.bos_token_id is None:
            raise CheckpointError(
                f"{pretrained.folder}: prompt {number} is empty, and the tokenizer has no token that begins texts: "
                "give a word or more"
            )
        return [tokenizer.bos_token_id]
    if len(ids) >= (positions := encoder_of(pretrained.model).embeddings.max_seq_length):
        raise DataError(
            f"prompt {number} has {len(ids)} tokens, and the model has {positions} positions for prompt and text "
            "together: shorten it"
        )
    return ids


def _end_ids(pretrained: Pretrained) -> set[int]:
    """The tokens that end a text: what the config says, else what the tokenizer does."""
    said = pretrained.config.extra.get("eos_token_id")
    if said is None:
        said = pretrained.tokenizer.eos_token_id
    if said is None:
        return set()
    return set(said) if isinstance(said, Iterable) else {said}


def _written(pretrained: Pretrained, prompt_ids: list[int], token_ids: list[int]) -> str:
    """Decode new tokens behind the old ones: many tokenizers drop a space at the beginning."""
    before, whole = (pretrained.tokenizer.decode(ids) for ids in (prompt_ids, prompt_ids + token_ids))
    return whole.removeprefix(before) if whole.startswith(before) else pretrained.tokenizer.decode(token_ids)
