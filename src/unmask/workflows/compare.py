"""Tell whether two runs differ, by what they say of the same dev examples, and what each of them costs.

unmask compare runs/cola runs/cola-lora
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import DataError, SettingsError
from unmask.metrics import Interval, McNemarTest, PairedTest, mcnemar_test
from unmask.metrics.paired import bootstrap_difference, permute_recipes
from unmask.reporting import RunRecord
from unmask.reporting.comparison import write_comparison
from unmask.reporting.sections import format_score, score_name
from unmask.reporting.seeds import read_seeds
from unmask.tasks import TASKS
from unmask.workflows.run_folder import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.metrics.paired import SummedScore
    from unmask.tasks import Task

__all__ = ["Comparison", "Side", "compare"]

_SURE = 0.05  # how often chance may make such a difference, at most, for it to be told as one
_CHARACTERS_SHOWN = 60  # of a text in a message


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two runs.

    Args:
        run: its folder.
        seeds: of the models compared, one each.
        num_diverged: seeds that came to no score, and count in no mean.
        scores: of each of these models, in the same order.
        mean: of the scores.
        tune: what of the model was trained: all, lora, bitfit or head.
        num_trainable: how many parameters that is.
        num_total: how many there are.
        seconds: of the training steps of one model, the mean over seeds; they depend on the machine.
        device: the machine, as far as the run's environment names it.
        model_bytes: what the model takes on disk.
        adapter_bytes: what the adapters take, which are all there is to keep beside the base model.

    Of the last seven, what the run folder does not tell is None.
    """

    run: str
    seeds: tuple[int, ...]
    num_diverged: int
    scores: tuple[float, ...]
    mean: float
    tune: str | None
    num_trainable: int | None
    num_total: int | None
    seconds: float | None
    device: str | None
    model_bytes: int | None
    adapter_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Whether two runs differ.

    Args:
        task: what both were trained for.
        metric: the score they are compared by.
        num_examples: dev examples, the same for both.
        first, second: the runs.
        interval: of the first's mean score less the second's, by drawing examples anew, and seeds where there are
            several.
        permutation: how often swapping their answers makes as large a difference.
        mcnemar: which examples only one of them has right; None where a run has several seeds, or the task has no right
            and wrong.
        differ: whether they are told apart: the permutation test's p is below 0.05, and 0 lies outside the interval.
        verdict: what came of it, in plain sentences.
    """

    task: str
    metric: str
    num_examples: int
    first: Side
    second: Side
    interval: Interval
    permutation: PairedTest
    mcnemar: McNemarTest | None
    differ: bool
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        content = asdict(self)
        return content | {"permutation": self.permutation.to_dict(), "difference": self.interval.value}


def compare(first: str, second: str, /, *, metric: str | None = None, output: Path | None = None) -> Comparison:
    """Tell whether two runs differ, by what they say of the same dev examples.

    Either may be a run of one seed or of several (`--seeds`). With one seed each, two models are compared; whether
    their recipes differ takes several seeds of both. What each of them costs is told too: parameters, time, disk.

    Args:
        first: a run folder of `unmask finetune`.
        second: another, with the same dev set.
        metric: the score to compare by; None takes the one that the first run chose its best checkpoint by, if it can
            be compared by that, else the task's first.
        output: a file for the plot: report.html for a page that also holds the numbers, or plot.png.

    Raises:
        DataError: a folder holds no run of fine-tuning that has come to its end, or the dev sets differ.
        SettingsError: the runs cannot be compared by this score, or the output is no .html, .png or .svg.
    """
    if output is not None and output.suffix.lower() not in (".html", ".png", ".svg"):
        raise SettingsError(f"output is {str(output)!r}: end it in .html for a page, or in .png or .svg for the plot")
    sides = [_read(Path(run)) for run in (first, second)]
    task = _task_of(sides)
    for side in sides:
        for folder, lines in zip(side.folders, side.lines, strict=True):
            _refuse_other_examples(task, sides[0].lines[0], lines, (str(sides[0].folders[0]), str(folder)))
    name, score = _choose(task, sides, metric)
    terms = [[score.terms(lines) for lines in side.lines] for side in sides]
    made = [_side(run, side, own, score) for run, side, own in zip((first, second), sides, terms, strict=True)]
    interval = bootstrap_difference(terms[0], terms[1], score.from_sums)
    permutation = permute_recipes(terms[0], terms[1], score.from_sums)
    mcnemar = None
    if len(terms[0]) == len(terms[1]) == 1:
        mcnemar = _mcnemar(task, sides)
    differ = permutation.p_value < _SURE and not interval.low <= 0 <= interval.high
    comparison = Comparison(
        task=task.name,
        metric=name,
        num_examples=len(sides[0].lines[0]),
        first=made[0],
        second=made[1],
        interval=interval,
        permutation=permutation,
        mcnemar=mcnemar,
        differ=differ,
        verdict=_verdict(name, made, interval, permutation, score=score, differ=differ),
    )
    if output is not None:
        write_comparison(output, comparison.to_dict())
    return comparison


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What is read of a run: of each seed its folder, its record, and its lines of `predictions_dev.jsonl`."""

    folder: Path
    folders: tuple[Path, ...]
    records: tuple[RunRecord, ...]
    config: dict[str, Any]
    lines: tuple[list[dict[str, Any]], ...]
    num_diverged: int


