"""Fill several masks together, or one mask with a word of several pieces: a beam search, the most certain first.

A masked language model guesses each mask as if it knew nothing of its guesses for the others: "The [MASK] read the
[MASK]" may get "dog" twice. So one mask is filled, and the model is run again with that word in place:

    log p(words) = log p(w_1 | text) + log p(w_2 | text, w_1) + ...

where w_1 fills the mask whose likeliest word is likelier than any other mask's, then w_2 likewise of those left: the
"confidence-based" order of Jiang et al. 2020 (arXiv:2010.06189, section 4), the one of Schick and Schütze 2021
(arXiv:2009.07118, section 3) too. The conditionals of such a model are those of no one joint distribution, so another
order would give another product: the score is of this order.

A word of n pieces is looked for behind n masks. Its probability is then given that there are n pieces, which the model
was told, so words of different lengths compare by no law of probability. The mean of the log-probabilities of their
pieces is what Jiang et al. choose the length by; the total is always the smaller, the more pieces there are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.errors import DataError, SettingsError
from unmask.filling.questions import Question, ask
from unmask.logits import find_largest, log_softmax
from unmask.tokenization.readable import pieces_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.filling.texts import TextWithMasks
    from unmask.runtimes import Steps
    from unmask.tokenization import Tokenizer

__all__ = ["Comparison", "FilledWord", "Filling", "best_fillings", "search_fillings"]

Comparison = Literal["mean", "total"]

_MOST_SHAPES = 64  # ways to share out pieces over the masks of one text
_MIN_BEAM_WIDTH = 10


@dataclass(frozen=True, kw_only=True)
class FilledWord:
    """A word that stands where a mask stood.

    Args:
        word: as people write it.
        tokens: its pieces, as the vocabulary has them.
        token_ids: their ids.
        log_probability: of all of them, each given what stood there when it was chosen; natural logarithm.
    """

    word: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True, kw_only=True)
class Filling:
    """All masks of a text filled.

    Args:
        text: the text with the words in place.
        words: one a mask, in the order of the text.
        log_probability: of all pieces, one given the other: their sum; natural logarithm.
        mean_log_probability: the same, divided by the number of pieces.
    """

    text: str
    words: tuple[FilledWord, ...]
    log_probability: float
    mean_log_probability: float

    @property
    def num_pieces(self) -> int:
        """Pieces of all words."""
        return sum(len(word.tokens) for word in self.words)


@dataclass(frozen=True)
class _Shape:
    """A text whose masks have become masks for so many pieces each.

    Args:
        input_ids: with every piece masked.
        token_type_ids: of the same length.
        slots: positions of the pieces, mask by mask.
    """

    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, text: TextWithMasks, counts: tuple[int, ...]) -> _Shape:
        ids: list[int] = []
        types: list[int] = []
        slots = []
        count_at = dict(zip(text.positions, counts, strict=True))
        for position, (token_id, token_type) in enumerate(zip(text.input_ids, text.token_type_ids, strict=True)):
            count = count_at.get(position, 1)
            if position in count_at:
                slots.append(tuple(range(len(ids), len(ids) + count)))
            ids += [token_id] * count
            types += [token_type] * count
        return cls(tuple(ids), tuple(types), tuple(slots))


@dataclass(frozen=True)
class _Partial:
    """A shape as far as it is filled: its ids so far, and the log-probability of each piece that was chosen."""

    shape: _Shape
    input_ids: tuple[int, ...]
    scores: dict[int, float]

    @property
    def open_slots(self) -> tuple[int, ...]:
        return tuple(slot for slots in self.shape.slots for slot in slots if slot not in self.scores)

    @property
    def total(self) -> float:
        return sum(self.scores.values())

    def with_piece(self, slot: int, token_id: int, score: float) -> _Partial:
        ids = (*self.input_ids[:slot], token_id, *self.input_ids[slot + 1 :])
        return _Partial(self.shape, ids, {**self.scores, slot: score})


def search_fillings(
    text: TextWithMasks,
    tokenizer: Tokenizer,
    *,
    top_k: int = 5,
    beam_width: int | None = None,
    max_pieces: int = 1,
    compare: Comparison = "mean",
    max_seq_length: int | None = None,
) -> Steps[list[Filling]]:
    """Fill all masks of a text together. See the top of this file for how, and what the scores mean.

    Special tokens fill no mask. The pieces of a word after its first are such as continue a word; a word of several
    pieces that the tokenizer itself would cut otherwise ("dog" and "##s" where it knows "dogs") is left out.

    Args:
        text: with one mask or more.
        tokenizer: the model's.
        top_k: fillings to return.
        beam_width: fillings kept at each step, for each way to share out pieces; None keeps twice top_k, 10 at least.
            A wider one misses less and takes longer.
        max_pieces: pieces a word may have; every number from 1 to this is tried, for each mask.
        compare: what fillings are compared by: the "mean" or the "total" of their pieces' log-probabilities. All that
            have the same number of pieces are in the same order by either.
        max_seq_length: tokens the model takes.

    Returns:
        The best fillings found, the best first; fewer than top_k where there are no more.

    Raises:
        DataError: the text has no room for so many pieces.
        SettingsError: a setting lies outside its range, or there are too many ways to share out the pieces.
    """
    width = max(_MIN_BEAM_WIDTH, 2 * top_k) if beam_width is None else beam_width
    _check(text, top_k=top_k, beam_width=width, max_pieces=max_pieces, max_seq_length=max_seq_length)
    starting = np.zeros(tokenizer.vocab_size)
    starting[list(tokenizer.special_ids)] = -np.inf
    penalties = (starting, np.where(tokenizer.word_starts, -np.inf, starting))  # of a word's first piece, of later ones
    num_masks = len(text.positions)
    shapes = [_Shape.of(text, counts) for counts in itertools.product(range(1, max_pieces + 1), repeat=num_masks)]
    beams = {shape: [_Partial(shape, shape.input_ids, {})] for shape in shapes}
    while unfinished := [partial for beam in beams.values() for partial in beam if partial.open_slots]:
        questions = [
            Question(partial.input_ids, partial.shape.token_type_ids, partial.open_slots) for partial in unfinished
        ]

        def best_pieces(number: int, logits: NDArray[np.float32]) -> list[_Partial]:
            return _grow(unfinished[number], logits, penalties, width)

        grown = yield from ask(questions, best_pieces)
        for shape in {partial.shape: None for partial in unfinished}:
            found = [
                child
                for parent, children in zip(unfinished, grown, strict=True)
                if parent.shape is shape
                for child in children
            ]
            by_ids: dict[tuple[int, ...], _Partial] = {}
            for partial in sorted(found, key=lambda partial: -partial.total):
                by_ids.setdefault(partial.input_ids, partial)
            beams[shape] = list(by_ids.values())[:width]
    fillings = [_finish(partial, text, tokenizer) for beam in beams.values() for partial in beam]
    return best_fillings([filling for filling in fillings if filling is not None], top_k=top_k, compare=compare)


def best_fillings(fillings: list[Filling], *, top_k: int, compare: Comparison) -> list[Filling]:
    """Sort fillings by what they are compared by, the best first; of those with the same text the first is kept."""
    if compare not in ("mean", "total"):
        raise SettingsError(f"compare is {compare!r}: it must be mean or total")
    ordered = sorted(
        fillings, key=lambda filling: -(filling.mean_log_probability if compare == "mean" else filling.log_probability)
    )
    by_text: dict[str, Filling] = {}
    for filling in ordered:
        by_text.setdefault(filling.text, filling)
    return list(by_text.values())[:top_k]


def _grow(
    partial: _Partial,
    logits: NDArray[np.float32],
    penalties: tuple[NDArray[np.float64], NDArray[np.float64]],
    width: int,
) -> list[_Partial]:
    """Fill the slot whose best piece is the most certain, with each of its best pieces."""
    first_slots = {slots[0] for slots in partial.shape.slots}
    # Embeddings may have more rows than there are words; such a row is no guess.
    scores = log_softmax(logits)[:, : len(penalties[0])]
    allowed = scores + np.stack([penalties[slot not in first_slots] for slot in partial.open_slots])
    row = int(allowed.max(-1).argmax())
    best = find_largest(allowed[row], width)
    slot = partial.open_slots[row]
    return [partial.with_piece(slot, int(i), float(allowed[row, i])) for i in best if np.isfinite(allowed[row, i])]


def _finish(partial: _Partial, text: TextWithMasks, tokenizer: Tokenizer) -> Filling | None:
    """Read a filled text; None if a word of several pieces is one that the tokenizer would cut otherwise."""
    words = []
    for slots in partial.shape.slots:
        ids = tuple(partial.input_ids[slot] for slot in slots)
        words.append(
            FilledWord(
                word=pieces_text(tokenizer, ids),
                tokens=tuple(tokenizer.id_to_token(token_id) or "" for token_id in ids),
                token_ids=ids,
                log_probability=sum(partial.scores[slot] for slot in slots),
            )
        )
    filled = text.fill_all(
        {number: (word.word, bool(tokenizer.word_starts[word.token_ids[0]])) for number, word in enumerate(words)}
    )
    has_long_word = any(len(word.token_ids) > 1 for word in words)
    if has_long_word and tuple(tokenizer.encode(filled).input_ids) != partial.input_ids:
        return None
    return Filling(
        text=filled,
        words=tuple(words),
        log_probability=partial.total,
        mean_log_probability=partial.total / len(partial.scores),
    )


def _check(text: TextWithMasks, *, top_k: int, beam_width: int, max_pieces: int, max_seq_length: int | None) -> None:
    for name, value in (("top_k", top_k), ("max_pieces", max_pieces)):
        if value < 1:
            raise SettingsError(f"{name} is {value}: it must be 1 or more")
    if beam_width < top_k:
        raise SettingsError(f"beam_width is {beam_width}: it must be {top_k} or more, as so many fillings are wanted")
    num_masks = len(text.positions)
    if max_pieces**num_masks > _MOST_SHAPES:
        raise SettingsError(
            f"{num_masks} masks of 1 to {max_pieces} pieces are {max_pieces**num_masks:,} ways to share them out, and "
            f"at most {_MOST_SHAPES} are tried: lower max_pieces"
        )
    length = len(text.input_ids) + (max_pieces - 1) * num_masks
    if max_seq_length is not None and length > max_seq_length:
        raise DataError(
            f"with words of {max_pieces} pieces the text has {length} tokens, the model takes {max_seq_length}: "
            "shorten it, or lower max_pieces"
        )
