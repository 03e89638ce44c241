"""Tagged sentences as sequences: the pieces of their words, and which piece answers for which word.

**Every word is tokenized by itself, as if it stood between blanks**, whatever the file knows of blanks. So no piece
belongs to two words ("cannot", which Universal Dependencies tag as two), and a word has the same pieces whether it
comes from columns, which know no blanks, or was typed. It is what `is_split_into_words` does in Hugging Face's
tokenizers, with `add_prefix_space` on byte-level ones. Different words are few: each is tokenized once, and all else is
arithmetic on offsets.

Where characters have the tags, what stands between two blanks is tokenized as a word, and each piece that begins a
character answers for it and for those that follow it up to the next such piece; see `unmask.data.tagged`.

A word of which the tokenizer leaves nothing, such as a lone zero-width space, is an unknown token: so it has a tag too.

Axes: U units (words, or characters) and R rows of all sentences together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from unmask.data.windows import choose_windows, plan_windows
from unmask.errors import DataError, SettingsError
from unmask.ragged import Ragged, offsets_of, ranges
from unmask.tasks.task import Samples
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.data import TaggedSentence
    from unmask.tokenization import Tokenizer

__all__ = ["TaggingSamples", "encode_sentences"]


@dataclass(frozen=True, kw_only=True)
class TaggingSamples(Samples):
    """Encoded sentences. The rows of a sentence are those of its windows, end to end: each word is in one of them.

    Args:
        sentences: what was encoded.
        unit_rows: of each sentence the row that answers for each of its units, from 0, rising, int64.
        tag_ids: of each sentence the label of each of its units, int64; None where it is not known.
    """

    sentences: tuple[TaggedSentence, ...]
    unit_rows: Ragged
    tag_ids: Ragged | None = None

    @property
    def begins_row(self) -> NDArray[np.bool_]:
        """Whether a unit is the first that its row answers for, bool, (U,)."""
        rows = self.unit_rows.values
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = rows[1:] != rows[:-1]
        begins[self.unit_rows.offsets[:-1]] = True
        return begins

    def row_of_each_unit(self, rows: Ragged) -> NDArray[np.int64]:
        """Say which of all rows, those of each sentence end to end, answers for each unit, int64, (U,)."""
        return self.unit_rows.values + np.repeat(rows.offsets[:-1], self.unit_rows.lengths)


@dataclass(frozen=True)
class _Pieces:
    """The pieces of all sentences, end to end.

    Args:
        input_ids: int64, (N,).
        sentence_offsets: where each sentence's begin, and N last.
        row_places: the piece of each row, int64, (R,).
        unit_rows: the row of each unit, int64, (U,).
    """

    input_ids: NDArray[np.int64]
    sentence_offsets: NDArray[np.int64]
    row_places: NDArray[np.int64]
    unit_rows: NDArray[np.int64]


def encode_sentences(
    sentences: Sequence[TaggedSentence], tokenizer: Tokenizer, *, max_seq_length: int, doc_stride: int | None
) -> TaggingSamples:
    """Encode sentences, without their tags.

    A sentence longer than `max_seq_length` has windows that overlap (`unmask.data.windows`), and each of its words
    answers in the one that shows most on both its sides. As windows and tokens ascend, so do the words' windows.

    Args:
        sentences: one at least; all of words, or all of characters.
        tokenizer: of the model.
        max_seq_length: tokens of a sequence, special tokens included.
        doc_stride: pieces from the start of one window to the start of the next, at most what one holds; None takes
            half of that.

    Raises:
        DataError: a word leaves nothing, and there is no unknown token to stand for it.
        SettingsError: max_seq_length has no room for a piece.
    """
    template = SequenceTemplate.of(tokenizer)
    num_special = template.num_special()
    room = max_seq_length - num_special
    if room < 1:
        raise SettingsError(f"max_seq_length is {max_seq_length}: nothing fits beside {num_special} special tokens")
    pieces = _tokenize(sentences, tokenizer)

    # Which pieces stand in which sequence, and which sequence has which row.
    lengths = np.diff(pieces.sentence_offsets)
    row_offsets = np.searchsorted(pieces.row_places, pieces.sentence_offsets)
    plan = plan_windows(lengths, room, doc_stride or max(1, room // 2))
    starts = np.repeat(pieces.sentence_offsets[:-1], plan.lengths) + plan.values[:, 0]
    counts = np.diff(plan.values)[:, 0]
    sequence_of_row = np.repeat(plan.offsets[:-1], np.diff(row_offsets))
    for index in np.flatnonzero(plan.lengths > 1).tolist():
        rows = slice(row_offsets[index], row_offsets[index + 1])
        chosen = choose_windows(int(lengths[index]), plan[index])
        sequence_of_row[rows] += chosen[pieces.row_places[rows] - pieces.sentence_offsets[index]]

    # Those pieces, with the special tokens around them.
    input_ids, token_type_ids, (first_rows,) = template.singles(
        Ragged(pieces.input_ids[ranges(starts, counts)], offsets_of(counts))
    )
    unit_offsets = offsets_of([len(sentence) for sentence in sentences])
    return TaggingSamples(
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        windows=plan.offsets if len(counts) > len(lengths) else None,
        rows=Ragged(
            pieces.row_places - starts[sequence_of_row] + first_rows[sequence_of_row],
            offsets_of(np.bincount(sequence_of_row, minlength=len(counts))),
        ),
        sentences=tuple(sentences),
        unit_rows=Ragged(
            pieces.unit_rows - np.repeat(row_offsets[:-1], np.diff(unit_offsets)),
            unit_offsets,
        ),
    )


def _tokenize(sentences: Sequence[TaggedSentence], tokenizer: Tokenizer) -> _Pieces:
    """Tokenize each different word once, and lay the pieces of all words end to end."""
    by_character = sentences[0].by_character
    runs = [sentence.runs() for sentence in sentences] if by_character else []
    words = (
        [_text_of(sentence, run) for sentence, own in zip(sentences, runs, strict=True) for run in own]
        if by_character
        else list(chain.from_iterable(sentence.words for sentence in sentences))
    )
    numbers: dict[str, int] = {}
    which = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, count=len(words))
    encodings = tokenizer.encode_batch([f" {word}" for word in numbers], add_special_tokens=False).encodings
    unknown = tokenizer.unk_token_id
    if unknown is None and not all(encodings):
        _refuse_nothing(sentences, next(word for word, made in zip(numbers, encodings, strict=True) if not made))
    nothing = [] if unknown is None else [unknown]
    pieces = Ragged.of((encoding.input_ids or nothing for encoding in encodings), np.int64).take(which)
    num_runs = [len(own) for own in runs] if by_character else [len(sentence) for sentence in sentences]
    sentence_offsets = pieces.offsets[offsets_of(num_runs)]
    if not by_character:
        places = pieces.offsets[:-1]
        return _Pieces(pieces.values, sentence_offsets, places, np.arange(len(places)))

    # Characters and pieces on one line, on which each word has its length and one more, for the blank.
    firsts = Ragged.of(([max(0, start - 1) for start, _ in e.offsets] or [0] for e in encodings), np.int64).take(which)
    word_places = offsets_of([len(word) + 1 for word in words])[:-1]
    unit_places = np.repeat(word_places, [stop - first for own in runs for first, stop in own]) + np.array(
        [
            sentence.offsets[unit][0] - sentence.offsets[first][0]
            for sentence, own in zip(sentences, runs, strict=True)
            for first, stop in own
            for unit in range(first, stop)
        ]
    )
    piece_places = firsts.values + np.repeat(word_places, firsts.lengths)
    piece_places[firsts.offsets[:-1]] = word_places  # the first piece answers for what came to nothing before it, too
    units = np.searchsorted(unit_places, np.maximum.accumulate(piece_places), side="right") - 1
    begins = np.flatnonzero(np.diff(units, prepend=-1))
    return _Pieces(
        pieces.values,
        sentence_offsets,
        begins,
        np.searchsorted(units[begins], np.arange(len(unit_places)), side="right") - 1,
    )


def _text_of(sentence: TaggedSentence, run: tuple[int, int]) -> str:
    first, stop = run
    return sentence.shown_text[sentence.offsets[first][0] : sentence.offsets[stop - 1][1]]


def _refuse_nothing(sentences: Sequence[TaggedSentence], word: str) -> None:
    sentence = next(sentence for sentence in sentences if word in sentence.shown_text)
    raise DataError(
        f"the tokenizer leaves nothing of the word {word!r}, and has no unknown token to stand for it: delete the word",
        path=sentence.source,
        line=sentence.line,
    )
