"""Which of these words fits? Words that a user names, of any number of pieces, each scored exactly.

Schick and Schütze 2021 (arXiv:2009.07118, section 3): a word of k pieces stands behind k masks; the piece that the
model finds likeliest is put in its place, the model is run again, and so on. The score is the product.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unmask.errors import DataError, SettingsError
from unmask.filling.questions import Question, ask
from unmask.filling.search import Comparison, FilledWord, Filling, best_fillings
from unmask.logits import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.filling.texts import TextWithMasks
    from unmask.runtimes import Steps
    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["score_candidates"]

_MOST_TEXTS = 4096  # candidates for each mask, multiplied


@dataclass(frozen=True)
class _Text:
    """A text with candidates in place of its masks.

    Args:
        text: as people read it.
        words: the candidates.
        encoding: of it.
        pieces: positions of each candidate's pieces.
    """

    text: str
    words: tuple[str, ...]
    encoding: Encoding
    pieces: tuple[tuple[int, ...], ...]


def score_candidates(
    text: TextWithMasks,
    tokenizer: Tokenizer,
    candidates: Sequence[str],
    *,
    top_k: int | None = None,
    compare: Comparison = "mean",
    max_seq_length: int | None = None,
) -> Steps[list[Filling]]:
    """Score every way to fill the masks of a text with words of a list.

    A word is put where the mask was typed, letter by letter: before a mask that joins a word ("walk[MASK]") it joins
    it too. The pieces are those that the tokenizer makes of it there.

    Args:
        text: with one mask or more; each may be any of the candidates.
        tokenizer: the model's.
        candidates: words, or several words each.
        top_k: fillings to return; None returns all.
        compare: as in `search_fillings`. Candidates of equal length compare alike by either.
        max_seq_length: tokens the model takes.

    Returns:
        The fillings, the best first.

    Raises:
        DataError: a candidate is empty, is unknown to the vocabulary, or makes the text too long.
        SettingsError: there is no candidate, or too many for so many masks.
    """
    distinct = tuple(dict.fromkeys(candidate.strip() for candidate in candidates))
    if not distinct:
        raise SettingsError("candidates is empty: name the words to choose among")
    if top_k is not None and top_k < 1:
        raise SettingsError(f"top_k is {top_k}: it must be 1 or more")
    num_texts = len(distinct) ** len(text.positions)
    if num_texts > _MOST_TEXTS:
        raise SettingsError(
            f"{len(distinct)} candidates for each of {len(text.positions)} masks make {num_texts:,} texts, and at most "
            f"{_MOST_TEXTS:,} are scored: name fewer, or fill one mask after the other"
        )
    texts = [
        _put(text, words, tokenizer, max_seq_length=max_seq_length)
        for words in itertools.product(distinct, repeat=len(text.positions))
    ]
    scores = yield from _score(texts, tokenizer)
    fillings = [_filling(filled, of_pieces) for filled, of_pieces in zip(texts, scores, strict=True)]
    return best_fillings(fillings, top_k=top_k or len(fillings), compare=compare)


def _put(text: TextWithMasks, words: tuple[str, ...], tokenizer: Tokenizer, *, max_seq_length: int | None) -> _Text:
    """Write candidates where masks stand, and find their pieces."""
    filled, end, places = "", 0, []
    for (start, next_end), word in zip(text.places, words, strict=True):
        filled += text.text[end:start]
        places.append((len(filled), len(filled) + len(word)))
        filled, end = filled + word, next_end
    filled += text.text[end:]
    encoding = tokenizer.encode(filled)
    if max_seq_length is not None and len(encoding) > max_seq_length:
        raise DataError(
            f"{filled!r} has {len(encoding)} tokens, the model takes {max_seq_length}: shorten it or its candidates"
        )
    pieces = []
    for word, (first, last) in zip(words, places, strict=True):
        own = tuple(
            at
            for at, (begin, stop) in enumerate(encoding.offsets)
            # A piece that is but a space, which some mark words by, has no length; it is the word's if it starts there.
            if not encoding.special_tokens_mask[at] and begin < last and (stop > first or begin >= first)
        )
        if not own:
            raise DataError(f"the candidate {word!r} is no word: it has no letter that the tokenizer keeps")
        if any(encoding.input_ids[at] == tokenizer.unk_token_id for at in own):
            raise DataError(f"the candidate {word!r} is unknown to the vocabulary: leave it out, or write it otherwise")
        pieces.append(own)
    return _Text(filled, words, encoding, tuple(pieces))


def _score(texts: Sequence[_Text], tokenizer: Tokenizer) -> Steps[list[dict[int, float]]]:
    """Find the log-probability of each piece of each text, by its position, the likeliest first."""
    assert tokenizer.mask_token_id is not None
    scores: list[dict[int, float]] = [{} for _ in texts]
    masked = [list(text.encoding.input_ids) for text in texts]
    hidden = [[at for own in text.pieces for at in own] for text in texts]
    for ids, places in zip(masked, hidden, strict=True):
        for at in places:
            ids[at] = tokenizer.mask_token_id
    while open_texts := [number for number, places in enumerate(hidden) if places]:
        questions = [
            Question(tuple(masked[number]), tuple(texts[number].encoding.token_type_ids), tuple(hidden[number]))
            for number in open_texts
        ]

        def of_targets(number: int, logits: NDArray[np.float32]) -> NDArray[np.float64]:
            text = open_texts[number]
            targets = [texts[text].encoding.input_ids[at] for at in hidden[text]]
            return log_softmax(logits)[np.arange(len(targets)), targets]

        answers = yield from ask(questions, of_targets)
        for number, of_pieces in zip(open_texts, answers, strict=True):
            at = hidden[number].pop(int(of_pieces.argmax()))
            scores[number][at] = float(of_pieces.max())
            masked[number][at] = texts[number].encoding.input_ids[at]
    return scores


def _filling(text: _Text, scores: dict[int, float]) -> Filling:
    total = sum(scores.values())
    return Filling(
        text=text.text,
        words=tuple(
            FilledWord(
                word=word,
                tokens=tuple(text.encoding.tokens[at] for at in own),
                token_ids=tuple(text.encoding.input_ids[at] for at in own),
                log_probability=sum(scores[at] for at in own),
            )
            for word, own in zip(text.words, text.pieces, strict=True)
        ),
        log_probability=total,
        mean_log_probability=total / len(scores),
    )
