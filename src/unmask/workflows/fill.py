"""Guess the words behind [MASK].

unmask fill "The [MASK] slept" --model M
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.hub import resolve
from unmask.models.registry import FAMILIES, read_model_config, saved_head
from unmask.packing import pack
from unmask.tokenization.readable import piece_text
from unmask.workflows.loading import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from unmask.tokenization import Tokenizer

__all__ = ["Guess", "TextWithMasks", "fill", "guess_masks"]

_USUAL_MASKS = ("[MASK]", "<mask>")  # how people write a mask, whatever the vocabulary calls it


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One word for one mask.

    Args:
        token: the word, or piece of a word, as the vocabulary has it.
        token_id: its id.
        probability: in [0, 1].
        word: the same as people write it, without the vocabulary's marks.
        text: the text with this word in place of this mask, other masks left as they are.
    """

    token: str
    token_id: int
    probability: float
    word: str
    text: str


@dataclass(frozen=True, kw_only=True)
class TextWithMasks:
    """A text with one or more masks, encoded.

    Args:
        text: as it was typed.
        input_ids: what the model sees.
        token_type_ids: likewise.
        positions: where the masks stand in `input_ids`.
        places: start and end of each mask in `text`, in characters.
    """

    text: str
    input_ids: list[int]
    token_type_ids: list[int]
    positions: list[int]
    places: list[tuple[int, int]]

    @classmethod
    def of(cls, tokenizer: Tokenizer, text: str, *, max_seq_length: int | None = None) -> Self:
        """Encode a text.

        Its masks are written as the tokenizer writes them, or else all as [MASK] or all as <mask>.

        Args:
            tokenizer: one with a mask token.
            text: the text.
            max_seq_length: tokens the model takes.

        Raises:
            CheckpointError: the tokenizer has no mask token.
            DataError: the text has no mask, or is too long.
        """
        mask = tokenizer.mask_token
        if mask is None:
            raise CheckpointError("the tokenizer has no mask token, so there is nothing to fill")
        typed = next((usual for usual in (mask, *_USUAL_MASKS) if usual in text), None)
        if typed is None:
            raise DataError(f"the text has no {mask}: put it where a word is to be guessed")
        written = text.replace(typed, mask)
        encoding = tokenizer.encode(written)
        if max_seq_length is not None and len(encoding) > max_seq_length:
            raise DataError(f"the text has {len(encoding)} tokens, the model takes {max_seq_length}: shorten it")
        positions = [at for at, token_id in enumerate(encoding.input_ids) if token_id == tokenizer.mask_token_id]
        places = []
        for number, (_, end) in enumerate(encoding.offsets[at] for at in positions):
            # RoBERTa's and ALBERT's mask takes the space before it, so the token's end is to be trusted, not its start.
            end -= (number + 1) * (len(mask) - len(typed))
            places.append((end - len(typed), end))
        return cls(
            text=text,
            input_ids=encoding.input_ids,
            token_type_ids=encoding.token_type_ids,
            positions=positions,
            places=places,
        )

    def fill_in(self, number: int, word: str, *, starts_word: bool) -> str:
        """Put a word in place of a mask; a piece that continues a word joins the one before it."""
        start, end = self.places[number]
        before, after = self.text[:start], self.text[end:]
        if not starts_word:
            before = before.rstrip()
        elif before and before[-1].isalnum():
            before += " "
        return before + word + after


def fill(text: str, /, *, model: str, top_k: int = 5) -> list[list[Guess]]:
    """Guess the words behind each [MASK] of a text.

    Args:
        text: with one or more masks, written [MASK] or as the model's tokenizer writes them.
        model: a folder or hub id of a model with a masked LM head.
        top_k: guesses a mask, the most probable first.

    Returns:
        A list of guesses for each mask, in the order of the text.

    Raises:
        CheckpointError: the model has no masked LM head.
        DataError: the text has no mask, or is longer than the model takes.
        SettingsError: top_k is less than 1 or more than there are words.
    """
    folder, head = _find_masked_head(model)
    pretrained = load(folder, head=head)
    tokenizer = pretrained.tokenizer
    if tokenizer.mask_token is None:
        raise CheckpointError(f"{model}: its tokenizer has no mask token, so there is nothing to fill")
    masked = TextWithMasks.of(tokenizer, text, max_seq_length=pretrained.max_seq_length)
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise SettingsError(f"top_k is {top_k}: it must lie between 1 and the {tokenizer.vocab_size} words there are")
    [guesses] = guess_masks(pretrained.model, tokenizer, [masked], top_k=top_k)
    return guesses


def guess_masks(
    model: nn.Module, tokenizer: Tokenizer, texts: Sequence[TextWithMasks], *, top_k: int
) -> list[list[list[Guess]]]:
    """Guess the words behind every mask of some texts, in one forward pass.

    Args:
        model: one with a masked LM head, in eval mode, on any device.
        tokenizer: the one it was trained with.
        texts: encoded by it.
        top_k: guesses a mask, the most probable first.

    Returns:
        For each text, and each mask of it, its guesses.
    """
    batch = pack([text.input_ids for text in texts], [text.token_type_ids for text in texts])
    starts = batch.cu_seqlens.tolist()
    rows = [start + at for start, text in zip(starts, texts, strict=False) for at in text.positions]
    device = next(model.parameters()).device
    with torch.inference_mode():
        output = model(batch.to(device), torch.tensor(rows, device=device))
        logits = output.prediction_logits if hasattr(output, "prediction_logits") else output.logits
        # Embeddings may have more rows than there are words; such a row is no guess.
        best = logits.float().softmax(-1)[:, : tokenizer.vocab_size].topk(top_k)
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        [
            [
                _guess(tokenizer, text, number, token_id, probability)
                for token_id, probability in zip(*next(found), strict=True)
            ]
            for number in range(len(text.positions))
        ]
        for text in texts
    ]


def _guess(tokenizer: Tokenizer, text: TextWithMasks, number: int, token_id: int, probability: float) -> Guess:
    word = piece_text(tokenizer, token_id)
    return Guess(
        token=tokenizer.id_to_token(token_id) or "",
        token_id=token_id,
        probability=probability,
        word=word,
        text=text.fill_in(number, word, starts_word=bool(tokenizer.word_starts[token_id])),
    )


def _find_masked_head(model: str | Path) -> tuple[str | Path, str]:
    """Find a checkpoint that can guess words, and its head; of an ELECTRA's run that is the generator."""
    folder = resolve(model)
    config = read_model_config(folder)
    head = saved_head(config)
    if head in ("masked-lm", "pre-training"):
        return model, head
    if head == "replaced-token" and (folder.parent / "generator" / "config.json").is_file():
        return folder.parent / "generator", "masked-lm"
    saved = ", ".join(config.architectures) or "no architecture named"
    advice = {
        "replaced-token": "it tells words that were replaced, so give the generator it was trained with",
        "causal-lm": "it goes on from a text instead: unmask generate",
    }.get(head) or f"choose one saved with one, such as {FAMILIES[config.model_type].heads['masked-lm'].architecture}"
    raise CheckpointError(
        f"{folder}: this checkpoint ({saved}) has no masked LM head, so it cannot fill masks: {advice}"
    )
