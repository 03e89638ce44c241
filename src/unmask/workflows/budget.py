"""How many steps a budget of time allows, and how much of the machine's arithmetic a run has reached."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unmask.errors import SettingsError
from unmask.models.flops import forward_flops
from unmask.pretraining.objectives import GeneratorAndDiscriminator
from unmask.training import Optimizer, matrix_product_rate, training_device
from unmask.training.checkpoint import save_checkpoint
from unmask.training.order import micro_batches, step_samples
from unmask.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from unmask.pretraining.objective import Pretraining
    from unmask.training import TrainingSettings
    from unmask.training.metrics_log import Row

__all__ = ["BudgetPlan", "plan_steps", "reached_arithmetic", "training_flops"]

_MARGIN = 0.03  # of the budget, for what cannot be foreseen
_WARMUP_STEPS, _MEASURED_STEPS = 2, 3  # at least: caches, threads and the optimizer's moments are made in the first
_MEASURED_SHARE, _LONGEST = 0.02, 20.0  # of the budget that is spent on measuring; seconds at most
_USUAL_EVALUATIONS = 10


@dataclass(frozen=True, kw_only=True)
class BudgetPlan:
    """What was measured, and what follows.

    Args:
        max_steps: optimizer steps.
        seconds_per_step: of one.
        evaluation_seconds: of an evaluation, and of saving a checkpoint after it.
        num_evaluations: that were planned for.
    """

    max_steps: int
    seconds_per_step: float
    evaluation_seconds: float
    num_evaluations: int

    def __str__(self) -> str:
        return (
            f"{self.max_steps:,} steps of {self.seconds_per_step:.3g} s, and {self.num_evaluations} evaluations with "
            f"their checkpoints of {self.evaluation_seconds:.3g} s"
        )


def plan_steps(model: nn.Module, objective: Pretraining, settings: TrainingSettings, *, seconds: float) -> BudgetPlan:
    """Measure a few steps of a copy of the model on its first batches, and tell how many fit in a time.

    Args:
        model: stays as it is.
        objective: makes batches, and evaluates.
        settings: of the loop; `max_steps` and `epochs` are not asked.
        seconds: the budget, which the measuring itself is taken from.

    Raises:
        SettingsError: not even one step fits; or there are several processes, which could measure differently.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("budget is measured by one process, and there are several: give max_steps instead")
    begin = time.perf_counter()
    device = training_device(settings)
    trial = copy.deepcopy(model).to(device).train()
    optimizer = Optimizer(trial, settings)
    take_step = _stepper(trial, optimizer, objective, settings)
    for number in range(_WARMUP_STEPS):
        take_step(number)
    start, number = time.perf_counter(), 0
    wanted = min(seconds * _MEASURED_SHARE, _LONGEST)
    while number < _MEASURED_STEPS or time.perf_counter() - start < wanted:
        take_step(_WARMUP_STEPS + number)
        number += 1
    seconds_per_step = (time.perf_counter() - start) / number
    start = time.perf_counter()
    with torch.inference_mode():
        trial.eval()
        objective.evaluate(trial)
        objective.examples(trial)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(
            Path(folder), model=trial, optimizer=optimizer, state=TrainingState.first(settings, num_samples=1)
        )
    evaluation_seconds = time.perf_counter() - start
    left = seconds * (1 - _MARGIN) - (time.perf_counter() - begin)
    if settings.eval_steps is None:
        num_evaluations = _USUAL_EVALUATIONS
        max_steps = int((left - num_evaluations * evaluation_seconds) / seconds_per_step)
    else:
        max_steps = int(left / (seconds_per_step + evaluation_seconds / settings.eval_steps))
        num_evaluations = -(-max_steps // settings.eval_steps)
    if max_steps < 1:
        raise SettingsError(
            f"budget is {seconds:g} seconds: a step takes {seconds_per_step:.3g}, an evaluation with its checkpoint "
            f"{evaluation_seconds:.3g}, and there is no time for them; give more, or train a smaller model"
        )
    return BudgetPlan(
        max_steps=max_steps,
        seconds_per_step=seconds_per_step,
        evaluation_seconds=evaluation_seconds,
        num_evaluations=num_evaluations,
    )


def _stepper(
    model: nn.Module, optimizer: Optimizer, objective: Pretraining, settings: TrainingSettings
) -> Callable[[int], None]:
    """Make a function that takes a step as the training loop does, at the full learning rate."""
    device = next(model.parameters()).device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")

    def take_step(number: int) -> None:
        samples = step_samples(
            number,
            num_samples=objective.num_samples,
            global_batch_size=settings.global_batch_size,
            seed=settings.seed,
        )
        shares = micro_batches(samples, rank=0, world_size=1, micro_batch_size=settings.micro_batch_size)
        batches = [objective.collate(share.tolist(), epoch=0) for share in shares]
        totals = [max(sum(counts), 1) for counts in zip(*(batch.num_targets for batch in batches), strict=True)]
        weights = 1 / torch.tensor(totals, device=device)
        optimizer.zero_grad()
        for batch in batches:
            with autocast:
                loss = (weights * objective.compute_loss(model, batch.to(device))).sum()
            loss.backward()
        optimizer.update(learning_rate=settings.learning_rate, loss=loss.detach(), grad_norm=optimizer.grad_norm())
        loss.item()  # on CUDA, waits until all is done

    return take_step


def training_flops(model: nn.Module, head: str, seq_lengths: NDArray[np.int64], *, num_predictions: float) -> float:
    """Count the operations of training steps on these sequences: three forward passes, see `unmask.models.flops`.

    Args:
        model: with the head, or a generator and a discriminator.
        head: a key of `unmask.models.registry.HEADS`.
        seq_lengths: tokens of each sequence.
        num_predictions: positions whose word is guessed.
    """
    config: Any = model.config
    forward = forward_flops(config, head).computed(seq_lengths, num_predictions=num_predictions)
    if isinstance(model, GeneratorAndDiscriminator):
        generator: Any = model.generator.config
        forward += forward_flops(generator, "masked-lm").computed(seq_lengths, num_predictions=num_predictions)
    return 3 * forward


def reached_arithmetic(
    epochs: Sequence[Row], settings: TrainingSettings, *, flops_per_token: float
) -> dict[str, float]:
    """Tell how fast a run was, and measure what the machine could do.

    Args:
        epochs: the "epoch" lines of metrics.jsonl.
        settings: of the loop.
        flops_per_token: operations of training on a token, see `training_flops`.

    Returns:
        "tokens" and "seconds" of training, evaluations left out; "tokens_per_second"; "model_flops_per_second";
        "matrix_product_flops_per_second", what this machine reaches in a large matrix product; and
        "share_of_arithmetic", the ratio of the two.
    """
    seconds = sum(row["train_seconds"] for row in epochs)
    tokens = round(sum(row["train_seconds"] * row["tokens_per_second"] for row in epochs))
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    rate = matrix_product_rate(training_device(settings), dtype=dtype)
    reached = tokens / seconds * flops_per_token
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "model_flops_per_second": reached,
        "matrix_product_flops_per_second": rate,
        "share_of_arithmetic": reached / rate,
    }
