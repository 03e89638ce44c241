"""How documents become training sequences: the four formats of RoBERTa, and plain blocks.

Liu et al. 2019 (arXiv:1907.11692), section 4.2. A format is a class that says where its sequences begin and end;
that is fixed by the store and the seed, so an epoch has a known number of sequences of known lengths. What is drawn
anew in each epoch is a pure function of (seed, epoch, index).

=============== ==================================================== ======================== =====================
format          a sequence is                                        crosses documents        a token in an epoch is
=============== ==================================================== ======================== =====================
segment-pair    two runs of sentences (BERT, ALBERT)                 no                       seen once, or cut off
sentence-pair   two sentences                                        no                       seen once, or cut off
full-sentences  as many sentences as fit (RoBERTa)                   yes, with a separator    seen once
doc-sentences   as many sentences as fit                             no                       seen once
blocks          as many tokens as fit (GPT)                          yes, with a separator    seen once
=============== ==================================================== ======================== =====================

A sentence longer than a sequence has room for is cut into parts, which are then sentences of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from unmask.counted import keys, uniform
from unmask.errors import DataError, SettingsError
from unmask.pretraining.pairs import PairMaker, PairObjectiveName
from unmask.pretraining.pieces import Documents, Pieces, StoredText, all_documents, check_seed, split_documents
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.tokenization import Tokenizer
    from unmask.tokenization.template import TemplatedSequence

__all__ = [
    "Blocks",
    "DocSentences",
    "Documents",
    "Format",
    "FullSentences",
    "SegmentPairs",
    "SentencePairs",
    "SequenceSource",
    "StoredText",
    "TrainingSequence",
    "all_documents",
    "make_source",
    "split_documents",
]

Format = Literal["segment-pair", "sentence-pair", "full-sentences", "doc-sentences", "blocks"]

_PURPOSE = int.from_bytes(b"chunks")  # first part of the key that fixes boundaries: no other use of a seed meets it


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSequence:
    """One sequence of an epoch.

    Args:
        input_ids: int64, (S,).
        token_type_ids: int64, (S,).
        is_special: true for tokens that the text does not have: [CLS], [SEP], the end of a document; bool, (S,).
        pair_label: nsp: 0 = the second text is next, 1 = it is of another document; sop: 0 = in order, 1 = swapped;
            None where nothing was asked, and where a document's only sentence stands alone.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    is_special: NDArray[np.bool_]
    pair_label: int | None

    @classmethod
    def of(cls, sequence: TemplatedSequence, pair_label: int | None = None) -> TrainingSequence:
        return cls(
            input_ids=sequence.input_ids,
            token_type_ids=sequence.token_type_ids,
            is_special=sequence.is_special,
            pair_label=pair_label,
        )


class SequenceSource(Protocol):
    """The sequences of every epoch. `len()` is their number in one.

    Attributes:
        lengths: tokens that each sequence has at most, special ones included, int64; it has fewer only where its
            second text is from another document.
        num_cut_sentences: how many sentences were too long for a sequence, and are parted.
    """

    @property
    def lengths(self) -> NDArray[np.int64]: ...

    @property
    def num_cut_sentences(self) -> int: ...

    def __len__(self) -> int: ...

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        """Make a sequence: a pure function of the source's seed, the epoch and the index."""


