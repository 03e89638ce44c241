"""`unmask corpus`: what is typed, printed and returned. Run: pytest tests/test_workflows_corpus.py."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

import unmask
from tiny import everything_in, save_tiny_bert
from tiny import unmask as run
from unmask.pretraining import BuildProgress, TokenStore
from unmask.workflows.corpus import ReadingProgress

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "these dogs sleep. The cat runs.\n\nthe cat sings\n\nthe queen\nthe king eats. The bird walks.\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_tiny_bert(tmp_path / "bert")
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text(TEXT)
    return tmp_path


def test_build_and_show(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = ("corpus", "build", place / "books", "--tokenizer", place / "bert", "--output-dir")
    assert run(*build, place / "store") == 0
    printed = capsys.readouterr().out
    for row in ("documents │  3", "sentences │  6", "words │ 17", "tokens a word │ ", "language │  en"):
        assert " ".join(row.split()) in " ".join(printed.split()), row
    assert f"store   {place / 'store'}" in printed

    assert run(*build, place / "again", "--workers", "2", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert everything_in(place / "again") == everything_in(place / "store")
    assert record["folder"] == str(place / "again")
    assert record["num_documents"] == 3
    assert [source["name"] for source in record["sources"]] == [str(place / "books" / "a.txt")]

    assert run("corpus", "show", place / "store", "--documents", "2", "--verify") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "document 0: 2 sentences, 10 tokens" in printed  # "dogs" and "runs" are two pieces each
    assert "│ 1 │ these dogs sleep. │ │ 2 │ the cat runs. │" in printed
    assert "document 1: 1 sentence, 4 tokens" in printed

    assert run("corpus", "show", place / "store", "--sentences", "2", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [document["sentences"] for document in shown["documents"]] == [
        ["these dogs sleep.", "the cat runs."],
        ["the cat sings"],
        ["the queen", "the king eats."],
    ]
    assert shown["num_bytes"] == 2 * shown["num_tokens"] + 8 * 7 + 8 * 4
    assert shown["document_tokens"] == pytest.approx(shown["num_tokens"] / 3)


def test_the_python_twins(place: Path) -> None:
    built = unmask.build_corpus(
        ["books"],
        tokenizer=str(place / "bert"),
        output_dir=place / "store",
        data_dir=place,
        filters=["two-blank-lines:*a.txt"],
        language="none",
    )
    assert built.info == TokenStore.open(place / "store").info
    assert (built.info.num_documents, built.info.num_sentences) == (1, 4)
    view = unmask.show_corpus(place / "store", documents=7)
    assert [document.sentences[-1] for document in view.documents] == ["the king eats. the bird walks."]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("frob",), 2, "there is no command 'frob': it is build or show"),
        (("build", "books", "--tokenizer", "bert", "--output-dir", "s", "--filters", "x"), 2, "there is no filter 'x'"),
        (("build", "books", "--tokenizer", "bert", "--output-dir", "s", "--workers", "0"), 2, "workers is 0"),
        (("build", "none.txt", "--tokenizer", "bert", "--output-dir", "s"), 3, "none.txt: there is no such file"),
        (("build", "--tokenizer", "bert", "--output-dir", "s"), 3, "a corpus needs at least one file"),
        (("build", "books", "--tokenizer", "books", "--output-dir", "s"), 3, "books: no tokenizer here"),
        (("build", "books", "--tokenizer", "bert", "--output-dir", "bert"), 3, "there is something else here already"),
        (("show", "books"), 3, "books: no store here, store.json is missing"),
        (("show", "books", "--documents", "-1"), 2, "documents is -1 and sentences 5: they must be 0 or more"),
    ],
)
def test_mistakes(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("UNMASK_DATA_DIR", raising=False)
    assert run("corpus", *arguments) == exit_code
    errors = capsys.readouterr().err
    assert errors.startswith("unmask corpus: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--help",)):
        assert run("corpus", *arguments) == 0
        assert "usage: unmask corpus {build,show}" in capsys.readouterr().out
    assert run("corpus", "build", "--help") == 0
    assert "two-blank-lines" in capsys.readouterr().out


def test_progress_on_a_terminal_and_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    state = BuildProgress(text_bytes=1_500_000, num_documents=1234, num_tokens=56)
    for is_terminal in (True, False):
        monkeypatch.setattr("unmask.workflows.corpus._SECONDS_BETWEEN_LINES", -1.0)
        output = io.StringIO()
        with ReadingProgress(1000, Console(file=output, force_terminal=is_terminal, width=100)) as progress:
            progress.show(state)
        assert "1.5 MB  1,234 documents  56 tokens" in output.getvalue()
