"""Text to learn a vocabulary from, or to judge one on, read a line at a time: no file is ever held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.data.sources import NOT_TEXT, find_source, json_records, numbered_lines, suffix_of, unreadable
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["find_texts", "read_texts"]

_LINES, _JSON, _PARQUET = (".txt", ".md"), (".jsonl", ".json"), (".parquet",)
_ROWS_AT_ONCE = 1024
_TEXT_COLUMN = "text"


def find_texts(files: Sequence[str | Path], *, data_dir: Path | None = None) -> list[Path]:
    """Find every file before any is read, so that a misspelt name costs no waiting.

    Raises:
        SettingsError: no file is named.
        DataError: a file is missing, a folder, or of no known format.
    """
    if not files:
        raise SettingsError("name at least one file of text")
    paths = []
    for file in files:
        path = find_source(file, data_dir, is_file=True)
        assert path is not None  # only the id of a data set is None
        if path.is_dir():
            raise DataError("this is a folder: name the files in it", path=path)
        if suffix_of(path) not in (*_LINES, *_JSON, *_PARQUET):
            known = ", ".join((*_LINES, *_JSON, *_PARQUET))
            raise DataError(f"the name must end in {known}, or one of the text formats and .gz", path=path)
        paths.append(path)
    return paths


def read_texts(paths: Sequence[Path], *, text_column: str | None = None) -> Iterator[str]:
    """The texts of files one after another: lines of .txt, one column of JSON lines or Parquet; blank ones left out.

    Args:
        paths: as `find_texts` gives them.
        text_column: the column of JSON lines and Parquet; None is "text".

    Raises:
        DataError: a file cannot be read, a line is not UTF-8, or a row has no text in the column.
    """
    column = text_column or _TEXT_COLUMN
    for path in paths:
        texts: Iterator[str]
        if suffix_of(path) in _LINES:
            texts = (text for _, text in numbered_lines(path))
        elif suffix_of(path) in _JSON:
            texts = _json_texts(path, column)
        else:
            texts = _parquet_texts(path, column)
        yield from (text for text in texts if text and not text.isspace())


def _json_texts(path: Path, column: str) -> Iterator[str]:
    for line, record in json_records(path):
        if column not in record:
            there_are = ", ".join(map(repr, record)) or "none"
            raise DataError(
                f"there is no such column here. The columns are {there_are}: name the one of the text",
                path=path,
                line=line,
                field=column,
            )
        yield _check(record[column], path, line, column)


def _parquet_texts(path: Path, column: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                there_are = ", ".join(map(repr, names))
                raise DataError(
                    f"there is no such column. The columns are {there_are}: name the one of the text",
                    path=path,
                    field=column,
                )
            row = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield _check(value, path, row, column)
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error


def _check(value: object, path: Path, line: int, column: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"expected text, found {value!r:.40}", path=path, line=line, field=column)
    if NOT_TEXT.search(value):
        raise DataError("the text holds a NUL or half of a surrogate pair", path=path, line=line, field=column)
    return value
