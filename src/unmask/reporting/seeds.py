"""The report of a run of several seeds: what the recipe comes to, how far that depends on the seed, which one was kept.

`seeds.json` of the run folder holds it; each seed has a run folder of its own beside it, with a report of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unmask.errors import DataError
from unmask.reporting import plots
from unmask.reporting.page import Link, Plot, Section, html_table
from unmask.reporting.record import RunRecord, read_json
from unmask.reporting.sections import (
    RUN_TIME,
    duration,
    files_section,
    format_score,
    headline,
    repeat_section,
    run_seconds,
    score_name,
    texts_section,
)
from unmask.reporting.tuning import tuning_facts, tuning_section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["NOTE_ON_INTERVALS", "read_seeds", "seeds_sections", "spread", "told_collapses"]

NOTE_ON_INTERVALS = (
    "The interval is that of the mean, by drawing seeds anew; of few seeds it is narrower than it should be."
)

_NAME = "seeds.json"


def read_seeds(folder: Path) -> dict[str, Any] | None:
    """Read what a run of several seeds has come to so far; None where the folder holds no such run.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / _NAME
    if not path.is_file():
        return None
    content: dict[str, Any] = read_json(path, {})
    if not content.get("seeds"):
        raise DataError("should hold the seeds of a run", path=path)
    return content


def spread(metric: str, summary: Mapping[str, Any]) -> str:
    """Mean and standard deviation of a score, as people write them: 0.512 ± 0.013."""
    mean = format_score(metric, summary["mean"])
    return mean if summary["std"] is None else f"{mean} ± {format_score(metric, summary['std'])}"


def seeds_sections(
    folder: Path,
    record: RunRecord,
    seeds: Mapping[str, Any],
    *,
    details: Sequence[Callable[[RunRecord], Section | None]] = (),
) -> list[Section]:
    """Make the sections of the report.

    Args:
        folder: of all seeds.
        record: of this folder.
        seeds: what `read_seeds` found in it.
        details: makers of what is told of the model that was kept, from the run of its seed.
    """
    runs = {entry["seed"]: RunRecord.read(folder / entry["folder"]) for entry in seeds["seeds"]}
    best = seeds["best_seed"]
    kept = runs[best]
    made = [
        _result(record, seeds, runs),
        _seed_by_seed(seeds, runs),
        *_data_sets(record, seeds),
        files_section(record),  # of the model that was kept, where it was evaluated later
        tuning_section(replace(record, sizes=kept.sizes)),
        *(
            replace(section, title=f"{section.title}, seed {best}")
            for make in details
            if (section := make(kept)) is not None
        ),
        texts_section(record),
        repeat_section(record),
    ]
    return [section for section in made if section is not None]


def told_collapses(entries: Sequence[Mapping[str, Any]]) -> str:
    """Say which seeds learnt nothing, in a sentence; "" where all learnt something."""
    collapsed = [str(entry["seed"]) for entry in entries if entry["is_collapsed"]]
    if not collapsed:
        return ""
    gives = "they give"
    who = f"Seeds {', '.join(collapsed)} collapsed"
    if len(collapsed) == 1:
        who, gives = f"Seed {collapsed[0]} collapsed", "it gives"
    elif len(collapsed) == len(entries):
        who = f"All {len(entries)} seeds collapsed, the one that was kept too"
    return (
        f"{who}: {gives} all of dev the same answer, as a model does that has learnt nothing; warm-up or a lower "
        "learning rate may help. "
    )


def _result(record: RunRecord, seeds: Mapping[str, Any], runs: Mapping[int, RunRecord]) -> Section:
    metric, entries = seeds["metric_for_best"], seeds["seeds"]
    summary = seeds["dev"][metric]
    facts = {score_name(name): spread(name, other) for name, other in seeds["dev"].items() if name != metric}
    facts["Seeds"] = f"{len(entries)}" + (f" of {seeds['num_seeds']}" if len(entries) < seeds["num_seeds"] else "")
    facts["Kept"] = f"seed {seeds['best_seed']}"
    facts |= tuning_facts(record)
    if "dev" in record.data:
        facts[f"Dev {record.unit}"] = f"{record.data['dev']['rows']:,}"
    if seconds := sum(run_seconds(run) for run in runs.values()):
        facts[RUN_TIME] = duration(seconds)
    low, high = (format_score(metric, summary[end]) for end in ("min", "max"))
    verdict = (
        f"The same recipe with {len(entries)} seeds: {spread(metric, summary)} on dev, from {low} to {high}. "
        + _diverged(seeds)
        + told_collapses(entries)
        + f"Seed {seeds['best_seed']} did best and is the model that was kept; its score alone flatters the recipe."
    )
    return headline(metric, summary["mean"], verdict=verdict, facts=facts)


