"""A run folder read back: whole, unfinished, cut off by a kill, and broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from unmask.errors import DataError
from unmask.reporting import RunRecord
from unmask.reporting.classification import dev_report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_run(folder: Path, *, metrics: Iterable[dict[str, Any]] = (), **config: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    return folder


def epochs(**columns: list[float]) -> list[dict[str, Any]]:
    rows = zip(*columns.values(), strict=True)
    return [{"kind": "epoch", "epoch": i, **dict(zip(columns, row, strict=True))} for i, row in enumerate(rows, 1)]


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    record = RunRecord.read(folder)
    assert (record.steps, record.epochs, record.data, record.predictions, record.evaluations) == ([], [], {}, [], [])
    assert record.command == ""
    assert record.best_epoch is None
    assert record.overfitting_epoch is None
    assert record.dev == {}
    assert dev_report(record) is None


def test_a_step_done_again_after_a_resume_counts_once(tmp_path: Path) -> None:
    lines = [{"kind": "step", "step": step, "loss": loss} for step, loss in ((1, 0.7), (2, 0.6), (3, 0.5), (2, 0.61))]
    record = RunRecord.read(write_run(tmp_path / "run", metrics=lines))
    assert [(line["step"], line["loss"]) for line in record.steps] == [(1, 0.7), (2, 0.61), (3, 0.5)]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", metrics=[{"kind": "step", "step": 1, "loss": 0.7}])
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write('{"kind":"step","note":"말'.encode()[:-1])
    assert len(RunRecord.read(folder).steps) == 1


def test_best_epoch_is_the_first_with_the_highest_metric(tmp_path: Path) -> None:
    lines = epochs(dev_loss=[0.5, 0.6, 0.7, 0.4], dev_mcc=[0.1, 0.3, 0.3, 0.2])
    record = RunRecord.read(write_run(tmp_path / "run", metrics=lines, metric_for_best="mcc"))
    assert record.best_epoch == lines[1]


@pytest.mark.parametrize("config", [{}, {"metric_for_best": "loss"}, {"metric_for_best": "perplexity"}])
def test_best_epoch_by_loss_or_perplexity_is_the_lowest(tmp_path: Path, config: dict[str, str]) -> None:
    lines = epochs(dev_loss=[0.5, 0.6, 0.4, 0.4], dev_perplexity=[1.6, 1.8, 1.5, 1.5])
    assert RunRecord.read(write_run(tmp_path / "run", metrics=lines, **config)).best_epoch == lines[2]


@pytest.mark.parametrize(
    ("dev_loss", "expected"), [([0.5, 0.4, 0.45, 0.6], 2), ([0.4, 0.5], 1), ([0.5, 0.6, 0.3], None), ([0.5], None)]
)
def test_overfitting_begins_at_the_lowest_dev_loss(tmp_path: Path, dev_loss: list[float], expected: int | None) -> None:
    record = RunRecord.read(write_run(tmp_path / "run", metrics=epochs(dev_loss=dev_loss)))
    assert record.overfitting_epoch == expected


def test_training_without_a_dev_set_has_no_best_epoch(tmp_path: Path) -> None:
    record = RunRecord.read(write_run(tmp_path / "run", metrics=epochs(train_loss=[0.5, 0.4])))
    assert record.best_epoch is None
    assert record.overfitting_epoch is None


def test_the_predictions_of_a_run_without_its_entry_are_judged_in_the_order_of_probabilities(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    answers = [("b", "b"), ("a", "b"), ("b", "b")]
    lines = [{"label": label, "predicted": guess, "probabilities": {"b": 0.6, "a": 0.4}} for label, guess in answers]
    (folder / "predictions_dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = dev_report(RunRecord.read(folder))
    assert report is not None
    assert [label.name for label in report.classes] == ["b", "a"]
    assert report.confusion_matrix == ((2, 0), (1, 0))


def test_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no run: there is no config\.json in it; give the --output-dir of a run"
    ):
        RunRecord.read(tmp_path)


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "data.json").write_text("{")
    with pytest.raises(DataError, match=r"data\.json: is not JSON \(.*\); the run that wrote it must be repeated"):
        RunRecord.read(folder)


def test_a_file_of_the_wrong_shape(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "evaluation.json").write_text("{}")
    with pytest.raises(DataError, match=r"evaluation\.json: should hold a list in JSON"):
        RunRecord.read(folder)
    (folder / "evaluation.json").write_text("[]")
    (folder / "environment.json").write_text("[]")
    with pytest.raises(DataError, match=r"environment\.json: should hold an object in JSON"):
        RunRecord.read(folder)


def test_predictions_are_read_when_they_are_asked_for_and_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    file = folder / "predictions_dev.jsonl"
    file.write_text("{\n")
    record = RunRecord.read(folder)
    with pytest.raises(DataError, match=r"predictions_dev\.jsonl, line 1: is not JSON"):
        _ = record.predictions
    file.write_text('{"label": "a"}\n')
    assert record.predictions == [{"label": "a"}]
    file.unlink()
    assert record.predictions == [{"label": "a"}]


def test_the_unit_is_the_tasks(tmp_path: Path) -> None:
    from unmask.tasks import TASKS

    for name, task in TASKS.items():
        folder = write_run(tmp_path / name)
        (folder / "config.json").write_text(json.dumps({"task": name}))
        assert RunRecord.read(folder).unit == task.unit


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").write_bytes(b'{"kind":"step","step":1}\n{"kind"\xff}\n{"kind":"step","step":3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: is not JSON"):
        RunRecord.read(folder)
