"""Rows of files and of standard input, one at a time. Run: pytest tests/test_pipelines_inputs.py."""

from __future__ import annotations

import gzip
import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tiny import write_rows
from unmask import read_inputs
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [("a dog", "one"), ('the "cat", | run', "two"), ("in", "one")]


def texts_of(*arguments: Any, **options: Any) -> list[Any]:
    return [row.value for row in read_inputs(*arguments, **options)]


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "parquet"])
def test_the_column_of_the_text(tmp_path: Path, suffix: str) -> None:
    file = write_rows(tmp_path / f"texts.{suffix}", ROWS, header=("sentence", "label"))
    assert texts_of(file) == [text for text, _ in ROWS]
    assert texts_of(file, text="label") == ["one", "two", "one"]
    pairs = texts_of(file, text="label", text_pair="sentence")
    assert pairs == [{"text": label, "text_pair": text} for text, label in ROWS]
    assert [row.line for row in read_inputs(file)] == ([1, 2, 3] if suffix in ("jsonl", "parquet") else [2, 3, 4])
    with pytest.raises(DataError, match=r"no column is named words; the columns are 'sentence', 'label'"):
        texts_of(file, text="words")


def test_lines_of_text(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("\ufeffa dog\r\n\n the cat\n".encode())
    rows = list(read_inputs(tmp_path / "texts.txt"))
    assert [(row.value, row.line) for row in rows] == [("a dog", 1), (" the cat", 3)]
    assert rows[0].source.endswith("texts.txt")
    with gzip.open(tmp_path / "texts.txt.gz", "wb") as file:
        file.write(b"a dog\n")
    assert texts_of(tmp_path / "texts.txt.gz") == ["a dog"]
    with pytest.raises(SettingsError, match="has lines of text and no columns: leave text out"):
        texts_of(tmp_path / "texts.txt", text="sentence")


def test_texts_in_quotes_and_questions(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('"a dog"\n\n"the cat"\n')
    assert texts_of(tmp_path / "texts.jsonl") == ["a dog", "the cat"]
    asked = {"id": 3, "question": "who?", "context": "a dog"}
    (tmp_path / "asked.jsonl").write_text(json.dumps(asked))
    assert texts_of(tmp_path / "asked.jsonl", question="question", context="context") == [
        {"question": "who?", "context": "a dog"}
    ]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbfa dog\r\n\nthe cat"), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", given)
    assert [(row.value, row.line) for row in read_inputs()] == [("a dog", 1), ("the cat", 3)]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\nb\xff"), isatty=lambda: False))
    with pytest.raises(DataError, match=r"standard input, line 2: byte 2 \(0xff\) is not UTF-8"):
        texts_of("-")


def test_a_file_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    """The mistake in line 3 is met when one comes to it."""
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": \n')
    rows = read_inputs(tmp_path / "texts.jsonl")
    assert [next(rows).value, next(rows).value] == ["a", "b"]
    with pytest.raises(DataError, match=r"texts\.jsonl, line 3: not JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("texts.docx", b"a", r"the name must end in \.txt, \.jsonl"),
        ("texts.tsv", b"text\tx\na\n", r"line 2: expected 2 columns \('text', 'x'\) and found 1"),
        ("texts.tsv", b"text\ttext\na\tb\n", "line 1: two columns have one name"),
        ("texts.tsv", b"words\na\n", "no column is named text or sentence or sentence1 or document or review"),
        ("texts.csv", b'text\n"a', "the row that starts here is not CSV"),
        ("texts.jsonl", b"[1, 2]", r"line 1: a list \(\[1, 2\]\) where an object should be"),
        ("texts.jsonl", b'{"text": "a"}\n{"other": 1}', "line 2: no column is named text; the columns are 'other'"),
        ("texts.txt", b"a\n\xff", r"line 2: byte 1 \(0xff\) is not UTF-8"),
        ("texts.parquet", b"PAR1", "the file cannot be read"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        texts_of(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path / "nothing.txt", tmp_path):
        with pytest.raises(DataError, match=r"there is no such file|texts are read from a file"):
            texts_of(source)
