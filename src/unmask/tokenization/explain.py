"""How a text becomes ids, step by step, for someone who wants to see it.

`unmask tokenize` prints `Explanation.to_table()`, and with `--json` `Explanation.to_dict()`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.table import Table
    from rich.text import Text

    from unmask.tokenization.encoding import Encoding, Truncation
    from unmask.tokenization.tokenizer import Tokenizer

__all__ = ["ExplainedText", "Explanation", "Word", "explain"]

_JAMO = re.compile("[\u1100-\u11ff]")  # the letters of Hangul, which a terminal joins to syllables again


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the tokenizer cuts words, before it cuts them into pieces.

    Attributes:
        text: the word as it was written.
        start: where it begins in its text, in characters.
        end: where it has ended.
        tokens: its pieces.
    """

    text: str
    start: int
    end: int
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class ExplainedText:
    """One text on its way to pieces.

    Attributes:
        text: as it was given.
        normalized_text: cleaned, lower-cased and so on, as this tokenizer does.
        words: all of them, before truncation.
        decoded_text: what its ids turn back into.
        truncated_text: the end that was cut off, "" where nothing was.
    """

    text: str
    normalized_text: str
    words: list[Word]
    decoded_text: str
    truncated_text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps from a text, or a pair, to what the model gets.

    Attributes:
        texts: one or two.
        encoding: what the model gets.
        notes: what a reader may wonder about, one sentence or two each.
    """

    texts: list[ExplainedText]
    encoding: Encoding
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; the lists of the encoding stand at the top level."""
        return {"texts": [asdict(text) for text in self.texts], **asdict(self.encoding), "notes": self.notes}

    def to_table(self) -> Table:
        """Return the steps as a table for a terminal of 80 columns or more."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        names = ("A  ", "B  ") if len(self.texts) > 1 else ("",)

        def lines(parts: Iterable[Text]) -> Text:
            return Text("\n").join(Text.assemble((name, "dim"), part) for name, part in zip(names, parts, strict=True))

        table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("text", lines(_visible(text.text) for text in self.texts), end_section=True)
        table.add_row("normalized", lines(_visible(text.normalized_text) for text in self.texts), end_section=True)
        table.add_row("words", lines(_words_line(text.words) for text in self.texts), end_section=True)
        table.add_row("tokens", self._token_table(), end_section=True)
        table.add_row("decoded", lines(_visible(text.decoded_text) for text in self.texts), end_section=True)
        if self.encoding.num_truncated_tokens:
            table.add_row("cut off", lines(_visible(text.truncated_text) for text in self.texts), end_section=True)
        if self.notes:
            table.add_row("notes", Text("\n").join(map(_visible, self.notes)))
        return table

    def _token_table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for header in ("#", "word", "", "token", "id", "type", "mask", "offsets", "text"):
            justify: Literal["left", "right"] = "left" if header in ("token", "text") else "right"
            table.add_column(header, justify=justify, overflow="fold", no_wrap=header not in ("word", "text"))
        encoding = self.encoding
        for sequence_id, positions in _group_by_word(encoding):
            text = "" if sequence_id is None else self.texts[sequence_id].text
            word = _visible(text[slice(*_span(encoding, positions))])
            branches = [""] if len(positions) == 1 else ["┬", *["├"] * (len(positions) - 2), "└"]
            for position, branch in zip(positions, branches, strict=True):
                start, end = encoding.offsets[position]
                table.add_row(
                    Text(str(position), "dim"),
                    word if position == positions[0] else "",
                    Text(branch, "dim"),
                    _visible(encoding.tokens[position]),
                    str(encoding.input_ids[position]),
                    str(encoding.token_type_ids[position]),
                    str(encoding.attention_mask[position]),
                    Text("special" if sequence_id is None else f"{start}:{end}", "dim"),
                    _visible(text[start:end]),
                    style="cyan" if sequence_id is None else "yellow" if len(positions) > 1 else "",
                )
        return table


def explain(
    tokenizer: Tokenizer,
    text: str,
    text_pair: str | None = None,
    *,
    max_length: int | None = None,
    truncation: Truncation = "longest_first",
    add_special_tokens: bool = True,
) -> Explanation:
    """Encode a text or a pair and keep every step; arguments and errors are those of `Tokenizer.encode`."""
    encoding = tokenizer.encode(
        text, text_pair, max_length=max_length, truncation=truncation, add_special_tokens=add_special_tokens
    )
    texts = []
    for sequence_id, original in enumerate([text] if text_pair is None else [text, text_pair]):
        uncut = tokenizer.encode(original, add_special_tokens=False)
        kept_ids = [
            i for i, owner in zip(encoding.input_ids, encoding.sequence_ids, strict=True) if owner == sequence_id
        ]
        words = []
        for _, positions in _group_by_word(uncut):
            start, end = _span(uncut, positions)
            words.append(Word(original[start:end], start, end, [uncut.tokens[position] for position in positions]))
        texts.append(
            ExplainedText(
                text=original,
                normalized_text=tokenizer.normalize(original),
                words=words,
                decoded_text=tokenizer.decode(kept_ids, skip_special_tokens=False),
                truncated_text=original[uncut.offsets[len(kept_ids)][0] :] if len(kept_ids) < len(uncut) else "",
            )
        )
    return Explanation(texts, encoding, list(_notes(tokenizer, texts, encoding)))


def _notes(tokenizer: Tokenizer, texts: list[ExplainedText], encoding: Encoding) -> Iterator[str]:
    if num_cut := encoding.num_truncated_tokens:
        yield f"{num_cut} of {len(encoding) + num_cut} tokens were cut off, so that {len(encoding)} are left."
    limit = tokenizer.model_max_length
    if limit is not None and len(encoding) > limit:
        yield f"The model takes {limit} tokens at most, and these are {len(encoding)}: set a max_length."
    words = [word for text in texts for word in text.words]
    if not words:
        yield "There is no word in the text."
    if unknown := dict.fromkeys(word.text for word in words if tokenizer.unk_token in word.tokens):
        yield f"No pieces of the vocabulary make up {', '.join(unknown)}, so {tokenizer.unk_token} stands there."
    if any(_JAMO.search(text.normalized_text) and not _JAMO.search(text.text) for text in texts):
        yield (
            "This tokenizer strips accents, and so takes each Hangul syllable apart into its letters (jamo); "
            "one made for Korean keeps syllables whole."
        )


def _group_by_word(encoding: Encoding) -> Iterator[tuple[int | None, list[int]]]:
    """Yield the positions of each word and which text it is of; a special token stands alone, with None."""

    def word_of(position: int) -> tuple[int | None, int | None]:
        sequence_id = encoding.sequence_ids[position]
        return sequence_id, position if sequence_id is None else encoding.word_ids[position]

    for (sequence_id, _), positions in groupby(range(len(encoding)), word_of):
        yield sequence_id, list(positions)


def _span(encoding: Encoding, positions: list[int]) -> tuple[int, int]:
    return encoding.offsets[positions[0]][0], encoding.offsets[positions[-1]][1]


def _words_line(words: list[Word]) -> Text:
    from rich.text import Text

    return Text("  ").join(Text.assemble(_visible(word.text), (f"[{word.start}:{word.end}]", "dim")) for word in words)


def _visible(text: str) -> Text:
    """Show each character for what it is: no markup, no control codes, jamo one by one."""
    from rich.text import Text

    return Text("".join(map(_visible_character, text)))


def _visible_character(character: str) -> str:
    if _JAMO.match(character):
        name = re.sub("(CHO|JUNG|JONG)SEONG", "LETTER", unicodedata.name(character))
        try:
            return unicodedata.lookup(name)
        except KeyError:  # some letters of Middle Korean have no form of their own
            return character
    return character if character.isprintable() else character.encode("unicode_escape").decode()
