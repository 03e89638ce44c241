"""A search as optuna keeps it: a journal of JSON lines in the run folder, counted draws, and who is stopped early.

A kill can leave half a line in a journal, and optuna's own file storage cannot go on after one; ours drops it. Nothing
is pickled: that is for snapshots of a journal, and ours takes none.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from unmask.errors import DataError
from unmask.files import append_bytes, append_json_lines
from unmask.workflows.search_space import Choices, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

    from unmask.workflows.search_space import Space

__all__ = ["Pruner", "Study", "Trial", "TrialRecord"]

Pruner = Literal["none", "median", "halving"]
State = Literal["running", "complete", "pruned", "failed"]

_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "running",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_UNJUDGED = 4  # trials that the median leaves alone, because it says little of fewer
_FEWEST_TRIALS_EXPLAINED = 6  # in fewer anything seems important


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What is known of a trial.

    Args:
        number: counted from 0.
        state: "complete" has a score; "pruned" was stopped because of its scores; "failed" ended in an error.
        point: the settings tried.
        score: of the best checkpoint on dev; of a pruned trial the best it had; None of one that has none.
        reports: the dev score after each evaluation, by the number of the evaluation, counted from 1.
        seconds: time spent on it.
        error: why it failed.
    """

    number: int
    state: State
    point: dict[str, Any]
    score: float | None
    reports: dict[int, float]
    seconds: float
    error: str | None


