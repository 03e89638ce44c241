"""Several seeds as one run: each as if it were alone, their spread as computed by hand. Run: pytest this file."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from test_workflows_tuning import killed_at, quiet
from tiny import QUICK, everything_in, finetune_tiny, make_workplace, sentences, unmask, weights_of, write_rows
from unmask import FinetuneSettings, compare, evaluate, finetune, predict
from unmask.data import split_indices
from unmask.errors import DataError, SettingsError
from unmask.metrics import bootstrap_mean
from unmask.reporting import RunRecord
from unmask.reporting.seeds import told_collapses
from unmask.tasks import Classification, FineTuning
from unmask.training import DivergedError

if TYPE_CHECKING:
    from pathlib import Path

METRICS = ("loss", "accuracy", "mcc", "f1")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def three(place) -> Path:
    """A run of seeds 5, 6 and 7, of something the tiny model can learn; with its reports."""
    rows = [(text, "one" if text[2] == "i" else "many") for text, _ in sentences(120, seed=5)]
    for name, part in (("train", rows[:70]), ("dev", rows[70:95]), ("test", rows[95:])):
        write_rows(place / f"easy-{name}.tsv", part)
    assert finetune_tiny(place, place / "three", *of_three(place), "--seed", 5, "--seeds", 3) == 0
    return place / "three"


def of_three(place: Path) -> tuple[object, ...]:
    files = [place / f"easy-{name}.tsv" for name in ("train", "dev", "test")]
    learning = ("--learning-rate", 3e-3, "--epochs", 6)
    return ("--train", files[0], "--dev", files[1], "--test", files[2], *learning)


@pytest.fixture
def without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("finetune", "seeds"):
        monkeypatch.setattr(f"unmask.workflows.{module}.write_report", lambda folder: folder / "report.html")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def settings(place: Path, **changes: Any) -> FinetuneSettings:
    given = {"epochs": 2, "global_batch_size": 8, "learning_rate": 1e-3, "device": "cpu", "seeds": 3} | changes
    return FinetuneSettings(model=str(place / "bert"), train=str(place / "train.tsv"), **given)


@pytest.mark.usefixtures("without_reports")
def test_each_seed_is_a_run_of_its_own(place, three, tmp_path):
    assert sorted(path.name for path in three.iterdir() if path.name.startswith("seed-")) == [
        "seed-5",
        "seed-6",
        "seed-7",
    ]
    alone = tmp_path / "alone"
    assert finetune_tiny(place, alone, *of_three(place), "--seed", 6) == 0
    assert weights_of(three / "seed-6") == weights_of(alone)
    for name in ("predictions_dev.jsonl", "evaluation_dev.json", "evaluation.json", "data.json"):
        assert (three / "seed-6" / name).read_bytes() == (alone / name).read_bytes(), name
    assert len({weights_of(three / f"seed-{seed}") for seed in (5, 6, 7)}) == 3
    config = read_json(three / "seed-6" / "config.json")
    assert (config["seed"], config["seeds"], config["dev_seed"]) == (6, 1, 5)


def test_mean_and_spread_are_those_of_the_seeds(three, place):
    summary = read_json(three / "seeds.json")
    entries = [read_json(three / f"seed-{seed}" / "evaluation_dev.json") for seed in (5, 6, 7)]
    tests = [read_json(three / f"seed-{seed}" / "evaluation.json")[0] for seed in (5, 6, 7)]
    assert [entry["seed"] for entry in summary["seeds"]] == [5, 6, 7]
    assert summary["evaluations"][0]["data"] == str(place / "easy-test.tsv")
    assert summary["evaluations"][0]["num_examples"] == 25
    assert [entry["is_collapsed"] for entry in summary["seeds"]] == [False, False, False]
    for told, found, place_of in (
        (summary["dev"], entries, "dev"),
        (summary["evaluations"][0]["metrics"], tests, "evaluations"),
    ):
        assert set(told) == set(METRICS)
        for name in METRICS:
            values = [entry["loss"] if name == "loss" else entry["metrics"][name] for entry in found]
            own = [one["dev"] if place_of == "dev" else one["evaluations"][0]["metrics"] for one in summary["seeds"]]
            assert [scores[name] for scores in own] == values
            assert told[name]["values"] == values
            assert told[name]["mean"] == pytest.approx(statistics.mean(values), abs=1e-12)
            assert told[name]["std"] == pytest.approx(statistics.stdev(values), abs=1e-12)
            assert (told[name]["min"], told[name]["max"]) == (min(values), max(values))
            assert told[name]["interval"] == bootstrap_mean(values).to_dict()
    scores = {seed: entry["metrics"]["mcc"] for seed, entry in zip((5, 6, 7), entries, strict=True)}
    assert summary["metric_for_best"] == "mcc"
    assert summary["best_seed"] == max(scores, key=lambda seed: scores[seed])
    assert weights_of(three) == weights_of(three / f"seed-{summary['best_seed']}")


def test_what_uses_a_run_uses_the_seed_that_was_kept(three, place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    best = run / f"seed-{read_json(run / 'seeds.json')['best_seed']}"
    texts = ["this dogs sleep.", "these birds sing."]
    assert predict(run, texts) == predict(best, texts)
    before = read_json(run / "seeds.json")
    entry = evaluate(str(run), data=str(place / "easy-train.tsv"))
    assert entry["metrics"] == evaluate(str(best), data=str(place / "easy-train.tsv"))["metrics"]
    assert read_json(run / "evaluation.json") == [entry]
    assert str(place / "easy-train.tsv") in (run / "report.html").read_text()
    assert read_json(run / "seeds.json") == before
    (run / "report.html").unlink()
    assert unmask("report", run) == 0
    assert "several seeds" in (run / "report.html").read_text()


def test_the_report_shows_every_seed(three):
    page = (three / "report.html").read_text()
    summary = read_json(three / "seeds.json")
    mcc = summary["dev"]["mcc"]
    assert f"{mcc['mean']:.3f} ± {mcc['std']:.3f}".replace("-", "−") in page
    for seed in (5, 6, 7):
        assert f'<td><a href="seed-{seed}/report.html">{seed}</a></td>' in page
    best = summary["best_seed"]
    assert f'<tr class="best"><td><a href="seed-{best}/report.html">{best}</a></td>' in page
    assert "collapsed:" not in page
    assert (three / "plots" / "seeds.png").read_bytes().startswith(b"\x89PNG")
    assert "Parameters trained" in page
    own = (three / f"seed-{best}" / "report.html").read_text()
    for title in ("Label by label", "Most confident mistakes", "How sure, and how often right"):
        assert (f"<h2>{title}, seed {best}</h2>" in page) == (f"<h2>{title}</h2>" in own)
    assert f"<h2>Label by label, seed {best}</h2>" in page
    assert (three / "plots" / "confusion_matrix.png").is_file()


def test_the_table_ends_with_mean_and_spread(three, capsys):
    assert unmask("finetune", "--resume", "--output-dir", three) == 0
    said = capsys.readouterr()
    assert "is complete: there is nothing to resume" in said.err
    summary = read_json(three / "seeds.json")
    rows = [line.split("│")[1:-1] for line in said.out.splitlines() if line.startswith("│")]
    rows = [[cell.strip() for cell in row] for row in rows]
    dev = [row for row in rows if row[0] == "dev"]
    assert [row[1] for row in dev] == ["5", "6", "7", "mean", "± std", "lowest", "highest", "95% from", "95% to"]
    accuracy = summary["dev"]["accuracy"]
    assert [row[3] for row in dev[:3]] == [f"{value:.4f}" for value in accuracy["values"]]
    ends = (accuracy["interval"]["low"], accuracy["interval"]["high"])
    assert [row[3] for row in dev[3:]] == [
        f"{value:.4f}" for value in (*(accuracy[key] for key in ("mean", "std", "min", "max")), *ends)
    ]
    assert [row[1] for row in dev if row[-1] == "kept"] == [str(summary["best_seed"])]
    assert f"model   {three / 'model'}, of seed {summary['best_seed']}" in said.out


@pytest.mark.usefixtures("without_reports")
def test_the_data_are_read_once_and_parted_once(place, tmp_path, monkeypatch):
    """One file, of which each seed holds back the same texts: those that a run of the first seed holds back."""
    reads, encodes = [], []
    read, encode = Classification.read.__func__, Classification.encode
    monkeypatch.setattr(Classification, "read", classmethod(lambda cls, *a, **b: reads.append(a) or read(cls, *a, **b)))
    monkeypatch.setattr(Classification, "encode", lambda *a, **b: encodes.append(a) or encode(*a, **b))
    finetune(settings(place, seed=4, output_dir=tmp_path / "run", max_steps=2), console=quiet())
    assert (len(reads), len(encodes)) == (1, 2)
    _, held_back = split_indices(61, dev_fraction=0.1, seed=4)
    texts = [text for text, _ in sentences(61, seed=1)]
    for seed in (4, 5, 6):
        lines = (tmp_path / "run" / f"seed-{seed}" / "predictions_dev.jsonl").read_text().splitlines()
        assert [json.loads(line)["text"] for line in lines] == [texts[i] for i in held_back]


@pytest.mark.usefixtures("without_reports")
def test_a_killed_run_goes_on_where_it_was(place, tmp_path, monkeypatch):
    """61 texts, 7 held back: 7 steps an epoch, 14 a seed. Killed in the tenth step of the second seed of three."""
    finetune(settings(place, tune="lora", output_dir=tmp_path / "whole"), console=quiet())
    run = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "collate", killed_at(24))
        with pytest.raises(MemoryError):
            finetune(settings(place, tune="lora", output_dir=run), console=quiet())
    assert [entry["seed"] for entry in read_json(run / "seeds.json")["seeds"]] == [0]
    assert not (run / "model").exists()
    done = everything_in(run / "seed-0")
    times = {path: path.stat().st_mtime_ns for path in (run / "seed-0").rglob("*")}
    assert [path.name for path in (run / "seed-1" / "checkpoints").iterdir()] == ["step-00000007"]

    steps = []
    collate = FineTuning.collate
    monkeypatch.setattr(FineTuning, "collate", lambda *a, **b: steps.append(1) or collate(*a, **b))
    result = finetune(output_dir=run, resume=True, console=quiet())
    assert len(steps) == 7 + 14  # the second epoch of the second seed, and the third seed
    assert everything_in(run / "seed-0") == done
    assert {path: path.stat().st_mtime_ns for path in (run / "seed-0").rglob("*")} == times
    assert result.seeds == read_json(tmp_path / "whole" / "seeds.json")
    for part in ("seed-0", "seed-1", "seed-2", "."):
        assert weights_of(run / part) == weights_of(tmp_path / "whole" / part), part
        assert everything_in(run / part / "adapter") == everything_in(tmp_path / "whole" / part / "adapter"), part


@pytest.mark.usefixtures("without_reports")
def test_a_seed_may_be_resumed_by_itself(place, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "collate", killed_at(24))
        with pytest.raises(MemoryError):
            finetune(settings(place, output_dir=run), console=quiet())
    assert unmask("finetune", "--resume", "--output-dir", run / "seed-1") == 0
    texts = [
        [json.loads(line)["text"] for line in (run / name / "predictions_dev.jsonl").read_text().splitlines()]
        for name in ("seed-0", "seed-1")
    ]
    assert texts[0] == texts[1]
    assert unmask("finetune", "--resume", "--output-dir", run) == 0
    assert len(read_json(run / "seeds.json")["seeds"]) == 3


def test_seeds_that_learn_nothing_are_marked_and_the_first_of_equals_is_kept(place, tmp_path, capsys):
    """40 good sentences and 2 bad ones: the answer "good" to everything, with a Matthews correlation of 0."""
    rows = [(text, "good") for text, _ in sentences(40, seed=1)] + [(text, "bad") for text, _ in sentences(2, seed=9)]
    train = write_rows(tmp_path / "train.tsv", rows)
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--train", train, "--seeds", 2) == 0
    lines = [json.loads(line) for line in (run / "seed-1" / "predictions_dev.jsonl").read_text().splitlines()]
    assert {line["predicted"] for line in lines} == {"good"}
    summary = read_json(run / "seeds.json")
    assert [entry["is_collapsed"] for entry in summary["seeds"]] == [True, True]
    assert summary["dev"]["mcc"]["values"] == [0.0, 0.0]
    assert summary["best_seed"] == 0
    out = capsys.readouterr().out
    assert out.count("kept, collapsed") == 1
    told = "All 2 seeds collapsed, the one that was kept too: they give all of dev the same answer"
    assert told in " ".join(out.split())
    assert told in (run / "report.html").read_text()
    assert "<h2>Most confident mistakes, seed 0</h2>" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("collapsed", "told"),
    [((), ""), ((1,), "Seed 1 collapsed: it gives all"), ((0, 2), "Seeds 0, 2 collapsed: they give all")],
)
def test_collapsed_seeds_are_named(collapsed, told):
    said = told_collapses([{"seed": seed, "is_collapsed": seed in collapsed} for seed in range(3)])
    assert said.startswith(told)
    assert bool(said) == bool(told)


def diverging(*seeds: int) -> Any:
    """A loss that is no number for these seeds, from the second epoch on."""
    collate, compute_loss = FineTuning.collate, FineTuning.compute_loss

    def note_epoch(self: Any, indices: Any, *, epoch: int) -> Any:
        self.epoch = epoch
        return collate(self, indices, epoch=epoch)

    def compute(self: Any, model: Any, batch: Any) -> Any:
        loss = compute_loss(self, model, batch)
        return loss * float("nan") if self._seed in seeds and self.epoch else loss

    return note_epoch, compute


def patch_loss(monkeypatch: pytest.MonkeyPatch, *seeds: int) -> None:
    for name, function in zip(("collate", "compute_loss"), diverging(*seeds), strict=True):
        monkeypatch.setattr(FineTuning, name, function)


def test_a_seed_that_diverges_is_left_out_and_not_tried_again(place, tmp_path, monkeypatch, capsys):
    run, whole = tmp_path / "run", tmp_path / "whole"
    finetune(settings(place, output_dir=whole), console=quiet())
    with monkeypatch.context() as patch:
        patch_loss(patch, 1)
        patch.setattr("unmask.workflows.seeds.copy_model", lambda *folders: 1 / 0)  # killed before its end
        with pytest.raises(ZeroDivisionError):
            finetune(settings(place, output_dir=run), console=quiet())
    assert (run / "seed-1" / "diverged.json").is_file()
    assert not (run / "seed-1" / "checkpoints").exists()
    assert not (run / "seed-1" / "model").exists()

    steps: list[int] = []
    collate = FineTuning.collate
    monkeypatch.setattr(FineTuning, "collate", lambda *a, **b: steps.append(1) or collate(*a, **b))
    assert unmask("finetune", "--resume", "--output-dir", run) == 0
    assert steps == []
    said = capsys.readouterr()
    assert "seed 1, 2 of 3: diverged before" in said.err
    assert "diverged" in next(line for line in said.out.splitlines() if line.startswith("│ dev  │ 1 "))
    summary, of_all = read_json(run / "seeds.json"), read_json(whole / "seeds.json")
    assert summary["seeds"] == [of_all["seeds"][0], of_all["seeds"][2]]
    [diverged] = summary["diverged"]
    assert (diverged["seed"], diverged["folder"]) == (1, "seed-1")
    assert diverged["error"].startswith("step 8: the loss is nan")
    assert summary["dev"]["accuracy"]["values"] == [of_all["dev"]["accuracy"]["values"][place] for place in (0, 2)]
    page = " ".join((run / "report.html").read_text().split())
    assert "Diverged, and left out of every mean: seed 1 (step 8: the loss is nan" in page
    assert "<td>1, diverged</td>" in page
    assert of_all["diverged"] == []
    comparison = compare(str(run), str(whole))  # by the seeds there are
    assert (comparison.first.seeds, comparison.second.seeds) == ((0, 2), (0, 1, 2))
    assert unmask("finetune", "--overwrite", "--output-dir", run, "--model", place / "bert", "--train", "none.tsv") == 3
    assert (run / "seeds.json").is_file()
    finetune(settings(place, seeds=2, max_steps=1, output_dir=run, overwrite=True), console=quiet())


@pytest.mark.usefixtures("without_reports")
def test_seeds_that_all_diverge_are_named(place, tmp_path, monkeypatch):
    patch_loss(monkeypatch, 0, 1)
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"every seed diverged.*: seed 0: step 8: the loss.*; seed 1: step 8: the"):
        finetune(settings(place, seeds=2, output_dir=run), console=quiet())
    assert not (run / "model").exists()
    assert not (run / "seeds.json").exists()


def test_more_seeds_than_colours_have_a_report_that_leads_to_theirs(place, tmp_path):
    run = tmp_path / "run"
    finetune(settings(place, seeds=5, max_steps=1, output_dir=run), console=quiet())
    page = (run / "report.html").read_text()
    for seed in range(5):
        assert f'<td><a href="seed-{seed}/report.html">{seed}</a></td>' in page.replace(
            f">{seed}, collapsed<", f">{seed}<"
        )
        assert (run / f"seed-{seed}" / "report.html").is_file()
    assert "Bold: that seed." in page


@pytest.mark.usefixtures("without_reports")
def test_each_seed_is_read_once(place, tmp_path, monkeypatch):
    reads = []
    read = RunRecord.read.__func__
    monkeypatch.setattr(
        RunRecord, "read", classmethod(lambda cls, folder: reads.append(folder.name) or read(cls, folder))
    )
    run = tmp_path / "run"
    result = finetune(settings(place, seeds=3, max_steps=1, output_dir=run), console=quiet())
    assert reads == ["seed-0", "seed-1", "seed-2", f"seed-{result.seeds['best_seed']}"]


@pytest.mark.usefixtures("without_reports")
def test_the_loss_may_choose_the_seed(place, tmp_path):
    result = finetune(
        settings(place, metric_for_best="loss", seeds=2, output_dir=tmp_path / "run", max_steps=4), console=quiet()
    )
    losses = result.seeds["dev"]["loss"]["values"]
    assert result.seeds["best_seed"] == losses.index(min(losses))
    assert (
        result.dev
        == read_json(tmp_path / "run" / f"seed-{losses.index(min(losses))}" / "evaluation_dev.json")["metrics"]
    )


@pytest.mark.usefixtures("without_reports")
class TestUsedFolders:
    def test_a_run_is_replaced_whole(self, place, tmp_path):
        run = tmp_path / "run"
        finetune(settings(place, seeds=3, max_steps=1, output_dir=run), console=quiet())
        with pytest.raises(DataError, match="the folder holds a run already"):
            finetune(settings(place, seeds=2, max_steps=1, output_dir=run), console=quiet())
        finetune(settings(place, seeds=2, max_steps=1, output_dir=run, overwrite=True), console=quiet())
        assert sorted(path.name for path in run.glob("seed-*")) == ["seed-0", "seed-1"]

    def test_a_file_kept_in_the_run_of_a_seed_is_not_removed_with_it(self, place, tmp_path):
        run = tmp_path / "run"
        finetune(settings(place, seeds=2, max_steps=1, output_dir=run), console=quiet())
        (run / "seed-1" / "notes.txt").write_text("mine")
        with pytest.raises(DataError, match=r"files that are no run's \(seed-1/notes.txt\)"):
            finetune(settings(place, max_steps=1, output_dir=run, overwrite=True), console=quiet())
        assert (run / "seed-1" / "notes.txt").read_text() == "mine"

    def test_other_seeds_are_refused_by_a_run_that_goes_on(self, place, tmp_path):
        run = tmp_path / "run"
        finetune(settings(place, seeds=2, max_steps=1, output_dir=run), console=quiet())
        with pytest.raises(SettingsError, match=r"seeds is 4, but the run in .* has 2"):
            finetune(output_dir=run, resume=True, seeds=4, console=quiet())


def test_seeds_below_one_are_refused(place):
    with pytest.raises(SettingsError, match="seeds is 0: it must be 1 or more"):
        settings(place, seeds=0)


def test_two_processes_train_the_seeds_of_one_with_adapters(place, tmp_path):
    """Under torchrun: both ranks take part in every seed, all adapters in the exchange of gradients."""
    files = ("--model", place / "bert", "--train", place / "train.tsv", "--dev", place / "dev.tsv")
    arguments = (*QUICK, "--seeds", 2, "--tune", "lora", "--lora-targets", "all", "--max-steps", 4)
    alone, run = tmp_path / "alone", tmp_path / "run"
    assert unmask("finetune", *files, *arguments, "--output-dir", alone) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unmask"]
    command = [*launcher, "finetune", *files, *arguments, "--output-dir", run]
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("± std") == 1  # rank 0 alone prints
    for seed in (0, 1):
        expected = load_file(alone / f"seed-{seed}" / "model" / "model.safetensors")
        weights = load_file(run / f"seed-{seed}" / "model" / "model.safetensors")
        for name, tensor in expected.items():
            torch.testing.assert_close(
                weights[name], tensor, rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
            )
    assert read_json(run / "seeds.json")["best_seed"] == read_json(alone / "seeds.json")["best_seed"]
