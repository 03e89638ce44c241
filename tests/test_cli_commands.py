"""What people type and what they are shown. Run: pytest tests/test_cli_commands.py."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tiny import everything_in, finetune_tiny, make_workplace, unmask, without_torch
from unmask import explain, make_acceptability_set
from unmask.cli.main import main
from unmask.files import new_folder
from unmask.workflows.loading import load_tokenizer

COMMANDS = (
    *("pretrain", "check", "finetune", "search", "evaluate", "compare", "predict", "fill", "score", "embed", "mask"),
    *("generate", "export", "serve", "inspect", "tokenize", "corpus", "tokenizer", "params", "report", "demo"),
)
# Those whose result is a run, a page or a server; or whose subcommands have it.
WITHOUT_JSON = ("pretrain", "finetune", "serve", "corpus", "tokenizer", "report", "demo")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal wide enough for any table."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(capsys, arguments):
    assert unmask(*arguments) == 0
    out = capsys.readouterr().out
    assert {*COMMANDS} >= {*re.findall(r"^  (\w+) {2,}\w", out, re.MULTILINE)}
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", out, re.MULTILINE)
    assert "exit codes: 0 done, 2 usage, 3 bad data or checkpoint, 4 a gate failed, 130 interrupted" in out


def test_sigterm_undoes_what_is_half_written_as_ctrl_c_does(monkeypatch, capsys, tmp_path):
    def run(arguments):
        with new_folder(tmp_path / "made"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("unmask.cli.export.run", run)
    assert main(["export"]) == 130
    assert capsys.readouterr().err == "unmask export: interrupted\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(capsys, command):
    assert unmask(command, "--help") == 0
    out = capsys.readouterr().out
    assert f"usage: unmask {command}" in out
    assert ("--json" in out) is (command not in WITHOUT_JSON)
    assert re.search(rf"^[ │]*unmask {command}( |$)", out, re.MULTILINE), "an example teaches more than a list"


def test_help_of_what_uses_a_model_does_not_wait_for_torch():
    program = """
