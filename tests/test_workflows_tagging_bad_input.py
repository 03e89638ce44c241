"""Tagged files that cannot be used: one clear error, exit code 3, nothing written.

Run: pytest tests/test_workflows_tagging_bad_input.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tiny import QUICK, save_tiny_bert, unmask
from unmask import FinetuneSettings
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "the O\ndog B-ANIMAL\n\nthe O\ncat B-ANIMAL\nsleep O\n"
GOOD_LINES = '{"tokens": ["the", "dog"], "tags": ["O", "B-ANIMAL"]}\n'

BAD_FILES = {
    "empty": ("bad.conll", "", "bad.conll: there is no sentence in this file"),
    "blank": ("bad.conll", "\n \n-DOCSTART- O\n", "bad.conll: there is no sentence in this file"),
    "row without its tag": (
        "bad.conll",
        f"{GOOD}\nthe\n",
        "bad.conll, line 8: expected 2 columns between blanks, as in the first row, and found 1: correct the row",
    ),
    "more tokens than tags": (
        "bad.jsonl",
        GOOD_LINES + '{"tokens": ["the", "dog"], "tags": ["O"]}\n',
        "bad.jsonl, line 2, column 'tags': there are 2 words and 1 tag: give each word one tag",
    ),
    "more tags than tokens": (
        "bad.jsonl",
        GOOD_LINES + '{"tokens": ["the"], "tags": ["O", "O"]}\n',
        "bad.jsonl, line 2, column 'tags': there are 1 word and 2 tags: give each word one tag",
    ),
    "no tags": (
        "bad.jsonl",
        GOOD_LINES + '{"tokens": ["the"], "labels": ["O"]}\n',
        "bad.jsonl, line 2, column 'tags': the object has no such key. Its keys are 'tokens', 'labels': name that "
        "of the tags with --label-column",
    ),
    "empty tag": (
        "bad.conll",
        "the\tO\ndog\t\n",
        "bad.conll, line 2, column '2': there is nothing in this column: correct the row",
    ),
    "an I- without its B-": (
        "bad.conll",
        f"{GOOD}\nthe O\ncat I-ANIMAL\n",
        "bad.conll, line 9, column '2': I-ANIMAL follows neither B-ANIMAL nor I-ANIMAL: correct the tag, or name the "
        "scheme if it is not bio (--tag-scheme); --repair-spans reads such tags as conlleval does",
    ),
    "types that differ in case": (
        "bad.conll",
        f"{GOOD}\nthe O\ncat B-Animal\n",
        "bad.conll, line 9, column '2': the tags 'B-ANIMAL' and 'B-Animal' differ in case only: write them alike",
    ),
    "tags that differ in case": (
        "bad.conll",
        "the DET\ndog NOUN\n\nthe det\n",
        "bad.conll, line 4, column '2': the tags 'DET' and 'det' differ in case only: write them alike",
    ),
    "one class": (
        "bad.conll",
        "the O\ndog O\n\na O\n",
        "bad.conll, column '2': every tag is 'O', so there is no span to find: add sentences with spans",
    ),
    "a slip among spans": (
        "bad.conll",
        f"{GOOD}\nthe O\ncat B_ANIMAL\n",
        "bad.conll, line 9, column '2': the tag 'B_ANIMAL' is of no scheme that 'B-ANIMAL' is of (bio, iob1, ",
    ),
    "not UTF-8": ("bad.conll", b"the O\ncaf\xe9 O\n", "bad.conll, line 2: byte 4 (0xe9) is not UTF-8"),
}
ALONE = ("types that differ in case", "tags that differ in case", "one class", "a slip among spans")  # training files


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert")
    (place / "good.conll").write_text(GOOD)
    return place


def finetune(place: Path, output_dir: Path, *arguments: object) -> int:
    files = ("--model", place / "bert", "--train", place / "good.conll", "--dev", place / "good.conll")
    return unmask("finetune", "tagging", *files, "--output-dir", output_dir, *QUICK, "--max-steps", 1, *arguments)


def assert_refused(code: int, capsys: pytest.CaptureFixture[str], message: str) -> None:
    said = capsys.readouterr().err
    assert code == 3
    assert "Traceback" not in said
    assert sum(line.startswith("unmask ") for line in said.splitlines()) == 1
    assert message in said


@pytest.mark.parametrize(
    ("flag", "what"),
    [(flag, what) for what in BAD_FILES for flag in ("--train", "--dev") if flag == "--train" or what not in ALONE],
)
def test_a_file_that_cannot_be_used(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, what: str
) -> None:
    name, content, message = BAD_FILES[what]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert_refused(finetune(place, tmp_path / "run", flag, file), capsys, message)
    assert list(tmp_path.iterdir()) == [file]


def test_an_unknown_tag_in_dev(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dev.conll"
    file.write_text(f"{GOOD}\nthe O\nhouse B-PLACE\n")
    assert_refused(
        finetune(place, tmp_path / "run", "--dev", file),
        capsys,
        f"{file}, line 9, column '2': the tag 'B-PLACE' is not one the model was given to learn (O, B-ANIMAL, "
        "I-ANIMAL): mend the tag, or add examples of it to the training file",
    )
    assert list(tmp_path.iterdir()) == [file]


def test_one_example_only(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.conll"
    file.write_text("the O\ndog B-ANIMAL\n")
    arguments = ("--model", place / "bert", "--train", file, "--output-dir", tmp_path / "run")
    code = unmask("finetune", "tagging", *arguments, *QUICK)
    assert_refused(
        code, capsys, "1 sentence cannot be parted into train and dev with 0.1 of them for dev: is the blank line"
    )
    assert list(tmp_path.iterdir()) == [file]


def test_the_remedies_work(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_report: None) -> None:
    broken = tmp_path / "broken.conll"
    broken.write_text(f"{GOOD}\nthe O\ncat I-ANIMAL\n")
    assert finetune(place, tmp_path / "repaired", "--train", broken, "--repair-spans") == 0
    assert unmask("evaluate", tmp_path / "repaired" / "model", "--data", broken) == 0  # the model remembers
    only_inside = tmp_path / "iob1.conll"
    only_inside.write_text(GOOD.replace("B-", "I-"))
    options = ("--train", only_inside, "--dev", only_inside, "--tag-scheme", "iob1")
    assert finetune(place, tmp_path / "named", *options) == 0
    one = tmp_path / "one.conll"
    one.write_text("the O\ndog B-ANIMAL\n")
    assert finetune(place, tmp_path / "of-one", "--train", one) == 0  # with a dev file one sentence is enough
    capsys.readouterr()


def test_settings_that_do_not_go_with_tagging(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (("--text-pair-column", "1"), "tagging reads one text at a time: leave text_pair_column out"),
        (("--column-names", "a", "b"), "columns of tagged files are named by their numbers, from 1"),
        (("--label-column", "ner"), "the columns here have numbers, from 1, and no names such as 'ner'"),
        (("--doc-stride", "0"), "doc_stride is 0: it must be 1 or more"),
    ):
        assert finetune(place, tmp_path / "run", *options) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SettingsError, match="truncate is 'tail', and tagging has no use for it"):
        FinetuneSettings(task="tagging", truncate="tail")
    with pytest.raises(SettingsError, match=r"tag_scheme is .bio., and classification has no use for it.* for tagging"):
        FinetuneSettings(tag_scheme="bio")
    assert not list(tmp_path.iterdir())


def test_tags_that_nearly_mark_spans_are_told_once(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.conll"
    file.write_text(GOOD.replace(" O", " o").replace("B-ANIMAL", "b-animal"))
    assert finetune(place, tmp_path / "run", "--train", file, "--dev", file) == 0
    assert capsys.readouterr().err.count("the tags 'b-animal' look like those of spans and are none") == 1
