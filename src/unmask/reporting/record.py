"""What a run left in its folder, read back: a report can be made again at any time, and while the run goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from unmask.data.findings import count_of
from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["RunRecord", "read_json", "scores_of"]

_UNITS = {"question-answering": "questions", "tagging": "sentences"}  # as `Task.unit` has them, without torch


@dataclass(frozen=True)
class RunRecord:
    """The files of a run folder; a file that is not there yet reads as empty.

    Args:
        config: settings as resolved, of `config.json`.
        environment: versions and machine, of `environment.json`.
        command: what was typed, of `command.txt`.
        steps: one entry per optimizer step, in order, of `metrics.jsonl`; a step done again after a resume counts once.
        epochs: one entry per evaluation, likewise; `epoch` may be a fraction, scores on the dev set are `dev_<metric>`.
        data: per split its rows, tokens and lengths, of `data.json`.
        read_predictions: reads the best model's answers on the dev set, of `predictions_dev.jsonl`; there may be many,
            and few who ask for a record need them.
        dev: the entry of the dev set, of `evaluation_dev.json`, as those of `evaluations`.
        evaluations: one entry per file the model was evaluated on later, of `evaluation.json`: its "data", "loss" and
            "metrics", and the rest of its task's report, whose "kind" it says.
        sizes: bytes on disk of the folders that are kept of a model, "model" and "adapter"; one that is not there is
            left out.
    """

    config: dict[str, Any]
    environment: dict[str, Any]
    command: str
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    data: dict[str, Any]
    read_predictions: Callable[[], list[dict[str, Any]]]
    dev: dict[str, Any]
    evaluations: list[dict[str, Any]]
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read a run folder.

        Raises:
            DataError: the folder holds no run, or one of its files is not what it should be.
        """
        if not (folder / "config.json").is_file():
            raise DataError("holds no run: there is no config.json in it; give the --output-dir of a run", path=folder)
        lines = _read_lines(folder / "metrics.jsonl")
        command = folder / "command.txt"
        return cls(
            config=read_json(folder / "config.json", {}),
            environment=read_json(folder / "environment.json", {}),
            command=command.read_text(encoding="utf-8").strip() if command.is_file() else "",
            steps=list({line["step"]: line for line in lines if line["kind"] == "step"}.values()),
            epochs=list({line["epoch"]: line for line in lines if line["kind"] == "epoch"}.values()),
            data=read_json(folder / "data.json", {}),
            read_predictions=partial(_read_lines, folder / "predictions_dev.jsonl"),
            dev=read_json(folder / "evaluation_dev.json", {}),
            evaluations=read_json(folder / "evaluation.json", []),
            sizes={
                name: sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
                for name in ("adapter", "model")
                if (folder / name).is_dir()
            },
        )

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """The best model's answers on the dev set; read when first asked for.

        Raises:
            DataError: their file is damaged.
        """
        return self.read_predictions()

    @property
    def dev_scores(self) -> dict[str, float]:
        """What a complete run came to on dev, the loss first."""
        return scores_of(self.dev)

    @property
    def files(self) -> list[dict[str, Any]]:
        """The entries of `evaluations`, each file once: `test.tsv` and `/data/test.tsv` of the same scores are one."""
        entries: dict[tuple[Any, ...], dict[str, Any]] = {}
        for entry in self.evaluations:
            scores = tuple(round(score, 4) for score in entry.get("metrics", {}).values())
            entries.setdefault((PurePath(entry["data"]).name, entry.get("num_examples"), scores), entry)
        return list(entries.values())

    @property
    def unit(self) -> str:
        """What people call the examples of the run's task, many of them."""
        return _UNITS.get(str(self.config.get("task")), "texts")

    def count(self, number: int) -> str:
        """So many of them: "1 question", "2,339 questions"."""
        return count_of(number, self.unit.removesuffix("s"))

    @property
    def metric_for_best(self) -> str:
        """The metric that chose the best epoch, as the settings name it; the dev loss where they name none."""
        return str(self.config.get("metric_for_best", "loss"))

    @property
    def best_epoch(self) -> dict[str, Any] | None:
        """The first epoch with the best `metric_for_best`: the lowest loss or perplexity, the highest of any other."""
        name = f"dev_{self.metric_for_best}"
        sign = -1 if name.endswith(("loss", "perplexity")) else 1
        return max(
            (epoch for epoch in self.epochs if name in epoch), key=lambda epoch: sign * epoch[name], default=None
        )

    @property
    def overfitting_epoch(self) -> float | None:
        """The epoch of the lowest dev loss, if any came after it: from there on the model learns the training set only.

        None if the last epoch is the best one, or no dev loss was measured.
        """
        measured = [epoch for epoch in self.epochs if "dev_loss" in epoch]
        lowest = min(measured, key=lambda epoch: epoch["dev_loss"], default=None)
        return None if lowest is None or lowest is measured[-1] else lowest["epoch"]


def scores_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The scores of an entry of `evaluation.json`, the loss first."""
    return {"loss": entry["loss"], **entry["metrics"]}


def read_json(path: Path, default: Any) -> Any:
    """Read a file of a run folder.

    Args:
        path: the file.
        default: what a file that is not there reads as; one that is must hold the same type.

    Raises:
        DataError: the file is not JSON, or holds another type.
    """
    if not path.is_file():
        return default
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"is not JSON ({error}); the run that wrote it must be repeated", path=path) from error
    if type(content) is not type(default):
        kind = "an object" if isinstance(default, dict) else "a list"
        raise DataError(f"should hold {kind} in JSON", path=path)
    return content


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """One object per line; a last line without its line end was cut off by a kill, and is left out."""
    if not path.is_file():
        return []
    *lines, _unfinished = path.read_bytes().split(b"\n")
    objects = []
    for number, line in enumerate(lines, start=1):
        try:
            objects.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"is not JSON ({error})", path=path, line=number) from error
    return objects
