"""Odd folders, odd labels, odd checkpoints: what a user can meet though nothing is wrong with their data.

Run: pytest tests/test_workflows_edges.py
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tiny import finetune_tiny, make_workplace, save_tiny_bert, sentences, unmask, weights_of, write_rows
from unmask import predict
from unmask.data import read_table
from unmask.errors import CheckpointError, DataError
from unmask.reporting import write_report
from unmask.tasks import LabelSet, Prediction, Score
from unmask.workflows.run_folder import refuse_changed_data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Drawing the plots takes longer than these runs."""
    monkeypatch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")


def test_the_output_folder_may_be_where_we_are_or_behind_a_link(place, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert finetune_tiny(place, ".", "--max-steps", 2) == 0
    link = tmp_path / "link"
    link.symlink_to(here, target_is_directory=True)
    before = weights_of(here)
    assert finetune_tiny(place, link, "--max-steps", 2, "--overwrite") == 0
    assert link.is_symlink()
    assert weights_of(here) == before


def test_a_kill_before_the_settings_are_written_leaves_the_folder_free(place, tmp_path):
    (tmp_path / "environment.json").write_text("{}")
    assert finetune_tiny(place, tmp_path, "--max-steps", 2, "--resume") == 0


def test_a_rare_label_may_fall_into_the_part_held_back(place, tmp_path):
    rows = [*sentences(20, seed=1), ("this dog sleep.", "odd")]
    train = write_rows(tmp_path / "train.tsv", rows)
    for seed in range(8):
        files = ("--model", place / "bert", "--train", train, "--dev-fraction", 0.3)
        assert unmask("finetune", *files, "--output-dir", tmp_path / f"{seed}", "--seed", seed, "--max-steps", 1) == 0
    labels = json.loads((tmp_path / "0" / "model" / "config.json").read_text())["id2label"]
    assert labels == {"0": "bad", "1": "good", "2": "odd"}


def test_labels_that_look_like_no_number_are_in_the_same_order_in_every_process():
    program = (
        "from unmask.tasks import Labels, TextExample\n"
        "make = lambda label: TextExample(text='a', text_pair=None, label=label, source='s', line=1)\n"
        "labels = ('nan', 'inf', 'b', '10', '9', '-1', 'a')\n"
        "print(Labels.find([make(l) for l in labels], [[l] for l in labels], None, least=2).values)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }
    assert said == {"('-1', '9', '10', 'a', 'b', 'inf', 'nan')"}


def test_a_run_goes_on_with_the_data_it_began_with_or_not_at_all(place, tmp_path, monkeypatch, capsys):
    train = write_rows(tmp_path / "train.tsv", sentences(30, seed=1))

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unmask.workflows.finetune.train", stop)
        assert finetune_tiny(place, tmp_path / "run", "--train", train) == 130
    rows = sentences(30, seed=1)
    write_rows(train, [rows[1], rows[0], *rows[2:]])
    assert unmask("finetune", "--resume", "--output-dir", tmp_path / "run") == 3
    assert "data.json: the data are not those the run began with" in capsys.readouterr().err
    write_rows(train, rows)
    assert unmask("finetune", "--resume", "--output-dir", tmp_path / "run") == 0


def test_figures_that_another_machine_computes_otherwise_are_no_change_of_data(tmp_path):
    """The mean of the scores may differ in its last digit; their number, their hash and a list of lengths may not."""
    described: dict[str, Any] = {"scores": {"mean": 2.5, "min": 1.0}, "rows": 3, "sha256": "ab", "lengths": [[5, 3]]}
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"train": described | {"scores": {"mean": 2.5000000000000004, "min": 1.0}}}))
    refuse_changed_data(tmp_path, {"train": described}, resume=True)
    for change in ({"rows": 4}, {"sha256": "cd"}, {"lengths": [[5, 4]]}, {"lengths": []}, {"scores": None}):
        file.write_text(json.dumps({"train": described | change}))
        with pytest.raises(DataError, match="the data are not those the run began with"):
            refuse_changed_data(tmp_path, {"train": described}, resume=True)
    file.write_text("[]")
    with pytest.raises(DataError, match="the data are not those the run began with"):
        refuse_changed_data(tmp_path, {"train": described}, resume=True)