def make_source(
    format: Format,
    store: StoredText,
    documents: Documents,
    tokenizer: Tokenizer,
    *,
    max_seq_length: int,
    pair_objective: PairObjectiveName | None = None,
    seed: int,
    short_seq_probability: float = 0.1,
) -> SequenceSource:
    """Make the training sequences of some documents.

    Args:
        format: see the table above.
        store: the text.
        documents: which of it; see `all_documents` and `split_documents`.
        tokenizer: the store's: its template wraps each sequence.
        max_seq_length: tokens of the longest sequence, special ones included; the block size of blocks.
        pair_objective: what is asked of pairs: "nsp", "sop" or None.
        seed: from 0 to 2**64 - 1.
        short_seq_probability: segment-pair only: fraction of sequences that aim at a random shorter length, in [0, 1],
            so that short inputs are met in pretraining too (Devlin et al. 2019, in `create_pretraining_data.py`).

    Raises:
        SettingsError: a setting outside its range, or a pair objective with a format that has no pairs.
        DataError: the documents hold no token; or nsp has one document only; or no document has two sentences to pair.
    """
    if format not in get_args(Format):
        raise SettingsError(f"format is {format!r}, but must be one of {', '.join(get_args(Format))}")
    has_pairs = format in ("segment-pair", "sentence-pair")
    if pair_objective not in (None, *get_args(PairObjectiveName)):
        raise SettingsError(f"pair objective is {pair_objective!r}, but must be nsp, sop or none")
    if pair_objective is not None and not has_pairs:
        raise SettingsError(
            f"{pair_objective} asks about pairs of texts, and the format {format} has none: "
            "use segment-pair or sentence-pair, or no pair objective"
        )
    if not 0 <= short_seq_probability <= 1:
        raise SettingsError(f"short_seq_probability is {short_seq_probability}, but must lie between 0 and 1")
    check_seed(seed)
    template = SequenceTemplate.of(tokenizer)
    num_special, num_texts = template.num_special(pair=has_pairs), 2 if has_pairs else 1
    if max_seq_length < num_special + num_texts:
        raise SettingsError(
            f"max_seq_length is {max_seq_length}, but the format {format} needs {num_special + num_texts} at least: "
            f"{num_special} special tokens, and a token of {'each text' if has_pairs else 'the text'}"
        )

    room = max_seq_length - num_special
    eos_token_id, sep_token_id = tokenizer.eos_token_id, tokenizer.sep_token_id
    if format == "blocks":
        closes_id = eos_token_id if eos_token_id is not None else sep_token_id
        return Blocks(store, documents, template, room=room, eos_token_id=closes_id)
    pieces = Pieces.of(store, documents, max_length=room)
    if format == "full-sentences":
        separator_id = sep_token_id if sep_token_id is not None else eos_token_id
        return FullSentences(pieces, template, room=room, separator_id=separator_id)
    if format == "doc-sentences":
        return DocSentences(pieces, template, room=room)
    maker = PairMaker(
        pieces=pieces,
        template=template,
        max_seq_length=max_seq_length,
        pair_objective=pair_objective,
        seed=seed,
        one_piece=format == "sentence-pair",
    )
    if format == "sentence-pair":
        return SentencePairs(maker)
    return SegmentPairs(maker, short_seq_probability=short_seq_probability)


class SegmentPairs:
    """SEGMENT-PAIR: "each input has a pair of segments, which can each contain multiple natural sentences".

    A document is parted into chunks, each as long as needed to fill a sequence, and a chunk is parted into two segments
    at a random sentence. Unlike Google's program, chunks are the same in every epoch: what follows the first segment
    where the second is a random one is not seen in this epoch, but in others. Whether a sequence is short is drawn for
    each chunk, not for a whole document.

    Args:
        maker: makes the pairs.
        short_seq_probability: see `make_source`.
    """

    def __init__(self, maker: PairMaker, *, short_seq_probability: float) -> None:
        self._maker = maker
        pieces = maker.pieces
        starts = np.arange(len(pieces))
        draws = uniform(keys(_PURPOSE, maker.seed), [starts * 2, starts * 2 + 1])
        short_targets = 2 + (draws[1] * (maker.room - 1)).astype(np.int64)  # from 2 to the room
        targets = np.where(draws[0] < short_seq_probability, short_targets, maker.room)
        document_ends = pieces.document_starts[1:][pieces.document_of_each()]
        # To the piece with which the target is reached, and two pieces at least, so that there is a second segment;
        ends = np.searchsorted(pieces.cumulative, pieces.cumulative[:-1] + targets)
        ends = np.minimum(np.maximum(ends, starts + 2), document_ends)
        # and no piece is left alone at a document's end if there are enough.
        ends -= (document_ends - ends == 1) & (ends - starts > 2)
        self._chunks = _follow(ends)
        self.lengths = maker.lengths(self._chunks)
        self.num_cut_sentences = pieces.num_cut_sentences

    def __len__(self) -> int:
        return len(self._chunks)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        first, last = self._chunks[index].tolist()
        return TrainingSequence.of(*self._maker.make(first, last, index=index, epoch=epoch))


