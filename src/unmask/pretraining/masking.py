"""Which tokens a masked language model must guess, and what it sees in their place.

Devlin et al. 2019 (arXiv:1810.04805), section 3.1 "Task #1" and appendix A.1: 15 % of the tokens are chosen; of these
80 % become [MASK], 10 % a random token, 10 % stay. Drawn for each sample and epoch by counting, so masking is
"dynamic" (Liu et al. 2019, section 4.1) at no cost; static masking is the same with the epoch counted modulo the number
of copies.

Axes: T tokens of packed sequences, M chosen tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from unmask.counted import uniform
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MaskUnit", "MaskedTokens", "Masking", "choose_tokens", "mask_tokens"]

MaskUnit = Literal["token", "word", "ngram"]

_DRAWS = 8  # counters of one token, each for a draw of its own:
_CHOICE, _FATE, _RANDOM_TOKEN, _SPAN_LENGTH = range(4)
_BEFORE_FIRST = 4  # counters from here on are for spans that would have begun before the first word


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How tokens are chosen and corrupted.

    Args:
        mlm_probability: fraction of tokens to guess, in (0, 1]; special tokens are never among them.
        mask_token_rate: fraction of these that the model sees as [MASK], in [0, 1].
        random_token_rate: fraction of these that the model sees as a random token, in [0, 1]; the rest it sees as
            they are.
        mask_unit: what is chosen: each "token" by itself (BERT), whole "word"s (BERT's later checkpoints), or "ngram"s
            of words (ALBERT).
        max_ngram: words of the longest span; a span of n words has a probability proportional to 1 / n (Lan et al.
            2020, arXiv:1909.11942, section 4.1).
        static_copies: how many ways of masking each text there are, used in turn, one an epoch; None draws a new one
            for every epoch. BERT's data had 10 (Liu et al. 2019, section 4.1).

    Raises:
        SettingsError: a value outside its range.
    """

    mlm_probability: float = 0.15
    mask_token_rate: float = 0.8
    random_token_rate: float = 0.1
    mask_unit: MaskUnit = "token"
    max_ngram: int = 3
    static_copies: int | None = None

    def __post_init__(self) -> None:
        self._require("mlm_probability", "in (0, 1]", 0 < self.mlm_probability <= 1)
        self._require("mask_token_rate", "in [0, 1]", 0 <= self.mask_token_rate <= 1)
        self._require("random_token_rate", "in [0, 1]", 0 <= self.random_token_rate <= 1)
        self._require("mask_unit", f"one of {', '.join(get_args(MaskUnit))}", self.mask_unit in get_args(MaskUnit))
        self._require("max_ngram", "between 1 and 4", 1 <= self.max_ngram <= _DRAWS - _BEFORE_FIRST)
        self._require("static_copies", "1 or more, or None", self.static_copies is None or self.static_copies >= 1)
        if self.mask_token_rate + self.random_token_rate > 1:
            raise SettingsError(
                f"mask_token_rate {self.mask_token_rate} and random_token_rate {self.random_token_rate} add up to "
                "more than 1: of the chosen tokens there are no more"
            )

    def _require(self, name: str, rule: str, is_met: bool) -> None:
        if not is_met:
            raise SettingsError(f"{name} is {getattr(self, name)!r}: it must be {rule}")

    def copy_of(self, epoch: int) -> int:
        """Tell which way of masking an epoch uses."""
        return epoch if self.static_copies is None else epoch % self.static_copies


@dataclass(frozen=True, kw_only=True)
class MaskedTokens:
    """What the model sees, and what it must guess.

    Args:
        input_ids: the corrupted tokens, int64, (T,).
        positions: where the chosen tokens stand in the run, rising, int64, (M,).
        labels: what stood there, int64, (M,).
    """

    input_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


