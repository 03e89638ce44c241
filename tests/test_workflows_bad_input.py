"""Whatever a user gives that cannot be used: one clear error, exit code 3, nothing written. Exits are the command's.

Run: pytest tests/test_workflows_bad_input.py.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import (
    everything_in,
    finetune_tiny,
    make_workplace,
    save_tiny_bert,
    sentences,
    unmask,
    weights_of,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = b"sentence\tlabel\n"
ROWS = b"this dog sleep.\tgood\nthese dog sleep.\tbad\nthis cat run.\tgood\nthose cat run.\tbad\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Drawing the plots takes longer than these runs."""
    for module in ("finetune", "evaluate"):
        monkeypatch.setattr(f"unmask.workflows.{module}.write_report", lambda folder: folder / "report.html")


@pytest.fixture(scope="module")
def trained(place) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        assert finetune_tiny(place, place / "trained", "--max-steps", 1) == 0
    return place / "trained"


def assert_refused(code: int, capsys: pytest.CaptureFixture[str], *messages: str) -> None:
    said = capsys.readouterr().err
    assert code == 3
    assert "Traceback" not in said
    assert sum(line.startswith("unmask ") for line in said.splitlines()) == 1
    for message in messages:
        assert message in said


BAD_FILES = {
    "empty": (b"", "bad.tsv: the file is empty"),
    "header alone": (HEADER, "bad.tsv: there is a header and no row"),
    "short row": (
        HEADER + ROWS + b"lonely\n",
        "bad.tsv, line 6: expected 2 columns ('sentence', 'label') and found 1: correct the row",
    ),
    "long row": (
        HEADER + b"a\tgood\tx\n" + ROWS,
        "bad.tsv, line 2: expected 2 columns ('sentence', 'label') and found 3",
    ),
    "NUL": (HEADER + ROWS + b"a\0b\tgood\n", "bad.tsv, line 6: there is a NUL byte: is this a text file"),
    "Latin-1": (
        HEADER + ROWS + b"caf\xe9\tgood\n",
        "bad.tsv, line 6: byte 4 (0xe9) is not UTF-8: save the file as UTF-8",
    ),
    "no label column": (
        b"sentence\tverdict\n" + ROWS,
        "bad.tsv: no column is named label or labels or class; the columns are sentence, verdict: "
        "say which one holds the label with --label-column",
    ),
    "no text column": (b"words\tlabel\n" + ROWS, "say which one holds the text with --text-column"),
    "two columns of a name": (b"label\tlabel\n" + ROWS, "bad.tsv, line 1, column 'label': 2 columns have this name"),
    "one class": (
        HEADER + b"this dog.\tgood\nthis cat.\tgood\n",
        "bad.tsv, column 'label': every label is 'good', so there is nothing to tell apart: add examples of another",
    ),
    "empty label": (HEADER + ROWS + b"this dog.\t \n", "line 6, column 'label': the label is empty: fill it in"),
    "empty text": (HEADER + ROWS + b"\tgood\n", "bad.tsv, line 6: the text is empty, there is nothing to read in it"),
    "text of no token": (HEADER + ROWS + "\u200b \x07\tgood\n".encode(), "line 6: the tokenizer leaves nothing"),
}


@pytest.mark.parametrize(
    ("flag", "what"),
    [  # dev and test files may lack a class
        (flag, what)
        for flag in ("--train", "--dev", "--test")
        for what in BAD_FILES
        if flag == "--train" or what != "one class"
    ],
)
def test_a_file_that_cannot_be_used(place, tmp_path, capsys, flag, what):
    content, message = BAD_FILES[what]
    file = tmp_path / "bad.tsv"
    file.write_bytes(content)
    code = finetune_tiny(place, tmp_path / "runs" / "mine", flag, file)
    assert_refused(code, capsys, message)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("flag", ["--train", "--dev", "--test"])
def test_a_missing_file(place, tmp_path, capsys, flag):
    code = finetune_tiny(place, tmp_path / "run", flag, tmp_path / "nowhere.tsv")
    assert_refused(code, capsys, f"{tmp_path / 'nowhere.tsv'}: there is no such file")
    assert not list(tmp_path.iterdir())


