"""Sentences whose words carry tags: parts of speech, named entities. Four formats are read.

- **columns** (CoNLL): one word a line, columns between tabs or blanks, a blank line between sentences.
- **conllu** (CoNLL-U, Universal Dependencies): ten columns with names, and the sentence as it was written.
- **jsonl**: one object a line, `{"tokens": [...], "tags": [...]}`, with `text` where the original is known.
- **characters** (KLUE-NER): one character a line with its tag, blanks too; `## id<TAB>marked text` before a sentence.

**Characters as units.** In Korean a name ends where a particle begins, inside the word, so a corpus tags characters. A
piece of a tokenizer need not end where a tag does, so no tag of a word or of a piece would say what the file says. The
units of such a sentence are therefore its characters without the blanks, and `TaggedSentence.runs` tells which of them
stand together as a word. Who encodes it gives each piece the tag of its first character; who decodes gives each
character its piece's tag (a B- to the first character alone) and scores characters, as KLUE's baseline does
(github.com/KLUE-benchmark/KLUE-baseline). A name that begins on a blank, as two of KLUE's dev file do, begins on the
character after it; the baseline leaves these without their B-.
"""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from unmask.data.conllu import CONLLU_COLUMNS, CONLLU_ID, read_conllu
from unmask.data.findings import Finding, count_of
from unmask.data.sources import NOT_TEXT, OTHER_FILE, find_source, json_records, numbered_lines, suffix_of
from unmask.data.tagged_sentence import (
    TaggedSentence,
    blocks_of,
    column_index,
    filled,
    find_tokens,
    is_character,
    joined_offsets,
)
from unmask.errors import DataError, SettingsError
from unmask.metrics.tag_schemes import detect_scheme, find_malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from unmask.data.tagged_sentence import Column, Lines
    from unmask.metrics.tag_schemes import TagScheme

__all__ = ["TaggedFormat", "TaggedSentence", "find_broken_spans", "read_tagged"]

TaggedFormat: TypeAlias = Literal["columns", "conllu", "jsonl", "characters"]

_HEAD = re.compile("#+ ")  # what a comment begins with, and a row of blank-separated columns whose word is "#"
_BLANKS = re.compile("[ \t]+")
_EXAMPLE = '{"tokens": ["a", "dog"], "tags": ["DET", "NOUN"]}'
_FORMATS = ("columns", "conllu", "jsonl", "characters")


