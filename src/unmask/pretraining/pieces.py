"""Documents of a store as the texts that sequences are made of: sentences, and parts of those that are too long.

Documents are ranges of sentences, so a split of a store is a view of it and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Documents", "Pieces", "StoredText", "all_documents", "check_seed", "split_documents"]

# Ranges of sentences, int64, (documents, 2): the first sentence of each document, and the one after its last.
Documents = NDArray[np.int64]

_PURPOSE = int.from_bytes(b"devtexts")  # second half of the generator's key: no other use of a seed meets this stream


class StoredText(Protocol):
    """What is read of a `TokenStore`.

    Attributes:
        tokens: ids without special tokens, any unsigned integers, (tokens,).
        sentence_starts: where each sentence starts in `tokens`, and their number last, int64, (sentences + 1,).
        document_starts: the first sentence of each document, and their number last, int64, (documents + 1,).
    """

    @property
    def tokens(self) -> NDArray[np.unsignedinteger]: ...

    @property
    def sentence_starts(self) -> NDArray[np.int64]: ...

    @property
    def document_starts(self) -> NDArray[np.int64]: ...


def all_documents(store: StoredText) -> Documents:
    """Return every document of a store."""
    return np.stack([store.document_starts[:-1], store.document_starts[1:]], axis=1)


def split_documents(store: StoredText, *, dev_fraction: float, seed: int) -> tuple[Documents, Documents]:
    """Hold back about `dev_fraction` of a store's tokens.

    Whole documents are held back at random. Where that does not come to two documents with half of the tokens wanted,
    because the documents are few and long, two random documents are cut near their ends, or the only one is: two, so
    that what is held back has negatives for the next sentence prediction too.

    Args:
        store: the text.
        dev_fraction: share of the tokens, in (0, 1).
        seed: from 0 to 2**64 - 1; the parts depend on nothing else but the store's boundaries.

    Returns:
        Train and dev, both in the store's order.

    Raises:
        SettingsError: dev_fraction or seed lies outside its range.
        DataError: there is a single sentence at most.
    """
    if not 0 < dev_fraction < 1:
        raise SettingsError(f"the fraction of text for dev must lie between 0 and 1, not at {dev_fraction}")
    check_seed(seed)
    documents = all_documents(store)
    first_tokens, last_tokens = store.sentence_starts[documents[:, 0]], store.sentence_starts[documents[:, 1]]
    sizes = last_tokens - first_tokens
    wanted = int(-(-int(sizes.sum()) * Fraction(str(dev_fraction)) // 1))
    ranked = np.argsort(_generator(seed, _PURPOSE).random_raw(len(sizes)), kind="stable")
    ranked = ranked[sizes[ranked] > 0]

    small = ranked[sizes[ranked] <= wanted]
    held = small[: np.searchsorted(np.cumsum(sizes[small]), wanted, side="right")]
    if len(held) == len(ranked):
        held = held[:-1]
    missing = wanted - int(sizes[held].sum())
    is_train = np.ones(len(documents), dtype=np.bool_)
    is_train[held] = False
    train, dev = documents.copy(), [documents[held]]
    if len(held) < 2 or 2 * missing > wanted:
        rest = ranked[is_train[ranked]]
        donors = rest[np.diff(documents[rest], axis=1)[:, 0] > 1][:2]
        if not len(donors) and not len(held):
            raise DataError("one sentence cannot be parted into train and dev: give more text, or a separate dev file")
        for donor in donors:
            first, last = documents[donor]
            cut = np.searchsorted(store.sentence_starts, last_tokens[donor] - missing // len(donors))
            train[donor, 1] = cut = np.clip(cut, first + 1, last - 1)
            dev.append(np.array([[cut, last]]))
    held_back = np.concatenate(dev)
    return train[is_train], held_back[np.argsort(held_back[:, 0])]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Sentences of some documents, those longer than allowed cut into as few parts as can be.

    Documents and sentences without tokens are left out. Axes: P pieces, K documents.

    Attributes:
        tokens: the store's.
        starts: where each piece starts in `tokens`, int64, (P,).
        cumulative: tokens of the pieces before each one, and of all last, int64, (P + 1,).
        document_starts: the first piece of each document, and P last, int64, (K + 1,).
        num_cut_sentences: how many sentences were longer than allowed.
    """

    tokens: NDArray[np.unsignedinteger]
    starts: NDArray[np.int64]
    cumulative: NDArray[np.int64]
    document_starts: NDArray[np.int64]
    num_cut_sentences: int

    @classmethod
    def of(cls, store: StoredText, documents: Documents, *, max_length: int) -> Self:
        """Cut documents into pieces.

        Args:
            store: the text.
            documents: which of it.
            max_length: tokens of the longest piece.

        Raises:
            DataError: the documents hold no token.
        """
        counts = documents[:, 1] - documents[:, 0]
        sentences = _ranges(documents[:, 0], counts)
        sentence_starts = np.asarray(store.sentence_starts)  # a memory map is slower to index than what is behind it
        starts = sentence_starts[sentences]
        lengths = sentence_starts[sentences + 1] - starts
        num_parts = -(-lengths // max_length)  # none of an empty sentence
        offsets = _ranges(np.zeros_like(num_parts), num_parts) * max_length
        part_lengths = np.minimum(np.repeat(lengths, num_parts) - offsets, max_length)
        if not len(part_lengths):
            raise DataError("the text is empty: there is no token to train on")
        document_ends = np.concatenate([[0], np.cumsum(num_parts)])[np.cumsum(counts)]
        return cls(
            tokens=np.asarray(store.tokens),
            starts=np.repeat(starts, num_parts) + offsets,
            cumulative=np.concatenate([[0], np.cumsum(part_lengths)]),
            document_starts=np.unique(np.concatenate([[0], document_ends])),
            num_cut_sentences=int((num_parts > 1).sum()),
        )

    @property
    def num_documents(self) -> int:
        return len(self.document_starts) - 1

    def __len__(self) -> int:
        return len(self.starts)

    def document_of(self, piece: int) -> int:
        """Return the index of a piece's document, from 0."""
        return int(self.document_starts.searchsorted(piece, side="right")) - 1

    def document_of_each(self) -> NDArray[np.int64]:
        """Return the document of every piece, int64, (P,)."""
        return np.repeat(np.arange(self.num_documents), np.diff(self.document_starts))

    def num_tokens(self, first: int, last: int) -> int:
        """Count the tokens of the pieces from `first` to before `last`."""
        return int(self.cumulative[last] - self.cumulative[first])

    def read(self, first: int, last: int) -> NDArray[np.unsignedinteger]:
        """Return the tokens of the pieces from `first` to before `last`, all of one document."""
        start = self.starts[first]
        return self.tokens[start : start + self.num_tokens(first, last)]


def check_seed(seed: int) -> None:
    """Refuse a seed that the generators cannot take.

    Raises:
        SettingsError: it does not fit 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise SettingsError(f"a seed must lie between 0 and 2**64 - 1, not at {seed}")


def _generator(seed: int, purpose: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64))


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lay ranges of integers end to end: `counts[i]` of them from `starts[i]` on."""
    before = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
