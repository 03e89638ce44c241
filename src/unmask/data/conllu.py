"""Reading CoNLL-U, the format of Universal Dependencies (https://universaldependencies.org/format.html)."""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING

from unmask.data.tagged_sentence import TaggedSentence, blocks_of, column_index, filled, find_tokens
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from unmask.data.tagged_sentence import Column, Lines

__all__ = ["CONLLU_COLUMNS", "CONLLU_ID", "read_conllu"]

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLLU_ID = re.compile(r"(?P<word>[1-9]\d*)|(?P<first>[1-9]\d*)-(?P<last>[1-9]\d*)|\d+\.[1-9]\d*")


def read_conllu(path: Path, lines: Lines, tag_column: Column, *, labelled: bool) -> list[TaggedSentence]:
    """The sentences of a file's lines; `tag_column` is a name or a number from 1. See `unmask.data.read_tagged`.

    Raises:
        DataError: a row is not as the format wants it, a word is not where the text has it, or no word has a tag.
        SettingsError: there is no such column.
    """
    if isinstance(tag_column, str) and tag_column.lower() in CONLLU_COLUMNS:
        tag_index = CONLLU_COLUMNS.index(tag_column.lower())
    elif isinstance(tag_column, str) and not tag_column.lstrip("-").isdecimal():
        raise SettingsError(f"CoNLL-U has no column {tag_column!r}: choose one of {', '.join(CONLLU_COLUMNS)}")
    else:
        tag_index = column_index(tag_column, len(CONLLU_COLUMNS), path)
    sentences = [_read_tree(path, block, tag_index if labelled else None) for block in blocks_of(lines)]
    found = [sentence for sentence in sentences if sentence is not None]
    if labelled and found and all(set(sentence.tags or ()) == {"_"} for sentence in found):
        raise DataError("the column is empty: choose another", path=path, field=CONLLU_COLUMNS[tag_index])
    return found


def _read_tree(path: Path, block: Lines, tag_index: int | None) -> TaggedSentence | None:
    """One sentence of CoNLL-U; None for a block of comments."""
    written: str | None = None
    name = None
    words: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    tokens: list[tuple[int, str, int, int, bool]] = []  # line, form, its words from and to, whether a blank follows
    in_range = 0  # up to which word a range says what was written
    for number, line in block:
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "text":
                written = value.strip()
            elif key.strip() == "sent_id":
                name = value.strip()
            continue
        row = line.split("\t")
        if len(row) != len(CONLLU_COLUMNS):
            raise DataError(
                f"expected {len(CONLLU_COLUMNS)} columns between tabs, as CoNLL-U has, and found {len(row)}: correct "
                "the row",
                path=path,
                line=number,
            )
        kind = CONLLU_ID.fullmatch(row[0])
        if kind is None:
            raise DataError(
                f"{reprlib.repr(row[0])} is no number of a word (1), a range (1-2) or an empty node (1.1)",
                path=path,
                line=number,
                field="id",
            )
        form = filled(row[1], path, number, "form")
        blank_follows = "SpaceAfter=No" not in row[9].split("|")
        if kind["first"]:
            first, last = int(kind["first"]), int(kind["last"])
            if first != len(words) + 1 or last < first or first <= in_range:
                raise DataError(
                    f"the range {row[0]} does not begin with the next word, {len(words) + 1}",
                    path=path,
                    line=number,
                    field="id",
                )
            tokens.append((number, form, first - 1, last, blank_follows))
            in_range = last
        elif kind["word"]:
            if int(kind["word"]) != len(words) + 1:
                raise DataError(
                    f"expected word {len(words) + 1} and found {row[0]}: is a row missing, or the blank line between "
                    "two sentences?",
                    path=path,
                    line=number,
                    field="id",
                )
            words.append(form)
            numbers.append(number)
            if tag_index is not None:
                tags.append(filled(row[tag_index], path, number, CONLLU_COLUMNS[tag_index]))
            if len(words) > in_range:
                tokens.append((number, form, len(words) - 1, len(words), blank_follows))
    if not words:
        return None
    if in_range > len(words):
        raise DataError(f"a range goes to word {in_range} of {len(words)}", path=path, line=numbers[-1], field="id")

    text = written
    if text is None:
        text = "".join(form + (" " if blank else "") for _, form, _, _, blank in tokens[:-1]) + tokens[-1][1]
    where = find_tokens(text, [(number, form) for number, form, *_ in tokens], path, "the line `# text = `")
    offsets: list[tuple[int, int]] = []
    for (_, form, first, last, _), (start, stop) in zip(tokens, where, strict=True):
        parts = words[first:last]
        if "".join(parts) != form:
            offsets += [(start, stop)] * len(parts)
            continue
        for part in parts:
            offsets.append((start, start + len(part)))
            start += len(part)
    return TaggedSentence(
        words=tuple(words),
        tags=None if tag_index is None else tuple(tags),
        text=text,
        offsets=tuple(offsets),
        source=str(path),
        line=block[0][0],
        lines=tuple(numbers),
        id=name,
        label_column=None if tag_index is None else CONLLU_COLUMNS[tag_index],
    )
