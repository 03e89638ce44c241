"""What a search is told, and what of it is a trial's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unmask.workflows.settings import FinetuneSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SEEDS_AFTERWARDS", "SearchSettings", "trial_folder", "trial_settings"]

SEEDS_AFTERWARDS = 5
"""Seeds that the best settings should be run with, when the search is over."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings(FinetuneSettings):
    """Fine-tune with many settings, a run each, and keep the best by dev.

    All settings of a fine-tuning run are those of each trial, but for those that the space names.

    Args:
        space: what to try: `name=a,b,c` for each of these values, `name=low..high` for any number between, and
            `name=low..high:log` to draw small ones as often as large; or a YAML file of such lines. None at all is the
            grid of Devlin et al. (2019): global_batch_size 16, 32; learning_rate 5e-5, 3e-5, 2e-5; epochs 2, 3, 4.
        trials: how many. None tries every point of a grid; a number draws as many of its points. A space with a range
            has no end, so it needs a number: each trial is then drawn by what the earlier ones came to (TPE).
        pruner: which trials end early: "none"; "median" those whose best dev score so far is behind the median of the
            others after as many evaluations; "halving" the worse half after 1, 2, 4, ... evaluations.
        keep_models: keep the model of every trial, not of the best alone.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str] = "search"
    may_change: ClassVar[tuple[str, ...]] = (*FinetuneSettings.may_change, "trials", "keep_models")
    recorded: ClassVar[tuple[str, ...]] = (*FinetuneSettings.recorded, "best")

    space: tuple[str, ...] = ()
    trials: int | None = None
    pruner: Literal["none", "median", "halving"] = "none"
    keep_models: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("trials", "1 or more, or None", self.trials is None or self.trials >= 1)
        self._require("pruner", "none, median or halving", self.pruner in ("none", "median", "halving"))
        self._require("seeds", f"1: a trial has one, and the best is run with {SEEDS_AFTERWARDS}", self.seeds == 1)


def trial_settings(settings: SearchSettings, point: Mapping[str, Any], folder: Path | None = None) -> FinetuneSettings:
    """The settings of the trial of a point, in a folder; test files are for the best alone."""
    names = {field.name for field in dataclasses.fields(FinetuneSettings)}
    own = {"output_dir": folder, "resume": True, "overwrite": False, "test": ()}
    return FinetuneSettings(**{name: getattr(settings, name) for name in names} | dict(point) | own)


def trial_folder(settings: SearchSettings, number: int) -> Path:
    """Where the run of a trial is."""
    assert settings.output_dir is not None
    return settings.output_dir / f"trial-{number:03d}"
