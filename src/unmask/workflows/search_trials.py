"""The trials of a search: each an ordinary run, whose dev scores the study is told as it goes."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from unmask.reporting import RunRecord
from unmask.reporting.search import format_setting
from unmask.tasks import FineTuning
from unmask.training import DivergedError, TrainingSettings, Tuning
from unmask.workflows.finetune import train_one
from unmask.workflows.finetune_data import Prepared, prepare
from unmask.workflows.run_folder import is_complete
from unmask.workflows.search_settings import SearchSettings, trial_folder, trial_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from torch import nn

    from unmask.workflows.search_space import Space
    from unmask.workflows.search_study import Trial
    from unmask.workflows.settings import FinetuneSettings

__all__ = ["Trials", "dev_scores"]

_SHARED = {field.name for kind in (TrainingSettings, Tuning) for field in dataclasses.fields(kind)}
"""Settings that leave the data as they are: trials that differ in no other share them."""


class _Pruned(Exception):  # noqa: N818 - it is no error
    """A trial is behind the others."""


class _Watched(FineTuning):
    """A task's samples, whose evaluations are reported to the search."""

    def __init__(self, *args: Any, trial: Trial, settings: FinetuneSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trial, self._metric, self._settings = trial, settings.training.metric_for_best, settings
        self._number: int | None = None  # of the last evaluation

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        scores = super().evaluate(model)
        if self._number is None:  # a trial that goes on has those before in its metrics, cut back to its checkpoint
            assert self._settings.output_dir is not None
            self._number = len(RunRecord.read(self._settings.output_dir).epochs)
        self._number += 1
        score = scores.get(self._metric, math.nan)
        if math.isfinite(score) and self._trial.report(self._number, score) and not self._is_last:
            raise _Pruned
        return scores  # the loop says what is wrong with a score that is missing or no number

    @property
    def _is_last(self) -> bool:
        """Whether training ends with this evaluation."""
        settings = self._settings
        steps_per_epoch = -(-self.num_samples // settings.global_batch_size)
        steps = settings.max_steps or settings.epochs * steps_per_epoch
        return (self._number or 0) * (settings.eval_steps or steps_per_epoch) >= steps


class Trials:
    """Runs trials one after another, on data that are prepared once where they are the same.

    Args:
        settings: of the search.
        space: what is searched.
        prepared: the data, as the settings of the search have them.
        console: where progress is shown.
        say: prints a line.
    """

    def __init__(
        self,
        settings: SearchSettings,
        space: Space,
        prepared: Prepared,
        *,
        console: Console,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._prepared, self._console, self._say = settings, prepared, console, say
        self._of_data = [name for name in space.of if name not in _SHARED]

    def run(self, trial: Trial, total: int) -> None:
        """Train, and tell the study how it ended."""
        number, folder = trial.number, trial_folder(self._settings, trial.number)
        settings = trial_settings(self._settings, trial.point, folder)
        said = ", ".join(f"{name} {format_setting(value)}" for name, value in trial.point.items())
        self._say(f"trial {number} ({number + 1} of {total}): {said}")
        is_pruned, error, start = False, None, time.perf_counter()
        try:
            self._train(trial, settings)
        except _Pruned:
            is_pruned = True
        except (DivergedError, torch.OutOfMemoryError) as what:
            error = str(what)
        finally:
            trial.add_seconds(time.perf_counter() - start)
        if is_pruned:
            trial.prune()
            self._say(f"trial {number} is behind the others: it ends here")
        elif error is not None:
            trial.fail(error)
            self._say(f"trial {number} failed: {error}")
        else:
            metric = settings.training.metric_for_best
            score = dev_scores(RunRecord.read(folder))[metric]
            trial.complete(score)
            self._say(f"trial {number}: {metric} {score:.4f}")

    def _train(self, trial: Trial, settings: FinetuneSettings) -> None:
        assert settings.output_dir is not None
        if is_complete(settings.output_dir):  # it was killed before it could tell
            return
        objective = partial(_Watched, trial=trial, settings=settings)
        prepared = self._prepare(settings)
        train_one(prepared, console=self._console, say=lambda _: None, make_objective=objective)

    def _prepare(self, settings: FinetuneSettings) -> Prepared:
        """The data and a new model; only the newest model is kept."""
        before = self._prepared.settings
        if all(getattr(before, name) == getattr(settings, name) for name in self._of_data):
            self._prepared = self._prepared.for_run(settings)
        else:
            self._prepared = prepare(settings, console=self._console, say=self._say)
        return self._prepared


def dev_scores(record: RunRecord) -> dict[str, float]:
    """What a complete run came to on dev."""
    return {"loss": record.dev["loss"], **record.dev["metrics"]}