def mask_tokens(
    input_ids: NDArray[np.int64],
    *,
    is_special: NDArray[np.bool_],
    position_ids: NDArray[np.int64],
    keys: NDArray[np.uint64],
    word_starts: NDArray[np.bool_],
    masking: Masking,
    mask_token_id: int,
    random_tokens: NDArray[np.int64],
) -> MaskedTokens:
    """Choose the tokens to guess, and corrupt them.

    A pure function of each sequence's key: what else is in the run changes nothing. Tokens (words, spans) are chosen
    independently of one another, so their number varies.

    Args:
        input_ids: packed sequences, int64, (T,). Not modified.
        is_special: where a token must never be chosen, bool, (T,).
        position_ids: position of each token in its sequence, from 0, int64, (T,).
        keys: the random key of the sequence each token belongs to, uint64, (T,).
        word_starts: whether an entry of the vocabulary begins a word, bool, (V,).
        masking: the rates.
        mask_token_id: what hides a token.
        random_tokens: the ids that a random token is drawn from, int64.
    """
    is_chosen = choose_tokens(
        input_ids,
        is_special=is_special,
        position_ids=position_ids,
        keys=keys,
        word_starts=word_starts,
        masking=masking,
    )
    positions = np.flatnonzero(is_chosen)
    keys, counters = keys[positions], position_ids[positions] * _DRAWS
    fate = uniform(keys, counters + _FATE)
    drawn = random_tokens[(uniform(keys, counters + _RANDOM_TOKEN) * len(random_tokens)).astype(np.int64)]
    labels = input_ids[positions]
    seen = np.where(fate < masking.mask_token_rate + masking.random_token_rate, drawn, labels)
    corrupted = input_ids.copy()
    corrupted[positions] = np.where(fate < masking.mask_token_rate, mask_token_id, seen)
    return MaskedTokens(input_ids=corrupted, positions=positions, labels=labels)


def choose_tokens(
    input_ids: NDArray[np.int64],
    *,
    is_special: NDArray[np.bool_],
    position_ids: NDArray[np.int64],
    keys: NDArray[np.uint64],
    word_starts: NDArray[np.bool_],
    masking: Masking,
) -> NDArray[np.bool_]:
    """Tell which tokens must be guessed, bool, (T,). The arguments are those of `mask_tokens`."""
    counters = position_ids * _DRAWS
    if masking.mask_unit == "token":
        return (uniform(keys, counters + _CHOICE) < masking.mlm_probability) & ~is_special

    # A word is a run of tokens; a sequence's first token, and the first after a special token, begin one in any case.
    starts_word = word_starts[input_ids] | is_special | (position_ids == 0)
    starts_word[1:] |= is_special[:-1]
    word_of = np.cumsum(starts_word) - 1  # (T,)
    first = np.flatnonzero(starts_word)  # (W,) the first token of each word
    if masking.mask_unit == "word":
        is_word_chosen = uniform(keys[first], counters[first] + _CHOICE) < masking.mlm_probability
    else:
        is_word_chosen = _cover_with_spans(first, is_special, position_ids, keys, masking)
    return is_word_chosen[word_of] & ~is_special


def _cover_with_spans(
    first: NDArray[np.int64],
    is_special: NDArray[np.bool_],
    position_ids: NDArray[np.int64],
    keys: NDArray[np.uint64],
    masking: Masking,
) -> NDArray[np.bool_]:
    """Tell which words lie in a span of up to max_ngram words, bool, (W,).

    Every word begins a span with the same probability, so spans may overlap. A word k places after the beginning lies
    in the span if that is longer than k. Spans end at special tokens, and those that would have begun before a
    text's first words are drawn as well, so that every word is as likely to be chosen as any other.
    """
    lengths = np.arange(1, masking.max_ngram + 1)
    length_probabilities = (1 / lengths) / (1 / lengths).sum()
    begins = _span_probability(masking.mlm_probability, length_probabilities)
    bounds = length_probabilities.cumsum()

    # The words of one text, between special tokens, are a region: its first word, and the place of each word in it.
    is_break = is_special[first] | (position_ids[first] == 0)
    is_break[1:] |= is_special[first[:-1]]
    start_of_region = np.maximum.accumulate(np.where(is_break, np.arange(len(first)), 0))
    place = np.arange(len(first)) - start_of_region

    is_covered = np.zeros(len(first), np.bool_)
    for lag in range(masking.max_ngram):
        source = np.where(place >= lag, np.arange(len(first)) - lag, start_of_region)
        offset = np.where(place >= lag, 0, lag - place)  # how many words before the first one the span would begin
        tokens = first[source]
        counters = position_ids[tokens] * _DRAWS
        choice = uniform(keys[tokens], counters + np.where(offset > 0, _BEFORE_FIRST + offset - 1, _CHOICE))
        # One draw decides both where a span begins, and, where it would be before the text, how long it is.
        length = np.where(offset > 0, choice / begins, uniform(keys[tokens], counters + _SPAN_LENGTH))
        is_covered |= (choice < begins) & (np.searchsorted(bounds, length, side="right") >= lag)
    return is_covered


def _span_probability(coverage: float, length_probabilities: NDArray[np.float64]) -> float:
    """Find the probability of a span at each word that leaves 1 - coverage of the words outside all spans."""
    at_least = length_probabilities[::-1].cumsum()[::-1]  # P(length > k) for k = 0, 1, ...
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - np.prod(1 - middle * at_least) < coverage else (low, middle)
    return high