class SentencePairs:
    """SENTENCE-PAIR: "each input contains a pair of natural sentences".

    Neighbours are paired without overlap, except that the last sentence of an odd number is paired with the one before
    it once more.

    Args:
        maker: makes the pairs.
    """

    def __init__(self, maker: PairMaker) -> None:
        self._maker = maker
        starts = maker.pieces.document_starts
        counts = np.diff(starts)
        numbers = np.arange(len(maker.pieces)) - np.repeat(starts[:-1], counts)  # of each piece in its document
        is_odd_last = (numbers % 2 == 0) & (numbers == np.repeat(counts, counts) - 1)
        firsts = np.flatnonzero(numbers % 2 == 0)
        is_moved = (is_odd_last & (numbers > 0))[firsts]
        is_alone = (is_odd_last & (numbers == 0))[firsts]
        self._chunks = np.stack([firsts - is_moved, firsts + 2 - is_moved - is_alone], axis=1)
        self.lengths = maker.lengths(self._chunks)
        self.num_cut_sentences = maker.pieces.num_cut_sentences

    def __len__(self) -> int:
        return len(self._chunks)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        first, last = self._chunks[index].tolist()
        return TrainingSequence.of(*self._maker.make(first, last, index=index, epoch=epoch))


class FullSentences:
    """FULL-SENTENCES: "full sentences sampled contiguously from one or more documents [...] inputs may cross document
    boundaries [...] and add an extra separator token between documents".

    Args:
        pieces: the texts.
        template: wraps a sequence as one text.
        room: tokens a sequence has room for, separators between documents included.
        separator_id: the extra token; None for none.
    """

    def __init__(self, pieces: Pieces, template: SequenceTemplate, *, room: int, separator_id: int | None) -> None:
        self._template = template
        self._run = _TokenRun(
            pieces.tokens,
            pieces.starts[pieces.document_starts[:-1]],
            np.diff(pieces.cumulative[pieces.document_starts]),
            separator_id,
        )
        separators = pieces.document_of_each() * (separator_id is not None)
        starts = pieces.cumulative[:-1] + separators  # where each piece starts in the run
        stops = pieces.cumulative[1:] + separators
        chunks = _follow(np.searchsorted(stops, starts + room, side="right"))
        self._spans = np.stack([starts[chunks[:, 0]], stops[chunks[:, 1] - 1]], axis=1)
        self.lengths = np.diff(self._spans, axis=1)[:, 0] + template.num_special()
        self.num_cut_sentences = pieces.num_cut_sentences

    def __len__(self) -> int:
        return len(self._spans)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        return _wrap(self._template, *self._run.read(*self._spans[index].tolist()))


class DocSentences:
    """DOC-SENTENCES: like FULL-SENTENCES, but "they may not cross document boundaries".

    Args:
        pieces: the texts.
        template: wraps a sequence as one text.
        room: tokens a sequence has room for.
    """

    def __init__(self, pieces: Pieces, template: SequenceTemplate, *, room: int) -> None:
        self._pieces, self._template = pieces, template
        ends = np.searchsorted(pieces.cumulative, pieces.cumulative[:-1] + room, side="right") - 1
        self._chunks = _follow(np.minimum(ends, pieces.document_starts[1:][pieces.document_of_each()]))
        num_tokens = pieces.cumulative[self._chunks[:, 1]] - pieces.cumulative[self._chunks[:, 0]]
        self.lengths = num_tokens + template.num_special()
        self.num_cut_sentences = pieces.num_cut_sentences

    def __len__(self) -> int:
        return len(self._chunks)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        return TrainingSequence.of(self._template.single(self._pieces.read(*self._chunks[index].tolist())))


