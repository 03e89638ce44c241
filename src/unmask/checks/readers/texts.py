"""Reading texts with labels, whatever the errors of their file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from unmask.checks.raw import find_quotes, read_lines, rows_of_csv
from unmask.checks.sieve import Log, Sieve, is_general, read_excerpt
from unmask.checks.subject import Item
from unmask.data import Finding, Table, read_table
from unmask.data.sources import suffix_of
from unmask.errors import DataError
from unmask.tasks import MultiLabel, Regression
from unmask.tasks.multi_label import parse_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from unmask.checks.sieve import Lines, Reader
    from unmask.tasks import Reading, TextExample, TextTask

__all__ = ["read_label_sets", "read_one_label"]

_TABS, _LINES = (".tsv", ".txt"), (".tsv", ".txt", ".csv", ".jsonl", ".json")


def _read_texts(kind: type[TextTask], source: str, path: Path | None, reading: Reading, log: Log) -> list[TextExample]:
    found = _read_table(source, path, reading, log)
    if found is None:
        return []
    if not reading.options.skip_empty:
        return _sift(partial(kind.from_table, reading=reading), found, log)
    texts = _sift(partial(kind.from_table, reading=reading, with_labels=False), found, Log(log.path))  # told below
    empty = {example.line for example in texts if example.is_empty}
    for line in sorted(empty):
        problem, advice = "the text is empty, there is nothing to read in it", "the row is left out"
        log.findings.append(Finding("empty_field", problem, log.path, line, advice=advice))
    rest = _rows_of(found, [i for i, line in enumerate(found.lines) if line not in empty])
    if not len(rest):
        return kind.from_table(found, reading)  # which says what is wrong with that
    whole = replace(reading, options=replace(reading.options, skip_empty=False))  # nothing more to leave out
    return _sift(partial(kind.from_table, reading=whole), rest, log)


def _sift(read: Callable[[Table], list[TextExample]], table: Table, log: Log) -> list[TextExample]:
    """Read the rows of a table that can be read, and take down what is wrong with the others.

    Raises:
        DataError: what is wrong is not wrong with a row, such as a column that is missing.
    """
    try:
        return read(table)
    except DataError as error:
        if error.line is None:
            raise
        sieve: Sieve[int, TextExample] = Sieve(lambda rows: read(_rows_of(table, rows)))
        examples = sieve(range(len(table)))
        log.take(sieve, error)
        return examples


def _rows_of(table: Table, rows: Sequence[int]) -> Table:
    columns = {name: [values[i] for i in rows] for name, values in table.columns.items()}
    return Table(table.source, columns, [table.lines[i] for i in rows])


def _read_table(source: str, path: Path | None, reading: Reading, log: Log) -> Table | None:
    """Read the rows that are as they should be; None if there are none."""

    def read_at(place: Path | str) -> Table:
        return read_table(place, column_names=reading.column_names, split=reading.split, data_dir=reading.data_dir)

    if path is None or path.is_dir() or suffix_of(path) not in _LINES:
        return read_at(source)
    suffix = suffix_of(path)
    lines, findings = read_lines(path)
    log.findings += findings
    if suffix == ".csv":
        units, findings = rows_of_csv(path, lines)
        log.findings += findings
    elif suffix in _TABS:
        units = [[line] for line in lines if line[1]]
        log.findings += find_quotes(path, lines)
    else:
        units = [[line] for line in lines if line[1].strip()]
    log.num_refused += log.num_errors
    error = None
    if not log.num_errors:
        try:
            return read_at(path)
        except DataError as refusal:
            error = refusal
    has_header = suffix not in (".jsonl", ".json") and reading.column_names is None
    if has_header and any(finding.severity == "error" and finding.line == 1 for finding in log.findings):
        return None
    head, units = (units[:1], units[1:]) if has_header else ([], units)
    if error is not None and is_general(error, units):
        raise error

    def read(rows: Sequence[Lines]) -> list[Table]:
        excerpt = [line for row in (*head, *rows) for line in row]
        table = read_excerpt(path, excerpt, read_at)
        return [Table(str(path), table.columns, [excerpt[line - 1][0] for line in table.lines])]

    sieve = Sieve(read)
    tables = sieve(units)
    log.take(sieve, error)
    return _join(tables) if tables else None


def _join(tables: Sequence[Table]) -> Table:
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {
        name: [value for table in tables for value in table.columns.get(name, [None] * len(table))] for name in names
    }
    return Table(tables[0].source, columns, [line for table in tables for line in table.lines])


def _text_items(examples: Iterable[TextExample], labels_of: Callable[[TextExample], tuple[str, ...]]) -> list[Item]:
    items = []
    for example in examples:
        texts = (example.text,) if example.text_pair is None else (example.text, example.text_pair)
        items.append(
            Item(
                texts=texts,
                pieces=texts,
                labels=labels_of(example),
                line=example.line,
                label_column=example.label_column,
                example=example,
            )
        )
    return items


def read_one_label(kind: type[TextTask]) -> Reader:
    """Make the reader of a task with one label, or score, a text."""

    def read(source: str, path: Path | None, reading: Reading, log: Log) -> list[Item]:
        return _text_items(_read_texts(kind, source, path, reading, log), labels_of)

    def labels_of(example: TextExample) -> tuple[str, ...]:
        label = example.label or ""
        return (repr(float(label)) if kind is Regression else label,)  # 4.40 is 4.4

    return read


def read_label_sets(source: str, path: Path | None, reading: Reading, log: Log) -> list[Item]:
    """Read texts with any number of labels."""
    known: dict[str, tuple[str, ...]] = {}

    def labels_of(example: TextExample) -> tuple[str, ...]:
        written = example.label or ""
        if written not in known:
            known[written] = tuple(sorted(set(parse_labels(example, reading.options))))
        return known[written]

    return _text_items(_read_texts(MultiLabel, source, path, reading, log), labels_of)
