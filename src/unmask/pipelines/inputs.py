"""What pipelines are asked: one text or pair, checked; and the rows of a file, or of standard input, one at a time.

| file | a row is |
| --- | --- |
| `.txt`, standard input | a line that is not blank |
| `.jsonl`, `.json` | an object, or a text in quotes, one a line |
| `.tsv`, `.csv` | a line under the header |
| `.parquet` | a row |

Any but Parquet may be gzipped (`.gz`).
"""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unmask.data.sources import NOT_TEXT, find_source, numbered_lines, suffix_of, unreadable
from unmask.data.tables import csv_rows, tsv_rows
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


__all__ = ["InputRow", "TextInput", "check_text", "parse_record", "parse_text", "read_inputs"]

_TEXT_COLUMNS = ("text", "sentence", "sentence1", "document", "review")  # the column of the text, unless it is named

_SUFFIXES = (".txt", ".jsonl", ".json", ".tsv", ".csv", ".parquet")
_ROWS_AT_ONCE = 1024  # of a Parquet file


@dataclass(frozen=True, slots=True)
class TextInput:
    """A text or a pair of texts to be asked about.

    Args:
        text: the text.
        text_pair: its second text, or None.
        source: where it comes from, for messages.
        line: which it is there, from 1.
    """

    text: str
    text_pair: str | None
    source: str
    line: int

    def error(self, problem: str) -> DataError:
        """Say what is wrong with it."""
        return DataError(problem, path=self.source, line=self.line)


@dataclass(frozen=True, slots=True)
class InputRow:
    """What one row of a file asks, and where it stands. Pipelines take it like its value.

    Args:
        value: a text, or an object of several.
        source: the file.
        line: of the row in it; in Parquet its number; both from 1.
    """

    value: Any
    source: str
    line: int


def check_text(value: Any, what: str, *, source: str, line: int, may_be_empty: bool = False) -> str:
    """Make sure that a value is text that a tokenizer can take.

    Args:
        value: what was given.
        what: what it is called in a message, such as "the question".
        source: where it comes from.
        line: which it is there.
        may_be_empty: whether blanks alone, or nothing, will do.

    Raises:
        DataError: it is not.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} is {_described(value)}: it must be text", path=source, line=line)
    if NOT_TEXT.search(value):
        raise DataError(f"{what} holds a NUL or half of a surrogate pair: repair or remove it", path=source, line=line)
    if not may_be_empty and not value.strip():
        raise DataError(f"{what} is empty: write it, or leave it out", path=source, line=line)
    return value


def parse_text(
    value: Any,
    *,
    source: str,
    line: int,
    pair: Literal["never", "may", "must"] = "never",
    may_be_empty: bool = False,
) -> TextInput:
    """Read a text, a pair of texts in a list or tuple, or an object with the keys text and text_pair.

    Args:
        value: what was given.
        source: where it comes from.
        line: which it is there, from 1.
        pair: whether there may, must or must not be a second text.
        may_be_empty: whether the text may be blank.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(value, list | tuple):
        if len(value) != 2 or pair == "never":
            expected = "one text" if pair == "never" else "two texts"
            raise DataError(f"{_described(value)} where {expected} should be", path=source, line=line)
        value = {"text": value[0], "text_pair": value[1]}
    if not isinstance(value, Mapping):
        value = {"text": value}
    given = parse_record(
        value,
        needed=("text", "text_pair") if pair == "must" else ("text",),
        allowed=("text_pair",) if pair == "may" else (),
        source=source,
        line=line,
    )
    second = given.get("text_pair")
    is_empty_allowed = may_be_empty or (second is not None and pair == "may")
    text = check_text(given["text"], "the text", source=source, line=line, may_be_empty=is_empty_allowed)
    if second is not None or pair == "must":
        is_empty_allowed = pair == "may" and bool(text.strip())
        check_text(second, "the second text", source=source, line=line, may_be_empty=is_empty_allowed)
    return TextInput(text=text, text_pair=second, source=source, line=line)


def parse_record(
    value: Any, *, needed: Sequence[str], allowed: Sequence[str] = (), source: str, line: int
) -> Mapping[str, Any]:
    """Make sure that an object has these keys, and no others.

    Args:
        value: what was given.
        needed: keys that must be there.
        allowed: others that may.
        source: where it comes from.
        line: which it is there.

    Raises:
        DataError: it is no object, or not with these keys.
    """
    if not isinstance(value, Mapping):
        raise DataError(
            f"{_described(value)} where an object with the keys {' and '.join(needed)} should be",
            path=source,
            line=line,
        )
    missing = [key for key in needed if key not in value]
    strange = [key for key in value if key not in (*needed, *allowed)]
    if missing or strange:
        problem = f"{missing[0]} is missing" if missing else f"{strange[0]!r} is no key it can have"
        keys = " and ".join(needed) + (f", perhaps {' and '.join(allowed)}" if allowed else "")
        raise DataError(f"{problem}: give an object with {keys}", path=source, line=line)
    return value