def test_a_resumed_run_may_save_and_split_its_batches_otherwise(place, tmp_path):
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--max-steps", 2) == 0
    assert unmask("finetune", "--resume", "--output-dir", run, "--save-steps", 3, "--micro-batch-size", 2) == 0


def test_a_head_without_its_run_is_read_as_what_its_config_says(tmp_path):
    labels = {0: "a", 1: "b"}
    kinds = {
        "single_label_classification": (labels, Prediction),
        "multi_label_classification": (labels, LabelSet),
        "regression": ({0: "LABEL_0"}, Score),
        None: ({0: "LABEL_0"}, Score),  # one label and no more said is a number, as in transformers
    }
    for number, (kind, (id2label, answer)) in enumerate(kinds.items()):
        extra = {} if kind is None else {"problem_type": kind}
        model = save_tiny_bert(tmp_path / f"{number}", "sequence-classification", id2label=id2label, extra=extra)
        assert type(predict(model, ["this dog sleep."])[0]) is answer
    odd = save_tiny_bert(
        tmp_path / "odd", "sequence-classification", id2label=labels, extra={"problem_type": "ranking"}
    )
    with pytest.raises(
        CheckpointError, match="its head gives ranking, and unmask knows no task for it; it knows class"
    ):
        predict(odd, ["this dog sleep."])
    later = save_tiny_bert(tmp_path / "later", "sequence-classification", extra={"unmask_task": {"task": "parsing"}})
    with pytest.raises(CheckpointError, match="it was trained for parsing, which this version of unmask does not know"):
        predict(later, ["this dog sleep."])


def test_a_new_classifier_does_not_inherit_the_old_one_s_kind(place, tmp_path):
    several = save_tiny_bert(
        tmp_path / "several",
        extra={"problem_type": "multi_label_classification", "unmask_task": {"task": "multi-label"}},
    )
    assert finetune_tiny(place, tmp_path / "run", "--model", several, "--max-steps", 1) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert "problem_type" not in config
    assert config["unmask_task"]["task"] == "classification"


def test_a_masked_lm_head_that_is_not_tied_is_refused(tmp_path, capsys):
    untied = save_tiny_bert(tmp_path / "untied", "masked-lm", extra={"tie_word_embeddings": False})
    assert unmask("fill", "this [MASK] sleep.", "--model", untied) == 3
    assert "its masked-lm head is not tied to the word embeddings" in capsys.readouterr().err


def test_seventy_labels_are_reported_without_drawing_their_square(place, tmp_path):
    rows = [(text, f"label {number % 70}") for number, (text, _) in enumerate(sentences(140, seed=1))]
    train = write_rows(tmp_path / "train.tsv", rows)
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--train", train, "--dev", train, "--max-steps", 1) == 0
    page = write_report(run).read_text()
    assert "Taken for" in page
    assert not (run / "plots" / "confusion_matrix.png").exists()


def test_standard_input_is_lines_as_files_are(place, tmp_path, monkeypatch, capsys):
    assert finetune_tiny(place, tmp_path / "run", "--max-steps", 1) == 0
    text = "\ufeffthis dog\u2028sleep.\r\nthat cat.\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    capsys.readouterr()
    assert unmask("predict", tmp_path / "run", "--json") == 0
    lines = [json.loads(line)["text"] for line in capsys.readouterr().out.strip().split("\n")]
    assert lines == ["this dog\u2028sleep.", "that cat."]


def test_a_document_in_a_csv_field_may_be_long(tmp_path):
    document = "word " * 40_000
    (tmp_path / "long.csv").write_text(f'text,label\n"{document}",1\n')
    assert read_table(tmp_path / "long.csv").column("text") == [document]


def test_a_text_in_place_of_the_model_is_no_traceback(capsys):
    assert unmask("predict", "They drank the pub. " * 30) == 3
    assert "Traceback" not in capsys.readouterr().err
