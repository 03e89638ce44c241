"""Searching settings: how a space is written, which trials run, what a kill leaves, what the best one is worth.

Run: pytest tests/test_workflows_search.py
"""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tiny import everything_in, finetune_tiny, make_workplace, unmask, weights_of
from unmask import FinetuneSettings, SearchSettings, evaluate, predict, search
from unmask.cli.arguments import parse
from unmask.errors import DataError, SettingsError
from unmask.reporting.search import search_sections
from unmask.tasks import FineTuning
from unmask.training.loop import _Run
from unmask.workflows.search_space import _SAME_FOR_ALL, Choices, Range, parse_space
from unmask.workflows.search_study import Study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GRID = ("--space", "global_batch_size=16,32", "learning_rate=1e-3,5e-3", "--epochs", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace with a search over four points."""
    place = make_workplace(tmp_path_factory.mktemp("place"))
    assert unmask("search", "classification", *files(place), "--output-dir", place / "search", *GRID) == 0
    return place


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the plots takes longer than these runs."""
    for module in ("finetune", "search"):
        monkeypatch.setattr(f"unmask.workflows.{module}.write_report", lambda folder, **_: folder / "report.html")


def files(place: Path) -> tuple[object, ...]:
    names = ("train", "dev", "test")
    return ("--model", place / "bert", *(part for name in names for part in (f"--{name}", place / f"{name}.tsv")))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def without_seconds(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


# How a space is written


def test_nothing_said_is_the_grid_of_the_paper() -> None:
    points = parse_space(()).grid()
    assert len(points) == 18
    assert points[0] == {"global_batch_size": 16, "learning_rate": 5e-5, "epochs": 2}
    assert points[1] == {"global_batch_size": 16, "learning_rate": 5e-5, "epochs": 3}
    assert points[-1] == {"global_batch_size": 32, "learning_rate": 2e-5, "epochs": 4}
    assert len({tuple(point.values()) for point in points}) == 18


def test_a_space_is_lists_and_ranges_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    typed = parse_space(
        (
            "lr=1e-5..1e-4:log",
            "batch-size=16,32",
            "epochs=2..4",
            "weight_decay=0..0.1",
            "warmup_ratio=None,0.1",
            "schedule=linear,cosine",
            "freeze_embeddings=true,false",
            "betas=[0.9,0.98],[0.9,0.999]",
        )
    )
    assert typed.of == {
        "learning_rate": Range(low=1e-5, high=1e-4, log=True, whole=False),
        "global_batch_size": Choices((16, 32)),
        "epochs": Range(low=2, high=4, log=False, whole=True),
        "weight_decay": Range(low=0.0, high=0.1, log=False, whole=False),
        "warmup_ratio": Choices((None, 0.1)),
        "schedule": Choices(("linear", "cosine")),
        "freeze_embeddings": Choices((True, False)),
        "betas": Choices(((0.9, 0.98), (0.9, 0.999))),
    }
    assert not typed.is_grid
    assert parse_space(typed.to_text()) == typed
    path = tmp_path / "space.yaml"
    path.write_text(
        "learning_rate: 1e-5..1e-4:log\nglobal_batch_size: [16, 32]\nepochs: 2..4\nweight_decay: 0..0.1\n"
        "warmup_ratio: [null, 0.1]\nschedule: linear, cosine\nfreeze_embeddings: [true, false]\n"
        "betas: [[0.9, 0.98], [0.9, 0.999]]\n"
    )
    assert parse_space((str(path),)) == typed
    assert parse_space({"learning_rate": 2e-5, "epochs": [3]}).grid() == [{"learning_rate": 2e-5, "epochs": 3}]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (("learning_rates=1e-5,2e-5",), "no setting 'learning_rates'; did you mean learning_rate"),
        (("xyzzy=1",), "no setting 'xyzzy': unmask finetune --help lists them"),
        (("epochs=2", "epochs"), "'epochs' is not like learning_rate=5e-5,3e-5"),
        (("epochs=2,2.5",), r"epochs cannot be 2.5: it is a whole number"),
        (("epochs=two..4",), r"epochs cannot be 'two..4': it is a whole number"),
        (("epochs=2..4.5",), r"epochs cannot be 4.5: it is a whole number"),
        (("epochs=4..2",), r"epochs=4..2 is empty: the smaller number stands first"),
        (("weight_decay=0..0.1:log",), r"begins at 0: a logarithmic range begins above 0"),
        (("learning_rate=1.2.3..4",), r"learning_rate begins or ends at '1.2.3', which is not a number"),
        (("learning_rate=fast,slow",), "learning_rate cannot be 'fast': it is a number or None"),
        (("schedule=linear,step",), "schedule cannot be 'step': it is one of linear, cosine, constant"),
        (("schedule=1..2",), "schedule is no number, so it has no range"),
        (("betas=0.9,0.99",), "betas cannot be 0.9: it is a list"),
        (("freeze_embeddings=1,0",), "freeze_embeddings cannot be 1: it is true or false"),
        (("epochs=2,2",), "epochs has the same value twice"),
        (("epochs=2", "epochs=3"), "epochs is there twice"),
        (("learning_rate=1e-5", "lr=2e-5"), "learning_rate is there twice"),
        (("epochs=[2",), "is no list of values"),
        (("seed=0,1,2",), "seed cannot be searched: the best of several seeds is the luckiest"),
        (("train=a.tsv,b.tsv",), "train cannot be searched: trials with another one cannot be compared"),
        (("output_dir=a,b",), "output_dir cannot be searched: it has no part in how well a model learns"),
        (("seeds=1,5",), "seeds cannot be searched"),
        (("check=true,false",), "check cannot be searched: it has no part in how well a model learns"),
    ],
)
def test_a_bad_space_is_refused(space: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_space(space)


def test_every_setting_that_can_be_searched_reads_a_value() -> None:
    hints = get_type_hints(FinetuneSettings)
    for field in dataclasses.fields(FinetuneSettings):
        if field.name in _SAME_FOR_ALL:
            continue
        options = get_args(hints[field.name]) if type(None) in get_args(hints[field.name]) else (hints[field.name],)
        kind = options[0]
        value: Any = get_args(kind)[0] if get_origin(kind) is Literal else {int: 3, float: 0.5, bool: True}.get(kind)
        if get_origin(kind) is tuple:
            member = get_args(kind)[0]
            value = (0.5, 0.5) if member is float else ("query",)
        value = "word" if value is None else value
        assert parse_space({field.name: [value]}).of == {field.name: Choices((value,))}
        assert parse_space((f"{field.name}={json.dumps(value)}",)).of == {field.name: Choices((value,))}
        if len(options) > 1:
            assert parse_space((f"{field.name}=None",)).of == {field.name: Choices((None,))}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": ("label_smoothing=0,0.1",), "metric_for_best": "loss"}, "label_smoothing cannot be searched by the"),
        ({"space": ("class_weights=None,balanced",), "metric_for_best": "loss"}, "class_weights cannot be searched by"),
        ({"space": ("learning_rate=0,1e-5",)}, "space: learning_rate is 0.0: it must be positive"),
        ({"space": ("label_smoothing=0.1..1",), "trials": 3}, "space: label_smoothing is 1.0: it must be in"),
        ({"space": ("global_batch_size=8,16",), "micro_batch_size": 16}, "must not exceed global_batch_size, 8"),
        ({"space": ("label_smoothing=0,0.1",), "task": "regression"}, "regression has no use for it"),
        ({"max_steps": 10}, "max_steps is 10, so epochs changes nothing"),
        ({"space": ("learning_rate=1e-5..1e-4",)}, "trials is missing: a space with a range has no end"),
        ({"trials": 19}, "trials is 19, and the space has 18 points"),
        ({"trials": 0}, "trials is 0: it must be 1 or more"),
        ({"pruner": "best"}, "pruner is 'best': it must be none, median or halving"),
        ({"seeds": 5}, "seeds is 5: it must be 1"),
        ({"tune": "lora"}, "the usual grid are for tuning all parameters: name a space"),
        ({"train": None}, "train is missing"),
        ({"output_dir": None}, "output_dir is missing"),
        ({"space": ("missing.yaml",)}, "missing.yaml: the recipe cannot be read"),
    ],
)
def test_settings_that_no_trial_could_have_are_refused_at_once(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        search(**{"train": "train.tsv", "output_dir": tmp_path / "run"} | settings)
    assert not (tmp_path / "run").exists()


def test_the_file_of_a_space_may_be_empty_of_sense(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("{}")
    with pytest.raises(SettingsError, match="the file names no setting"):
        parse_space((str(path),))
    path.write_text("- epochs\n")
    with pytest.raises(SettingsError, match="a recipe is a list of settings"):
        parse_space((str(path),))


def test_without_optuna_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "unmask.workflows.search_study")
    with pytest.raises(SettingsError, match=r"pip install 'unmask\[search\]'"):
        search(train="train.tsv", output_dir=tmp_path / "run")


# The study


SPACE = parse_space(("learning_rate=1e-5..1e-3:log", "weight_decay=0..0.1", "warmup_ratio=None,0.1", "epochs=2..4"))


def study_of(path: Path, **changes: Any) -> Study:
    given: dict[str, Any] = {"space": SPACE, "points": None, "maximize": True, "seed": 7, "pruner": "median"}
    return Study(path, **given | changes)


def play(study: Study, total: int, *, stop_after: int | None = None) -> Study:
    """Run trials whose score falls with the distance from 1e-4; stop dead after so many reports."""
    reports = 0
    while (trial := study.next(total)) is not None:
        score = -abs(math.log10(trial.point["learning_rate"]) + 4)
        for evaluation in (1, 2, 3):
            is_behind = trial.report(evaluation, score - 1 / evaluation)
            reports += 1
            if reports == stop_after:
                return study
            if is_behind:
                trial.prune()
                break
        else:
            trial.complete(score)
    return study


def test_a_killed_study_draws_what_it_would_have_drawn_and_pickles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    whole = play(study_of(tmp_path / "whole.jsonl"), 14)
    path = tmp_path / "parts.jsonl"
    for stop_after in (1, 7, 11):
        play(study_of(path), 14, stop_after=stop_after)
        with path.open("ab") as file:
            file.write(b'{"op_code": 4, "wor')  # a kill in the middle of a line
    parts = play(study_of(path), 14)
    assert parts.trials == whole.trials
    assert len({trial.point["learning_rate"] for trial in whole.trials}) == 14
    assert {trial.state for trial in whole.trials} == {"complete", "pruned"}
    assert all(json.loads(line)["op_code"] >= 0 for line in path.read_bytes().splitlines())
    path.write_bytes(b"{broken\n" + path.read_bytes())
    with pytest.raises(DataError, match=r"parts.jsonl, line 1: is not JSON"):
        study_of(path)


def test_points_that_were_tried_are_not_tried_again_in_another_order(tmp_path: Path) -> None:
    points = [{"epochs": number} for number in range(2, 10)]
    given: dict[str, Any] = {"space": parse_space(("epochs=2,3,4,5,6,7,8,9",)), "pruner": "none"}
    for order, total in ((points, 3), (points[::-1], 6), (points[3:] + points[:3], 8)):
        study = study_of(tmp_path / "s.jsonl", points=order, **given)
        while (trial := study.next(total)) is not None:
            trial.complete(1.0)
    assert [trial.point["epochs"] for trial in study.trials] == [2, 3, 4, 9, 8, 7, 5, 6]


def test_draws_get_better_where_it_pays(tmp_path: Path) -> None:
    points = [trial.point for trial in play(study_of(tmp_path / "s.jsonl", pruner="none"), 40).trials]
    off = [abs(math.log10(point["learning_rate"]) + 4) for point in points]
    assert sum(off[-20:]) < 0.7 * sum(off[:10]) * 2
    assert all(1e-5 <= point["learning_rate"] <= 1e-3 and point["epochs"] in (2, 3, 4) for point in points)
    assert {point["warmup_ratio"] for point in points} == {None, 0.1}


@pytest.mark.parametrize("maximize", [True, False])
def test_the_median_prunes_who_is_behind_it(tmp_path: Path, maximize: bool) -> None:
    space = parse_space(("epochs=1,2,3,4,5,6,7",))
    sign = 1 if maximize else -1
    study = study_of(tmp_path / "s.jsonl", space=space, points=space.grid(), maximize=maximize)
    # Four trials are never judged; the median of 1, 2, 3, 4 is 2.5.
    for score in (1.0, 2.0, 3.0, 4.0):
        trial = study.next(7)
        assert trial is not None
        assert not trial.report(1, sign * score)
        trial.complete(sign * score)
    for score, is_behind in ((2.4, True), (2.6, False)):
        trial = study.next(7)
        assert trial is not None
        assert trial.report(1, sign * score) is is_behind
        trial.prune() if is_behind else trial.complete(sign * score)
    failed = study.next(7)
    assert failed is not None
    failed.fail("it burst")
    assert study.next(7) is None
    assert [(trial.number, trial.state) for trial in study.ranked] == [
        *((number, "complete") for number in (3, 2, 5, 1, 0)),
        (4, "pruned"),
        (6, "failed"),
    ]
    assert study.ranked[-2].score == sign * 2.4
    assert study.ranked[-1].error == "it burst"
    assert study.best is not None
    assert study.best.point == {"epochs": 4}


def test_halving_lets_the_better_half_go_on(tmp_path: Path) -> None:
    space = parse_space(("epochs=1,2,3",))
    study = study_of(tmp_path / "s.jsonl", space=space, points=space.grid(), pruner="halving")
    behind = []
    for score in (3.0, 2.0, 4.0):
        trial = study.next(3)
        assert trial is not None
        behind.append(trial.report(1, score))
        trial.prune() if behind[-1] else trial.complete(score)
    assert behind == [False, True, False]


def test_what_matters_has_the_larger_share(tmp_path: Path) -> None:
    space = parse_space(("learning_rate=1e-5,1e-4,1e-3", "epochs=1,2,3", "weight_decay=0.1"))
    study = study_of(tmp_path / "s.jsonl", space=space, points=space.grid(), pruner="none")
    assert study.importances() == {}
    while (trial := study.next(9)) is not None:
        trial.complete(10 * math.log10(trial.point["learning_rate"]) + trial.point["epochs"])
    shares = study.importances()
    assert list(shares) == ["learning_rate", "epochs"]
    assert shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


# The search


def test_a_grid_is_tried_whole_and_the_best_is_kept(place: Path) -> None:
    folder = place / "search"
    summary = read_json(folder / "search.json")
    tried = [trial["settings"] for trial in sorted(summary["trials"], key=lambda trial: trial["number"])]
    assert tried == [{"global_batch_size": b, "learning_rate": lr} for b in (16, 32) for lr in (1e-3, 5e-3)]
    scores = [trial["score"] for trial in summary["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert (summary["metric"], summary["best"]) == ("mcc", summary["trials"][0]["number"])
    for trial in summary["trials"]:
        run = folder / f"trial-{trial['number']:03d}"
        assert read_json(run / "evaluation_dev.json")["metrics"]["mcc"] == trial["score"] == trial["scores"]["mcc"]
        config = read_json(run / "config.json")
        assert {name: config[name] for name in trial["settings"]} == trial["settings"]
        assert (config["epochs"], config["seed"], config["test"]) == (2, 0, [])
        assert (run / "report.html").is_file()
        assert not (run / "model").exists()
        assert not (run / "checkpoints").exists()
        evaluations = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        reported = [line["dev_mcc"] for line in evaluations if line["kind"] == "epoch"]
        assert list(trial["reports"].values()) == reported
        assert len(reported) == 2
    config = read_json(folder / "config.json")
    assert config["best"] == summary["trials"][0]["settings"]
    assert (config["learning_rate"], config["global_batch_size"]) == (None, 32)  # as they were before the search
    assert config["space"] == ["global_batch_size=16, 32", "learning_rate=0.001, 0.005"]


def test_the_best_model_predicts_and_was_tested_once(place: Path) -> None:
    folder = place / "search"
    best = folder / f"trial-{read_json(folder / 'search.json')['best']:03d}"
    lines = [json.loads(line) for line in (best / "predictions_dev.jsonl").read_text().splitlines()]
    answers = predict(folder, [line["text"] for line in lines])
    assert [answer.label for answer in answers] == [line["predicted"] for line in lines]
    [test] = read_json(folder / "evaluation.json")
    assert test["data"] == str(place / "test.tsv")
    assert evaluate(str(folder / "model"), data=str(place / "test.tsv")) == test
    assert all(read_json(run / "evaluation.json") == [] for run in folder.glob("trial-*"))


def test_the_report_shows_the_search_and_the_best_run(place: Path) -> None:
    page = (place / "search" / "report.html").read_text()
    for said in ("Trial by trial", "Setting by setting", "Trials as they went", "learning_rate", "--seeds 5", "Result"):
        assert said in page
    names = {path.name for path in (place / "search" / "plots").iterdir()}
    assert {"search_learning_rate.png", "search_global_batch_size.png", "search_evaluations.png"} < names


def test_a_trial_that_failed_is_no_dot() -> None:
    def trial(number: int, state: str, epochs: int, score: float | None) -> dict[str, Any]:
        return {"number": number, "state": state, "settings": {"epochs": epochs}, "score": score, "reports": {}}

    trials = [trial(0, "complete", 2, 0.5), trial(1, "complete", 2, 0.7), trial(2, "complete", 3, 0.6)]
    trials += [trial(3, "complete", 3, 0.8), trial(4, "failed", 2, 0.1), trial(5, "failed", 9, 0.2)]
    search = {"trials": trials, "metric": "mcc", "best": 3, "importances": {}}
    section = search_sections(search)[1](None)  # type: ignore[arg-type]
    assert section is not None
    lines = section.plots[0].figure.axes[0].lines
    drawn = [tuple(map(float, line.get_ydata())) for line in lines]
    assert drawn == [(0.5,), (0.7,), (0.6,), (0.8,), (0.8,), pytest.approx((0.6, 0.7))]


def test_a_complete_search_is_shown_again_and_prints_the_next_command(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "search"
    before = everything_in(folder)
    assert unmask("search", "--resume", "--output-dir", folder) == 0
    shown = capsys.readouterr()
    assert "is complete: there is nothing to resume" in shown.err
    assert "One seed each: differences below the spread of seeds mean nothing" in shown.out
    command = shown.out.splitlines()[-1].strip()
    assert unmask("search", "--resume", "--output-dir", folder, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == read_json(folder / "search.json")
    assert summary["next_command"] == command
    assert everything_in(folder) == before
    # The command says what it should, as the command line reads it.
    words = shlex.split(command)
    assert words[:3] == ["unmask", "finetune", "classification"]
    typed = parse(FinetuneSettings, ["--task", *words[2:]], command="finetune")
    best = summary["trials"][0]["settings"]
    assert (typed.seeds, typed.seed, typed.epochs, typed.device) == (5, 0, 2, "cpu")
    assert (typed.learning_rate, typed.global_batch_size) == (best["learning_rate"], best["global_batch_size"])
    assert (typed.train, typed.dev, typed.test) == tuple(
        kind(str(place / f"{name}.tsv")) for name, kind in (("train", str), ("dev", one), ("test", one))
    )
    assert typed.output_dir == place / "search-seeds"
    assert not typed.resume


def one(value: str) -> tuple[str]:
    return (value,)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], list[int]]]:
    """Counts optimizer steps from the call on, and breaks off before the one of the number it was given."""
    taken: list[int] = []
    limit: list[int | None] = [None]
    original = _Run.take_step

    def take_step(run: _Run) -> None:
        if limit[0] is not None and len(taken) == limit[0]:
            raise KeyboardInterrupt
        taken.append(run.state.step)
        original(run)

    def count(stop_after: int | None) -> list[int]:
        taken.clear()
        limit[0] = stop_after
        return taken

    monkeypatch.setattr(_Run, "take_step", take_step)
    return count


@pytest.mark.usefixtures("no_report")
def test_a_killed_search_goes_on_where_it_was(
    place: Path, tmp_path: Path, steps: Callable[[int | None], list[int]]
) -> None:
    folder = tmp_path / "search"
    # 61 texts: 4 and 4 steps an epoch of the first two trials, 2 and 2 of the others. Killed in the second's second
    # epoch, and in the first of the third.
    taken = steps(8 + 6)
    assert unmask("search", *files(place), "--output-dir", folder, *GRID) == 130
    assert taken == [*range(8), *range(6)]
    assert not (folder / "model").exists()
    taken = steps(4 + 1)
    assert unmask("search", "--resume", "--output-dir", folder) == 130
    assert taken == [*range(4, 8), 0]
    taken = steps(None)
    assert unmask("search", "--resume", "--output-dir", folder) == 0
    assert taken == [*range(4), *range(4)]
    parts, whole = (read_json(each / "search.json") for each in (folder, place / "search"))
    assert without_seconds(parts["trials"]) == without_seconds(whole["trials"])
    assert weights_of(folder) == weights_of(place / "search")
    assert parts["next_command"].replace(str(folder), str(place / "search")) == whole["next_command"]


@pytest.mark.usefixtures("no_report")
def test_trials_given_when_it_goes_on_are_remembered(
    place: Path, tmp_path: Path, steps: Callable[[int | None], list[int]]
) -> None:
    folder = tmp_path / "search"
    arguments = ("--space", "weight_decay=0,0.01,0.02,0.03,0.04", "--global-batch-size", 61, "--epochs", 1)
    steps(2)  # one a trial
    assert unmask("search", *files(place), "--output-dir", folder, *arguments) == 130
    steps(1)
    assert unmask("search", "--resume", "--output-dir", folder, "--trials", 4, "--keep-models") == 130
    steps(None)
    assert unmask("search", "--resume", "--output-dir", folder) == 0
    tried = {trial["number"]: trial["settings"] for trial in read_json(folder / "search.json")["trials"]}
    assert len(tried) == 4
    assert len({point["weight_decay"] for point in tried.values()}) == 4
    assert (tried[0], tried[1]) == ({"weight_decay": 0.0}, {"weight_decay": 0.01})
    assert (folder / "trial-003" / "model").is_dir()
    assert unmask("search", "--resume", "--output-dir", folder, "--trials", 5) == 0
    assert len(read_json(folder / "search.json")["trials"]) == 5
    assert read_json(folder / "config.json")["trials"] == 5


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("frozen_layers=0,1,8", "space: frozen_layers 8 cannot be tried: frozen_layers is 8"),
        ("model={bert},typo", "space: model typo cannot be tried: typo"),
        ("class_weights=[1,2],[1,2,3]", "space: class_weights 1 and 2 and 3 cannot be tried: class_weights is 1 2 3"),
        ("precision=fp32,bf16", "precision is 'bf16', which is for CUDA"),
    ],
)
def test_values_that_the_model_or_the_data_refuse_are_refused_at_once(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], space: str, message: str
) -> None:
    space = space.replace("{bert}", str(place / "bert"))
    told = ("--device", "cpu", "--output-dir", tmp_path / "search")
    assert unmask("search", *files(place), *told, "--space", space) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "search").exists()


