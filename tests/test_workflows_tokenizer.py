"""`unmask tokenizer` as people type it, and its Python twins. Run: pytest tests/test_workflows_tokenizer.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import unmask as package
from tiny import unmask
from unmask.errors import DataError
from unmask.tokenization import Tokenizer
from unmask.workflows.tokenizer import tokenizer_report, train_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

LINE = "The cat sat on the mat and the rat ate the hat"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with text in it."""
    (tmp_path / "corpus.txt").write_text(f"{LINE}\n" * 199 + "zebra\n" + f"{LINE}\n" * 101)  # the 200th is held out
    (tmp_path / "dev.jsonl").write_text(json.dumps({"body": "the cat ate zebras"}) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_train_saves_and_reports(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("corpus.txt", "--vocab-size", "60", "--lowercase", "--output-dir", "tokenizers/mine")
    assert unmask("tokenizer", "train", *arguments) == 0
    said = capsys.readouterr()
    assert "298 lines in" in said.out  # 3 of 301 were held out
    assert "tokens per word" in said.out
    assert "tokenizer   tokenizers/mine" in said.out
    assert "298 lines read; learning pieces" in said.err
    tokenizer = Tokenizer.from_folder(place / "tokenizers/mine")
    assert tokenizer.encode("The cat").tokens == ["[CLS]", "the", "cat", "[SEP]"]
    assert tokenizer.token_to_id("z") is None  # the only zebra was held out
    report = json.loads((place / "tokenizers/mine/tokenizer_report.json").read_text())
    assert (report["num_texts"], report["num_words"]) == (3, 12 + 1 + 12)
    assert report["unknown_words"][0]["word"] == "zebra"

    assert unmask("tokenizer", "train", *arguments) == 3
    assert (
        "tokenizers/mine: the folder exists already: choose another name, or say --overwrite" in capsys.readouterr().err
    )
    assert unmask("tokenizer", "train", *arguments, "--overwrite", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["vocab_size"], printed["num_texts"], printed["report"]) == (tokenizer.vocab_size, 298, report)


def test_held_out_files_are_reported_on_and_every_line_is_learned_from(place: Path) -> None:
    result = train_tokenizer(
        ["corpus.txt"],
        held_out=["dev.jsonl"],
        text_column="body",
        vocab_size=60,
        family="albert",
        min_frequency=1,
        character_coverage=1,
    )
    assert (result.num_texts, result.folder) == (301, None)
    assert result.report is not None
    assert (result.report.num_texts, result.report.num_words) == (1, 4)
    assert result.tokenizer.token_to_id("z") is not None
    few = train_tokenizer(["dev.jsonl"], text_column="body", vocab_size=60)
    assert (few.num_texts, few.report) == (1, None)  # too little to hold any out
    assert package.train_tokenizer is train_tokenizer


def test_report(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("tokenizer", "report", "minilm", "--data", "dev.jsonl", "--text-column", "body")
    assert unmask(*arguments, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == package.tokenizer_report("minilm", data=["dev.jsonl"], text_column="body").to_dict()
    assert printed["tokens_per_word"] == 1.25  # zebra ##s
    assert unmask(*arguments) == 0
    assert "1.250" in capsys.readouterr().out


def test_the_data_folder_is_searched(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("data")
    (elsewhere / "other.txt").write_text("the cat\n")
    assert tokenizer_report("minilm", data=["other.txt"], data_dir=elsewhere).num_words == 2


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        assert unmask("tokenizer", *arguments) == 0
        said = capsys.readouterr().out
        assert "unmask tokenizer train corpus.txt" in said
        assert "unmask tokenizer report" in said
    assert unmask("tokenizer", "train", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "usage: unmask tokenizer train",
        "byte-level BPE <s> <pad> </s> <unk> <mask>",
        "--json prints one",
        "--morphemes",
    ):
        assert part in said
    assert unmask("tokenizer", "report", "--help") == 0
    assert "usage: unmask tokenizer report" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("learn",), 2, "there is no command 'learn': it is train or report"),
        (("train", "corpus.txt"), 2, "output_dir is missing: name a new folder, such as --output-dir tokenizers/mine"),
        (("train", "--output-dir", "t"), 2, "name at least one file of text"),
        (("train", "corpus.txt", "--output-dir", "t", "--kind", "words"), 2, "words"),
        (("train", "corpus.txt", "--output-dir", "t", "--vocab-size", "9"), 2, "vocab_size is 9, and 5 special tokens"),
        (("train", "nowhere.txt", "--output-dir", "t"), 3, "nowhere.txt: there is no such file"),
        (("train", "blank.txt", "--output-dir", "t"), 3, "there is no text to learn from: every line is blank"),
        (("train", "latin1.txt", "--output-dir", "t"), 3, "latin1.txt, line 2: byte 4 (0xe9) is not UTF-8"),
        (("report", "minilm"), 2, "--data"),
        (("report", "minilm", "--data", "blank.txt"), 3, "there is no word in the text to report on"),
        (("report", ".", "--data", "corpus.txt"), 3, "no tokenizer here"),
    ],
)
def test_mistakes(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    (place / "blank.txt").write_text("\n \n")
    (place / "latin1.txt").write_bytes("good\ncaf\u00e9\n".encode("latin-1"))
    assert unmask("tokenizer", *arguments) == code
    assert message in capsys.readouterr().err
    assert not (place / "t").exists()


def test_overwrite_replaces_a_tokenizer_and_nothing_else(place: Path) -> None:
    (place / "home" / "work").mkdir(parents=True)
    with pytest.raises(DataError, match=r"home: holds more than a tokenizer \(work\): choose another name"):
        train_tokenizer(["corpus.txt"], output_dir=place / "home", overwrite=True)
    with pytest.raises(DataError, match="a file of this name is in the way"):
        train_tokenizer(["corpus.txt"], output_dir=place / "corpus.txt", overwrite=True)
    assert (place / "home" / "work").is_dir()
    assert (place / "corpus.txt").is_file()


def test_a_failed_training_leaves_the_old_tokenizer(place: Path) -> None:
    train_tokenizer(["corpus.txt"], output_dir=place / "t", vocab_size=60)
    before = Tokenizer.from_folder(place / "t").fingerprint
    (place / "empty.txt").write_text("")
    with pytest.raises(DataError, match=r"empty\.txt: .*no text to learn from"):
        train_tokenizer(["empty.txt"], output_dir=place / "t", overwrite=True)
    assert Tokenizer.from_folder(place / "t").fingerprint == before
