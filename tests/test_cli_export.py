"""`unmask export` as people type it: what it prints, and its exit codes. Run: pytest tests/test_cli_export.py."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tiny import NOUNS, save_tiny_bert, sentences, unmask, without_torch, write_rows
from unmask.workflows import export_graph

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = {"unmask_task": {"task": "classification"}}
    labels = {0: "bad", 1: "good"}
    folder = tmp_path_factory.mktemp("place") / "model"
    write_rows(folder.parent / "test.tsv", sentences(20, seed=6))
    return save_tiny_bert(folder, "sequence-classification", initializer_range=0.3, id2label=labels, extra=memory)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_it_prints_the_figures_and_the_folder_answers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = model.parent / "test.tsv", tmp_path / "onnx"
    arguments = ("--data", data, "--int8", "--min-agreement", "0.8", "--max-metric-drop", "0.5", "--format", "onnx")
    assert unmask("export", model, *arguments, "--output-dir", folder) == 0
    said = capsys.readouterr()
    report = json.loads((folder / "export.json").read_text())
    for precision in ("float32", "int8"):
        [row] = [line for line in said.out.splitlines() if f" {precision} " in line]
        figures = report["gate"][precision]
        assert f" {figures['agreement']:.4f} " in row
        assert f" {figures['exported_score']:.4f} " in row
        assert f" {report['bytes'][precision] / 1e6:.1f} " in row
    assert "no layer had to be left in float" in said.out
    assert f"{folder}: agrees with {model} on 20 texts ({data})" in said.out.replace("\n", " ")
    assert "asking the original: 20 texts" in said.err

    assert unmask("predict", folder, f"these {NOUNS[0]}s sleep.", "--runtime", "onnx") == 0
    assert "these dogs sleep." in capsys.readouterr().out
    assert unmask("evaluate", folder, "--data", data, "--runtime", "onnx", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert json.dumps(report["gate"]["int8"]["exported_score"])[:6] in json.dumps(scores)


def test_json_is_the_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unmask("export", model, "--output-dir", tmp_path / "onnx", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["folder"] == str(tmp_path / "onnx")
    assert report["gate"]["float32"]["agreement"] == 1.0


def test_exit_code_4_where_the_gate_refuses(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--output-dir", tmp_path / "onnx", "--max-difference", "1e-12")
    assert unmask("export", model, *asked) == 4
    said = capsys.readouterr()
    assert said.out == ""
    [message] = [line for line in said.err.splitlines() if line.startswith("unmask export: ")]
    assert "above --max-difference 1e-12. Nothing was written" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("gone/run",), 3, "gone/run"),
        (("MODEL", "--output-dir", "MODEL"), 3, "the folder exists already: choose another --output-dir"),
        (("MODEL", "--data", "gone.tsv"), 3, "gone.tsv"),
        (("MODEL", "--output-dir", "MODEL/config.json/x"), 3, "config.json"),
        (("MODEL", "--format", "safetensors", "--int8"), 2, "int8 goes with the format onnx, not with safetensors"),
        (("MODEL", "--format", "torchscript"), 2, "deprecated"),
        (("MODEL", "--max-difference", "-1"), 2, "max_difference is -1.0: it must be 0 or more"),
        (("MODEL", "--head", "mlm"), 2, "head is 'mlm'"),
    ],
)
def test_exit_codes_of_bad_input(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert unmask("export", *(argument.replace("MODEL", str(model)) for argument in arguments)) == code
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if not line.startswith("asking")]
    assert len(errors) == 1
    assert message in errors[0]
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert unmask("export", model, "--output-dir", tmp_path / "onnx") == 2
    assert capsys.readouterr().err == (
        'unmask export: exporting to onnx needs onnx, which is not installed: pip install "unmask[onnx]"\n'
    )


def test_a_disk_that_is_full_is_one_message_and_leaves_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_graph, "_open", full)
    assert unmask("export", model, "--output-dir", tmp_path / "onnx") == 3
    [message] = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("asking")]
    assert "cannot be written: No space left on device; free some space" in message
    assert list(tmp_path.iterdir()) == []


def test_help_and_usage_errors_do_not_wait_for_torch() -> None:
    done = without_torch(
        "from unmask.cli.main import main\nimport sys\n"
        "try:\n    main(['export', '--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(main(['export', 'minilm', '--format', 'tflite']))"
    )
    assert done.returncode == 2, done.stderr
    assert "--max-metric-drop" in done.stdout
    assert "format is 'tflite'" in done.stderr
