"""The trials of a search: each an ordinary run, whose dev scores the study is told as it goes."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from unmask.errors import Interrupted, SettingsError, UnmaskError
from unmask.reporting import RunRecord
from unmask.reporting.search import format_setting
from unmask.tasks import FineTuning
from unmask.training import TrainingSettings, Tuning, training_device
from unmask.workflows.finetune import train_one
from unmask.workflows.finetune_data import Prepared, prepare_examples
from unmask.workflows.run_folder import is_complete
from unmask.workflows.search_settings import SearchSettings, trial_folder, trial_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from unmask.workflows.search_space import Space
    from unmask.workflows.search_study import Trial
    from unmask.workflows.settings import FinetuneSettings

__all__ = ["Trials"]

_OF_THE_LOOP = {field.name for field in dataclasses.fields(TrainingSettings)}
_SHARED = _OF_THE_LOOP | {field.name for field in dataclasses.fields(Tuning)}
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
        self._space = space
        self._of_data = [name for name in space.of if name not in _SHARED]

    def check(self) -> None:
        """Make sure that the model and the data take the values too, before the first trial begins.

        Raises:
            SettingsError: they do not take one.
        """
        seen: list[dict[str, Any]] = [{}]
        for point in self._space.probes:
            settings = trial_settings(self._settings, point)
            training_device(settings)
            part = {name: value for name, value in point.items() if name not in _OF_THE_LOOP}
            if part in seen:
                continue
            seen.append(part)
            try:
                self._prepare(settings, console=Console(quiet=True), say=lambda _: None)
            except UnmaskError as error:
                raise SettingsError(f"space: {_say(part)} cannot be tried: {error}") from error

    def run(self, trial: Trial, total: int) -> None:
        """Train, and tell the study how it ended."""
        number, folder = trial.number, trial_folder(self._settings, trial.number)
        settings = trial_settings(self._settings, trial.point, folder)
        self._say(f"trial {number} ({number + 1} of {total}): {_say(trial.point)}")
        is_pruned, error, start = False, None, time.perf_counter()
        try:
            self._train(trial, settings)
        except _Pruned:
            is_pruned = True
        except Interrupted:
            raise
        except (UnmaskError, torch.OutOfMemoryError) as what:  # another trial may do better
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
            score = RunRecord.read(folder).dev_scores[metric]
            trial.complete(score)
            self._say(f"trial {number}: {metric} {score:.4f}")

    def _train(self, trial: Trial, settings: FinetuneSettings) -> None:
        assert settings.output_dir is not None
        if is_complete(settings.output_dir):  # it was killed before it could tell
            return
        objective = partial(_Watched, trial=trial, settings=settings)
        prepared = self._prepare(settings, console=self._console, say=self._say)
        train_one(prepared, console=self._console, say=lambda _: None, make_objective=objective)

    def _prepare(self, settings: FinetuneSettings, *, console: Console, say: Callable[[str], None]) -> Prepared:
        """The data and a new model; only the newest model is kept, and files are not read again."""
        before = self._prepared.settings
        if all(getattr(before, name) == getattr(settings, name) for name in self._of_data):
            self._prepared = self._prepared.for_run(settings)
        else:
            self._prepared = prepare_examples(settings, self._prepared.examples, console=console, say=say)
        return self._prepared


def _say(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {format_setting(value)}" for name, value in point.items())