def test_a_named_column_that_is_missing(place, tmp_path, capsys):
    for flag in ("--text-column", "--text-pair-column", "--label-column"):
        code = finetune_tiny(place, tmp_path / "run", flag, "wrong")
        assert_refused(
            code, capsys, "train.tsv, column 'wrong': there is no such column. The columns are 'sentence', 'label'"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--dev", "--test"])
def test_a_label_that_training_does_not_have(place, tmp_path, capsys, flag):
    file = write_rows(tmp_path / "other.tsv", [("this dog sleep.", "good"), ("this cat.", "maybe")])
    code = finetune_tiny(place, tmp_path / "run", flag, file)
    assert_refused(
        code,
        capsys,
        f"{file}, line 3, column 'label': the label 'maybe' is not one the model was given to learn (bad, good): "
        "mend the label",
    )
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["bad"], "line 2, column 'label': the label 'good' is not one the model was given to learn (bad)"),
        (["yes", "no"], "line 2, column 'label': the label 'good' is not one the model was given to learn (yes, no)"),
    ],
)
def test_labels_that_the_file_does_not_have(place, tmp_path, capsys, given, message):
    assert_refused(finetune_tiny(place, tmp_path / "run", "--labels", *given), capsys, message)
    assert not list(tmp_path.iterdir())


def test_missing_values_in_json_lines(place, tmp_path, capsys):
    file = tmp_path / "train.jsonl"
    file.write_text('{"text": "this dog", "label": "good"}\n{"text": null, "label": "bad"}\n')
    code = finetune_tiny(place, tmp_path / "run", "--train", file)
    assert_refused(code, capsys, f"{file}, line 2, column 'text': the row has no value here")


def test_too_few_rows_to_hold_a_part_back(place, tmp_path, capsys):
    file = write_rows(tmp_path / "train.tsv", sentences(1, seed=0))
    code = unmask("finetune", "--model", place / "bert", "--train", file, "--output-dir", tmp_path / "run")
    assert_refused(code, capsys, "train.tsv: 1 text cannot be parted into train and dev with 0.1 of them for dev")
    assert list(tmp_path.iterdir()) == [file]


def test_a_limit_that_leaves_no_room_for_the_text(place, tmp_path, capsys):
    columns = ("--text-column", "sentence", "--text-pair-column", "label")
    code = finetune_tiny(place, tmp_path / "run", *columns, "--max-seq-length", 3)
    assert_refused(code, capsys, "train.tsv, line 2: nothing is left of the text in 3 tokens: raise max_seq_length")
    assert not list(tmp_path.iterdir())


def test_line_ends_and_byte_order_marks_change_nothing(place, tmp_path):
    plain, windows = tmp_path / "plain.tsv", tmp_path / "windows.tsv"
    plain.write_bytes(HEADER + ROWS)
    windows.write_bytes(b"\xef\xbb\xbf" + (HEADER + ROWS).replace(b"\n", b"\r\n"))
    for file in (plain, windows):
        assert finetune_tiny(place, tmp_path / file.stem, "--train", file, "--dev", file) == 0
    assert weights_of(tmp_path / "windows") == weights_of(tmp_path / "plain")
    assert json.loads((tmp_path / "windows" / "model" / "config.json").read_text())["id2label"] == {
        "0": "bad",
        "1": "good",
    }


def test_a_lone_quote_in_tsv_swallows_no_row(place, tmp_path):
    file = tmp_path / "quotes.tsv"
    file.write_bytes(HEADER + b'"this dog sleep.\tgood\n' + ROWS + b'this " dog\tbad\n')
    assert finetune_tiny(place, tmp_path / "run", "--train", file, "--dev", file, "--max-steps", 1) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions_dev.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines][:2] == ['"this dog sleep.', "this dog sleep."]
    assert len(lines) == 6


