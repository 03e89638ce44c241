"""Checks of a text file before anything is read from it: its bytes and its lines."""

from __future__ import annotations

import codecs
import csv
import re
import zlib
from collections import Counter
from typing import TYPE_CHECKING

from unmask.data.findings import Finding
from unmask.data.sources import open_binary, unreadable
from unmask.data.tables import csv_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from unmask.checks.sieve import Lines

__all__ = ["find_quotes", "read_lines", "rows_of_csv"]

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
    if content.startswith(_UTF16):
        problem = "the file is UTF-16, as Windows programs call Unicode: save it as UTF-8"
        return [], [Finding("encoding", problem, str(path), 1, severity="error")]
    raw = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    is_ended = not raw[-1]
    if is_ended:
        raw.pop()
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
            line = content.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            problem = f"byte {error.start + 1} (0x{content[error.start]:02x}) is not UTF-8{_guess(content)}"
            advice = "save the file as UTF-8"
            findings.append(Finding("encoding", problem, str(path), number, severity="error", advice=advice))
            continue
        if "\0" in line:
            problem = "there is a NUL byte: is this a text file, saved as UTF-8?"
            findings.append(Finding("encoding", problem, str(path), number, severity="error"))
            continue
        lines.append((number, line))
    return lines, findings


def _guess(content: bytes) -> str:
    """Name an encoding in which a line is plausible text, or nothing."""
    try:
        text = content.decode("cp949")
    except UnicodeDecodeError:
        return ""
    num_hangul = sum("가" <= character <= "힣" for character in text)
    num_foreign = sum(not character.isascii() for character in text)
    return f"; as CP949 it reads {text[:20]!r}" if num_hangul >= max(2, 0.9 * num_foreign) else ""


def _find_line_ends(path: Path, raw: Sequence[bytes], *, is_ended: bool) -> Iterator[Finding]:
    """Line ends of two kinds, and carriage returns inside a line; `is_ended` tells whether the last line has an end."""
    has_return = [content.endswith(b"\r") for content in (raw if is_ended else raw[:-1])]
    counts = Counter(has_return)
    if len(counts) > 1:
        rarer = counts[True] <= counts[False]
        yield Finding(
            "line_ends",
            f"{counts[True]:,} lines end in CRLF and {counts[False]:,} in LF alone; the first of the fewer is here",
            str(path),
            has_return.index(rarer) + 1,
            advice="files were perhaps joined: look at the seam, and save with one kind of line end",
        )
    inside = [number for number, content in enumerate(raw, start=1) if b"\r" in content[:-1].rstrip(b"\r")]
    if inside:
        yield Finding(
            "line_ends",
            f"{len(inside):,} lines have a carriage return inside, where old programs end a line",
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
            f"{len(wrapped):,} of {len(lines):,} rows have a field between quotes, which are read as part of the text",
            str(path),
            wrapped[0],
            advice="a program that quotes has written the file: write it without quoting, or as .csv",
        )
    if opened:
        yield Finding(
            "quotes",
            f'{len(opened):,} rows have a field that begins with a " which its end does not close; unmask reads it as '
            "text",
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
                    f"a quote opens here and closes in line {row[-1][0]}: the {len(inner):,} lines between are one "
                    "field, and look like rows",
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
