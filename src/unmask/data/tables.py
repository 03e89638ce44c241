"""Labelled files as columns of text: TSV, CSV, JSON lines, Parquet, and data sets of the hub.

The readers of text formats are our own few lines because a mistake must be reported with its file and line, and because
GLUE-style TSV knows no quoting: a general reader takes a lone `"` for an opening quote and swallows the rows behind it.
Parquet is read by pyarrow, and everything named like a data set (`org/name`, or a folder) by `datasets`.

Text files are UTF-8 (see `unmask.data.sources`); blank lines are no rows. Any file may be gzipped (`.gz`).
"""

from __future__ import annotations

import csv
import io
import itertools
import reprlib
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.data.sources import (
    NOT_TEXT,
    OTHER_FILE,
    find_source,
    json_records,
    load_dataset,
    numbered_lines,
    open_binary,
    suffix_of,
    unreadable,
)
from unmask.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterable, Iterator, Sequence

    import datasets
    import pyarrow

__all__ = ["Table", "csv_reader", "csv_rows", "names_a_file", "read_table", "tsv_rows"]

_LONGEST_FIELD = 2**31 - 1  # characters; the csv module's own limit, 131,072, is shorter than some documents
_SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl", ".json", ".parquet")
_OF_TAGS = (".conll", ".conllu", ".bio", ".iob")  # what files of tags are often called