def test_a_text_of_a_hundred_thousand_characters_is_cut_and_that_is_said(place, tmp_path, trained, capsys):
    long_text = "this dog sleep " * 6667
    file = write_rows(tmp_path / "long.tsv", [(long_text, "good"), ("x" * 100_000, "bad"), ("this cat", "good")])
    assert finetune_tiny(place, tmp_path / "run", "--train", file, "--dev", file, "--max-steps", 1) == 0
    assert "1 text was cut to 40 tokens, 19,963 tokens in all" in capsys.readouterr().err
    assert unmask("predict", trained, "--data", file, "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def break_checkpoint(how: str, folder: Path) -> None:
    weights, proof = folder / "model.safetensors", folder / "code-was-run"
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "config is not JSON":
        (folder / "config.json").write_text('{"model_type": "bert"')
    elif how == "config of no family":
        (folder / "config.json").write_text('{"model_type": "t5"}')
    elif how == "config out of range":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}))
    elif how == "no weights":
        weights.unlink()
    elif how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "corrupted weights":
        content = bytearray(weights.read_bytes())
        content[20] ^= 0xFF
        weights.write_bytes(content)
    elif how == "other shapes":
        tensors = load_file(weights)
        tensors["embeddings.position_embeddings.weight"] = torch.zeros(7, 32)
        save_file(tensors, weights)
    elif how == "a layer missing":
        tensors = load_file(weights)
        save_file({name: tensor for name, tensor in tensors.items() if "layer.1." not in name}, weights)
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").unlink()
    elif how == "broken tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    elif how == "pickle that runs code":

        class Evil:
            def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
                return os.mkdir, (str(proof),)

        weights.unlink()
        torch.save({"embeddings.word_embeddings.weight": Evil()}, folder / "pytorch_model.bin", pickle_module=pickle)


BROKEN_CHECKPOINTS = {
    "no config": "no model here, config.json is missing",
    "config is not JSON": "config.json: not JSON",
    "config of no family": "config.json: model_type 't5' is not a family unmask knows; it knows bert",
    "config out of range": "hidden_size 32 is not a multiple of num_attention_heads 5",
    "no weights": "no weights here, neither model.safetensors nor pytorch_model.bin",
    "truncated weights": "model.safetensors: cannot be read",
    "corrupted weights": "model.safetensors: cannot be read",
    "other shapes": "embeddings.position_embeddings.weight has shape (7, 32), but config.json asks for (40, 32)",
    "a layer missing": "weights that the sequence-classification model needs are not in this checkpoint",
    "no tokenizer": "no tokenizer here: it needs a tokenizer.json, a vocab.txt, a vocab.json with",
    "broken tokenizer": "tokenizer.json: not a tokenizer that can be read",
    "pickle that runs code": "refused, this pickle asks for posix.mkdir and may run code (none was run)",
}


