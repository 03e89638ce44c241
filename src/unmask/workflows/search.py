"""Try many settings of a fine-tuning run, one run each, and keep the best by its dev score.

unmask search classification --model minilm --train train.tsv --dev dev.tsv --output-dir runs/search

    runs/search/study.jsonl    every trial, as optuna keeps it: a line for each thing that happened
                trial-000/     an ordinary run, without its model unless asked
                model/, ...    the best trial's model and what its run left behind
                search.json    all trials, and how to go on
                report.html    the search, and below it the report of the best trial
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unmask.data import names_a_file
from unmask.errors import DataError, SettingsError
from unmask.files import lock_folder, write_bytes, write_json
from unmask.reporting import SECTIONS, RunRecord, write_report
from unmask.reporting.search import read_search, search_sections
from unmask.tasks import TASKS, Columns
from unmask.training import DivergedError, training_device
from unmask.workflows.evaluate import make_entry
from unmask.workflows.finetune_data import Prepared, prepare, tell_findings
from unmask.workflows.run_folder import (
    as_json,
    copy_model,
    is_complete,
    is_run,
    open_run_folder,
    refuse_changed_data,
    remove_folder,
)
from unmask.workflows.run_settings import resolve_settings, with_types
from unmask.workflows.search_settings import SEEDS_AFTERWARDS, SearchSettings, trial_folder, trial_settings
from unmask.workflows.search_space import PAPER_GRID, Space, parse_space
from unmask.workflows.search_trials import Trials
from unmask.workflows.settings import FinetuneSettings
from unmask.workflows.trained import load_trained

if TYPE_CHECKING:
    from unmask.workflows.search_study import Study

__all__ = ["SearchResult", "search"]

_JOURNAL, _SUMMARY, _REPORT = "study.jsonl", "search.json", "report.html"
_OF_THE_BEST = ("metrics.jsonl", "predictions_dev.jsonl", "evaluation_dev.json")  # what its run left, beside its model


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search came to.

    Args:
        output_dir: its folder; as a run folder it is that of the best trial.
        model: the folder of the best trial's model, in Hugging Face's layout.
        report: the page to open.
        metric: the dev score that trials are compared by.
        greater_is_better: whether the greatest is best.
        best: the number of the best trial.
        trials: all trials, the best first: number, state (complete, pruned or failed), settings (what it tried), score,
            scores (all of dev), best_epoch, reports (score after each evaluation), seconds, error.
        importances: the share of each setting in what the scores differ by (fANOVA), where there are enough trials.
        evaluations: the best model's scores on each dev or test file, as `evaluation.json` has them.
        next_command: runs the best settings with several seeds.
    """

    output_dir: Path
    model: Path
    report: Path
    metric: str
    greater_is_better: bool
    best: int
    trials: list[dict[str, Any]]
    importances: dict[str, float]
    evaluations: list[dict[str, Any]]
    next_command: str

    @property
    def note(self) -> str:
        """What the scores do not say."""
        return (
            f"One seed each: differences below the spread of seeds mean nothing, and the best of {len(self.trials)} is "
            "partly the luckiest on dev. Run the best with several seeds, and test once:"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it, as `search.json` has it."""
        paths = {name: str(value) for name, value in vars(self).items() if isinstance(value, Path)}
        return vars(self) | paths | {"note": self.note}


def search(
    settings: SearchSettings | None = None, /, *, console: Console | None = None, **changes: Any
) -> SearchResult:
    """Search: `search(train="train.tsv", output_dir="runs/search")`, with the fields of `SearchSettings`.

    Args:
        settings: all settings; the defaults if None.
        console: where progress is shown; stderr if None.
        changes: fields to set over settings. The space may be a mapping too: `{"epochs": [2, 3, 4]}`.

    Returns:
        The result. The folder remembers everything that was tried: a search that was killed goes on with `resume`, and
        one that is complete too, if it is given more `trials`.

    Raises:
        UnmaskError: data, checkpoint or settings that cannot be used; or no trial came to a score.
    """
    if isinstance(changes.get("space"), Mapping):
        changes["space"] = parse_space(changes["space"]).to_text()
    settings = dataclasses.replace(settings or SearchSettings(), **with_types(SearchSettings, changes))
    settings, space = _resolve(settings)
    points = _points(settings, space)
    total = settings.trials or len(points or ())
    folder = settings.output_dir
    assert folder is not None
    console = console or Console(stderr=True)
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if settings.resume and _is_complete(folder, total):
        say(f"{folder} is complete: there is nothing to resume, unless it is given more trials")
        return _result(folder)

    # Everything is read and checked before anything is written.
    open_study = _optuna()
    training_device(settings)
    checked = dataclasses.replace(trial_settings(settings, {}), test=settings.test)
    prepared = _without_test(prepare(checked, console=console, say=say))
    settings = dataclasses.replace(settings, metric_for_best=prepared.settings.metric_for_best)  # "auto" no more
    base = trial_settings(settings, {})
    refuse_changed_data(folder, prepared.described, resume=settings.resume)
    trials = Trials(settings, space, prepared, console=console, say=say)
    if not (settings.resume and is_run(folder)):
        trials.check()
    tell_findings(settings, say)
    config = as_json(dataclasses.replace(settings, resume=False, overwrite=False))
    with lock_folder(folder):  # two processes would write one journal
        open_run_folder(folder, config, resume=settings.resume, may_change=settings.may_change)
        write_json(folder / "data.json", prepared.described)
        study = open_study(
            folder / _JOURNAL,
            space=space,
            points=points,
            maximize=base.training.greater_is_better,
            seed=settings.seed,
            pruner=settings.pruner,
        )
        while (trial := study.next(total)) is not None:
            (folder / _SUMMARY).unlink(missing_ok=True)  # of a search that was complete, and is given more trials
            trials.run(trial, total)
            _remove_what_is_not_kept(study, settings)
        _finish(study, settings)
        _remove_what_is_not_kept(study, settings, is_best_copied=True)
    return _result(folder)


def _without_test(prepared: Prepared) -> Prepared:
    """Leave the test files out, which were read to be checked: no trial is to see them."""
    settings = prepared.settings
    return dataclasses.replace(
        prepared,
        settings=dataclasses.replace(settings, test=()),
        examples={name: examples for name, examples in prepared.examples.items() if name not in settings.test},
        samples={name: samples for name, samples in prepared.samples.items() if name not in settings.test},
    )


def _resolve(settings: SearchSettings) -> tuple[SearchSettings, Space]:
    """Check what can be checked without the data; a search that is resumed keeps the settings it has."""
    if settings.space:
        settings = dataclasses.replace(settings, space=parse_space(settings.space).to_text())
    settings = resolve_settings(settings)
    if settings.train is None and settings.resume:
        raise DataError("there is no search here to resume: name the folder of one", path=settings.output_dir)
    if settings.train is None:
        raise SettingsError("train is missing: name the labelled file to learn from, such as --train train.tsv")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("a search runs in one process: start it without torchrun")
    if not settings.space and settings.tune != "all":
        raise SettingsError(
            f"tune is {settings.tune!r}, and the learning rates of the usual grid are for tuning all parameters: name "
            "a space, such as --space learning_rate=2e-4,5e-4,1e-3"
        )
    space = parse_space(settings.space or PAPER_GRID)
    space.check(trial_settings(settings, {}))
    return dataclasses.replace(settings, space=space.to_text()), space


def _points(settings: SearchSettings, space: Space) -> list[dict[str, Any]] | None:
    """All points to try, in order; None where each is drawn when its time comes."""
    if not space.is_grid:
        if settings.trials is None:
            raise SettingsError("trials is missing: a space with a range has no end; say how many, as --trials 20")
        return None
    points = space.grid()
    if settings.trials is None:
        return points
    if settings.trials > len(points):
        raise SettingsError(f"trials is {settings.trials}, and the space has {len(points)} points: leave it out")
    return random.Random(settings.seed).sample(points, len(points))  # more trials later go on in the same order


def _optuna() -> type[Study]:
    try:
        from unmask.workflows.search_study import Study
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("optuna"):
            raise
        raise SettingsError("searching needs optuna, which is not installed: pip install 'unmask[search]'") from error
    return Study


def _is_complete(folder: Path, total: int) -> bool:
    summary = read_search(folder)
    return summary is not None and is_complete(folder) and len(summary["trials"]) >= total


def _remove_what_is_not_kept(study: Study, settings: SearchSettings, *, is_best_copied: bool = False) -> None:
    """Drop the checkpoints of trials that ended early, and the models of all that are not the best so far."""
    best = study.best
    for trial in study.trials:
        folder = trial_folder(settings, trial.number)
        if trial.state == "running" or not folder.is_dir():
            continue
        is_kept = settings.keep_models or (best is not None and trial.number == best.number and not is_best_copied)
        for name in ("checkpoints", *(() if is_kept else ("model", "adapter"))):
            remove_folder(folder / name)


def _finish(study: Study, settings: SearchSettings) -> None:
    """Make the search's folder a run folder of the best trial, and write its summary and report."""
    folder, best = settings.output_dir, study.best
    assert folder is not None
    if best is None:
        errors = [f"trial {trial.number}: {trial.error}" for trial in study.trials]
        raise DivergedError(f"no trial came to a score, so there is no best: {'; '.join(errors)}")
    own = trial_folder(settings, best.number)
    if (own / "model").is_dir():  # else it is there since the search was complete before
        copy_model(own, folder)
    for name in _OF_THE_BEST:
        write_bytes(folder / name, (own / name).read_bytes())
    config, of_best = (json.loads((path / "config.json").read_bytes()) for path in (folder, own))
    sizes = {name: of_best[name] for name in FinetuneSettings.recorded}
    write_json(folder / "config.json", config | sizes | {"best": {name: of_best[name] for name in best.point}})
    entries = [*RunRecord.read(own).evaluations, *_test(settings)]
    write_json(folder / "evaluation.json", entries)
    result = _summarize(study, settings, best.number, entries)
    write_report(folder, sections=[*search_sections(result.to_dict()), *SECTIONS.get(settings.task, ())])
    write_json(folder / _SUMMARY, result.to_dict())  # last: it tells that the search is complete


def _test(settings: SearchSettings) -> list[dict[str, Any]]:
    """Score the best trial's model on the test files, which no trial has seen."""
    if not settings.test:
        return []
    assert settings.output_dir is not None
    trained, entries = load_trained(settings.output_dir, device=settings.device), []
    for source in settings.test:
        examples = trained.read(source, columns=Columns(), split=None if names_a_file(source) else "test")
        samples = trained.encode(examples)
        logits = trained.predict_logits(samples)
        entries.append(make_entry(trained.task, examples, samples, logits, name=source))
    return entries


def _summarize(study: Study, settings: SearchSettings, best: int, entries: list[dict[str, Any]]) -> SearchResult:
    folder = settings.output_dir
    assert folder is not None
    ranked = study.ranked
    trials = []
    for trial in ranked:
        record = RunRecord.read(trial_folder(settings, trial.number)) if trial.state == "complete" else None
        trials.append(
            {
                "number": trial.number,
                "state": trial.state,
                "settings": trial.point,
                "score": trial.score,
                "scores": None if record is None else record.dev_scores,
                "best_epoch": None if record is None or record.best_epoch is None else record.best_epoch["epoch"],
                "reports": {str(number): score for number, score in trial.reports.items()},
                "seconds": trial.seconds,
                "error": trial.error,
            }
        )
    return SearchResult(
        output_dir=folder,
        model=folder / "model",
        report=folder / _REPORT,
        metric=settings.training.metric_for_best,
        greater_is_better=settings.training.greater_is_better,
        best=best,
        trials=trials,
        importances=study.importances(),
        evaluations=entries,
        next_command=_next_command(settings, ranked[0].point),
    )


def _next_command(settings: SearchSettings, point: Mapping[str, Any]) -> str:
    """The command that runs a point with several seeds."""
    folder = settings.output_dir
    assert folder is not None
    output_dir = folder.with_name(f"{folder.name}-seeds")
    own = dataclasses.replace(
        trial_settings(settings, point, output_dir), resume=False, test=settings.test, seeds=SEEDS_AFTERWARDS
    )
    words = ["unmask", "finetune", settings.task]
    for field in dataclasses.fields(own):
        value = getattr(own, field.name)
        is_usual = field.name == "metric_for_best" and value == TASKS[settings.task].metric_for_best
        if field.name == "task" or is_usual or value == field.default:
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)


def _result(folder: Path) -> SearchResult:
    """Read back what a complete search came to."""
    summary = read_search(folder)
    assert summary is not None
    names = {field.name for field in dataclasses.fields(SearchResult)}
    found = {name: value for name, value in summary.items() if name in names}
    places = {"output_dir": folder, "model": folder / "model", "report": folder / _REPORT}
    return SearchResult(**found | places)