@dataclass(frozen=True)
class Table:
    """Rows of a file or data set, by column.

    Args:
        source: the path or hub id, for messages.
        columns: the values of each column as they were found; `column` gives them as text.
        lines: where each row starts, from 1: its line in a text file, its row in Parquet or a data set.
    """

    source: str
    columns: dict[str, list[Any]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """One string per row: numbers as Python writes them, booleans as `true` and `false`.

        Raises:
            DataError: there is no such column, or a row of it has no value, or one that is neither text nor number.
        """
        if name not in self.columns:
            there_are = ", ".join(map(reprlib.repr, self.columns))
            raise DataError(
                f"there is no such column. The columns are {there_are}; if these are data, the file has no header and "
                "its columns must be named",
                path=self.source,
                field=name,
            )
        return [
            _as_text(value, source=self.source, line=line, field=name)
            for value, line in zip(self.columns[name], self.lines, strict=True)
        ]


def read_table(
    source: str | Path,
    *,
    column_names: Sequence[str] | None = None,
    header: bool | None = None,
    split: str | None = None,
    data_dir: Path | None = None,
) -> Table:
    r"""Read a labelled file or data set.

    A file's format follows from its name:

    - `.tsv`, `.txt`: fields between tabs, no quoting, every character taken as it is.
    - `.csv`: fields between commas, quoted as RFC 4180 says; a quoted field may hold line breaks.
    - `.jsonl`, `.json`: one JSON object a line; its keys are the columns.
    - `.parquet`: columns that hold labels as `datasets` stores them (`ClassLabel`) are read as the labels' names.

    Args:
        source: a file; or a data set for `datasets`: a folder, `org/name`, or `org/name:config` (`nyu-mll/glue:cola`).
            A relative path is looked for in the working directory, then in the data folder.
        column_names: names for the columns of a TSV or CSV file.
        header: whether the first line of a TSV or CSV file is a header. If None, it is one unless `column_names` are
            given. A header is passed over in favour of `column_names`; without either, columns are "1", "2", ...
        split: which part of a data set to read; may be left out where there is only one.
        data_dir: the data folder; if None, the environment variable UNMASK_DATA_DIR names it.

    Raises:
        DataError: the source is missing, unreadable or empty, or a row is not as the others.
    """
    path = find_source(source, data_dir, is_file=names_a_file(source))
    if path is None or path.is_dir():
        if column_names is not None:
            raise DataError("a data set names its own columns: leave out the column names", path=source)
        return _read_dataset(str(source) if path is None else str(path), split)
    if split is not None:
        raise DataError(f"this is one file, with no part {split!r}: leave out the split", path=path)

    suffix = suffix_of(path)
    if suffix in (".tsv", ".txt", ".csv"):
        rows = csv_rows(path) if suffix == ".csv" else tsv_rows(path)
        return _table_from_rows(path, rows, column_names, has_header=column_names is None if header is None else header)
    if column_names is not None:
        raise DataError(f"a {suffix} file names its own columns: leave out the column names", path=path)
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix in (".jsonl", ".json"):
        return _read_json_lines(path)
    told = f"the name must end in {', '.join(_SUFFIXES)}, or one of these and .gz"
    if suffix in _OF_TAGS:
        told += "; a file of tagged words is for the task tagging, as in `unmask check tagging`"
    raise DataError(told, path=path)


def names_a_file(source: str | Path) -> bool:
    """Whether this is the name of a file that `read_table` or `read_tagged` reads, and not of a data set."""
    return suffix_of(Path(source)) in (*_SUFFIXES, *_OF_TAGS)


def tsv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line of a TSV file that is not empty, and its number."""
    for number, line in numbered_lines(path):
        if line:
            yield number, line.split("\t")


def csv_reader(lines: Iterable[str]) -> Reader:
    """A reader of the lines of a CSV file, given without their ends; its `line_num` counts those it has read."""
    csv.field_size_limit(_LONGEST_FIELD)
    return csv.reader((line + "\n" for line in lines), strict=True)


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row of a CSV file, and the line it starts in."""
    reader = csv_reader(line for _, line in numbered_lines(path))
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1  # a row may span lines
    except csv.Error as error:
        raise DataError(
            f"the row that starts here is not CSV ({error}): close its quotes and double those inside, "
            "or call the file .tsv if tabs part the columns",
            path=path,
            line=start,
        ) from error


def _table_from_rows(
    path: Path, rows: Iterator[tuple[int, list[str]]], column_names: Sequence[str] | None, *, has_header: bool
) -> Table:
    first = next(rows, None)
    if first is None:
        raise DataError(f"the file is empty: {OTHER_FILE}", path=path)
    if has_header:
        names = first[1] if column_names is None else list(column_names)
    else:
        names = [str(i + 1) for i in range(len(first[1]))] if column_names is None else list(column_names)
        rows = itertools.chain([first], rows)
    _refuse_duplicates(names, path=path, line=first[0])

    lines, records = [], []
    for line, row in rows:
        if len(row) != len(names):
            there_are = ", ".join(map(reprlib.repr, names))
            raise DataError(
                f"expected {len(names)} columns ({there_are}) and found {len(row)}: correct the row, "
                "or the names of the columns",
                path=path,
                line=line,
            )
        lines.append(line)
        records.append(row)
    if not records:
        raise DataError(
            "there is a header and no row: add rows, or name the columns with --column-names if this line is a row",
            path=path,
        )
    return Table(str(path), dict(zip(names, map(list, zip(*records, strict=True)), strict=True)), lines)


def _read_json_lines(path: Path) -> Table:
    lines, records = [], []
    for number, record in json_records(path):
        lines.append(number)
        records.append(record)
    if not records:
        raise DataError(f"the file is empty: {OTHER_FILE}", path=path)
    names = dict.fromkeys(name for record in records for name in record)
    return Table(str(path), {name: [record.get(name) for record in records] for name in names}, lines)


def _read_parquet(path: Path) -> Table:
    import pyarrow.parquet

    try:
        with open_binary(path) as file:
            content = pyarrow.parquet.ParquetFile(io.BytesIO(file.read())).read()
        features = None
        if b"huggingface" in (content.schema.metadata or {}):
            import datasets

            features = datasets.Features.from_arrow_schema(content.schema)
        return _table_from_arrow(str(path), content, features)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error


def _read_dataset(name: str, split: str | None) -> Table:
    parts = load_dataset(name)
    if split is None and len(parts) == 1:
        split = next(iter(parts))
    if split not in parts:
        asked = "name one" if split is None else f"there is no {split!r}"
        raise DataError(f"the data set has the parts {', '.join(parts)}: {asked}", path=name)
    part = parts[split]
    return _table_from_arrow(f"{name} ({split})", part.with_format("arrow")[:], part.features)


def _table_from_arrow(source: str, content: pyarrow.Table, features: datasets.Features | None) -> Table:
    _refuse_duplicates(content.column_names, path=source)
    if not content.num_rows:
        raise DataError(f"there is no row: {OTHER_FILE}", path=source)
    columns = {name: content.column(name).to_pylist() for name in content.column_names}
    for name, feature in (features or {}).items():
        if (label_names := getattr(feature, "names", None)) is not None:  # a ClassLabel; -1 is a row without label
            columns[name] = [None if label in (None, -1) else label_names[label] for label in columns[name]]
    return Table(source, columns, list(range(1, content.num_rows + 1)))


def _as_text(value: Any, *, source: str, line: int, field: str) -> str:
    if isinstance(value, str):
        if NOT_TEXT.search(value):
            raise DataError("the text holds a NUL or half of a surrogate pair", path=source, line=line, field=field)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value != value:  # NaN: pandas's word for a missing value
        raise DataError("the row has no value here", path=source, line=line, field=field)
    if isinstance(value, int | float):
        return str(value)
    raise DataError(f"expected text or a number, found {reprlib.repr(value)}", path=source, line=line, field=field)


def _refuse_duplicates(names: Iterable[str], *, path: Path | str, line: int | None = None) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{count} columns have this name: rename all but one", path=path, line=line, field=name)