class Blocks:
    """Contiguous blocks of the documents laid end to end, each closed by the end-of-text token, or [SEP] without one.

    Radford et al. 2018, section 4.1: "contiguous sequences of 512 tokens". All blocks but the last are full.

    Args:
        store: the text.
        documents: which of it.
        template: wraps a sequence as one text.
        room: tokens a sequence has room for, end-of-text tokens included.
        eos_token_id: closes each document; None for nothing.

    Raises:
        DataError: the documents hold no token.
    """

    num_cut_sentences = 0  # a block knows no sentences

    def __init__(
        self,
        store: StoredText,
        documents: Documents,
        template: SequenceTemplate,
        *,
        room: int,
        eos_token_id: int | None,
    ) -> None:
        self._template, self._room = template, room
        starts, stops = store.sentence_starts[documents[:, 0]], store.sentence_starts[documents[:, 1]]
        has_text = stops > starts
        if not has_text.any():
            raise DataError("the text is empty: there is no token to train on")
        self._run = _TokenRun(store.tokens, starts[has_text], (stops - starts)[has_text], eos_token_id)
        num_blocks = -(-self._run.num_tokens // room)
        self.lengths = np.full(num_blocks, room + template.num_special())
        self.lengths[-1] -= num_blocks * room - self._run.num_tokens

    def __len__(self) -> int:
        return len(self.lengths)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        start = index * self._room
        return _wrap(self._template, *self._run.read(start, min(start + self._room, self._run.num_tokens)))


class _TokenRun:
    """Documents laid end to end, an extra token after each.

    Args:
        tokens: the store's.
        starts: where each document starts in `tokens`, int64, (K,).
        lengths: tokens of each, all above zero, int64, (K,).
        separator_id: the extra token; None for none.
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        separator_id: int | None,
    ) -> None:
        self._tokens, self._starts = np.asarray(tokens), starts
        self._separator_id = separator_id or 0  # without one no document leaves room for it
        self._ends = np.cumsum(lengths + (separator_id is not None))  # in the run, separators included
        self._begins = np.concatenate([[0], self._ends[:-1]])
        self._text_ends = self._begins + lengths
        self.num_tokens = int(self._ends[-1])

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the tokens of the run from `start` to before `stop`, and which of them are separators."""
        ids = np.empty(stop - start, dtype=np.int64)
        is_separator = np.zeros(stop - start, dtype=np.bool_)
        document = int(self._ends.searchsorted(start, side="right"))
        position = start
        while position < stop:
            begin, text_end, end = self._begins[document], self._text_ends[document], self._ends[document]
            text_stop = min(stop, text_end)
            if text_stop > position:
                source = self._starts[document] - begin
                ids[position - start : text_stop - start] = self._tokens[source + position : source + text_stop]
            if text_end < min(stop, end):
                ids[text_end - start] = self._separator_id
                is_separator[text_end - start] = True
            position, document = end, document + 1
        return ids, is_separator


def _wrap(
    template: SequenceTemplate, input_ids: NDArray[np.int64], is_separator: NDArray[np.bool_]
) -> TrainingSequence:
    """Wrap a run of tokens as one text, some of which are special too."""
    sequence = template.single(input_ids)
    sequence.is_special[~sequence.is_special] = is_separator
    return TrainingSequence.of(sequence)


def _follow(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lay chunks end to end, if one that begins at piece i ends before piece `ends[i]`; int64, (chunks, 2)."""
    edges, end_of, num_pieces = [0], ends.item, len(ends)
    while edges[-1] < num_pieces:
        edges.append(end_of(edges[-1]))
    bounds = np.array(edges, dtype=np.int64)
    return np.stack([bounds[:-1], bounds[1:]], axis=1)