from unmask.cli.main import main
for command in sys.argv[1:]:
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert end.code == 0
"""
    commands = (
        *("evaluate", "compare", "predict", "fill", "score", "embed", "generate", "export", "serve", "inspect"),
        *("tokenize", "params"),
    )
    done = without_torch(program, *commands, "corpus", "tokenizer", "report")
    assert done.returncode == 0, done.stderr
    for command in commands:
        assert f"usage: unmask {command}" in done.stdout


def test_help_explains_every_setting(capsys):
    assert unmask("finetune", "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for said in (
        "--learning-rate {None}|FLOAT",
        "at its peak, after warm-up",
        "--dev-fraction FLOAT",
        "(default: 0.1)",
    ):
        assert said in out


def test_version(capsys):
    assert unmask("--version") == 0
    assert re.fullmatch(r"unmask \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("finetun",), "unmask: there is no command 'finetun'; unmask --help lists them"),
        (("finetune",), "output_dir is missing: name the run folder, such as --output-dir runs/mine"),
        (("finetune", "--output-dir", "x"), "train is missing: name the labelled file to learn from"),
        (("finetune", "parsing"), "invalid choice 'parsing'"),
        (("finetune", "--epohcs", "3"), "--epohcs"),
        (("finetune", "--epochs", "three"), "Error parsing --epochs"),
        (("finetune", "--seed", "-1"), "seed is -1: it must be a whole number, 0 or more"),
        (("finetune", "--metric-for-best", "bleu"), "metric_for_best is 'bleu': it must be one of"),
        (("evaluate", "x"), "--data"),
        (("fill", "[MASK]"), "--model"),
        (("tokenize", "x", "--truncation", "both"), "'both'"),
    ],
)
def test_usage_errors(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert unmask(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_no_traceback(capsys, monkeypatch):
    def interrupted(_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.cli.tokenize.run", interrupted)
    assert main(["tokenize", "x"]) == 130
    assert capsys.readouterr().err == "unmask tokenize: interrupted\n"


class TestTokenize:
    def test_every_step_as_json(self, place, capsys):
        assert unmask("tokenize", "THIS dogs", "a cat.", "--model", place / "bert", "--json") == 0
        steps = json.loads(capsys.readouterr().out)
        assert steps["tokens"] == ["[CLS]", "this", "dog", "##s", "[SEP]", "a", "cat", ".", "[SEP]"]
        assert steps["token_type_ids"] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
        assert steps["attention_mask"] == [1] * 9
        assert [text["normalized_text"] for text in steps["texts"]] == ["this dogs", "a cat."]
        assert steps["texts"][0]["words"][1] == {"text": "dogs", "start": 5, "end": 9, "tokens": ["dog", "##s"]}
        called = explain(load_tokenizer(place / "bert"), "THIS dogs", "a cat.").to_dict()
        assert steps == json.loads(json.dumps(called))

    def test_what_is_cut_is_said(self, place, capsys):
        arguments = ("tokenize", "this dog sleep", "a cat run", "--model", place / "bert", "--max-length", 7)
        assert unmask(*arguments, "--json") == 0
        steps = json.loads(capsys.readouterr().out)
        assert (len(steps["input_ids"]), steps["num_truncated_tokens"]) == (7, 2)
        assert unmask(*arguments, "--truncation", "only_first", "--no-special-tokens", "--json") == 0
        steps = json.loads(capsys.readouterr().out)
        assert steps["tokens"] == ["this", "dog", "sleep", "a", "cat", "run"]

    @pytest.mark.usefixtures("minilm")
    def test_the_table(self, capsys):
        assert unmask("tokenize", "During the hackathon") == 0
        out = capsys.readouterr().out
        for piece in ("normalized", "during the hackathon", "hack", "20578", "##ath", "8988", "##on", "2239", "[SEP]"):
            assert piece in out

    def test_a_tokenizer_needs_no_model(self, place, tmp_path, capsys):
        (tmp_path / "vocab.txt").write_bytes((place / "bert" / "vocab.txt").read_bytes())
        assert unmask("tokenize", "this dog", "--model", tmp_path, "--json") == 0
        assert json.loads(capsys.readouterr().out)["tokens"] == ["[CLS]", "this", "dog", "[SEP]"]


def test_names_that_look_like_markup_are_printed_as_they_are(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
    run, file = tmp_path / "runs[/b]" / "x[lr=3]", tmp_path / "test[bold].tsv"
    file.write_bytes((place / "test.tsv").read_bytes())
    assert finetune_tiny(place, run, "--max-steps", 1, "--test", file) == 0
    said = capsys.readouterr()
    assert f"report  {run / 'report.html'}\nmodel   {run / 'model'}\n" in said.out
    assert str(file) in said.out
    assert f"{file}: 17 texts" in said.err
    assert unmask("finetune", "--resume", "--output-dir", run) == 0
    assert f"{run} is complete: there is nothing to resume" in capsys.readouterr().err


def test_a_report_is_written_again(place, tmp_path, capsys):
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--max-steps", 1) == 0
    capsys.readouterr()
    before = everything_in(run)
    (run / "report.html").unlink()
    assert unmask("report", run) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    after = everything_in(run)
    assert after.keys() == before.keys()
    assert unmask("report", tmp_path) == 3
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.usefixtures("minilm")
def test_the_demo_on_a_corner_of_its_data(tmp_path, capsys, monkeypatch):
    def few_rows(folder: Path, *, seed: int) -> dict[str, Path]:
        files = make_acceptability_set(folder, seed=seed)
        for file in files.values():
            file.write_text("".join(file.read_text().splitlines(keepends=True)[:17]))
        return files

    monkeypatch.setattr("unmask.workflows.demo.make_acceptability_set", few_rows)
    run = tmp_path / "demo"
    assert unmask("demo", "--output-dir", run) == 0
    out = capsys.readouterr().out
    assert re.search(r"test MCC -?\d\.\d{3} on 16 sentences", out)
    assert len(re.findall(r"│ (?:un)?acceptable +│", out)) == 3
    assert f"report  {run / 'report.html'}" in out
    assert "unmask finetune --config recipes/cola-minilm.yaml --data-dir DATA --output-dir runs/cola" in out
    assert (Path(__file__).parents[1] / "recipes" / "cola-minilm.yaml").is_file()
    assert unmask("demo", "--output-dir", run) == 3
    assert "the folder holds a run already" in capsys.readouterr().err