@pytest.mark.parametrize("how", BROKEN_CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_used(place, tmp_path, capsys, how):
    folder = save_tiny_bert(tmp_path / "broken")
    break_checkpoint(how, folder)
    before = everything_in(tmp_path)
    code = finetune_tiny(place, tmp_path / "run", "--model", folder)
    assert_refused(code, capsys, str(folder), BROKEN_CHECKPOINTS[how])
    assert everything_in(tmp_path) == before
    assert not (folder / "code-was-run").exists()


@pytest.mark.parametrize(
    "how", sorted(BROKEN_CHECKPOINTS.keys() - {"no config", "other shapes", "a layer missing", "pickle that runs code"})
)
def test_a_fine_tuned_model_that_cannot_be_used(trained, tmp_path, capsys, how):
    run = shutil.copytree(trained, tmp_path / "run")
    break_checkpoint(how, run / "model")
    before = everything_in(tmp_path)
    assert_refused(unmask("predict", run, "this dog"), capsys, BROKEN_CHECKPOINTS[how])
    assert_refused(unmask("evaluate", run, "--data", tmp_path / "any.tsv"), capsys)
    assert everything_in(tmp_path) == before


def test_a_folder_that_is_nowhere(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    code = finetune_tiny(place, tmp_path / "run", "--model", "./nowhere/at/all")
    assert_refused(code, capsys, "./nowhere/at/all: no such folder")
    assert not list(tmp_path.iterdir())


class TestEvaluate:
    @pytest.mark.parametrize("what", sorted(BAD_FILES.keys() - {"one class"}))
    def test_a_file_that_cannot_be_used(self, trained, tmp_path, capsys, what):
        content, message = BAD_FILES[what]
        file, before = tmp_path / "bad.tsv", everything_in(trained)
        file.write_bytes(content)
        assert_refused(unmask("evaluate", trained, "--data", file), capsys, message)
        assert everything_in(trained) == before

    def test_a_model_without_a_classifier(self, place, capsys):
        code = unmask("evaluate", place / "bert", "--data", place / "dev.tsv")
        assert_refused(code, capsys, "2 weights that the sequence-classification model needs are not in this")

    def test_a_label_the_model_does_not_know(self, trained, tmp_path, capsys):
        file = write_rows(tmp_path / "x.tsv", [("this dog", "good"), ("this cat", "perhaps")])
        code = unmask("evaluate", trained, "--data", file)
        assert_refused(code, capsys, f"{file}, line 3, column 'label': the label 'perhaps' is not one")


class TestPredict:
    @pytest.mark.parametrize(
        "what", ["empty", "header alone", "short row", "NUL", "Latin-1", "no text column", "empty text"]
    )
    def test_a_file_that_cannot_be_used(self, trained, tmp_path, capsys, what):
        content, message = BAD_FILES[what]
        file = tmp_path / "bad.tsv"
        file.write_bytes(content)
        code = unmask("predict", trained, "--data", file, "--output", tmp_path / "labelled.jsonl")
        assert_refused(code, capsys, message)
        assert list(tmp_path.iterdir()) == [file]

    def test_an_empty_text(self, trained, capsys):
        assert_refused(unmask("predict", trained, "this dog", " "), capsys, "texts, line 2: the text is empty")


class FullDisk:
    """Lets a number of calls through, then fails them all."""

    def __init__(self, call: Callable[..., Any], code: int, *, after: int) -> None:
        self._call, self._code, self.left = call, code, after

    def __call__(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError(self._code, os.strerror(self._code))
        return self._call(*arguments)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("fsync", errno.ENOSPC, "cannot be written: No space left on device; free some space, or write elsewhere"),
        ("write", errno.ENOSPC, "cannot be written: No space left on device; free some space, or write elsewhere"),
        ("mkdir", errno.EROFS, "cannot be written: Read-only file system; write to a disk that is not read-only"),
        ("write", errno.EROFS, "cannot be written: Read-only file system; write to a disk that is not read-only"),
        ("fsync", errno.EIO, "cannot be written: Input/output error; check the disk, or write elsewhere"),
    ],
)
def test_a_disk_that_cannot_be_written(place, tmp_path, capsys, monkeypatch, name, code, message):
    with monkeypatch.context() as patch:
        patch.setattr(os, name, FullDisk(getattr(os, name), code, after=0))
        assert_refused(finetune_tiny(place, tmp_path / "run"), capsys, str(tmp_path / "run"), f": {message}")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_in_the_middle_of_a_run_costs_nothing_but_time(place, tmp_path, capsys, monkeypatch):
    """It fails ever later, at each flush that a run makes; each time the run goes on where it was."""
    assert finetune_tiny(place, tmp_path / "whole") == 0
    counter = FullDisk(os.fsync, errno.ENOSPC, after=10**6)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counter)
        assert finetune_tiny(place, tmp_path / "counted") == 0
    num_flushes = 10**6 - counter.left
    run, num_failures = tmp_path / "run", 0
    for after in range(3, num_flushes, 7):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", FullDisk(os.fsync, errno.ENOSPC, after=after))
            code = finetune_tiny(place, run, "--resume")
        if code == 0:
            break
        num_failures += 1
        assert_refused(code, capsys, "No space left on device; free some space")
    assert num_failures >= 4
    assert finetune_tiny(place, run, "--resume") == 0
    assert weights_of(run) == weights_of(tmp_path / "whole")
    assert {path.name for path in run.rglob("*")} == {path.name for path in (tmp_path / "whole").rglob("*")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counted", "run", "whole"]


def test_predictions_on_a_full_disk_leave_the_old_file(trained, tmp_path, capsys, monkeypatch):
    output = tmp_path / "labelled.jsonl"
    output.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(os.fsync, errno.ENOSPC, after=0))
        code = unmask("predict", trained, "this dog", "--output", output)
    assert_refused(code, capsys, f"{output}: cannot be written: No space left on device")
    assert everything_in(tmp_path) == {"labelled.jsonl": b"old"}


def test_an_evaluation_that_cannot_be_kept_leaves_the_run_as_it_was(place, trained, capsys, monkeypatch):
    before = everything_in(trained)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(os.fsync, errno.ENOSPC, after=0))
        assert_refused(unmask("evaluate", trained, "--data", place / "test.tsv"), capsys, "No space left on device")
    assert everything_in(trained) == before
