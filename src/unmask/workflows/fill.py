"""Guess the words behind [MASK].

unmask fill "The [MASK] slept" --model M
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.hub import resolve
from unmask.models.registry import read_model_config, saved_head
from unmask.packing import pack
from unmask.workflows.loading import load

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Guess", "fill"]


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One word for one mask.

    Args:
        token: the word, or piece of a word, as the vocabulary has it.
        token_id: its id.
        probability: in [0, 1].
        text: the text with this word in place of this mask, other masks left as they are.
    """

    token: str
    token_id: int
    probability: float
    text: str


def fill(text: str, /, *, model: str, top_k: int = 5) -> list[list[Guess]]:
    """Guess the words behind each [MASK] of a text.

    Args:
        text: with one or more masks, written as the model's tokenizer writes them.
        model: a folder or hub id of a model with a masked LM head.
        top_k: guesses a mask, the most probable first.

    Returns:
        A list of guesses for each mask, in the order of the text.

    Raises:
        CheckpointError: the model has no masked LM head.
        DataError: the text has no mask, or is longer than the model takes.
        SettingsError: top_k is less than 1 or more than there are words.
    """
    pretrained = load(model, head=_masked_head(model))
    tokenizer, mask = pretrained.tokenizer, pretrained.tokenizer.mask_token
    if mask is None:
        raise CheckpointError(f"{model}: its tokenizer has no mask token, so there is nothing to fill")
    if mask not in text:
        raise DataError(f"the text has no {mask}: put it where a word is to be guessed")
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise SettingsError(f"top_k is {top_k}: it must lie between 1 and the {tokenizer.vocab_size} words there are")
    encoding = tokenizer.encode(text)
    if len(encoding) > pretrained.max_seq_length:
        raise DataError(f"the text has {len(encoding)} tokens, the model takes {pretrained.max_seq_length}: shorten it")
    is_mask = torch.tensor([token_id == tokenizer.mask_token_id for token_id in encoding.input_ids])
    with torch.inference_mode():
        output = pretrained.model(pack([encoding.input_ids], [encoding.token_type_ids]), is_mask.nonzero()[:, 0])
    logits = output.prediction_logits if hasattr(output, "prediction_logits") else output.logits
    best = logits.softmax(-1).topk(top_k)
    places = [offsets for offsets, masked in zip(encoding.offsets, is_mask.tolist(), strict=True) if masked]
    return [
        [
            Guess(
                token=(token := tokenizer.id_to_token(token_id) or ""),
                token_id=token_id,
                probability=probability,
                text=_put(token, text, start, end),
            )
            for token_id, probability in zip(ids, probabilities, strict=True)
        ]
        for (start, end), ids, probabilities in zip(places, best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _masked_head(model: str | Path) -> str:
    """Find the head of a checkpoint that can guess words."""
    folder = resolve(model)
    config = read_model_config(folder)
    head = saved_head(config)
    if head not in ("masked-lm", "pre-training"):
        saved = ", ".join(config.architectures) or "no architecture named"
        raise CheckpointError(
            f"{folder}: this checkpoint ({saved}) has no masked LM head, so it cannot fill masks: "
            "choose one saved with BertForMaskedLM or BertForPreTraining"
        )
    return head


def _put(token: str, text: str, start: int, end: int) -> str:
    """Put a word in place of a mask; a piece that continues a word joins it."""
    if token.startswith("##"):
        return text[:start].rstrip() + token.removeprefix("##") + text[end:]
    return text[:start] + token + text[end:]