def _read(folder: Path) -> _Run:
    """Read a run that is complete.

    Raises:
        DataError: it is not, or is none of fine-tuning.
    """
    config = RunRecord.read(folder).config
    if config.get("task") not in TASKS:  # before all else: others have no predictions, and never will
        kind = f"run is of {config['task']}" if "task" in config else "folder holds a model, and no run"
        raise DataError(f"this {kind}: unmask compare takes run folders of unmask finetune", path=folder)
    seeds = read_seeds(folder)
    parts = [folder] if seeds is None else [folder / entry["folder"] for entry in seeds["seeds"]]
    records = [RunRecord.read(part) for part in parts]
    num_diverged = 0 if seeds is None else len(seeds.get("diverged", []))
    missing = 0 if seeds is None else seeds.get("num_seeds", len(parts)) - num_diverged - len(parts)
    # A run that was killed before its end has checkpoints, or no predictions; what was removed later is no matter.
    if missing or any(not r.predictions or (p / "checkpoints").exists() for p, r in zip(parts, records, strict=True)):
        done = f" ({len(parts) + num_diverged} of {len(parts) + num_diverged + missing} seeds are done)" * bool(missing)
        raise DataError(
            f"this run has not come to its end{done}: unmask {command_of(config)} --resume --output-dir {folder} "
            "takes it there",
            path=folder,
        )
    return _Run(
        folder=folder,
        folders=tuple(parts),
        records=tuple(records),
        config=config,
        lines=tuple(record.predictions for record in records),
        num_diverged=num_diverged,
    )


def _side(run: str, side: _Run, terms: Sequence[NDArray[np.float64]], score: SummedScore) -> Side:
    """What is told of a run: its scores, and what it costs."""
    scores = tuple(float(score.from_sums(one.sum(0, keepdims=True))[0]) for one in terms)
    seconds = [sum(step.get("seconds", 0.0) for step in record.steps) for record in side.records]
    return Side(
        run=run,
        seeds=tuple(record.config.get("seed", 0) for record in side.records),
        num_diverged=side.num_diverged,
        scores=scores,
        mean=float(np.mean(scores)),
        tune=side.config.get("tune"),
        num_trainable=side.config.get("num_trainable"),
        num_total=side.config.get("num_total"),
        seconds=float(np.mean(seconds)) if all(seconds) else None,
        device=side.records[0].environment.get("device"),
        model_bytes=_size_of(side.folder / "model"),
        adapter_bytes=_size_of(side.folder / "adapter"),
    )


def _size_of(folder: Path) -> int | None:
    """Bytes of a folder's files; None where there is none."""
    if not folder.is_dir():
        return None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _task_of(sides: Sequence[_Run]) -> type[Task[Any]]:
    first, second = (side.config["task"] for side in sides)
    if first != second:
        raise DataError(
            f"this run is of {second}, and the first of {first}: compare like with like", path=sides[1].folder
        )
    return TASKS[first]


