"""Checks of a text file before anything is read from it: its bytes and its lines."""

from __future__ import annotations

import codecs
import csv
import re
import zlib
from collections import Counter
from typing import TYPE_CHECKING

from unmask.data.findings import Finding, count_of
from unmask.data.sources import SAVE_AS_UTF8, UTF16_MARKS, decode_line, open_binary, unreadable
from unmask.data.tables import csv_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from unmask.checks.sieve import Lines

__all__ = ["find_quotes", "read_lines", "rows_of_csv"]

_WRAPPED = re.compile(r'(?:^|\t)"[^\t]*"(?=\t|$)')
_OPENED = re.compile(r'(?:^|\t)"(?![^\t]*"(?:\t|$))')


def read_lines(path: Path) -> tuple[Lines, list[Finding]]:
    """The lines of a file that are text, with their numbers, and what is odd about its bytes.

    Line ends and the byte order mark are taken away as readers do.

    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        with open_binary(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    raw = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    is_ended = not raw[-1]
    if is_ended:
        raw.pop()
    if content.startswith(UTF16_MARKS):
        raw = raw[:1]  # each other line would be said to hold a NUL
    lines, findings = _decode(path, raw)
    findings += _find_line_ends(path, raw, is_ended=is_ended)
    if content.startswith(codecs.BOM_UTF8):
        problem = "the file begins with a byte order mark; unmask leaves it out, other programs may read it as text"
        findings.append(Finding("byte_order_mark", problem, str(path), 1, severity="note", advice="save without BOM"))
    return lines, findings


def _decode(path: Path, raw: Sequence[bytes]) -> tuple[Lines, list[Finding]]:
    """The lines that are UTF-8, and an error for each that is not."""
    lines: Lines = []
    findings = []
    for number, content in enumerate(raw, start=1):
        try:
            lines.append((number, decode_line(content, is_first=number == 1)))
        except ValueError as error:
            findings.append(Finding("encoding", str(error), str(path), number, severity="error", advice=SAVE_AS_UTF8))
    return lines, findings


def _find_line_ends(path: Path, raw: Sequence[bytes], *, is_ended: bool) -> Iterator[Finding]:
    """Line ends of two kinds, and carriage returns inside a line; `is_ended` tells whether the last line has an end."""
    has_return = [content.endswith(b"\r") for content in (raw if is_ended else raw[:-1])]
    counts = Counter(has_return)
    if len(counts) > 1:
        rarer = counts[True] <= counts[False]
        yield Finding(
            "line_ends",
            f"{count_of(counts[True], 'line')} ending in CRLF and {counts[False]:,} in LF alone; the first of the "
            "fewer is here",
            str(path),
            has_return.index(rarer) + 1,
            advice="files were perhaps joined: look at the seam, and save with one kind of line end",
        )
    inside = [number for number, content in enumerate(raw, start=1) if b"\r" in content[:-1].rstrip(b"\r")]
    if inside:
        yield Finding(
            "line_ends",
            f"there is a carriage return inside of {count_of(len(inside), 'line')}, where old programs end one",
            str(path),
            inside[0],
            advice="save the file with LF line ends",
        )


def find_quotes(path: Path, lines: Lines) -> Iterator[Finding]:
    """Quotes in a file of tab-separated columns, where they are text to us, and quoting to other programs."""
    wrapped = [number for number, line in lines if '"' in line and _WRAPPED.search(line)]
    opened = [number for number, line in lines if '"' in line and _OPENED.search(line)]
    if lines and len(wrapped) > len(lines) / 2:
        yield Finding(
            "quotes",
            f"a field stands between quotes in {len(wrapped):,} of {count_of(len(lines), 'row')}, and they are read as "
            "part of the text",
            str(path),
            wrapped[0],
            advice="a program that quotes has written the file: write it without quoting, or as .csv",
        )
    if opened:
        yield Finding(
            "quotes",
            f'a field begins with a " which its end does not close, in {count_of(len(opened), "row")}; unmask reads it '
            "as text",
            str(path),
            opened[0],
            severity="note",
            advice="programs that know quoting swallow the rows behind it: in pandas, give quoting=3",
        )


def rows_of_csv(path: Path, lines: Lines) -> tuple[list[Lines], list[Finding]]:
    """The lines of each row of a CSV file, and quotes that have swallowed rows.

    A row goes on while a field that began with a quote is open. One that never closes is taken for a row of one line.
    """
    rows: list[Lines] = []
    findings = []
    num_commas = lines[0][1].count(",") if lines else 0
    for row in _parted(lines):
        inner = row[1:-1]
        num_alike = sum(line.count(",") == num_commas > 0 for _, line in inner)
        if num_alike > len(inner) / 2:
            findings.append(
                Finding(
                    "quotes",
                    f"a quote opens here and closes in line {row[-1][0]}: what is between, "
                    f"{count_of(len(inner), 'line')}, is one field and looks like rows",
                    str(path),
                    row[0][0],
                    advice="close the quote, and double quotes inside a field",
                )
            )
        rows.append(row)
    return rows, findings


def _parted(lines: Lines) -> Iterator[Lines]:
    """The lines of each row, as training's reader of CSV parts them; also of those it refuses."""
    start = 0
    while start < len(lines):
        reader, first = csv_reader(line for _, line in lines[start:]), start
        while start < len(lines):
            fields, is_refused = [], False
            try:
                fields = next(reader)
            except csv.Error:
                is_refused = True
            stop = first + reader.line_num
            if is_refused and stop == len(lines) and stop > start + 1:  # begin anew behind the quote's line
                yield lines[start : start + 1]
                start += 1
                break
            if fields or is_refused:
                yield lines[start:stop]
            start = stop
