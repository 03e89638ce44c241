"""Raw documents from files and data sets, one at a time: what is held in memory is a document, never a corpus.

| source | a document is |
| --- | --- |
| `.txt`, `.txt.gz` | the lines between two blank lines, each a paragraph (or the whole file: `document_per_file`) |
| `.jsonl`, `.json`, also `.gz` | the text column of one line, its lines being paragraphs |
| `.parquet` | the text column of one row, likewise |
| a folder | all such files in it and below, by name |
| `org/name`, `org/name:config` | the text column of one row of a data set of the hub (its part train), streamed |

Text that is laid out otherwise is brought into this form by a named filter (`unmask.pretraining.filters`).
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.data.sources import (
    NOT_TEXT,
    find_source,
    json_records,
    load_dataset,
    numbered_lines,
    suffix_of,
    unreadable,
)
from unmask.errors import DataError
from unmask.pretraining.filters import apply_document_filters, apply_line_filters, check_filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unmask.pretraining.filters import Line

__all__ = ["Document", "list_sources", "read_documents", "text_size"]

_SUFFIXES = (".txt", ".jsonl", ".json", ".parquet")
_USUAL_COLUMNS = ("text", "content", "document", "article", "raw_content")  # where none is named
_LONGEST_PART = 2**20  # characters; what follows comes in a part of its own, so that memory has a bound
_ROWS_AT_ONCE = 256  # of Parquet
_GZIP_FRAME = 18  # bytes around what is packed


@dataclass(frozen=True)
class Document:
    """A run of text that belongs together.

    Args:
        paragraphs: in order; none is blank, and white space around them is gone.
        path: the file or data set it comes from.
        line: where it starts there, from 1: its line in a text file, its row in Parquet or a data set.
        continues: it is the next part of the document before it, which was longer than about a million characters.
    """

    paragraphs: list[str]
    path: str
    line: int
    continues: bool = False


def list_sources(sources: Sequence[str | Path], *, data_dir: Path | None = None) -> list[Path | str]:
    """Find every file of a corpus, in the order it is read; ids of data sets on the hub stay as they are.

    Args:
        sources: files, folders, or ids. A relative path is looked for in the working directory, then in `data_dir`.
        data_dir: the data folder; if None, the environment variable UNMASK_DATA_DIR names it.

    Raises:
        DataError: a file is missing or of no known format, or named twice; or a folder holds none.
    """
    found: list[Path | str] = []
    for source in sources:
        path = find_source(source, data_dir, is_file=suffix_of(Path(source)) in _SUFFIXES)
        if path is None:
            found.append(str(source))
        elif path.is_dir():
            found += [str(path)] if _is_dataset(path) else _files_below(path)
        elif suffix_of(path) in _SUFFIXES:
            found.append(path)
        else:
            raise DataError(f"the name must end in {', '.join(_SUFFIXES)}, or one of these and .gz", path=path)
    if not found:
        raise DataError("a corpus needs at least one file, folder or data set")
    # What is read twice would be learnt from, and held back to be judged by.
    places = Counter(source if isinstance(source, str) else source.resolve() for source in found)
    for place, count in places.items():
        if count > 1:
            raise DataError(f"is named {count} times, perhaps by its folder too: name it once", path=place)
    return found


def text_size(sources: Sequence[Path | str]) -> int | None:
    """Bytes of text in files that `list_sources` found, about: for a bar that shows how far a build is.

    A gzipped file tells in its last 4 bytes how large it was, up to 4 GB. None if there is a data set among them.
    """
    total = 0
    for source in sources:
        if isinstance(source, str):
            return None
        try:
            with source.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if source.suffix.lower() == ".gz" and size >= _GZIP_FRAME:
                    file.seek(-4, os.SEEK_END)
                    size = max(size, int.from_bytes(file.read(4), "little"))
        except OSError as error:
            raise unreadable(source, error) from error
        total += size
    return total


def read_documents(
    sources: Sequence[str | Path],
    *,
    data_dir: Path | None = None,
    text_column: str | None = None,
    document_per_file: bool = False,
    filters: Sequence[str] = (),
) -> Iterator[Document]:
    """Read the documents of a corpus in order, as a stream.

    Args:
        sources: files, folders of them, and ids of data sets on the hub; see the module for what each gives.
        data_dir: where relative paths are looked for after the working directory; see `list_sources`.
        text_column: the column or key that holds the text; if None, the first there is of text, content, document,
            article and raw_content.
        document_per_file: each text file is one document, its blank lines being nothing.
        filters: names of `FILTERS`, applied in this order; `NAME:PATTERN` is for the files whose path matches.

    Raises:
        SettingsError: there is no filter of such a name.
        DataError: a source is missing or cannot be read, or there is no text in it; file and line are named.
    """
    check_filters(filters)
    documents = (
        document
        for source in list_sources(sources, data_dir=data_dir)
        for document in _read_source(source, text_column, document_per_file, filters)
    )
    return apply_document_filters(documents, filters)


def _read_source(
    source: Path | str, text_column: str | None, document_per_file: bool, filters: Sequence[str]
) -> Iterator[Document]:
    if isinstance(source, Path) and suffix_of(source) == ".txt":
        lines = _refuse_no_text(numbered_lines(source), source)
        yield from _cut(
            apply_line_filters(lines, filters, path=str(source)), str(source), at_blank_lines=not document_per_file
        )
        return
    if isinstance(source, str):
        records: Iterable[tuple[int, dict[str, Any]]] = _dataset_rows(source)
    elif suffix_of(source) == ".parquet":
        records = _parquet_rows(source, text_column)
    else:
        records = json_records(source)
    is_empty = True
    for number, record in records:
        is_empty = False
        text = _text_of(record, text_column, source, number)
        lines = ((number, line) for line in text.replace("\r\n", "\n").split("\n"))
        yield from _cut(apply_line_filters(lines, filters, path=str(source)), str(source), at_blank_lines=False)
    if is_empty:
        raise DataError("there is no text in it", path=source)


def _cut(lines: Iterable[Line], path: str, *, at_blank_lines: bool) -> Iterator[Document]:
    """Gather paragraphs into documents, and long documents into parts."""
    paragraphs: list[str] = []
    start, num_characters, continues = 0, 0, False
    for number, line in lines:
        paragraph = line.strip()
        if not paragraph:
            if at_blank_lines:
                if paragraphs:
                    yield Document(paragraphs, path, start, continues)
                paragraphs, num_characters, continues = [], 0, False
            continue
        if not paragraphs:
            start = number
        paragraphs.append(paragraph)
        num_characters += len(paragraph)
        if num_characters > _LONGEST_PART:
            yield Document(paragraphs, path, start, continues)
            paragraphs, num_characters, continues = [], 0, True
    if paragraphs:
        yield Document(paragraphs, path, start, continues)


def _refuse_no_text(lines: Iterator[Line], path: Path) -> Iterator[Line]:
    is_empty = True
    for line in lines:
        if is_empty and line[1].strip():
            is_empty = False
        yield line
    if is_empty:
        raise DataError("there is no text in it", path=path)


def _text_of(record: dict[str, Any], text_column: str | None, source: Path | str, line: int) -> str:
    names = (text_column,) if text_column is not None else _USUAL_COLUMNS
    name = next((name for name in names if name in record), None)
    if name is None:
        there_are = ", ".join(map(repr, record)) or "none"
        raise DataError(
            f"there is no column {' or '.join(map(repr, names))}. The columns are {there_are}: "
            "name the one that holds the text",
            path=source,
            line=line,
        )
    text = record[name]
    if not isinstance(text, str):
        raise DataError(
            f"expected text and found {type(text).__name__}: correct the row, or name the column that holds the text",
            path=source,
            line=line,
            field=name,
        )
    if NOT_TEXT.search(text):
        raise DataError("the text holds a NUL or half of a surrogate pair", path=source, line=line, field=name)
    return text


def _parquet_rows(path: Path, text_column: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    if path.suffix.lower() == ".gz":
        raise DataError(
            "Parquet is read where it lies, not out of a .gz: unpack it (its pages are packed anyway)", path=path
        )
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = (text_column,) if text_column is not None else _USUAL_COLUMNS
            columns = next(([name] for name in names if name in file.schema_arrow.names), None)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException, zlib.error) as error:
        raise unreadable(path, error) from error


def _dataset_rows(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    parts = load_dataset(name, streaming=True)
    if len(parts) > 1 and "train" not in parts:
        raise DataError(
            f"the data set has the parts {', '.join(parts)} and none called train: save the one wanted as a file",
            path=name,
        )
    part = parts["train"] if "train" in parts else next(iter(parts.values()))
    try:
        yield from enumerate(part, start=1)
    except (OSError, ValueError) as error:  # what networks and parsers raise; `datasets` derives its own from these
        raise DataError(f"the data set cannot be read to its end: {error}", path=name) from error


def _is_dataset(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def _files_below(folder: Path) -> list[Path | str]:
    files: list[Path | str] = sorted(
        path
        for path in folder.rglob("*")
        if suffix_of(path) in (".txt", ".jsonl", ".parquet")
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise DataError("there is no .txt, .jsonl or .parquet file in this folder or below", path=folder)
    return files
