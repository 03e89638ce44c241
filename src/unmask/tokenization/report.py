"""How a tokenizer does on text it was not trained on."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Group

    from unmask.tokenization.encoding import Encoding
    from unmask.tokenization.tokenizer import Tokenizer

__all__ = ["TokenizerReport", "WordPieces", "tokenizer_report"]

_WORD = re.compile(r"\w+(?:['’]\w+)*")  # letters, digits and marks; won't is one
_TEXTS_AT_ONCE = 1024
_NUM_EXAMPLES = 10
_MOST_PIECES = 12  # of a word, in the table


@dataclass(frozen=True, slots=True)
class WordPieces:
    """A word, its pieces, and how often it stood in the text."""

    word: str
    pieces: list[str]
    count: int


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What came out; special tokens that no text brought are counted nowhere.

    A word here is a run of letters and digits (won't is one), whatever the tokenizer takes for one, so that reports of
    different tokenizers compare. A token belongs to each word of which it covers a character.

    Args:
        num_texts: texts that were read.
        num_words: words in them.
        num_characters: characters, spaces too.
        num_tokens: tokens they became.
        vocab_size: ids of the tokenizer.
        num_used_pieces: different ids that occurred.
        vocabulary_use: those as a share of the vocabulary without its special tokens; it grows with the text.
        tokens_per_word: tokens that belong to words, for each word (fertility); 1 is the least.
        characters_per_token: more means shorter sequences.
        single_piece_rate: share of the words that are one token each, and known.
        unknown_rate: share of the tokens that stand for something the vocabulary cannot spell.
        unknown_words: the most frequent words with such a token.
        longest_words: the longest words.
        most_split_words: the words of most tokens.
        longest_pieces: the longest pieces of the vocabulary, used or not.
    """

    num_texts: int
    num_words: int
    num_characters: int
    num_tokens: int
    vocab_size: int
    num_used_pieces: int
    vocabulary_use: float
    tokens_per_word: float
    characters_per_token: float
    single_piece_rate: float
    unknown_rate: float
    unknown_words: list[WordPieces]
    longest_words: list[WordPieces]
    most_split_words: list[WordPieces]
    longest_pieces: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)

    def to_table(self) -> Group:
        """Return the figures, and the words as a second table, for a terminal of 80 columns or more."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        figures = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        figures.add_column(style="bold", no_wrap=True)
        figures.add_column(justify="right", no_wrap=True)
        figures.add_column(style="dim")
        for name, value, meaning in (
            ("text", f"{self.num_words:,}", f"words in {self.num_texts:,} lines"),
            ("tokens per word", f"{self.tokens_per_word:.3f}", "fertility: 1 would be a piece for each word"),
            ("characters per token", f"{self.characters_per_token:.2f}", f"{self.num_tokens:,} tokens in all"),
            ("words of one piece", f"{self.single_piece_rate:.1%}", ""),
            ("unknown", f"{self.unknown_rate:.3%}", "of the tokens"),
            ("vocabulary used", f"{self.vocabulary_use:.1%}", f"{self.num_used_pieces:,} of {self.vocab_size:,} ids"),
        ):
            figures.add_row(name, value, meaning)
        words = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        words.add_column(style="bold", no_wrap=True)
        words.add_column(overflow="fold")
        for name, examples in (
            ("most split words", self.most_split_words),
            ("longest words", self.longest_words),
            ("unknown words", self.unknown_words),
        ):
            if examples:
                words.add_row(name, Text("\n".join(map(_line, examples[:5]))), end_section=True)
        words.add_row("longest pieces", Text("  ".join(self.longest_pieces)))
        return Group(figures, words)


def tokenizer_report(tokenizer: Tokenizer, texts: Iterable[str]) -> TokenizerReport:
    """Tokenize texts and count; memory is that of the distinct words.

    Raises:
        DataError: there is no word in the texts.
    """
    unk_id = None if _spells_everything(tokenizer) else tokenizer.unk_token_id
    used: Counter[int] = Counter()
    word_counts: Counter[str] = Counter()
    pieces_of: dict[str, list[str]] = {}  # as the word was cut where it was cut into most
    unknown_words: Counter[str] = Counter()
    pieces_of_unknown: dict[str, list[str]] = {}
    num_texts = num_characters = num_in_words = num_single = 0
    for batch in _bunches(texts):
        encodings = tokenizer.encode_batch(batch, add_special_tokens=False).encodings
        for text, encoding in zip(batch, encodings, strict=True):
            num_texts, num_characters = num_texts + 1, num_characters + len(text)
            used.update(encoding.input_ids)
            for word, places in _words(text, encoding):
                word_counts[word] += 1
                num_in_words += len(places)
                pieces = [encoding.tokens[place] for place in places]
                if any(encoding.input_ids[place] == unk_id for place in places):
                    unknown_words[word] += 1
                    pieces_of_unknown[word] = pieces
                elif len(places) == 1:
                    num_single += 1
                if len(places) > len(pieces_of.get(word, ())):
                    pieces_of[word] = pieces
    num_words, num_tokens = word_counts.total(), used.total()
    if not num_words or not num_tokens:
        raise DataError("there is no word in the text to report on")
    num_used_pieces = len(used.keys() - tokenizer.special_ids)

    def examples(words: Iterable[str], pieces: Mapping[str, list[str]] = pieces_of) -> list[WordPieces]:
        return [WordPieces(word, pieces.get(word, []), word_counts[word]) for word in islice(words, _NUM_EXAMPLES)]

    return TokenizerReport(
        num_texts=num_texts,
        num_words=num_words,
        num_characters=num_characters,
        num_tokens=num_tokens,
        vocab_size=tokenizer.vocab_size,
        num_used_pieces=num_used_pieces,
        vocabulary_use=num_used_pieces / max(1, tokenizer.vocab_size - len(tokenizer.special_ids)),
        tokens_per_word=num_in_words / num_words,
        characters_per_token=num_characters / num_tokens,
        single_piece_rate=num_single / num_words,
        unknown_rate=0.0 if unk_id is None else used[unk_id] / num_tokens,
        unknown_words=examples(sorted(unknown_words, key=lambda word: (-unknown_words[word], word)), pieces_of_unknown),
        longest_words=examples(sorted(word_counts, key=lambda word: (-len(word), word))),
        most_split_words=examples(sorted(pieces_of, key=lambda word: (-len(pieces_of[word]), word))),
        longest_pieces=_longest_pieces(tokenizer),
    )


def _line(example: WordPieces) -> str:
    pieces, more = example.pieces[:_MOST_PIECES], len(example.pieces) - _MOST_PIECES
    return f"{example.word}  {' '.join(pieces)}" + (f" and {more} more" if more > 0 else "")


def _bunches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while bunch := list(islice(iterator, _TEXTS_AT_ONCE)):
        yield bunch


def _words(text: str, encoding: Encoding) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield each word with the positions of its tokens; both run from left to right."""
    offsets, position = encoding.offsets, 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        while position < len(offsets) and offsets[position][1] <= start:
            position += 1
        last = position
        while last < len(offsets) and offsets[last][0] < end:
            last += 1
        yield match.group(), range(position, last)
        position = max(position, last - 1)  # a token may cover the end of one word and the start of the next


def _spells_everything(tokenizer: Tokenizer) -> bool:
    """Whether <unk> never stands for lack of a piece: GPT-2 calls <|endoftext|> so, though its bytes spell all."""
    return tokenizer.unk_token_id is not None and tokenizer.unk_token_id == tokenizer.eos_token_id


def _longest_pieces(tokenizer: Tokenizer) -> list[str]:
    vocab = tokenizer.backend.get_vocab(with_added_tokens=False)
    pieces = (piece for piece, index in vocab.items() if index not in tokenizer.special_ids)
    return sorted(pieces, key=lambda piece: (-len(piece.lstrip("#Ġ▁")), piece))[:_NUM_EXAMPLES]