class Study:
    """The trials of a search, kept in a file after each thing that happens.

    Args:
        path: the journal, made if missing.
        space: what is searched.
        points: all points to try, in order, but for those tried before; None draws each from the space by what is
            known by then (TPE: Bergstra et al. 2011, as optuna has it).
        maximize: whether a greater score is better.
        seed: of the draws. A draw is a function of it, the trial's number and the trials before.
        pruner: "median" stops a trial whose best score so far is behind the median of the others after as many
            evaluations; "halving" lets the better half go on after 1, 2, 4, ... evaluations (Li et al. 2018).

    Raises:
        DataError: the journal cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        space: Space,
        points: list[dict[str, Any]] | None,
        maximize: bool,
        seed: int,
        pruner: Pruner,
    ) -> None:
        self._space, self._points, self._maximize, self._seed = space, points, maximize, seed
        self._distributions = {name: _distribution(part) for name, part in space.of.items()}
        with _quiet():
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(_JsonLines(path)),
                study_name="search",
                direction="maximize" if maximize else "minimize",
                pruner=_pruner(pruner),
                load_if_exists=True,
            )

    def next(self, total: int) -> Trial | None:
        """Give the trial that is under way, or begin another; None where `total` trials have come to their end."""
        with _quiet():
            trials = self._study.get_trials(deepcopy=False)
            unfinished = next((trial for trial in trials if not trial.state.is_finished()), None)
            if unfinished is None and len(trials) >= total:
                return None
            number = len(trials) if unfinished is None else unfinished.number
            self._study.sampler = optuna.samplers.TPESampler(seed=_counted(self._seed, number))
            if unfinished is None and self._points is not None:
                tried = [_params(trial) for trial in trials]
                points = map(_to_optuna, self._points)
                self._study.enqueue_trial(next(point for point in points if point not in tried))
            if unfinished is None or unfinished.state == TrialState.WAITING:
                return Trial(self, self._study.ask(self._distributions))
            trial = optuna.Trial(self._study, unfinished._trial_id)  # optuna has no other way to go on with one
            for name, distribution in self._distributions.items():  # those that a kill left undrawn
                trial._suggest(name, distribution)
            return Trial(self, trial)

    @property
    def trials(self) -> list[TrialRecord]:
        return [self._record(trial) for trial in self._study.get_trials(deepcopy=False)]

    @property
    def best(self) -> TrialRecord | None:
        """The first of the best among the complete trials."""
        return next(iter(self.ranked), None) if any(trial.state == "complete" for trial in self.trials) else None

    @property
    def ranked(self) -> list[TrialRecord]:
        """All trials: the complete ones from the best on, then those that were pruned, likewise, then the others."""
        order = ("complete", "pruned", "failed", "running")
        sign = -1 if self._maximize else 1
        return sorted(
            self.trials,
            key=lambda trial: (order.index(trial.state), sign * trial.score if trial.score is not None else 0),
        )

    def importances(self) -> dict[str, float]:
        """The share of each setting in what the scores differ by (fANOVA: Hutter et al. 2014), the largest first.

        Empty where there is nothing to share: one setting, too few trials, or all with the same score.
        """
        complete = [trial for trial in self.trials if trial.state == "complete"]
        varied = [name for name in self._space.of if len({repr(trial.point[name]) for trial in complete}) > 1]
        if len(varied) < 2 or len(complete) < _FEWEST_TRIALS_EXPLAINED or len({t.score for t in complete}) < 2:
            return {}
        with _quiet():
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            shares = optuna.importance.get_param_importances(self._study, evaluator=evaluator, params=varied)
            return {name: float(share) for name, share in shares.items()}

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        state = _STATES[trial.state]
        reports = dict(sorted(trial.intermediate_values.items()))
        best = (max if self._maximize else min)(reports.values(), default=None)
        return TrialRecord(
            number=trial.number,
            state=state,
            point={name: self._from_optuna(name, value) for name, value in _params(trial).items()},
            score=trial.value if state == "complete" else best,
            reports=reports,
            seconds=trial.user_attrs.get("seconds", 0.0),
            error=trial.user_attrs.get("error"),
        )

    def _from_optuna(self, name: str, value: Any) -> Any:
        part = self._space.of[name]
        if isinstance(part, Range):
            return value
        return next(choice for choice in part.values if _name_of(choice) == value)

    def _tell(self, trial: optuna.Trial, score: float | None, state: TrialState) -> None:
        with _quiet():
            self._study.tell(trial, score, state=state)


class Trial:
    """A trial under way; it ends with `complete`, `prune` or `fail`."""

    def __init__(self, study: Study, trial: optuna.Trial) -> None:
        self._study, self._trial = study, trial

    @property
    def number(self) -> int:
        return self._trial.number

    @property
    def point(self) -> dict[str, Any]:
        return self.record.point

    @property
    def record(self) -> TrialRecord:
        return self._study.trials[self.number]

    def report(self, evaluation: int, score: float) -> bool:
        """Keep the score of an evaluation, counted from 1; tells whether the trial should be stopped for it."""
        with _quiet():
            if evaluation not in self.record.reports:  # a trial that goes on repeats what it had not saved
                self._trial.report(score, evaluation)
            return bool(self._trial.should_prune())

    def add_seconds(self, seconds: float) -> None:
        self._trial.set_user_attr("seconds", self.record.seconds + seconds)

    def complete(self, score: float) -> None:
        self._study._tell(self._trial, score, TrialState.COMPLETE)

    def prune(self) -> None:
        self._study._tell(self._trial, None, TrialState.PRUNED)

    def fail(self, error: str) -> None:
        self._trial.set_user_attr("error", error)
        self._study._tell(self._trial, None, TrialState.FAIL)


class _JsonLines(BaseJournalBackend):
    """A journal in a file that one process writes: whole lines of JSON, each flushed to the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a kill left half a line
            append_bytes(path, b"", offset=len(whole))
        self._logs: list[dict[str, Any]] = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._logs.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"is not JSON ({error}): search again", path=path, line=number) from error

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        append_json_lines(self._path, logs)
        self._logs += json.loads(json.dumps(logs))


def _pruner(name: Pruner) -> BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_UNJUDGED, n_warmup_steps=0)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()


def _distribution(part: Range | Choices) -> BaseDistribution:
    if isinstance(part, Choices):
        return CategoricalDistribution([_name_of(value) for value in part.values])
    if part.whole:
        return IntDistribution(int(part.low), int(part.high), log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def _name_of(value: Any) -> Any:
    """A value as optuna keeps it, which knows no lists."""
    return json.dumps(value) if isinstance(value, tuple) else value


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """The point of a trial, as optuna keeps it."""
    params: dict[str, Any] = trial.params or trial.system_attrs.get("fixed_params", {})
    return params


def _to_optuna(point: dict[str, Any]) -> dict[str, Any]:
    return {name: _name_of(value) for name, value in point.items()}


def _counted(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep optuna from telling of each trial: we do."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
