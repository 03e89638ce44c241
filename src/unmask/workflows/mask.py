"""Masking, token by token: what is chosen, what the model sees of it, what it must guess.

unmask mask "there is my school and i love this place" --tokenizer minilm --words my love place
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unmask.errors import DataError
from unmask.pretraining.formats import TrainingSequence
from unmask.pretraining.masking import Masking, MaskUnit
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.vocabulary import Vocabulary
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["MaskedExample", "MaskedToken", "mask"]

_IGNORED = -100  # the label of a token that is not to be guessed


@dataclass(frozen=True, kw_only=True)
class MaskedToken:
    """One token of a masked text.

    Args:
        token: as the vocabulary has it.
        token_id: its id.
        is_special: whether it is never chosen.
        fate: how a chosen one is seen: as the mask, as a random token, or kept as it is; "" where it is not chosen.
        seen: the token the model sees.
        seen_id: its id.
        label: what is to be guessed, the token's id; -100 for nothing.
    """

    token: str
    token_id: int
    is_special: bool
    fate: Literal["", "masked", "random", "kept"]
    seen: str
    seen_id: int
    label: int


@dataclass(frozen=True, kw_only=True)
class MaskedExample:
    """A masked text, or pair of texts.

    Args:
        texts: as they were given.
        tokens: with their special tokens.
    """

    texts: tuple[str, ...]
    tokens: tuple[MaskedToken, ...]

    @property
    def input_ids(self) -> list[int]:
        """What the model sees."""
        return [token.seen_id for token in self.tokens]

    @property
    def labels(self) -> list[int]:
        """What is to be guessed at each token; -100 for nothing."""
        return [token.label for token in self.tokens]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; the lists a model takes stand at the top level."""
        return {
            "texts": list(self.texts),
            "input_ids": self.input_ids,
            "labels": self.labels,
            "tokens": [asdict(token) for token in self.tokens],
        }


def mask(
    text: str,
    text_pair: str | None = None,
    /,
    *,
    tokenizer: str = "minilm",
    words: tuple[str, ...] = (),
    mask_unit: MaskUnit = "token",
    max_ngram: int = 3,
    mlm_probability: float = 0.15,
    mask_token_rate: float = 0.8,
    random_token_rate: float = 0.1,
    seed: int = 0,
    epoch: int = 0,
) -> MaskedExample:
    """Mask a text, or a pair of texts, as pretraining masks them: the same draw as for a run's first sequence.

    Args:
        text: the text.
        text_pair: a second text.
        tokenizer: a folder with a tokenizer, a hub id, or "minilm".
        words: choose these words of the texts, all of their tokens and nothing else, and show the model the mask for
            each; nothing is drawn then.
        mask_unit: what is drawn: each "token" by itself, whole "word"s, or "ngram"s of words.
        max_ngram: words of the longest n-gram.
        mlm_probability: fraction of tokens to choose, in (0, 1].
        mask_token_rate: fraction of these that the model sees as the mask, in [0, 1].
        random_token_rate: fraction of these that the model sees as a random token, in [0, 1]; the rest stay.
        seed: of the draw.
        epoch: of the draw; each epoch masks anew.

    Raises:
        CheckpointError: no tokenizer of that name, or it has no mask token.
        DataError: the texts lack a word that was named, or have no token at all.
        SettingsError: a rate outside its range.
    """
    masking = Masking(
        mlm_probability=mlm_probability,
        mask_token_rate=mask_token_rate,
        random_token_rate=random_token_rate,
        mask_unit=mask_unit,
        max_ngram=max_ngram,
    )
    loaded = load_tokenizer(tokenizer)
    objective = MaskedLanguageModelling(masking, Vocabulary.of(loaded))
    texts = (text,) if text_pair is None else (text, text_pair)
    encoding = loaded.encode(*texts)
    if all(encoding.special_tokens_mask):
        raise DataError("the text is empty: give one with a word to mask")
    original = np.array(encoding.input_ids)
    # A word that the vocabulary lacks is a word all the same.
    never_chosen = sorted(loaded.special_ids - {loaded.unk_token_id})
    is_special = np.array(encoding.special_tokens_mask, np.bool_) | np.isin(original, never_chosen)
    if words:
        positions = np.flatnonzero(_find_words(texts, encoding, words) & ~is_special)
        seen = original.copy()
        seen[positions] = objective.mask_token_id
    else:
        sequence = TrainingSequence(
            input_ids=original,
            token_type_ids=np.array(encoding.token_type_ids),
            is_special=is_special,
            pair_label=None,
        )
        source = _OneSequence(sequence)
        batch, _ = Pretraining(objective, None, source, source, seed=seed).make_batch(
            source, np.array([0]), epoch=epoch
        )
        positions, seen = batch.positions.numpy(), batch.inputs.input_ids.numpy()
    chosen = set(positions.tolist())
    tokens = tuple(
        _explain(loaded, int(original[at]), int(seen[at]), is_special=bool(is_special[at]), is_chosen=at in chosen)
        for at in range(len(original))
    )
    return MaskedExample(texts=texts, tokens=tokens)


class _OneSequence:
    """One sequence, as `unmask.pretraining.formats.SequenceSource` has many."""

    num_cut_sentences = 0

    def __init__(self, sequence: TrainingSequence) -> None:
        self.sequence, self.lengths = sequence, np.array([len(sequence.input_ids)])

    def __len__(self) -> int:
        return 1

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        return self.sequence


def _find_words(texts: tuple[str, ...], encoding: Encoding, words: tuple[str, ...]) -> NDArray[np.bool_]:
    """Tell which tokens write one of the words, wherever it stands by itself, in small letters or capital."""
    is_found = np.zeros(len(encoding), np.bool_)
    for word in words:
        places = [
            (number, match.start(), match.end())
            for number, text in enumerate(texts)
            for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
        ]
        if not word.strip() or not places:
            raise DataError(f"the text has no word {word!r}: give words as the text has them")
        for number, start, end in places:
            is_found |= [
                owner == number and begin < end and stop > start
                for owner, (begin, stop) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
            ]
    return is_found


def _explain(tokenizer: Tokenizer, token_id: int, seen_id: int, *, is_special: bool, is_chosen: bool) -> MaskedToken:
    fate: Literal["", "masked", "random", "kept"] = ""
    if is_chosen:
        fate = "masked" if seen_id == tokenizer.mask_token_id else "kept" if seen_id == token_id else "random"
    return MaskedToken(
        token=tokenizer.id_to_token(token_id) or "",
        token_id=token_id,
        is_special=is_special,
        fate=fate,
        seen=tokenizer.id_to_token(seen_id) or "",
        seen_id=seen_id,
        label=token_id if is_chosen else _IGNORED,
    )
