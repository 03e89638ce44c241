"""Checks that need the tokenizer: what the vocabulary lacks, what is cut, what is read otherwise than written."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from unmask.data.findings import count_of
from unmask.tasks import TASKS
from unmask.tokenization.hangul import align_composed, is_composed

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding
    from unmask.tokenization import Tokenizer

__all__ = [
    "TokenCounts",
    "count_tokens",
    "describe_ends",
    "encode_ids",
    "find_cut_texts",
    "find_decomposed_text",
    "find_nothing_left",
    "find_unknown_tokens",
    "places_inside",
]

_TEXTS_AT_ONCE = 4096
_MANY_UNKNOWN = 0.01  # of the tokens
_MANY_SYLLABLES = 100  # pieces that begin with one
_MANY_CUT = 0.01  # of the texts
_NUM_WORST = 3
_MOST_COMPOSED = 1000  # texts, evenly over those of a file: composing one takes milliseconds
_LETTERS = re.compile("[\u1100-\u11ff]")  # of Hangul, that make up syllables
_UNKNOWN_SCRIPT = "all are one word to the model: take one whose vocabulary has this script, unless they are damaged"
_TAKEN_APART = (
    "the tokenizer takes Hangul syllables apart, and its vocabulary has them whole: in its folder, let "
    'tokenizer_config.json say "do_lower_case": false'
)


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Tokens of each item of a set, int64, (N,).

    Args:
        lengths: of its whole input, special tokens included.
        texts: that its texts brought.
        unknown: those of them that stand for what the vocabulary cannot spell.
        lost: those that do not fit, and are cut or go to a further window.
    """

    lengths: NDArray[np.int64]
    texts: NDArray[np.int64]
    unknown: NDArray[np.int64]
    lost: NDArray[np.int64]


def count_tokens(items: Sequence[Item], tokenizer: Tokenizer, max_seq_length: int | None) -> TokenCounts:
    """Tokenize every different piece of text once, and count."""
    pieces = list(dict.fromkeys(piece for item in items for piece in item.pieces))
    unknown_id = tokenizer.unk_token_id
    counts: dict[str, tuple[int, int]] = {}
    for start in range(0, len(pieces), _TEXTS_AT_ONCE):
        some = pieces[start : start + _TEXTS_AT_ONCE]
        for piece, ids in zip(some, encode_ids(tokenizer, some), strict=True):
            counts[piece] = (len(ids), 0 if unknown_id is None else ids.count(unknown_id))
    num_tokens = np.array([sum(counts[piece][0] for piece in item.pieces) for item in items], np.int64)
    num_unknown = np.array([sum(counts[piece][1] for piece in item.pieces) for item in items], np.int64)
    special = [tokenizer.backend.num_special_tokens_to_add(is_pair) for is_pair in (False, True)]
    lengths = num_tokens + np.array([special[len(item.texts) > 1] for item in items], np.int64)
    lost = np.zeros_like(lengths) if max_seq_length is None else np.maximum(lengths - max_seq_length, 0)
    return TokenCounts(lengths=lengths, texts=num_tokens, unknown=num_unknown, lost=lost)


def encode_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of texts without special tokens; where the text is tokenized as it is, without the cost of offsets."""
    if tokenizer.morphemes:
        return tokenizer.encode_batch(texts, add_special_tokens=False).input_ids
    backend = tokenizer.backend_for_composed if all(map(is_composed, texts)) else tokenizer.backend
    return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def places_inside(text: str, offsets: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Places of a text strictly within a token; blanks at its ends are not counted to it, as in training.

    Two tokens of one place, as of a syllable's letters, count once.

    Args:
        text: the text.
        offsets: of its tokens, half-open ranges of characters.
    """
    spans = (_without_blanks(text, start, end) for start, end in offsets)
    return frozenset(place for start, end in spans for place in range(start + 1, end))


def describe_ends(text: str, start: int, end: int, inside: Container[int]) -> str:
    """Say which end of a span of a text lies in a token: "begins", "ends", "begins and ends", or nothing."""
    start, end = _without_blanks(text, start, end)
    return " and ".join(word for word, place in (("begins", start), ("ends", end)) if place in inside)