def read_tagged(
    source: str | Path,
    *,
    format: TaggedFormat | None = None,
    word_column: Column | None = None,
    tag_column: Column | None = None,
    labelled: bool = True,
    data_dir: Path | None = None,
) -> list[TaggedSentence]:
    """Read tagged sentences.

    What is read of each format:

    - columns: all rows have as many columns as the first. `-DOCSTART-` lines part sentences. A line before a sentence
      that begins with `#` is a comment, unless it has the columns of a row: a tweet may begin with `#now`. After `# `
      it is a row only if columns stand between blanks and its tag is one of those elsewhere in the file.
    - conllu: words only, not the empty nodes (`8.1`), nor the ranges (`3-4 don't`) that say how words were written.
      `# text = ` is the original; without it, it is made from the words, their ranges and `SpaceAfter=No`.
    - jsonl: `text`, if there is one, must hold the tokens in order and nothing else but blanks. A file whose tokens are
      all one character, blanks among them, is read as characters.
    - characters: the text is made from the rows.

    Args:
        source: a file, gzipped if named `.gz`. A relative path is looked for in the working directory, then in the data
            folder.
        format: if None, told from the name (`.conllu`, `.jsonl`, `.json`), then from the first lines: `## ` begins a
            file of characters, as do single characters with a blank among them; ten columns between tabs with a
            number first are CoNLL-U; all else is columns.
        word_column: where the words are: a number from 1 in columns (-1 is the last), a key of JSON lines. If None,
            the first column, `tokens`. CoNLL-U and files of characters keep them in one place only.
        tag_column: where the tags are, likewise; a name (`upos`, `xpos`, `deprel`, `feats`, ...) in CoNLL-U. If None,
            the last column, `tags` or `ner_tags`, `upos`.
        labelled: whether to read tags; without, the file needs none, but for one of characters, whose rows have two
            columns all the same.
        data_dir: the data folder; if None, the environment variable UNMASK_DATA_DIR names it.

    Raises:
        DataError: the file is missing, unreadable or without sentences; a row has not the columns of the others, or
            lacks one that was asked for; words and tags differ in number; a word or tag is empty; a word is not where
            the text should have it.
        SettingsError: the format has no such column.
    """
    path = find_source(source, data_dir, is_file=True)
    if path is None or path.is_dir():
        raise DataError("tagged sentences are read from a file: name one", path=source)
    if format is not None and format not in _FORMATS:
        raise SettingsError(f"there is no format {format!r} of tagged sentences: choose {', '.join(_FORMATS)}")

    if format == "jsonl" or (format is None and suffix_of(path) in (".jsonl", ".json")):
        sentences = _read_json_lines(path, word_column, tag_column, labelled=labelled)
    else:
        lines = list(numbered_lines(path))
        format = format or ("conllu" if suffix_of(path) == ".conllu" else _recognise(lines))
        if format != "columns" and word_column is not None:
            raise SettingsError(f"the {format} format has its words in one place: leave out the word column")
        if format == "conllu":
            sentences = read_conllu(path, lines, "upos" if tag_column is None else tag_column, labelled=labelled)
        elif format == "characters":
            if tag_column is not None:
                raise SettingsError("a file of characters has its tags in one place: leave out the tag column")
            sentences = _read_characters(path, lines, labelled=labelled)
        else:
            first, last = 1 if word_column is None else word_column, -1 if tag_column is None else tag_column
            sentences = _read_columns(path, lines, first, last, labelled=labelled)
    if not sentences:
        raise DataError(f"there is no sentence in this file: {OTHER_FILE}", path=path)
    return sentences


def find_broken_spans(sentences: Iterable[TaggedSentence], *, scheme: TagScheme | None = None) -> list[Finding]:
    """Tags that their scheme does not allow where they stand, such as an I- tag with no B- before it.

    They are no error: the spans are read all the same (`unmask.metrics.read_spans`), an I- without a B- begins one.

    Args:
        sentences: those without tags are passed over.
        scheme: how spans are tagged; if None, `detect_scheme` tells. Tags that mark no spans, such as parts of speech,
            are never found.

    Returns:
        One finding for each such tag, in order, of the kind `broken_span`.

    Raises:
        DataError: a tag is none of a given scheme's.
    """
    tagged = [(sentence, sentence.tags) for sentence in sentences if sentence.tags is not None]
    scheme = scheme or detect_scheme(tags for _, tags in tagged)
    if scheme is None:
        return []
    findings = []
    for sentence, tags in tagged:
        try:
            malformed = find_malformed(tags, scheme)
        except DataError as error:
            raise DataError(
                error.problem, path=sentence.source, line=sentence.line, field=sentence.label_column
            ) from error
        for position, _, problem in malformed:
            findings.append(
                Finding(
                    "broken_span",
                    f"{problem}: correct the tag, or name the scheme if it is not {scheme}",
                    sentence.source,
                    sentence.lines[position],
                    sentence.label_column,
                )
            )
    return findings


# Formats of one row a line


def _recognise(lines: Lines) -> TaggedFormat:
    content = [line for _, line in lines if line.strip()]
    if not content:
        return "columns"
    rows = [line.split("\t") for line in content]
    if content[0].startswith("## "):
        if all(is_character(row[0]) for row in rows if not row[0].startswith("##")):
            return "characters"
    elif all(len(row) == 2 and is_character(row[0]) for row in rows) and any(row[0] == " " for row in rows):
        return "characters"
    first = next((row for row in rows if not row[0].startswith("#")), rows[0])
    return "conllu" if len(first) == len(CONLLU_COLUMNS) and CONLLU_ID.fullmatch(first[0]) else "columns"