@pytest.mark.usefixtures("no_report")
def test_a_trial_that_cannot_be_fails_and_the_search_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unmask.workflows.search_trials.Trials.check", lambda _: None)  # as of a drawn number between
    folder = tmp_path / "search"
    arguments = ("--space", "frozen_layers=8,0", "--global-batch-size", 61, "--epochs", 1)
    assert unmask("search", *files(place), "--output-dir", folder, *arguments) == 0
    trials = read_json(folder / "search.json")["trials"]
    assert [(trial["number"], trial["state"]) for trial in trials] == [(1, "complete"), (0, "failed")]
    assert "frozen_layers is 8" in trials[1]["error"]


@pytest.mark.usefixtures("no_report")
def test_the_data_are_looked_at_once(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--space", "epochs=1,2", "--global-batch-size", 61, "--dev", place / "train.tsv")
    assert unmask("search", *files(place), *arguments, "--output-dir", tmp_path / "one") == 0
    assert capsys.readouterr().err.count("warning: ") == 1
    assert unmask("search", *files(place), *arguments, "--no-check", "--output-dir", tmp_path / "other") == 0
    assert "warning: " not in capsys.readouterr().err


@pytest.mark.usefixtures("no_report")
def test_a_kill_between_the_run_and_what_is_told_of_it_loses_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Callable[[int | None], list[int]]
) -> None:
    folder = tmp_path / "search"

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    arguments = (*files(place), "--output-dir", folder, "--space", "epochs=1,2", "--global-batch-size", 61)
    for where in ("search_study.Trial.complete", "search._summarize"):
        with monkeypatch.context() as patch:
            patch.setattr(f"unmask.workflows.{where}", stop)
            flags = ("--resume", "--output-dir", folder) if folder.exists() else arguments
            assert unmask("search", *flags) == 130
    taken = steps(None)
    assert unmask("search", "--resume", "--output-dir", folder) == 0
    assert taken == []
    assert [trial["state"] for trial in read_json(folder / "search.json")["trials"]] == ["complete", "complete"]
    assert predict(folder, ["this dog sleeps."])


