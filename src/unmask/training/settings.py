"""What a training run is told: every field with its unit, checked when the object is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Precision", "Schedule", "TrainingSettings"]

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long, how fast and how carefully to train.

    Args:
        seed: of the order of the samples and of torch's own generators; 0 or more.
        epochs: passes over the samples; the last, shorter batch of a pass is included.
        max_steps: optimizer steps, in place of `epochs`.
        global_batch_size: samples an optimizer step, over all processes and micro-batches.
        micro_batch_size: samples in one forward pass of one process; None is the process's whole share. It changes
            memory and speed, not the mathematics.
        learning_rate: at its peak, after warm-up.
        weight_decay: decoupled, per unit of learning rate; matrices decay, biases and norms do not.
        betas: decay rates of AdamW's two moments, each in [0, 1).
        eps: added to the root of AdamW's second moment.
        schedule: how the learning rate falls to 0 after warm-up; "constant" does not fall.
        warmup_steps: optimizer steps of linear warm-up from 0.
        warmup_ratio: the same as a fraction of all steps, rounded up; give one of the two.
        max_grad_norm: the gradient is scaled down to this L2 norm where it is larger; None never scales.
        precision: "bf16" computes under autocast and keeps weights in float32; CUDA only.
        eval_steps: optimizer steps between evaluations; None evaluates after each epoch. The last step always does.
        save_steps: optimizer steps between checkpoints; None saves after each evaluation. A new best is always saved.
        early_stopping_patience: evaluations in a row without a new best before the run stops; None never stops early.
        metric_for_best: the evaluation's score that chooses the best checkpoint. A loss or a perplexity is better
            when smaller, every other score when greater.
        log_steps: optimizer steps between lines of output where there is no terminal. On CUDA also how often losses
            are fetched, so a non-finite one is reported within as many steps (its update never happens).
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one. Under torchrun each process takes the
            CUDA device of its local rank.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    seed: int = 0
    epochs: int = 3
    max_steps: int | None = None
    global_batch_size: int = 32
    micro_batch_size: int | None = None
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Schedule = "linear"
    warmup_steps: int | None = None
    warmup_ratio: float | None = None
    max_grad_norm: float | None = 1.0
    precision: Precision = "fp32"
    eval_steps: int | None = None
    save_steps: int | None = None
    early_stopping_patience: int | None = None
    metric_for_best: str = "loss"
    log_steps: int = 50
    device: str | None = None

    def __post_init__(self) -> None:
        self._require("seed", "a whole number, 0 or more and below 2**63", 0 <= self.seed < 2**63)
        self._require("learning_rate", "positive and finite", 0 < self.peak_learning_rate < math.inf)
        self._require("weight_decay", "0 or more, and finite", 0 <= self.weight_decay < math.inf)
        self._require("betas", "two numbers in [0, 1)", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas))
        self._require("eps", "positive and finite", 0 < self.eps < math.inf)
        self._require("max_grad_norm", "positive", self.max_grad_norm is None or self.max_grad_norm > 0)
        self._require("warmup_ratio", "in [0, 1]", self.warmup_ratio is None or 0 <= self.warmup_ratio <= 1)
        self._require("warmup_steps", "0 or more", self.warmup_steps is None or self.warmup_steps >= 0)
        self._require("schedule", f"one of {', '.join(get_args(Schedule))}", self.schedule in get_args(Schedule))
        self._require("precision", f"one of {', '.join(get_args(Precision))}", self.precision in get_args(Precision))
        for name in ("epochs", "global_batch_size", "log_steps"):
            self._require(name, "1 or more", getattr(self, name) >= 1)
        for name in ("max_steps", "micro_batch_size", "eval_steps", "save_steps", "early_stopping_patience"):
            self._require(name, "1 or more, or None", getattr(self, name) is None or getattr(self, name) >= 1)
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise SettingsError(
                f"warmup_steps is {self.warmup_steps} and warmup_ratio is {self.warmup_ratio}: give one of the two"
            )
        if self.micro_batch_size is not None and self.micro_batch_size > self.global_batch_size:
            raise SettingsError(
                f"micro_batch_size is {self.micro_batch_size}: it must not exceed global_batch_size, "
                f"{self.global_batch_size}"
            )

    def _require(self, name: str, rule: str, is_met: bool) -> None:
        if not is_met:
            value: Any = getattr(self, name)
            raise SettingsError(f"{name} is {value!r}: it must be {rule}")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate; settings that leave it open to what else they say tell it here."""
        return self.learning_rate

    @property
    def greater_is_better(self) -> bool:
        """Whether the best checkpoint is the one with the greatest `metric_for_best`, or the smallest."""
        return not self.metric_for_best.endswith(("loss", "perplexity"))

    def num_warmup_steps(self, total_steps: int) -> int:
        if self.warmup_ratio is not None:
            return math.ceil(self.warmup_ratio * total_steps)
        return self.warmup_steps or 0
