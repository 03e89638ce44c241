"""Pairs of texts: what follows the first, what does not, and how both are cut to fit.

Devlin et al. 2019 (arXiv:1810.04805), section 3.1 "Task #2" and appendix A.2, as Google's `create_pretraining_data.py`
makes them; Lan et al. 2020 (arXiv:1909.11942), section 3.1, for the order of sentences.

A chunk is a run of pieces of one document. Where chunks begin is fixed once; everything else about a pair (where its
first text ends, whether the second is the next one, from which document it comes if not, what is cut off) is drawn for
each epoch from (seed, epoch, index).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from unmask.counted import GOLDEN, keys, mix, uniform
from unmask.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.pretraining.pieces import Pieces
    from unmask.tokenization.template import SequenceTemplate, TemplatedSequence

__all__ = ["PairMaker", "PairObjectiveName"]

PairObjectiveName = Literal["nsp", "sop"]

_PURPOSE = int.from_bytes(b"pairs")  # first part of a sample's key: no other use of a seed meets it
_CANDIDATES = 128  # random runs that are looked at for each text that does not follow
# Counters of a sample, each for a draw of its own.
_MIDDLE, _LABEL, _EDGE = 0, 1, 2
_DOCUMENT = slice(8, 8 + _CANDIDATES)
_START = slice(_DOCUMENT.stop, _DOCUMENT.stop + _CANDIDATES)
_COUNTERS = np.arange(_START.stop)
_FRONT = 512  # from here on, one for each token that is cut off


@dataclass(frozen=True, kw_only=True)
class PairMaker:
    """Makes the two texts of a pair out of a chunk.

    Half of the pairs, at random, have a second text that does not follow (nsp: one from another document, never from
    the same; sop: the two are swapped); without a pair objective it always does. A chunk of one piece has no second
    text: it stands alone, without a label.

    As in the original, tokens are cut off the longer text, from its front or back at random. A text from another
    document differs from the original's in one thing: it is the one of 128 random runs of sentences that comes nearest
    to the length of the text it stands for. So the length of a pair does not tell its label, and is known beforehand.

    Args:
        pieces: the texts.
        template: the special tokens.
        max_seq_length: tokens, special ones included.
        pair_objective: "nsp", "sop" or None.
        seed: of all draws.
        one_piece: a random second text is a single sentence.

    Raises:
        DataError: nsp has one document only, so there is no other to take a text from.
    """

    pieces: Pieces
    template: SequenceTemplate
    max_seq_length: int
    pair_objective: PairObjectiveName | None
    seed: int
    one_piece: bool

    def __post_init__(self) -> None:
        if self.pair_objective == "nsp" and self.pieces.num_documents < 2:
            raise DataError(
                "next sentence prediction (nsp) takes its negatives from other documents, and there is only one here: "
                "part the text into documents (a blank line between them, or one a file), or choose the pair "
                "objective sop, or none"
            )

    @property
    def room(self) -> int:
        """Tokens of both texts of a pair at most."""
        return self.max_seq_length - self.template.num_special(pair=True)

    def lengths(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the tokens that the pair of each chunk has at most, special ones included, int64.

        Args:
            chunks: the first piece of each chunk, and the one after its last, int64, (chunks, 2).

        Raises:
            DataError: a pair objective, and no chunk has two pieces.
        """
        is_pair = chunks[:, 1] - chunks[:, 0] > 1
        if self.pair_objective is not None and not is_pair.any():
            raise DataError(
                f"{self.pair_objective} needs documents of two sentences or more, and every document here has one: "
                "look at how the text is parted into documents and sentences, or use a format without pairs"
            )
        num_tokens = self.pieces.cumulative[chunks[:, 1]] - self.pieces.cumulative[chunks[:, 0]]
        num_special = np.where(is_pair, self.template.num_special(pair=True), self.template.num_special())
        return np.minimum(num_tokens, self.room) + num_special

    def make(self, first: int, last: int, *, index: int, epoch: int) -> tuple[TemplatedSequence, int | None]:
        """Make the pair of the pieces from `first` to before `last`, and its label.

        Returns:
            The sequence; and 0 if the second text follows the first, 1 if not, None if nothing was asked.
        """
        if last - first < 2:
            return self.template.single(self.pieces.read(first, last)), None
        key = mix(_epoch_key(self.seed, epoch) + np.array([index], np.uint64) * GOLDEN)
        draws = uniform(key, _COUNTERS if self.pair_objective == "nsp" else _COUNTERS[: _EDGE + 1])
        middle = first + 1 + int(draws[_MIDDLE] * (last - first - 1))
        label = None if self.pair_objective is None else int(draws[_LABEL] < 0.5)
        texts = [self.pieces.read(first, middle), self.pieces.read(middle, last)]
        if label == 1 and self.pair_objective == "nsp":
            # Where the text it stands for was to be cut, this one must be cut as well, or the cut would tell the label.
            is_cut = len(texts[0]) + len(texts[1]) > self.room
            texts[1] = self._text_of_another_document(first, len(texts[1]), draws, may_exceed=is_cut)
        if label == 1 and self.pair_objective == "sop":
            texts.reverse()  # before the cut, which favours the first text: else lengths would tell the label
        return self.template.pair(*self._cut(texts, key)), label

    def _text_of_another_document(
        self, piece: int, num_tokens: int, draws: NDArray[np.float64], *, may_exceed: bool
    ) -> NDArray[np.unsignedinteger]:
        """Draw a run of whole sentences of about `num_tokens`; if `may_exceed`, no fewer if there is such a run.

        If not, no more: a sentence that is longer is cut. Documents are equally probable, whatever their length.
        """
        pieces = self.pieces
        documents = (draws[_DOCUMENT] * (pieces.num_documents - 1)).astype(np.int64)
        documents += documents >= pieces.document_of(piece)
        starts, stops = pieces.document_starts[documents], pieces.document_starts[documents + 1]
        # The last piece of each document that is followed by enough tokens; or else its first one.
        latest = pieces.cumulative.searchsorted(pieces.cumulative[stops] - num_tokens, side="right") - 1
        latest = stops - 1 if self.one_piece else np.clip(latest, starts, stops - 1)
        starts = starts + (draws[_START] * (latest - starts + 1)).astype(np.int64)
        wanted = pieces.cumulative[starts] + num_tokens
        if may_exceed:
            ends = pieces.cumulative.searchsorted(wanted, side="left")
        else:
            ends = pieces.cumulative.searchsorted(wanted, side="right") - 1
        ends = starts + 1 if self.one_piece else np.clip(ends, starts + 1, stops)
        lengths = pieces.cumulative[ends] - pieces.cumulative[starts]
        if may_exceed:
            nearest = int(np.minimum(lengths, num_tokens).argmax())
        else:
            nearest = int(np.where(lengths <= num_tokens, lengths, -lengths).argmax())
        text = pieces.read(int(starts[nearest]), int(ends[nearest]))
        if may_exceed or len(text) <= num_tokens:
            return text
        return text[:num_tokens] if draws[_EDGE] < 0.5 else text[-num_tokens:]

    def _cut(
        self, texts: list[NDArray[np.unsignedinteger]], key: NDArray[np.uint64]
    ) -> list[NDArray[np.unsignedinteger]]:
        """Cut both texts to fit: one token after another off the longer, from its front or back at random."""
        num_cut = len(texts[0]) + len(texts[1]) - self.room
        if num_cut <= 0:
            return texts
        second = min(len(texts[1]), max(self.room // 2, self.room - len(texts[0])))  # of equal ones, the second is cut
        is_front = uniform(key, _FRONT + np.arange(num_cut)) < 0.5
        kept, drawn = [], 0
        for text, length in zip(texts, (self.room - second, second), strict=True):
            start = int(is_front[drawn : drawn + len(text) - length].sum())
            drawn += len(text) - length
            kept.append(text[start : start + length])
        return kept


@lru_cache(maxsize=2)  # training and evaluation: one epoch each is needed at a time
def _epoch_key(seed: int, epoch: int) -> NDArray[np.uint64]:
    return np.atleast_1d(keys(_PURPOSE, seed, epoch))