@pytest.mark.usefixtures("no_report")
def test_trials_that_are_behind_or_burst_end_early_and_the_search_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six trials of two evaluations each, whose dev scores are made up."""
    made_up = iter(
        [
            *(0.5, 0.6),
            *(0.4, math.nan),  # fails at its second
            *(0.5, 0.6),
            *(0.5, 0.6),
            *(0.5, 0.6),
            *(0.1,),  # behind the others
            *(0.6, 0.1),  # behind at its last, when there is nothing left to save
        ]
    )
    monkeypatch.setattr(FineTuning, "evaluate", lambda *_: {"loss": 1.0, "mcc": next(made_up)})
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    folder = tmp_path / "search"
    arguments = ("--space", "weight_decay=0,0.01,0.02,0.03,0.04,0.05,0.06", "--pruner", "median", "--keep-models")
    size = ("--global-batch-size", 61, "--epochs", 2, "--device", "cpu")
    assert unmask("search", *files(place), "--output-dir", folder, *arguments, *size) == 0
    assert next(made_up, None) is None
    shown = capsys.readouterr()
    assert "trial 5 is behind the others: it ends here" in shown.err
    assert "trial 1 failed: step 2: the evaluation gives" in shown.err
    assert "7 trials, 1 pruned and 1 failed" in shown.out
    trials = {trial["number"]: trial for trial in read_json(folder / "search.json")["trials"]}
    states = [trials[number]["state"] for number in range(7)]
    assert states == ["complete", "failed", "complete", "complete", "complete", "pruned", "complete"]
    assert (trials[5]["reports"], trials[5]["score"], trials[5]["scores"]) == ({"1": 0.1}, 0.1, None)
    assert trials[1]["score"] == 0.4
    kept = {run.name for run in folder.glob("trial-*") if (run / "model").is_dir()}
    assert kept == {f"trial-{number:03d}" for number in (0, 2, 3, 4, 6)}
    assert not list(folder.glob("trial-*/checkpoints"))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


@pytest.mark.usefixtures("no_report")
def test_where_every_trial_bursts_it_says_so(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FineTuning, "evaluate", lambda *_: {"loss": math.nan, "mcc": 0.0})
    arguments = ("--space", "epochs=1,2", "--global-batch-size", 61, "--output-dir", tmp_path / "search")
    assert unmask("search", *files(place), *arguments) == 3
    assert "no trial came to a score, so there is no best: trial 0: step 1: the evaluation" in capsys.readouterr().err


@pytest.mark.usefixtures("no_report")
def test_more_trials_may_be_added_and_the_data_are_prepared_once(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unmask.workflows import finetune_data

    prepared: list[FinetuneSettings] = []
    read: list[FinetuneSettings] = []
    original, original_read = finetune_data.prepare_examples, finetune_data.read_examples

    def prepare_examples(settings: FinetuneSettings, *data: Any, **how: Any) -> Any:
        prepared.append(settings)
        return original(settings, *data, **how)

    def read_examples(settings: FinetuneSettings) -> Any:
        read.append(settings)
        return original_read(settings)

    for module in ("finetune_data", "search_trials"):
        monkeypatch.setattr(f"unmask.workflows.{module}.prepare_examples", prepare_examples)
    monkeypatch.setattr("unmask.workflows.finetune_data.read_examples", read_examples)
    folder = tmp_path / "search"
    settings = SearchSettings(
        model=str(place / "bert"),
        train=str(place / "train.tsv"),
        dev=(str(place / "dev.tsv"),),
        global_batch_size=61,
        epochs=1,
        device="cpu",
    )
    space = {"learning_rate": "1e-4..1e-2:log", "max_seq_length": [8, 16]}
    first = search(settings, space=space, trials=2, output_dir=folder)
    assert [trial["number"] for trial in sorted(first.trials, key=lambda trial: trial["number"])] == [0, 1]
    points = {trial["number"]: trial["settings"] for trial in first.trials}
    needed = [None, 8, 16, *lengths(points)]  # as told, both of the space to see that they can be, then the trials
    assert [each.max_seq_length for each in prepared] == [
        length for length, before in zip(needed, ["", *needed], strict=False) if length != before
    ]
    assert len(read) == 1

    second = search(resume=True, output_dir=folder, trials=4)
    assert len(second.trials) == 4
    assert {t["number"]: t["settings"] for t in second.trials}.items() >= points.items()
    best = second.trials[0]
    assert read_json(folder / "config.json")["best"] == best["settings"]
    assert (
        read_json(folder / "model" / "config.json")["unmask_task"]["max_seq_length"]
        == (best["settings"]["max_seq_length"])
    )
    prepared.clear()
    search(settings, space={"epochs": [1], "weight_decay": [0.0, 0.1]}, output_dir=tmp_path / "other")
    assert len(prepared) == 1
    with pytest.raises(SettingsError, match=r"space is .* but the run in .* has"):
        search(settings, space={"epochs": [2]}, resume=True, output_dir=folder)


def lengths(points: dict[int, dict[str, Any]]) -> list[int]:
    return [points[number]["max_seq_length"] for number in sorted(points)]


@pytest.mark.usefixtures("no_report")
def test_a_part_of_a_grid_is_drawn_and_none_twice(place: Path, tmp_path: Path) -> None:
    arguments = ("--space", "weight_decay=0,0.01,0.02", "--trials", 2, "--global-batch-size", 61, "--epochs", 1)
    for name in ("one", "other"):
        assert unmask("search", *files(place), *arguments, "--output-dir", tmp_path / name) == 0
    one_, other = (read_json(tmp_path / name / "search.json")["trials"] for name in ("one", "other"))
    assert without_seconds(one_) == without_seconds(other)
    assert len({trial["settings"]["weight_decay"] for trial in one_}) == 2


def test_a_search_and_a_run_do_not_take_each_other_s_folder(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_report: None
) -> None:
    run, folder = tmp_path / "run", place / "search"
    assert finetune_tiny(place, run, "--max-steps", 1) == 0
    before = everything_in(run) | everything_in(folder)
    assert unmask("search", "--resume", "--output-dir", run) == 3
    assert "this run is one of unmask finetune: resume it with that command" in capsys.readouterr().err
    assert unmask("search", *files(place), "--output-dir", run) == 3
    assert "the folder holds a run already" in capsys.readouterr().err
    assert unmask("search", *files(place), "--output-dir", folder, *GRID) == 3
    assert "the folder holds a run already" in capsys.readouterr().err
    assert unmask("finetune", *files(place), "--overwrite", "--output-dir", folder) == 3
    assert "files that are no run's" in capsys.readouterr().err
    assert unmask("search", "--resume", "--output-dir", tmp_path / "nothing") == 3
    assert "there is no search here to resume" in capsys.readouterr().err
    assert unmask("search", *files(place), "--test", tmp_path / "no.tsv", "--output-dir", tmp_path / "new", *GRID) == 3
    assert "no.tsv" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    for name in ("thesis.txt", ".thesis", "trial-notes.txt", "trial-01", "trial-001/thesis.txt"):
        (folder / name).write_text("mine")
        assert unmask("search", *files(place), "--overwrite", "--output-dir", folder, *GRID) == 3
        assert f"files that are no run's ({name})" in capsys.readouterr().err
        (folder / name).unlink()
    assert everything_in(run) | everything_in(folder) == before


@pytest.mark.usefixtures("no_report")
def test_changed_data_are_not_mixed_into_a_search(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: Callable[[int | None], list[int]]
) -> None:
    train, folder = tmp_path / "train.tsv", tmp_path / "search"
    train.write_text((place / "train.tsv").read_text())
    arguments = ("--space", "epochs=1,2", "--global-batch-size", 61, "--output-dir", folder)
    steps(1)  # the first trial is complete, the second has not begun
    assert unmask("search", *files(place), *arguments, "--train", train) == 130
    train.write_text((place / "train.tsv").read_text().replace("dog", "cat"))
    assert unmask("search", "--resume", "--output-dir", folder) == 3
    assert "the data are not those the run began with" in capsys.readouterr().err
    train.write_text((place / "train.tsv").read_text())
    steps(None)
    assert unmask("search", "--resume", "--output-dir", folder) == 0
    # Another search takes its place when it is told to.
    arguments = ("--space", "epochs=1", "--global-batch-size", 61, "--output-dir", folder, "--overwrite")
    assert unmask("search", *files(place), *arguments) == 0
    assert [path.name for path in sorted(folder.glob("trial-*"))] == ["trial-000"]
