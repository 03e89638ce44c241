"""The special tokens a tokenizer puts around one text and around a pair, for ids that are tokens already.

Pretraining cuts its texts out of a store of tokens, so nothing is left to tokenize; but the model must meet what it
will meet later: [CLS] A [SEP] B [SEP] in BERT, <s> A </s></s> B </s> in RoBERTa, A alone in GPT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unmask.errors import CheckpointError
from unmask.ragged import Ragged, offsets_of, ranges

if TYPE_CHECKING:
    import tokenizers
    from numpy.typing import NDArray

    from unmask.tokenization.tokenizer import Tokenizer

__all__ = ["SequenceTemplate", "TemplatedSequence", "TemplatedSequences"]


class TemplatedSequence(NamedTuple):
    """One text or a pair with its special tokens.

    Attributes:
        input_ids: int64, (S,).
        token_type_ids: 0 for the first text and 1 for the second where the family tells them apart, int64, (S,).
        is_special: bool, (S,); true for the tokens the template brought.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    is_special: NDArray[np.bool_]


class TemplatedSequences(NamedTuple):
    """Many texts or pairs with their special tokens.

    Attributes:
        input_ids: of each sequence, int64.
        token_type_ids: likewise.
        first_rows: of each text of a pair, or of the one, its first position in each of N sequences, int64, (N,).
    """

    input_ids: Ragged
    token_type_ids: Ragged
    first_rows: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class _Pattern:
    """Special tokens before, between and after the texts.

    Attributes:
        specials: ids of each run of special tokens; one run more than there are texts, some of them empty.
        special_types: the token types of each run.
        text_types: the token type of each text.
    """

    specials: tuple[NDArray[np.int64], ...]
    special_types: tuple[NDArray[np.int64], ...]
    text_types: tuple[int, ...]

    @property
    def num_special(self) -> int:
        return sum(map(len, self.specials))

    def fill(self, *texts: NDArray[np.integer]) -> TemplatedSequence:
        num_tokens = self.num_special + sum(map(len, texts))
        input_ids = np.empty(num_tokens, dtype=np.int64)
        token_type_ids = np.empty(num_tokens, dtype=np.int64)
        is_special = np.ones(num_tokens, dtype=np.bool_)
        end = 0
        for index, special in enumerate(self.specials):
            start, end = end, end + len(special)
            input_ids[start:end] = special
            token_type_ids[start:end] = self.special_types[index]
            if index < len(texts):
                start, end = end, end + len(texts[index])
                input_ids[start:end] = texts[index]
                token_type_ids[start:end] = self.text_types[index]
                is_special[start:end] = False
        return TemplatedSequence(input_ids, token_type_ids, is_special)

    def fill_all(self, *texts: Ragged) -> TemplatedSequences:
        # Each run of special tokens and each text, in their order: its values, and which of them each sequence has.
        parts: list[tuple[NDArray[np.int64], NDArray[np.int64] | int, NDArray[np.int64], NDArray[np.int64]]] = []
        none = np.zeros(len(texts[0]), np.int64)
        for index, (ids, types) in enumerate(zip(self.specials, self.special_types, strict=True)):
            parts.append((ids, types, none, none + len(ids)))
            if index < len(texts):
                text = texts[index]
                parts.append((text.values, self.text_types[index], text.offsets[:-1], text.lengths))
        lengths = np.stack([counts for *_, counts in parts])  # (parts, N)
        offsets = offsets_of(lengths.sum(axis=0))
        first_rows = np.cumsum(lengths, axis=0) - lengths
        input_ids, token_type_ids = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.int64)
        for (ids, part_types, starts, counts), first in zip(parts, first_rows, strict=True):
            rows, taken = ranges(offsets[:-1] + first, counts), ranges(starts, counts)
            input_ids[rows] = ids[taken]
            token_type_ids[rows] = part_types if isinstance(part_types, int) else part_types[taken]
        return TemplatedSequences(Ragged(input_ids, offsets), Ragged(token_type_ids, offsets), tuple(first_rows[1::2]))


class SequenceTemplate:
    """What a tokenizer adds to one text and to a pair; see `of`."""

    def __init__(self, single: _Pattern, pair: _Pattern) -> None:
        self._single, self._pair = single, pair

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SequenceTemplate:
        """Find the template by running the tokenizer's own post-processor on a placeholder.

        Raises:
            CheckpointError: the post-processor drops a text, repeats it or changes the order of a pair.
        """
        backend, placeholder = tokenizer.backend, _placeholder(tokenizer)
        return cls(
            _pattern(backend.encode(placeholder), num_texts=1),
            _pattern(backend.encode(placeholder, placeholder), num_texts=2),
        )

    def num_special(self, *, pair: bool = False) -> int:
        """Count the tokens that are added to one text, or to a pair."""
        return self._pair.num_special if pair else self._single.num_special

    def single(self, input_ids: NDArray[np.integer]) -> TemplatedSequence:
        """Wrap one text.

        Args:
            input_ids: any integers, (tokens of the text,). Not modified.
        """
        return self._single.fill(input_ids)

    def pair(self, input_ids: NDArray[np.integer], pair_ids: NDArray[np.integer]) -> TemplatedSequence:
        """Wrap a pair of texts as one sequence; the arguments are as in `single`."""
        return self._pair.fill(input_ids, pair_ids)

    def singles(self, input_ids: Ragged) -> TemplatedSequences:
        """Wrap many texts.

        Args:
            input_ids: integers, of each of N texts. Not modified.
        """
        return self._single.fill_all(input_ids)

    def pairs(self, input_ids: Ragged, pair_ids: Ragged) -> TemplatedSequences:
        """Wrap many pairs, each as one sequence: the first texts and the second ones, N of each."""
        return self._pair.fill_all(input_ids, pair_ids)


def _placeholder(tokenizer: Tokenizer) -> str:
    """Find a text of at least one token: any piece of the vocabulary that is one."""
    for token in sorted(tokenizer.backend.get_vocab()):
        if len(tokenizer.backend.encode(token, add_special_tokens=False)):
            return token
    raise CheckpointError("no piece of the tokenizer's vocabulary is a token of its own: is it empty?")


def _pattern(encoding: tokenizers.Encoding, *, num_texts: int) -> _Pattern:
    """Read the runs of special tokens around the texts of an encoded placeholder."""
    sequence_ids = np.array([-1 if text is None else text for text in encoding.sequence_ids])
    places = [np.flatnonzero(sequence_ids == text) for text in range(num_texts)]
    starts = [place[0] for place in places if len(place)]
    ends = [place[-1] + 1 for place in places if len(place)]
    is_plain = starts == sorted(starts) and all(np.diff(place).max(initial=1) == 1 for place in places)
    if len(starts) < num_texts or not is_plain:
        raise CheckpointError(
            f"the tokenizer's post-processor does not keep {'a pair' if num_texts == 2 else 'a text'} in order and in "
            "one piece, so texts of a store cannot be wrapped as it wraps them: repair the template in tokenizer.json"
        )
    ids, types = np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64)
    edges = list(zip([0, *ends], [*starts, len(ids)], strict=True))
    return _Pattern(
        specials=tuple(ids[start:end] for start, end in edges),
        special_types=tuple(types[start:end] for start, end in edges),
        text_types=tuple(int(types[start]) for start in starts),
    )