def _diverged(seeds: Mapping[str, Any]) -> str:
    """Say which seeds came to no score."""
    told = [f"seed {entry['seed']} ({entry['error']})" for entry in seeds.get("diverged", [])]
    return f"Diverged, and left out of every mean: {', '.join(told)}. " if told else ""


def _seed_by_seed(seeds: Mapping[str, Any], runs: Mapping[int, RunRecord]) -> Section:
    metric = seeds["metric_for_best"]
    names = [metric, *(name for name in seeds["dev"] if name != metric)]
    rows: list[list[str | float | Link]] = [
        [
            Link(_name(entry), f"{entry['folder']}/report.html"),
            *(format_score(name, entry["dev"][name]) for name in names),
            "" if (best := runs[entry["seed"]].best_epoch) is None else f"{best['epoch']:.4g}",
        ]
        for entry in seeds["seeds"]
    ]
    rows += [[f"{entry['seed']}, diverged", *[""] * (len(names) + 1)] for entry in seeds.get("diverged", [])]
    caption = f"A line a seed. Dashed: the best epoch of seed {seeds['best_seed']}, which was kept."
    if len(seeds["seeds"]) > plots.MOST_SEEDS_TOLD_APART:
        caption += " Bold: that seed."
    if any(entry["is_collapsed"] for entry in seeds["seeds"]):
        caption += " A seed that collapsed gives all texts the same answer."
    figure = _curves(seeds, runs, metric)
    return Section(
        title="Seed by seed",
        explanation="The seeds differ in the head's first values, the order of the texts and dropout, and in nothing "
        "else. How far their scores lie apart is how far one number from one seed can mislead; another recipe is "
        f"better only if it is better by more than this. {NOTE_ON_INTERVALS} Each seed leads to its own report.",
        plots=() if figure is None else (Plot("seeds", figure, caption),),
        html=html_table(
            ["Seed", *map(score_name, names), "Best epoch"],
            rows + [[*row, ""] for row in _summary_rows(names, seeds["dev"])],
            best_row=_best_row(seeds),
        ),
    )


def _curves(seeds: Mapping[str, Any], runs: Mapping[int, RunRecord], metric: str) -> Figure | None:
    """Draw the dev score of each seed after each epoch; None where no run left any."""
    key = f"dev_{metric}"
    names = {entry["seed"]: f"seed {_name(entry)}" for entry in seeds["seeds"]}
    curves = {
        names[seed]: [(epoch["epoch"], epoch[key]) for epoch in run.epochs if key in epoch]
        for seed, run in runs.items()
    }
    best = runs[seeds["best_seed"]].best_epoch
    if best is None:
        return None
    return plots.seed_scores_plot(
        {name: points for name, points in curves.items() if points},
        title=f"{score_name(metric)} on dev after each epoch",
        kept=names[seeds["best_seed"]],
        best_epoch=best["epoch"],
    )


def _data_sets(record: RunRecord, seeds: Mapping[str, Any]) -> list[Section]:
    """The scores on each other file, over seeds."""
    sections = []
    for entry in seeds["evaluations"]:
        names = list(entry["metrics"])
        rows = [
            [
                _name(seed),
                *(
                    format_score(name, other["metrics"][name])
                    for other in seed["evaluations"]
                    if other["data"] == entry["data"]
                    for name in names
                ),
            ]
            for seed in seeds["seeds"]
        ]
        sections.append(
            Section(
                title=f"On {entry['data']}",
                explanation=f"{record.count(entry['num_examples'])}. The seed that was kept was chosen on dev.",
                html=html_table(
                    ["Seed", *("Loss" if name == "loss" else score_name(name) for name in names)],
                    rows + _summary_rows(names, entry["metrics"]),
                    best_row=_best_row(seeds),
                ),
            )
        )
    return sections


def _summary_rows(names: Sequence[str], summaries: Mapping[str, Any]) -> list[list[str]]:
    interval = [summaries[name]["interval"] for name in names]
    level = interval[0]["level"]
    return [
        ["Mean ± std", *(spread(name, summaries[name]) for name in names)],
        ["Lowest", *(format_score(name, summaries[name]["min"]) for name in names)],
        ["Highest", *(format_score(name, summaries[name]["max"]) for name in names)],
        [
            f"{level:.0%} of the mean",
            *(
                f"{format_score(name, ends['low'])} to {format_score(name, ends['high'])}"
                for name, ends in zip(names, interval, strict=True)
            ),
        ],
    ]


def _best_row(seeds: Mapping[str, Any]) -> int:
    return next(row for row, entry in enumerate(seeds["seeds"]) if entry["seed"] == seeds["best_seed"])


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['seed']}, collapsed" if entry["is_collapsed"] else f"{entry['seed']}"
