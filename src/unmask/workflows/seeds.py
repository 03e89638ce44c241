"""Several seeds as one run: the same data and settings, a run folder each, and what the recipe comes to over them.

runs/mine/seed-0/       the run of each seed, as any run of fine-tuning leaves it
runs/mine/seed-1/       of a seed that diverged: diverged.json, and no model
runs/mine/seeds.json    the scores of each, and their mean, spread and interval
runs/mine/report.html
runs/mine/model/        that of the seed with the best dev score, the first of those where several have it
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from unmask.files import write_json
from unmask.metrics import bootstrap_mean, is_collapsed, summarize_seeds
from unmask.reporting import RunRecord, write_report
from unmask.reporting.record import read_json, scores_of
from unmask.tasks import TASKS
from unmask.training import DivergedError, is_main_process
from unmask.training.distributed import join_world
from unmask.workflows.run_folder import (
    DIVERGED,
    copy_model,
    is_complete,
    open_run_folder,
    refuse_changed_data,
    remove_checkpoints,
    spared,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from unmask.workflows.finetune_data import Prepared
    from unmask.workflows.settings import FinetuneSettings

__all__ = ["train_seeds"]


def train_seeds(prepared: Prepared, train_one: Callable[[Prepared], None], *, say: Callable[[str], None]) -> None:
    """Train seed after seed, and leave a complete run: the work of each process.

    A seed that is done is not done again when the run goes on; the one that was stopped goes on from its checkpoint.
    A seed that diverges is recorded and counts in no mean; the others go on, and it is not tried again.

    Args:
        prepared: data and model of the first seed.
        train_one: trains what was prepared and leaves a complete run in its folder (`unmask.workflows.finetune`).
        say: prints a line.

    Raises:
        DivergedError: every seed diverged.
        UnmaskError: as `unmask.workflows.finetune.finetune`.
    """
    settings = prepared.settings
    folder = settings.output_dir
    assert folder is not None
    if is_main_process():
        described = prepared.described
        refuse_changed_data(folder, described, resume=settings.resume)
        open_run_folder(folder, prepared.config, resume=settings.resume)
        write_json(folder / "data.json", described)
    entries: list[dict[str, Any]] = []
    diverged: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    with join_world(settings.training):  # once for all seeds
        for number, seed in enumerate(range(settings.seed, settings.seed + settings.seeds), start=1):
            own = _settings_of(settings, seed)
            assert own.output_dir is not None
            said = f"seed {seed}, {number} of {settings.seeds}"
            if settings.resume and is_complete(own.output_dir):
                say(f"{said}: done before")
            elif settings.resume and (own.output_dir / DIVERGED).is_file():
                say(f"{said}: diverged before")
            else:
                say(said)
                is_first = seed == settings.seed
                try:
                    train_one(dataclasses.replace(prepared, settings=own) if is_first else prepared.for_run(own))
                except DivergedError as error:  # every process meets it, after the same step
                    say(f"seed {seed} diverged, and is left out: {error}")
                    if is_main_process():
                        write_json(own.output_dir / DIVERGED, {"error": str(error)})
                        remove_checkpoints(own.output_dir)
            if not is_main_process():
                continue
            if is_complete(own.output_dir):
                entries.append(_entry(settings, seed, own.output_dir))
            else:
                error_told = read_json(own.output_dir / DIVERGED, {})["error"]
                diverged.append({"seed": seed, "folder": own.output_dir.name, "error": error_told})
            if entries:
                summary = _summarize(settings, entries, diverged)
                write_json(folder / "seeds.json", summary)
    if not is_main_process():
        return
    if not entries:
        told = "; ".join(f"seed {entry['seed']}: {entry['error']}" for entry in diverged)
        raise DivergedError(f"every seed diverged, so there is no model: {told}")
    with spared(folder, say):
        write_report(folder)
    copy_model(folder / f"seed-{summary['best_seed']}", folder)


def _settings_of(settings: FinetuneSettings, seed: int) -> FinetuneSettings:
    """The settings of one seed's run, which may be resumed by itself too: what is held back for dev stays the same."""
    assert settings.output_dir is not None
    return dataclasses.replace(
        settings,
        seed=seed,
        seeds=1,
        dev_seed=settings.seed if settings.dev_seed is None else settings.dev_seed,
        output_dir=settings.output_dir / f"seed-{seed}",
        overwrite=False,
    )


def _summarize(
    settings: FinetuneSettings, entries: Sequence[Mapping[str, Any]], diverged: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Make the content of `seeds.json` of the seeds that are done, and of those that diverged."""
    training = settings.training
    metric, sign = training.metric_for_best, 1 if training.greater_is_better else -1
    return {
        "metric_for_best": metric,
        "num_seeds": settings.seeds,
        "best_seed": max(entries, key=lambda entry: sign * entry["dev"][metric])["seed"],
        "seeds": list(entries),
        "diverged": list(diverged),
        "dev": _over_seeds([entry["dev"] for entry in entries]),
        "evaluations": [
            {
                "data": first["data"],
                "num_examples": first["num_examples"],
                "metrics": _over_seeds([entry["evaluations"][place]["metrics"] for entry in entries]),
            }
            for place, first in enumerate(entries[0]["evaluations"])
        ],
    }


def _entry(settings: FinetuneSettings, seed: int, folder: Path) -> dict[str, Any]:
    """What one seed came to."""
    record, task = RunRecord.read(folder), TASKS[settings.task]
    sources = (*(settings.dev if len(settings.dev) > 1 else ()), *settings.test)
    evaluations = {entry["data"]: entry for entry in record.evaluations}  # and more, where it was evaluated later
    decisions = [decision for line in record.predictions for decision in task.decisions(line)]
    given, right = ([json.dumps(answer) for answer in answers] for answers in zip(*decisions, strict=True))
    return {
        "seed": seed,
        "folder": folder.name,
        "is_collapsed": is_collapsed(given, right),
        "dev": record.dev_scores,
        "evaluations": [
            {"data": name, "num_examples": evaluations[name]["num_examples"], "metrics": scores_of(evaluations[name])}
            for name in sources
        ],
    }


def _over_seeds(scores: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation, range and interval of each score; the interval is that of the mean, over seeds."""
    return {
        name: summarize_seeds(values).to_dict() | {"interval": bootstrap_mean(values).to_dict()}
        for name in scores[0]
        for values in [[each[name] for each in scores]]
    }