def _refuse_other_examples(
    task: type[Task[Any]],
    first: Sequence[dict[str, Any]],
    second: Sequence[dict[str, Any]],
    names: tuple[str, str],
) -> None:
    """Make sure that two sets of lines are of the same examples, in the same order.

    Raises:
        DataError: the first line that differs is named.
    """
    advice = "compare runs with the same dev files (of one file that was parted, the same --dev-seed)"
    keys = task.keys_of_example([*first, *second])
    for number, lines in enumerate(zip_longest(first, second), start=1):
        a, b = lines
        if a is None or b is None:
            raise DataError(
                f"the dev sets differ: {names[0]} has {len(first):,} examples and {names[1]} {len(second):,}: {advice}",
                path=Path(names[1], "predictions_dev.jsonl"),
                line=number,
            )
        for key in keys:
            if a.get(key) != b.get(key):
                raise DataError(
                    f"the dev sets differ: {names[0]} has {_shown(a.get(key))} here and {names[1]} "
                    f"{_shown(b.get(key))}: {advice}",
                    path=Path(names[1], "predictions_dev.jsonl"),
                    line=number,
                    field=key,
                )


def _choose(task: type[Task[Any]], sides: Sequence[_Run], metric: str | None) -> tuple[str, SummedScore]:
    scores = task.line_scores([line for side in sides for lines in side.lines for line in lines])
    if metric is None:
        usual = str(sides[0].config.get("metric_for_best"))
        metric = usual if usual in scores else next(iter(scores))
    if metric not in scores:
        raise SettingsError(f"metric is {metric!r}: these runs of {task.name} are compared by {', '.join(scores)}")
    return metric, scores[metric]


def _mcnemar(task: type[Task[Any]], sides: Sequence[_Run]) -> McNemarTest | None:
    """Count right and wrong, by the first score that is a mean of these."""
    lines = [side.lines[0] for side in sides]
    for score in task.line_scores([*lines[0], *lines[1]]).values():
        if score.is_mean:
            first, second = (score.terms(own)[:, 0] for own in lines)
            if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
                return mcnemar_test(first == 1, second == 1)
    return None


def _verdict(
    metric: str,
    sides: Sequence[Side],
    interval: Interval,
    permutation: PairedTest,
    *,
    score: SummedScore,
    differ: bool,
) -> str:
    first, second = sides
    scores = " against ".join(_scored(metric, side) for side in sides)
    chance = f"p = {permutation.p_value:.2g}" if permutation.p_value >= 1e-4 else "p < 0.0001"
    ends = f"{format_score(metric, interval.low)} to {format_score(metric, interval.high)}"
    of_one_seed = [side.run for side in sides if len(side.seeds) == 1]
    over = "examples" if len(of_one_seed) == 2 else "examples and seeds"
    numbers = (
        f"{score_name(metric)} is {scores}; the difference is {format_score(metric, interval.value)} "
        f"({interval.level:.0%} interval over {over}: {ends}; {chance})."
    )
    if differ:
        is_first = (interval.value > 0) == score.greater_is_better
        better, worse = (first, second) if is_first else (second, first)
        told = f"{better.run} is better than {worse.run}."
    elif interval.value == 0 and permutation.num_differing == 0:
        told = f"{first.run} and {second.run} score the same on every dev example."
    else:
        told = f"These dev examples do not tell {first.run} and {second.run} apart."
    if not of_one_seed:
        return f"{told} {numbers}"
    if len(of_one_seed) == 2:
        told_of = "There is one seed each, so this is of two models"
    else:
        told_of = f"There is one seed of {of_one_seed[0]}, so this is of one model of that recipe"
    return f"{told} {numbers} {told_of}; whether recipes differ takes several seeds of both (--seeds)."


def _scored(metric: str, side: Side) -> str:
    mean = format_score(metric, side.mean)
    diverged = f"; {side.num_diverged} diverged and count in no mean" if side.num_diverged else ""
    return mean if len(side.seeds) == 1 and not diverged else f"{mean} (mean of {len(side.seeds)} seeds{diverged})"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]} ..."
