"""Where a run stands: the numbers that, with the weights and the optimizer's moments, determine all that follows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from unmask.errors import CheckpointError

if TYPE_CHECKING:
    from unmask.training.metrics_log import Row
    from unmask.training.settings import TrainingSettings

__all__ = ["FREE_TO_CHANGE", "TrainingState"]

FREE_TO_CHANGE = (
    "save_steps",
    "log_steps",
    "micro_batch_size",
    "device",
)  # settings that a resumed run may have otherwise


@dataclass(kw_only=True)
class TrainingState:
    """What `state.json` of a checkpoint holds.

    Args:
        settings: the run's settings as JSON has them: a resumed run must have the same.
        num_samples: samples an epoch, likewise.
        step: updates done; epoch and position in it follow.
        best_step: the step of the best evaluation so far; None before the first.
        best_metric: its score.
        evaluations_without_best: evaluations since then.
        num_metrics_lines: lines of metrics.jsonl written so far.
        loss_sum: training loss summed over targets since the last evaluation.
        num_targets: targets since then.
        num_tokens: real tokens since then.
        train_seconds: time spent in steps since then.
    """

    settings: dict[str, Any]
    num_samples: int
    step: int = 0
    best_step: int | None = None
    best_metric: float | None = None
    evaluations_without_best: int = 0
    num_metrics_lines: int = 0
    loss_sum: float = 0.0
    num_targets: int = 0
    num_tokens: int = 0
    train_seconds: float = 0.0

    @classmethod
    def first(cls, settings: TrainingSettings, *, num_samples: int) -> Self:
        """The state before the first step."""
        return cls(settings=asdict(settings) | {"betas": list(settings.betas)}, num_samples=num_samples)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def continued(self, saved: dict[str, Any]) -> Self:
        """The state a checkpoint of the same run was saved in.

        Raises:
            CheckpointError: the run had other settings or another number of samples, or the state is not whole.
        """
        if saved.keys() != {field.name for field in fields(self)}:
            raise CheckpointError("its state was written by another version: start again, or resume with that version")
        settings: dict[str, Any] = saved["settings"]
        before, now = (
            {name: value for name, value in each.items() if name not in FREE_TO_CHANGE}
            for each in (
                settings | {"num_samples": saved["num_samples"]},
                self.settings | {"num_samples": self.num_samples},
            )
        )
        changes = [
            f"{name} was {before.get(name)} and is {now.get(name)}" for name in now if before.get(name) != now[name]
        ]
        if changes:
            raise CheckpointError(f"{', '.join(changes)}: resume a run as it began, or start a new one")
        return type(self)(**saved | {"settings": self.settings})

    def count_step(self, row: Row) -> None:
        """Add a "step" row to the sums that the next evaluation reports."""
        self.loss_sum += row["loss"] * row["num_targets"]
        self.num_targets += row["num_targets"]
        self.num_tokens += row["num_tokens"]
        self.train_seconds += row["seconds"]

    def reset_sums(self) -> None:
        self.loss_sum, self.num_targets, self.num_tokens, self.train_seconds = 0.0, 0, 0, 0.0