def _read_columns(
    path: Path, lines: Lines, word_column: Column, tag_column: Column, *, labelled: bool
) -> list[TaggedSentence]:
    lines = [(number, "" if line.startswith("-DOCSTART-") else line) for number, line in lines]
    content = [line for _, line in lines if line.strip()]
    plain_rows = [line for line in content if not line.startswith("#")] or content
    if not plain_rows:
        return []
    has_tabs = "\t" in plain_rows[0]

    def cells(line: str) -> list[str]:
        # The other blanks of Unicode stand inside words: 10\xa0000.
        return line.split("\t") if has_tabs else _BLANKS.split(line.strip(" \t"))

    num_columns = len(cells(plain_rows[0]))
    word_index = column_index(word_column, num_columns, path)
    tag_index = column_index(tag_column, num_columns, path) if labelled else None
    if word_index == tag_index:
        raise DataError(
            f"the tags and the words would both be column {word_index + 1} of {num_columns}: name other columns"
            if num_columns > 1
            else "there is one column: the tags are missing. Put them into a second one",
            path=path,
        )
    tags_there = {
        row[tag_index]
        for row in (cells(line) for line in content if not _HEAD.match(line))
        if tag_index is not None and len(row) == num_columns
    }

    def is_comment(line: str) -> bool:
        row = cells(line)
        if not line.startswith("#") or len(row) != num_columns:
            return line.startswith("#")
        is_unknown = tag_index is not None and row[tag_index] not in tags_there
        return bool(_HEAD.match(line)) and (has_tabs or is_unknown)

    sentences = []
    for block in blocks_of(lines):
        while block and is_comment(block[0][1]):
            block = block[1:]
        if not block:
            continue
        words, tags = [], []
        for number, line in block:
            row = cells(line)
            if len(row) != num_columns:
                raise DataError(
                    f"expected {num_columns} columns between {'tabs' if has_tabs else 'blanks'}, as in the first row, "
                    f"and found {len(row)}: correct the row",
                    path=path,
                    line=number,
                )
            words.append(filled(row[word_index], path, number, f"{word_index + 1}"))
            if tag_index is not None:
                tags.append(filled(row[tag_index].strip(), path, number, f"{tag_index + 1}"))
        sentences.append(
            TaggedSentence(
                words=tuple(words),
                tags=tuple(tags) if labelled else None,
                text=None,
                offsets=joined_offsets(words),
                source=str(path),
                line=block[0][0],
                lines=tuple(number for number, _ in block),
                label_column=None if tag_index is None else f"{tag_index + 1}",
            )
        )
    return sentences


def _read_characters(path: Path, lines: Lines, *, labelled: bool) -> list[TaggedSentence]:
    sentences = []
    for block in blocks_of(lines):
        heads = [line for _, line in block if line.startswith("##")]
        rows = []
        for number, line in block:
            if line.startswith("##"):
                continue
            row = line.split("\t")
            if len(row) != 2:
                raise DataError(
                    f"expected a character, a tab and its tag, and found {len(row)} columns: correct the row",
                    path=path,
                    line=number,
                )
            character = filled(row[0], path, number, "1")
            if not is_character(character):
                raise DataError(
                    f"expected one character and found {reprlib.repr(character)}: correct the row, or read columns",
                    path=path,
                    line=number,
                )
            rows.append((number, character, filled(row[1].strip(), path, number, "2") if labelled else "O"))
        if rows:  # else it is the file's head
            name = heads[-1].removeprefix("##").split("\t")[0].strip() if heads else None
            tag_column = "2" if labelled else None
            sentences.append(_sentence_of_characters(path, block[0][0], rows, tag_column, name))
    return sentences