def read_inputs(
    source: str | Path | None = None, *, data_dir: Path | None = None, **columns: str
) -> Iterator[InputRow]:
    """Read what a pipeline is to be asked from a file, or from standard input, a row at a time.

    Args:
        source: the file; None, or "-", is standard input, a text a line. A relative path is looked for in the working
            directory, then in the data folder.
        data_dir: the data folder; None is what the environment variable UNMASK_DATA_DIR names.
        columns: which column, or key, holds what, by the names that the pipeline has for it:
            `read_inputs("mrpc.tsv", text="sentence1", text_pair="sentence2")`. Without, the text is in the first there
            is of text, sentence, sentence1, document and review; a `.txt` file has no columns.

    Yields:
        Rows whose values are texts, or objects if columns other than text are named.

    Raises:
        DataError: the file is missing or broken, or a column is; at the row where it is found.
        SettingsError: columns are named of lines of text.
    """
    if source is None or str(source) == "-":
        rows, has_columns, name = _lines_of_stdin(), False, "standard input"
    else:
        path = find_source(source, data_dir, is_file=True)
        if path is None or path.is_dir():
            raise DataError("texts are read from a file: name one", path=source)
        suffix = suffix_of(path)
        if suffix not in _SUFFIXES:
            raise DataError(f"the name must end in {', '.join(_SUFFIXES)}", path=path)
        readers: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
            ".txt": _lines,
            ".jsonl": _json_values,
            ".json": _json_values,
            ".tsv": lambda path: _under_header(tsv_rows(path), path),
            ".csv": lambda path: _under_header(csv_rows(path), path),
            ".parquet": _parquet_records,
        }
        rows, has_columns, name = readers[suffix](path), suffix != ".txt", str(path)
    if columns and not has_columns:
        raise SettingsError(f"{name} has lines of text and no columns: leave {', '.join(columns)} out")
    return _chosen(rows, columns, name) if has_columns else (InputRow(text, name, line) for line, text in rows)


def _chosen(rows: Iterator[tuple[int, Any]], columns: Mapping[str, str], source: str) -> Iterator[InputRow]:
    """Take the named columns out of each row, or the usual one."""
    usual: str | None = None
    for line, row in rows:
        if isinstance(row, str) and not columns:
            yield InputRow(row, source, line)
            continue
        if not isinstance(row, dict):
            raise DataError(f"{_described(row)} where an object should be", path=source, line=line)
        if columns:
            for column in columns.values():
                if column not in row:
                    raise _no_column(column, row, source, line)
            values = {key: row[column] for key, column in columns.items()}
            yield InputRow(values["text"] if list(values) == ["text"] else values, source, line)
            continue
        if usual is None:
            usual = next((column for column in _TEXT_COLUMNS if column in row), None)
        if usual is None or usual not in row:
            raise _no_column(usual or " or ".join(_TEXT_COLUMNS), row, source, line)
        yield InputRow(row[usual], source, line)


def _no_column(column: str, row: Mapping[str, Any], source: str, line: int) -> DataError:
    there_are = ", ".join(map(reprlib.repr, row)) or "none"
    return DataError(f"no column is named {column}; the columns are {there_are}", path=source, line=line)


def _lines_of_stdin() -> Iterator[tuple[int, str]]:
    if sys.stdin.isatty():
        print("type texts, one a line; ctrl-D ends", file=sys.stderr)
    for line, content in enumerate(sys.stdin.buffer, start=1):
        if line == 1:
            content = content.removeprefix(b"\xef\xbb\xbf")
        try:
            text = content.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"byte {error.start + 1} (0x{content[error.start]:02x}) is not UTF-8", path="standard input", line=line
            ) from error
        if text.strip():
            yield line, text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((line, text) for line, text in numbered_lines(path) if text.strip())


def _json_values(path: Path) -> Iterator[tuple[int, Any]]:
    for line, text in _lines(path):
        try:
            yield line, json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON ({error})", path=path, line=line) from error


def _under_header(rows: Iterator[tuple[int, list[str]]], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    line, names = next(rows, (1, []))
    if len(set(names)) < len(names):
        raise DataError("two columns have one name: rename one", path=path, line=line)
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"expected {len(names)} columns ({', '.join(map(reprlib.repr, names))}) and found {len(row)}",
                path=path,
                line=line,
            )
        yield line, dict(zip(names, row, strict=True))


def _parquet_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error


def _described(value: Any) -> str:
    """What a value is, as people call it."""
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "an object",
    }
    if value is None:
        return "nothing"
    return f"{kinds.get(type(value), type(value).__name__)} ({reprlib.repr(value)})"