def _without_blanks(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def find_unknown_tokens(subject: Subject) -> Iterator[Finding]:
    """Tokens that stand for what the vocabulary cannot spell, file by file."""
    for data in subject.sets:
        if data.counts is None or subject.tokenizer is None or not data.counts.unknown.any():
            continue
        counts = data.counts
        num_unknown, num_tokens = int(counts.unknown.sum()), int(counts.texts.sum())
        shares = counts.unknown / np.maximum(counts.texts, 1)
        worst = [data.items[i] for i in np.argsort(-shares, kind="stable")[:_NUM_WORST] if counts.unknown[i]]
        words = ", ".join(map(repr, _unknown_words(data, subject.tokenizer)))
        num_texts = np.count_nonzero(counts.unknown)
        is_many = num_unknown >= _MANY_UNKNOWN * num_tokens
        yield data.finding(
            "unknown_tokens",
            f"unknown to {subject.model}: {num_unknown:,} of {count_of(num_tokens, 'token')} "
            f"({num_unknown / num_tokens:.2%}), in {num_texts:,} of {_all(subject, data)}; most in "
            f"{', '.join(item.place for item in worst)}" + (f". Often {words}" if words else ""),
            worst[0],
            severity="warning" if is_many else "note",
            advice=_TAKEN_APART if _takes_hangul_apart(subject.tokenizer) else _UNKNOWN_SCRIPT,
        )


def _takes_hangul_apart(tokenizer: Tokenizer) -> bool:
    """Whether an uncased normalizer is before a Korean vocabulary."""
    has_syllables = (
        sum("가" <= piece.strip("#▁")[:1] <= "힣" for piece in tokenizer.backend.get_vocab()) > _MANY_SYLLABLES
    )
    return has_syllables and "가" not in tokenizer.normalize("가")


def _unknown_words(data: DataSet, tokenizer: Tokenizer) -> list[str]:
    """The most frequent words, between blanks, that hold an unknown token; of the first texts that do."""
    assert data.counts is not None
    places = islice(np.flatnonzero(data.counts.unknown), 1000)
    words = Counter(word for i in places for piece in data.items[i].pieces for word in piece.split())
    some = list(words)
    is_unknown = [tokenizer.unk_token_id in ids for ids in encode_ids(tokenizer, some)]
    found = [(-words[word], word) for word, unknown in zip(some, is_unknown, strict=True) if unknown]
    return [word[:20] for _, word in sorted(found)[:_NUM_WORST]]


def find_cut_texts(subject: Subject) -> Iterator[Finding]:
    """Texts longer than a model reads at once: cut, or read through windows."""
    for data in subject.sets:
        if data.counts is None or not data.counts.lost.any():
            continue
        counts, limit = data.counts, subject.max_seq_length
        assert limit is not None  # else nothing would be lost
        longest = int(counts.lengths.argmax())
        num_texts, num_tokens = int(np.count_nonzero(counts.lost)), int(counts.lost.sum())
        many = (
            f"more than {count_of(limit, 'token')} in {num_texts:,} of {_all(subject, data)}, "
            f"{int(counts.lengths[longest]):,} in the longest"
        )
        if subject.task in ("tagging", "question-answering") or subject.options.long_texts == "windows":
            problem, advice = f"{many}: they are read through windows", ""
        else:
            share = num_tokens / int(counts.lengths.sum())
            problem = f"{many}: the rest is cut, {count_of(num_tokens, 'token')} ({share:.2%})"
            advice = "raise --max-seq-length, or read them whole with --long-texts windows"
        is_bad = bool(advice) and num_texts >= _MANY_CUT * len(data.items)
        yield data.finding(
            "long_texts", problem, data.items[longest], severity="warning" if is_bad else "note", advice=advice
        )


def find_nothing_left(subject: Subject) -> Iterator[Finding]:
    """Texts of which the tokenizer leaves nothing, such as one invisible character."""
    for data in subject.sets:
        if data.counts is None:
            continue
        for i in np.flatnonzero(data.counts.texts == 0).tolist():
            item = data.items[i]
            if any(text.strip() for text in item.texts):  # else there is another finding
                yield data.finding(
                    "nothing_left",
                    f"the text is empty to the tokenizer of {subject.model}, which leaves nothing of "
                    f"{' | '.join(item.texts)[:40]!r}",
                    item,
                    severity="error",
                    advice="leave the row out",
                )


def find_decomposed_text(subject: Subject) -> Iterator[Finding]:
    """Texts that spell a character in parts (NFD), or Hangul in half-width letters."""
    for data in subject.sets:
        odd = [item for item in data.items if not all(map(is_composed, item.texts))]
        if not odd:
            continue
        tried = odd[:: -(-len(odd) // _MOST_COMPOSED)]
        num_other = 0
        if subject.tokenizer is not None:
            pieces = dict.fromkeys(piece for item in tried for piece in item.pieces if not is_composed(piece))
            otherwise = _read_otherwise(list(pieces), subject.tokenizer)
            num_other = sum(not otherwise.isdisjoint(item.pieces) for item in tried)
        those = "them" if len(tried) == len(odd) else f"the {len(tried):,} looked at"
        has_hangul = any(_LETTERS.search(text) for item in odd for text in item.texts)
        what = "Hangul syllables as letters" if has_hangul else "characters in parts, such as e and its accent"
        effect = (
            f"{subject.model} reads {num_other:,} of {those} otherwise than the same in NFC"
            if num_other
            else ""
            if subject.tokenizer is None
            else f"{subject.model} reads {those} like the same in NFC"
        )
        yield data.finding(
            "decomposed_text",
            f"{what} in {len(odd):,} of {_all(subject, data)} (NFD, or half-width)" + (f"; {effect}" if effect else ""),
            odd[0],
            severity="warning" if num_other or subject.tokenizer is None else "note",
            advice="bring the file to NFC: unicodedata.normalize('NFC', text)",
        )


def _read_otherwise(pieces: Sequence[str], tokenizer: Tokenizer) -> set[str]:
    """Those of some pieces that a tokenizer reads otherwise than the same in NFC."""
    composed = [align_composed(piece)[0] for piece in pieces]
    both = zip(pieces, encode_ids(tokenizer, pieces), encode_ids(tokenizer, composed), strict=True)
    return {piece for piece, ids, others in both if ids != others}


def _all(subject: Subject, data: DataSet) -> str:
    """How many texts, sentences or questions there are."""
    return count_of(len(data.items), TASKS[subject.task].unit.removesuffix("s"))
