"""What a model makes of a few fixed sentences, to be watched while it is pretrained.

The sentences never change within a run and nothing is drawn, so rows of different evaluations compare.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from unmask.errors import DataError, SettingsError
from unmask.models.generation import generate_ids
from unmask.models.headed import ForCausalLM
from unmask.packing import pack
from unmask.pretraining.objectives import GeneratorAndDiscriminator
from unmask.workflows.fill import TextWithMasks, guess_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from unmask.tokenization import Tokenizer

__all__ = ["default_texts", "make_show"]

_WITH_MASKS = {
    "en": (
        "He opened the [MASK] and went into the room.",
        "She was the daughter of a [MASK].",
        "It was one of the [MASK] important things in the world.",
        "They have [MASK] to the town.",
    ),
    "ko": (
        "그는 [MASK] 열고 방으로 들어갔다.",
        "그는 대한민국의 [MASK] 서울에서 태어났다.",
        "이 영화는 정말 [MASK].",
        "나는 [MASK] 집에 갔다.",
    ),
}
_BEGINNINGS = {
    "en": ("The old man", "It was a dark night, and", "She said that", "In the year"),
    "ko": ("그는 문을 열고", "어느 날", "이 영화는", "서울은"),
}
# A text, the word of it that is replaced, and what stands there instead.
_REPLACED = {
    "en": ("She opened the door and went into the room.", "went", "green"),
    "ko": ("나는 아침에 일어나 밥을 먹었다.", "밥을", "산이"),
}
_TOP_K = 3
_NEW_TOKENS = 20


def default_texts(language: str, *, head: str) -> tuple[str, ...]:
    """Return the sentences that a model of a language is shown: "ko", or English for any other."""
    texts = _BEGINNINGS if head == "causal-lm" else _WITH_MASKS
    return texts.get(language, texts["en"])


def make_show(
    tokenizer: Tokenizer,
    texts: Sequence[str] | None = None,
    *,
    head: str,
    language: str = "en",
    max_seq_length: int | None = None,
) -> Callable[[nn.Module], list[dict[str, Any]]]:
    """Make what `unmask.pretraining.objective.Pretraining` calls as `show`.

    Args:
        tokenizer: the model's.
        texts: the sentences; with a mask each, or for a causal model (which reads them up to a mask, if there is one)
            beginnings to go on from. None takes the language's own, as far as they are short enough.
        head: key of `unmask.models.registry.HEADS` of the model that is trained: "masked-lm", "pre-training",
            "replaced-token" (its generator fills, its discriminator judges a sentence with one word replaced),
            "causal-lm".
        language: of the sentences where `texts` is None, and of the one with a replaced word.
        max_seq_length: tokens the model takes.

    Returns:
        A function of a model in eval mode. It gives dicts, each with "kind", "prompt" and "guesses", a list of dicts
        again: of kind "fill" the top 3 for each mask, with "token", "probability" and "text", the whole sentence; of
        kind "continuation" one with "text", the prompt and up to 20 tokens more, each the likeliest; of kind "replaced"
        one for every word of the prompt, with the word as "token", the "probability" that it was replaced, as the
        discriminator sees it (of a word's pieces the highest), and as "text" the truth, "replaced" or "original".

    Raises:
        CheckpointError: the tokenizer has no mask token.
        DataError: a text has no mask, or is too long.
        SettingsError: there is no such way of showing a model.
    """
    is_default = texts is None
    texts = default_texts(language, head=head) if texts is None else texts
    if head == "causal-lm":
        return _Continuations(tokenizer, texts, max_seq_length=max_seq_length, is_default=is_default)
    if head not in ("masked-lm", "pre-training", "replaced-token"):
        raise SettingsError(f"a model with the head {head!r} has nothing to show: it guesses no words")
    encoded = []
    for text in texts:
        try:
            encoded.append(TextWithMasks.of(tokenizer, text, max_seq_length=max_seq_length))
        except DataError as error:
            if not is_default:
                raise DataError(f"fill_texts, {text!r}: {error.problem}") from error
    if head != "replaced-token":
        return _Fills(tokenizer, encoded)
    fills = _Fills(tokenizer, encoded)
    verdict = _Verdict(tokenizer, *_REPLACED.get(language, _REPLACED["en"]), max_seq_length=max_seq_length)

    def show(model: nn.Module) -> list[dict[str, Any]]:
        assert isinstance(model, GeneratorAndDiscriminator)
        return fills(model.generator) + verdict(model.discriminator)

    return show


class _Fills:
    """The likeliest words behind each mask."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[TextWithMasks]) -> None:
        self.tokenizer, self.texts = tokenizer, texts

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        if not self.texts:
            return []
        top_k = min(_TOP_K, self.tokenizer.vocab_size)
        found = guess_masks(model, self.tokenizer, self.texts, top_k=top_k)
        return [
            {
                "kind": "fill",
                "prompt": text.text,
                "guesses": [
                    {"token": guess.word, "probability": guess.probability, "text": guess.text} for guess in guesses
                ],
            }
            for text, masks in zip(self.texts, found, strict=True)
            for guesses in masks
        ]


class _Continuations:
    """How the model goes on, always with the likeliest token."""

    def __init__(
        self, tokenizer: Tokenizer, texts: Sequence[str], *, max_seq_length: int | None, is_default: bool
    ) -> None:
        self.tokenizer, self.prompts = tokenizer, list[tuple[str, list[int]]]()
        for text in texts:
            prompt = text.partition("[MASK]")[0].rstrip()
            ids = tokenizer.encode(prompt, add_special_tokens=False).input_ids
            if not ids:
                raise DataError(f"fill_texts, {text!r}: there is nothing before the mask to go on from")
            if max_seq_length is None or len(ids) < max_seq_length:
                self.prompts.append((prompt, ids))
            elif not is_default:
                raise DataError(
                    f"fill_texts, {text!r}: {len(ids)} tokens leave no room to go on in max_seq_length {max_seq_length}"
                )

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        assert isinstance(model, ForCausalLM)
        if not self.prompts:
            return []
        end_id = self.tokenizer.eos_token_id
        written = generate_ids(
            model,
            [ids for _, ids in self.prompts],
            max_new_tokens=_NEW_TOKENS,
            end_ids=() if end_id is None else (end_id,),
        )
        return [
            {
                "kind": "continuation",
                "prompt": prompt,
                "guesses": [{"text": self.tokenizer.decode(ids + continuation.token_ids)}],
            }
            for (prompt, ids), [continuation] in zip(self.prompts, written, strict=True)
        ]


class _Verdict:
    """Which words of a sentence the discriminator takes for replaced."""

    def __init__(
        self, tokenizer: Tokenizer, text: str, word: str, replacement: str, *, max_seq_length: int | None
    ) -> None:
        self.text = text.replace(word, replacement)
        encoding = tokenizer.encode(self.text)
        self.ids, self.types = encoding.input_ids, encoding.token_type_ids
        self.is_shown = max_seq_length is None or len(encoding) <= max_seq_length
        start = self.text.index(replacement)
        self.words: list[tuple[str, bool, list[int]]] = []  # each word, whether it is the new one, and its tokens
        real = (at for at, is_special in enumerate(encoding.special_tokens_mask) if not is_special)
        for _, tokens in groupby(real, key=encoding.word_ids.__getitem__):
            positions = list(tokens)
            begin, end = encoding.offsets[positions[0]][0], encoding.offsets[positions[-1]][1]
            is_replaced = begin < start + len(replacement) and end > start
            self.words.append((self.text[begin:end].strip(), is_replaced, positions))

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        if not self.is_shown:
            return []
        device = next(model.parameters()).device
        with torch.inference_mode():
            chances = model(pack([self.ids], [self.types]).to(device)).logits.float().sigmoid().tolist()
        guesses = [
            {
                "token": word,
                "probability": max(chances[at] for at in positions),
                "text": "replaced" if is_replaced else "original",
            }
            for word, is_replaced, positions in self.words
        ]
        return [{"kind": "replaced", "prompt": self.text, "guesses": guesses}]