def _sentence_of_characters(
    path: Path, line: int, rows: Sequence[tuple[int, str, str]], tag_column: str | None, name: str | None
) -> TaggedSentence:
    """A sentence of rows of a line, a character, which may be a blank, and its tag; without a `tag_column` of none."""
    characters, tags, offsets, numbers = [], [], [], []
    text, begun = "", ""
    for number, character, tag in rows:
        start, text = len(text), text + character
        if character.isspace():
            begun = tag if tag.startswith("B-") else ""
            continue
        characters.append(character)
        tags.append(begun if begun and tag == f"I{begun[1:]}" else tag)
        offsets.append((start, len(text)))
        numbers.append(number)
        begun = ""
    if not characters:
        raise DataError("the sentence that starts here has blanks only: delete it", path=path, line=line)
    return TaggedSentence(
        words=tuple(characters),
        tags=None if tag_column is None else tuple(tags),
        text=text,
        offsets=tuple(offsets),
        source=str(path),
        line=line,
        lines=tuple(numbers),
        by_character=True,
        id=name,
        label_column=tag_column,
    )


# JSON lines


def _read_json_lines(
    path: Path, word_column: Column | None, tag_column: Column | None, *, labelled: bool
) -> list[TaggedSentence]:
    word_key = "tokens" if word_column is None else str(word_column)
    rows = []
    for number, record in json_records(path, example=_EXAMPLE):
        words = _strings_of(record, word_key, path, number)
        tags = tag_key = None
        if labelled:
            tag_key = str(tag_column)
            if tag_column is None:
                tag_key = "ner_tags" if "ner_tags" in record and "tags" not in record else "tags"
            tags = _strings_of(record, tag_key, path, number, numbers=True)
            if len(tags) != len(words):
                raise DataError(
                    f"there are {count_of(len(words), 'word')} and {count_of(len(tags), 'tag')}: give each word one "
                    "tag",
                    path=path,
                    line=number,
                    field=tag_key,
                )
        text = record.get("text")
        if not (text is None or (isinstance(text, str) and text.strip() and not NOT_TEXT.search(text))):
            raise DataError(
                f"expected the sentence as it was written, found {reprlib.repr(text)}: correct it or leave it out",
                path=path,
                line=number,
                field="text",
            )
        name = record.get("id")
        rows.append((number, words, tags, tag_key, text, None if name is None else str(name)))
    by_character = all(is_character(word) for _, words, *_ in rows for word in words) and any(
        word.isspace() for _, words, *_ in rows for word in words
    )

    sentences = []
    for number, words, tags, tag_key, text, name in rows:
        if by_character:
            if text not in (None, "".join(words)):
                raise DataError(
                    "the text is not that of the characters in `tokens`: correct one, or leave out the text",
                    path=path,
                    line=number,
                )
            units = [(number, *unit) for unit in zip(words, tags or ["O"] * len(words), strict=True)]
            sentences.append(_sentence_of_characters(path, number, units, tag_key, name))
            continue
        offsets = (
            joined_offsets(words)
            if text is None
            else find_tokens(text, [(number, word) for word in words], path, "`text`")
        )
        sentences.append(
            TaggedSentence(
                words=tuple(words),
                tags=None if tags is None else tuple(tags),
                text=text,
                offsets=tuple(offsets),
                source=str(path),
                line=number,
                lines=(number,) * len(words),
                id=name,
                label_column=tag_key,
            )
        )
    return sentences


def _strings_of(record: dict[str, Any], key: str, path: Path, line: int, *, numbers: bool = False) -> list[str]:
    """A list of the record that holds strings; or whole numbers, as data sets store tags, which become strings."""
    if key not in record:
        raise DataError(
            f"the object has no such key. Its keys are {', '.join(map(reprlib.repr, record))}: name that of the "
            f"{'tags with --label-column' if numbers else 'words with --text-column'}",
            path=path,
            line=line,
            field=key,
        )
    values = record[key]
    if not isinstance(values, list) or not values:
        raise DataError(
            f"expected a list of strings with one at least, found {reprlib.repr(values)}: correct the entry",
            path=path,
            line=line,
            field=key,
        )
    if numbers and all(type(value) is int for value in values):
        return [str(value) for value in values]
    for i, value in enumerate(values):
        if not isinstance(value, str) or not value or (numbers and not value.strip()) or NOT_TEXT.search(value):
            raise DataError(
                f"expected strings that are not empty, found {reprlib.repr(value)} at place {i + 1}: correct it",
                path=path,
                line=line,
                field=key,
            )
    return values
