"""The training loop, in time order: batch, loss, update, log, evaluate, save.

It knows no task: what is learnt is an `Objective`. All randomness is counted (`order`), so a run killed at any moment
and resumed ends in the same weights, on CPU bit for bit.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unmask.errors import CheckpointError, DataError, Interrupted, SettingsError, UnmaskError
from unmask.training.checkpoint import (
    latest_checkpoint,
    load_model_weights,
    load_optimizer_state,
    load_state,
    save_checkpoint,
    step_folder,
    verify,
)
from unmask.training.distributed import join_world
from unmask.training.machine import keep_freed_memory
from unmask.training.metrics_log import MetricsLog
from unmask.training.optimizer import Optimizer
from unmask.training.order import micro_batches, step_samples, torch_seed
from unmask.training.progress import TrainingProgress
from unmask.training.schedules import learning_rate_factor
from unmask.training.signals import stop_on_signals
from unmask.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rich.console import Console

    from unmask.training.distributed import World
    from unmask.training.metrics_log import Row
    from unmask.training.objective import Batch, Objective
    from unmask.training.settings import TrainingSettings

__all__ = ["DivergedError", "TrainingResult", "train"]


class DivergedError(UnmaskError):
    """A loss, a gradient norm or a score is not a finite number: the run ended before the update."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended; the model itself holds the best weights.

    Args:
        num_steps: updates done.
        best_step: updates done when the best weights were evaluated.
        best_metric: their score, named by `metric_for_best`.
        is_stopped_early: whether patience ran out before the last step.
        epochs: the "epoch" lines of metrics.jsonl, one an evaluation.
    """

    num_steps: int
    best_step: int
    best_metric: float
    is_stopped_early: bool
    epochs: list[Row]


def train(
    model: nn.Module,
    objective: Objective[Any],
    settings: TrainingSettings,
    *,
    run_folder: Path,
    lr_factors: Mapping[str, float] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> TrainingResult:
    """Train a model in place, and leave the weights that scored best in it, in eval mode.

    Writes `metrics.jsonl` and `checkpoints/` in the run folder. Under torchrun every process calls this with the same
    arguments, and the run folder is one that all of them see.

    Args:
        model: its trainable parameters; it is moved to the device.
        objective: samples, loss and scores.
        settings: how long, how fast, how carefully.
        run_folder: made if missing.
        lr_factors: the fraction of the learning rate that a parameter takes, by name; 1 for those not named.
        resume: go on from the newest whole checkpoint, or begin if none was saved yet.
        console: where progress is shown; by default stderr, by rank 0 only.

    Raises:
        CheckpointError: the folder holds a run and resume is false; or resume is true and that run had other settings,
            another model, or is damaged.
        DataError: there is no sample, or the disk is full or read-only.
        DivergedError: a loss, gradient norm or score is not finite.
        Interrupted: SIGTERM or ctrl-C came; a checkpoint of the last whole step is saved.
        SettingsError: there is no such device, or no score of the name `metric_for_best`.
    """
    with join_world(settings) as world, stop_on_signals() as stop:
        if world.device.type == "cpu":
            keep_freed_memory()
        run = _Run(
            model,
            objective,
            settings,
            run_folder=run_folder,
            lr_factors=lr_factors,
            resume=resume,
            world=world,
            console=console,
        )
        with run.progress:
            while not run.is_finished:
                run.take_step()
                if run.is_fetch_due:
                    run.fetch()
                if run.is_evaluation_due:
                    run.evaluate()
                if run.is_save_due:
                    run.save()
                if any(world.sum(stop.is_made)):  # whichever process was told, all stop after the same step
                    run.save()
                    raise Interrupted(
                        f"stopped after step {run.state.step} of {run.total_steps}, which is saved in {run_folder}: "
                        "resume it to go on from there"
                    )
        result = run.result()
        world.wait()  # until all have read the best checkpoint: who called us may now remove it
        return result


def _seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators that layers on a device draw from.

    `torch.manual_seed` would do, but where CUDA is not in use it queues a call for later: 0.8 ms, and a leak.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class _LossModule(nn.Module):
    """Makes the loss the one forward pass DistributedDataParallel sees, whatever an objective does with its model."""

    def __init__(self, model: nn.Module, objective: Objective[Any]) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> Tensor:
        return self.objective.compute_loss(self.model, batch)


class _Run:
    """What a run is made of, and the stages of its loop."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective[Any],
        settings: TrainingSettings,
        *,
        run_folder: Path,
        lr_factors: Mapping[str, float] | None,
        resume: bool,
        world: World,
        console: Console | None,
    ) -> None:
        if not objective.num_samples:
            raise DataError("there is no sample to train on: give a file with at least one")
        self.model, self.objective, self.settings, self.world = model.to(world.device), objective, settings, world
        self.checkpoints, metrics_path = run_folder / "checkpoints", run_folder / "metrics.jsonl"
        self.steps_per_epoch = math.ceil(objective.num_samples / settings.global_batch_size)
        self.total_steps = settings.max_steps or settings.epochs * self.steps_per_epoch
        self.warmup_steps = settings.num_warmup_steps(self.total_steps)
        self.autocast = torch.autocast(world.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        self.optimizer = Optimizer(model, settings, lr_factors=lr_factors)
        self.state = TrainingState.first(settings, num_samples=objective.num_samples)
        self.saved_step: int | None = None

        if resume:
            self._load_latest_checkpoint()
        elif world.from_main(self.checkpoints.exists() or metrics_path.exists()):
            raise CheckpointError(f"{run_folder} holds a run already: resume it, or choose another folder")
        self.metrics = MetricsLog(metrics_path, num_lines=self.state.num_metrics_lines, is_writer=world.is_main)
        self.progress = TrainingProgress(
            total_steps=self.total_steps, first_step=self.state.step, log_steps=settings.log_steps, console=console
        )
        self.loss_module = world.wrap(_LossModule(model, objective))
        self.model.train()
        self.unfetched: list[tuple[Row, Tensor]] = []  # steps whose loss and gradient norm are still on the device
        self.fetch_time = time.perf_counter()

    def _load_latest_checkpoint(self) -> None:
        newest = latest_checkpoint(self.checkpoints) if self.world.is_main else None
        step = self.world.from_main(newest and load_state(newest)["step"])
        if step is None:  # killed before the first checkpoint: begin
            return
        folder = step_folder(self.checkpoints, step)
        try:
            self.state = self.state.continued(load_state(folder))
            load_model_weights(folder, self.model)
            load_optimizer_state(folder, self.optimizer)
        except CheckpointError as error:
            raise CheckpointError(f"{folder} cannot be resumed: {error}") from error
        self.saved_step = step

    def take_step(self) -> None:
        """Update the weights once, with one global batch."""
        state, settings, world = self.state, self.settings, self.world
        epoch = state.step // self.steps_per_epoch

        # 1. This process's share of the samples, in micro-batches.
        samples = step_samples(
            state.step,
            num_samples=state.num_samples,
            global_batch_size=settings.global_batch_size,
            seed=settings.seed,
        )
        shares = micro_batches(
            samples, rank=world.rank, world_size=world.size, micro_batch_size=settings.micro_batch_size
        )
        batches = [self.objective.collate(share.tolist(), epoch=epoch) for share in shares]
        terms = self.objective.loss_terms
        shared = [sum(batch.num_targets[term] for batch in batches) for term in range(len(terms))]
        *num_targets, num_tokens = world.sum(*shared, sum(batch.num_tokens for batch in batches))
        weights = torch.tensor([1 / max(count, 1) for count in num_targets], device=world.device)  # (terms,)
        if not batches:  # a process without a share joins the exchange of gradients with a loss that weighs nothing
            batches, weights = [self.objective.collate(samples[:1].tolist(), epoch=epoch)], torch.zeros_like(weights)

        # 2. Gradients of the loss, each of its terms a mean over all its targets of the global batch.
        _seed_torch(torch_seed(seed=settings.seed, step=state.step, rank=world.rank), world.device)
        self.optimizer.zero_grad()
        losses = torch.zeros(len(terms), device=world.device)
        for index, batch in enumerate(batches):
            with self._exchange(is_last=index == len(batches) - 1):
                with self.autocast:
                    weighted = weights * self.loss_module(batch.to(world.device))
                (weighted.sum() * world.size).backward()  # gradients are averaged over processes; we want their sum
            losses += weighted.detach()
        losses = world.sum_tensor(losses)
        loss = losses.sum()
        grad_norm = self.optimizer.grad_norm()

        # 3. The update, which does not happen where either is not finite.
        learning_rate = settings.learning_rate * learning_rate_factor(
            settings.schedule, state.step, warmup_steps=self.warmup_steps, total_steps=self.total_steps
        )
        self.optimizer.update(learning_rate=learning_rate, loss=loss, grad_norm=grad_norm)
        state.step += 1
        row = {
            "kind": "step",
            "step": state.step,
            "epoch": epoch,
            "learning_rate": learning_rate,
            "num_targets": sum(num_targets),
            "num_tokens": num_tokens,
        }
        self.unfetched.append((row, torch.cat((torch.stack((loss, grad_norm)), losses))))

    def _exchange(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients once a step, with the last micro-batch."""
        if is_last or not isinstance(self.loss_module, DistributedDataParallel):
            return nullcontext()
        no_exchange: AbstractContextManager[None] = self.loss_module.no_sync()
        return no_exchange

    def fetch(self) -> None:
        """Bring losses and gradient norms from the device, the only moment it is waited for, and log their steps."""
        if not self.unfetched:
            return
        numbers = torch.stack([values for _, values in self.unfetched]).tolist()
        terms = self.objective.loss_terms
        now = time.perf_counter()
        seconds = (now - self.fetch_time) / len(self.unfetched)
        for (row, _), (loss, grad_norm, *losses) in zip(self.unfetched, numbers, strict=True):
            row |= {"loss": loss, "grad_norm": grad_norm, "seconds": seconds}
            if len(terms) > 1:
                row |= {f"loss_{term}": value for term, value in zip(terms, losses, strict=True)}
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                self.metrics.flush()
                raise DivergedError(
                    f"step {row['step']}: the loss is {loss} and the gradient norm {grad_norm}, so the run ended "
                    "before this update; try a lower learning_rate, or more warm-up"
                )
            self.state.count_step(row)
            self.metrics.append(row)
            self.progress.step(row)
        if self.state.step % self.settings.log_steps == 0:
            self.metrics.flush()
        self.unfetched.clear()
        self.fetch_time = now

    def evaluate(self) -> None:
        """Score the weights, and note whether they are the best so far."""
        self.fetch()
        state, name = self.state, self.settings.metric_for_best
        scores, examples = self.world.from_main(self._scores() if self.world.is_main else None)
        if name not in scores:
            raise SettingsError(
                f"metric_for_best is {name!r}: it must be one the evaluation gives: {', '.join(scores)}"
            )
        if not all(map(math.isfinite, scores.values())):
            raise DivergedError(f"step {state.step}: the evaluation gives {scores}, so the run ended here")
        metric, best = scores[name], state.best_metric
        if best is None or (metric > best if self.settings.greater_is_better else metric < best):
            state.best_step, state.best_metric, state.evaluations_without_best = state.step, metric, 0
        else:
            state.evaluations_without_best += 1
        now = time.perf_counter()
        epoch = state.step / self.steps_per_epoch
        row = {
            "kind": "epoch",
            "epoch": int(epoch) if epoch.is_integer() else epoch,
            "step": state.step,
            "train_loss": state.loss_sum / max(state.num_targets, 1),
            **{f"dev_{score}": value for score, value in scores.items()},
            "train_seconds": state.train_seconds,
            "eval_seconds": now - self.fetch_time,
            "tokens_per_second": state.num_tokens / state.train_seconds,
            **({"examples": examples} if examples else {}),
        }
        state.reset_sums()
        self.metrics.append(row)
        self.progress.epoch(row, is_best=state.best_step == state.step)
        self.fetch_time = now  # an evaluation is no part of the next step's time

    def _scores(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        self.model.eval()
        with torch.inference_mode():  # in float32, as a trained model is evaluated and used
            scores, examples = self.objective.evaluate(self.model), self.objective.examples(self.model)
        self.model.train()
        return scores, examples

    def save(self) -> None:
        """Save a checkpoint of this step if there is none yet; when this returns it is there, for every process."""
        if self.saved_step == self.state.step:
            return
        self.fetch()
        self.metrics.flush()
        self.state.num_metrics_lines = len(self.metrics.rows)
        if self.world.is_main:
            save_checkpoint(self.checkpoints, model=self.model, optimizer=self.optimizer, state=self.state)
        self.world.wait()
        self.saved_step = self.state.step
        self.fetch_time = time.perf_counter()

    def result(self) -> TrainingResult:
        """Put the best weights into the model."""
        state = self.state
        assert state.best_step is not None  # the last step is always evaluated
        assert state.best_metric is not None
        if state.best_step != state.step:
            best = step_folder(self.checkpoints, state.best_step)
            verify(best)
            load_model_weights(best, self.model)
        self.model.eval()
        return TrainingResult(
            num_steps=state.step,
            best_step=state.best_step,
            best_metric=state.best_metric,
            is_stopped_early=state.step < self.total_steps,
            epochs=[row for row in self.metrics.rows if row["kind"] == "epoch"],
        )

    @property
    def is_finished(self) -> bool:
        patience = self.settings.early_stopping_patience
        is_patience_out = patience is not None and self.state.evaluations_without_best >= patience
        return self.state.step >= self.total_steps or is_patience_out

    @property
    def is_fetch_due(self) -> bool:
        """On a CPU there is nothing to wait for; on CUDA waiting would leave it idle until the next step is queued."""
        return self.world.device.type == "cpu" or self.state.step % self.settings.log_steps == 0

    @property
    def is_evaluation_due(self) -> bool:
        every = self.settings.eval_steps or self.steps_per_epoch
        return self.state.step % every == 0 or self.state.step == self.total_steps

    @property
    def is_save_due(self) -> bool:
        """The new best and the last step are always saved, so the best weights are always one of the checkpoints."""
        every = self.settings.save_steps
        is_scheduled = self.state.step % every == 0 if every else self.is_evaluation_due
        return is_scheduled or self.is_finished or self.state.best_step == self.state.step
