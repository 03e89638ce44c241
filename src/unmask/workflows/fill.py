"""Guess the words behind [MASK].

unmask fill "The [MASK] slept" --model M
unmask fill "The [MASK] read the [MASK]." --model M --joint
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unmask.errors import CheckpointError, SettingsError
from unmask.filling import (
    Comparison,
    FilledWord,
    Filling,
    TextWithMasks,
    score_candidates,
    search_fillings,
)
from unmask.filling.questions import guess_pieces
from unmask.hub import resolve
from unmask.models.registry import FAMILIES, read_model_config, saved_head
from unmask.runtimes import run_steps
from unmask.runtimes.pytorch import TorchRuntime
from unmask.tokenization.readable import piece_text
from unmask.workflows.loading import Pretrained, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from unmask.tokenization import Tokenizer

__all__ = [
    "FilledWord",
    "Filling",
    "Guess",
    "TextWithMasks",
    "fill",
    "fill_jointly",
    "guess_masks",
    "load_masked_lm",
]


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


def fill(text: str, /, *, model: str | Path, top_k: int = 5) -> list[list[Guess]]:
    """Guess the words behind each [MASK] of a text, each as if nothing were known of the others.

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
    pretrained = load_masked_lm(model)
    tokenizer = pretrained.tokenizer
    masked = TextWithMasks.of(tokenizer, text, max_seq_length=pretrained.max_seq_length)
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise SettingsError(f"top_k is {top_k}: it must lie between 1 and the {tokenizer.vocab_size} words there are")
    [guesses] = guess_masks(pretrained.model, tokenizer, [masked], top_k=top_k)
    return guesses


def fill_jointly(
    text: str,
    /,
    *,
    model: str | Path | Pretrained,
    top_k: int | None = None,
    candidates: Sequence[str] | None = None,
    max_pieces: int | None = None,
    beam_width: int | None = None,
    compare: Comparison = "mean",
) -> list[Filling]:
    """Fill all masks of a text together: the most certain first, then the others in sight of it.

    Args:
        text: with one or more masks, written as for `fill`.
        model: a folder or hub id of a model with a masked LM head, or what `load_masked_lm` made of one.
        top_k: fillings to return, the best first; None returns 5, or all where there are candidates.
        candidates: the words to choose among, of any number of pieces; None chooses among all words.
        max_pieces: pieces that a word may have, where there are no candidates; None is 1.
        beam_width: fillings kept at each step, likewise; None keeps twice top_k, 10 at least.
        compare: what words of different numbers of pieces are compared by: the "mean" or the "total" of their pieces'
            log-probabilities.

    Raises:
        CheckpointError: the model has no masked LM head.
        DataError: the text has no mask, or is longer than the model takes; or a candidate is no word it knows.
        SettingsError: a setting lies outside its range, or contradicts another.
    """
    pretrained = model if isinstance(model, Pretrained) else load_masked_lm(model)
    tokenizer, max_seq_length = pretrained.tokenizer, pretrained.max_seq_length
    masked = TextWithMasks.of(tokenizer, text, max_seq_length=max_seq_length)
    runtime = TorchRuntime(pretrained.model, max_seq_length=max_seq_length)
    if candidates is not None:
        if max_pieces is not None or beam_width is not None:
            raise SettingsError("every candidate is scored, whatever its pieces: leave max_pieces and beam_width out")
        steps = score_candidates(
            masked, tokenizer, candidates, top_k=top_k, compare=compare, max_seq_length=max_seq_length
        )
    else:
        steps = search_fillings(
            masked,
            tokenizer,
            top_k=5 if top_k is None else top_k,
            beam_width=beam_width,
            max_pieces=1 if max_pieces is None else max_pieces,
            compare=compare,
            max_seq_length=max_seq_length,
        )
    return run_steps(steps, runtime)


def guess_masks(
    model: nn.Module, tokenizer: Tokenizer, texts: Sequence[TextWithMasks], *, top_k: int
) -> list[list[list[Guess]]]:
    """Guess the words behind every mask of some texts, each as if nothing were known of the others.

    Args:
        model: one with a masked LM head, in eval mode, on any device.
        tokenizer: the one it was trained with.
        texts: one at least, encoded by it.
        top_k: guesses a mask, the most probable first.

    Returns:
        For each text, and each mask of it, its guesses.
    """
    longest = max(len(text.input_ids) for text in texts)
    found = run_steps(guess_pieces(texts, tokenizer, top_k=top_k), TorchRuntime(model, max_seq_length=longest))
    return [
        [
            [_guess(tokenizer, text, number, token_id, probability) for token_id, probability in guesses]
            for number, guesses in enumerate(masks)
        ]
        for text, masks in zip(texts, found, strict=True)
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


def load_masked_lm(model: str | Path) -> Pretrained:
    """Load a model that can guess words, with its masked LM head alone; of an ELECTRA's run that is the generator.

    Raises:
        CheckpointError: it has no such head, or its tokenizer no mask token.
    """
    folder = resolve(model)
    config = read_model_config(folder)
    head = saved_head(config)
    if head in ("masked-lm", "pre-training"):
        found: str | Path = model
    elif head == "replaced-token" and (folder.parent / "generator" / "config.json").is_file():
        found = folder.parent / "generator"
    else:
        saved = ", ".join(config.architectures) or "no architecture named"
        usual = FAMILIES[config.model_type].heads.get("masked-lm")
        advice = {
            "replaced-token": "it tells words that were replaced, so give the generator it was trained with",
            "causal-lm": "it goes on from a text instead: unmask generate",
        }.get(head) or f"choose one saved with one, such as {usual.architecture if usual else 'BertForMaskedLM'}"
        raise CheckpointError(
            f"{folder}: this checkpoint ({saved}) has no masked LM head, so it cannot fill masks: {advice}"
        )
    pretrained = load(found, head="masked-lm")
    if pretrained.tokenizer.mask_token is None:
        raise CheckpointError(f"{model}: its tokenizer has no mask token, so there is nothing to fill")
    return pretrained
