"""The loop on a tiny model, in this process. Run: pytest tests/test_training_loop.py."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from torch import nn

from training_programs.train_tiny import SETTINGS, TinyBatch, TinyObjective, new_model, run
from unmask.errors import CheckpointError, DataError, Interrupted, SettingsError
from unmask.training import DivergedError, train
from unmask.training.checkpoint import latest_checkpoint, load_model_weights, save_checkpoint
from unmask.training.optimizer import Optimizer
from unmask.training.state import TrainingState

if TYPE_CHECKING:
    from pathlib import Path

TIMINGS = ("seconds", "train_seconds", "eval_seconds", "tokens_per_second")


def rows_of(folder: Path, *, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their timings."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in row.items() if name not in TIMINGS}
        for row in rows
        if kind in (None, row["kind"])
    ]


def saved_steps(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*"))


def assert_equal_weights(model: nn.Module, expected: nn.Module, *, atol: float = 0.0) -> None:
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(
            model.state_dict()[name], value, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_steps_and_evaluations_are_logged(tmp_path):
    _, result = run(tmp_path)
    steps, epochs = rows_of(tmp_path, kind="step"), rows_of(tmp_path, kind="epoch")
    assert [row["step"] for row in steps] == list(range(1, 22))  # ceil(49 / 8) = 7 steps an epoch
    assert [row["epoch"] for row in steps] == [0] * 7 + [1] * 7 + [2] * 7
    assert [row["learning_rate"] for row in steps[:5]] == pytest.approx([0, 0.005, 0.01, 0.015, 0.02])
    # Of samples 0 ... 48 every fourth has no label, and they have 1, 2, 3, 4, 5, 1, ... tokens.
    assert sum(row["num_targets"] for row in steps[:7]) == 37
    assert sum(row["num_tokens"] for row in steps[:7]) == 9 * 15 + 1 + 2 + 3 + 4
    assert [(row["epoch"], row["step"]) for row in epochs] == [
        (5 / 7, 5),
        (10 / 7, 10),
        (15 / 7, 15),
        (20 / 7, 20),
        (3, 21),
    ]
    first = steps[:5]
    mean = sum(row["loss"] * row["num_targets"] for row in first) / sum(row["num_targets"] for row in first)
    assert epochs[0]["train_loss"] == pytest.approx(mean)
    assert set(epochs[0]) == {"kind", "epoch", "step", "train_loss", "dev_loss", "dev_accuracy"}
    assert [row["dev_accuracy"] for row in result.epochs] == [row["dev_accuracy"] for row in epochs]


def test_by_default_each_epoch_is_evaluated_and_saved(tmp_path):
    run(tmp_path, eval_steps=None, save_steps=None, epochs=2)
    assert [(row["epoch"], row["step"]) for row in rows_of(tmp_path, kind="epoch")] == [(1, 7), (2, 14)]
    assert saved_steps(tmp_path) == [7, 14]


def test_max_steps_replaces_epochs(tmp_path):
    _, result = run(tmp_path, max_steps=9)
    assert result.num_steps == 9
    assert [row["step"] for row in rows_of(tmp_path, kind="epoch")] == [5, 9]


def test_one_step_is_the_plain_training_step(tmp_path):
    objective = TinyObjective(num_samples=8)
    model, _ = run(tmp_path, objective, max_steps=1, warmup_steps=0, weight_decay=0.0)
    expected = new_model()
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.02, weight_decay=0.0)
    batch = objective.collate(range(8), epoch=0)
    (objective.compute_loss(expected, batch)[0] / 6).backward()  # of eight samples two have no label
    nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
    optimizer.step()
    assert_equal_weights(model, expected, atol=1e-6)


class TwoTerms(TinyObjective):
    """Samples with an even number make one term of the loss, the others a second one, of double weight."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values | {"loss_terms": ("even", "odd")})

    def collate(self, sample_indices: Any, *, epoch: int) -> Any:
        batch = super().collate(sample_indices, epoch=epoch)
        is_even = torch.tensor([index % 2 == 0 for index in sample_indices])
        return TwoTermBatch(**vars(batch), is_even=is_even)

    def compute_loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        logits = model(batch.input_ids, batch.offsets, batch.noise)
        losses = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        return torch.stack((losses[batch.is_even].sum(), 2 * losses[~batch.is_even].sum()))


@dataclass(frozen=True)
class TwoTermBatch(TinyBatch):
    is_even: torch.Tensor

    @property
    def num_targets(self) -> tuple[int, int]:
        has_label = self.labels >= 0
        return int((has_label & self.is_even).sum()), int((has_label & ~self.is_even).sum())


@pytest.mark.parametrize("micro_batch_size", [None, 1, 3])
def test_each_term_of_a_loss_is_a_mean_over_its_own_targets(tmp_path, micro_batch_size):
    objective = TwoTerms(num_samples=8)
    model, _ = run(
        tmp_path, objective, max_steps=1, warmup_steps=0, weight_decay=0.0, micro_batch_size=micro_batch_size
    )
    expected = new_model()
    even, odd = objective.compute_loss(expected, objective.collate(range(8), epoch=0))
    loss = even / 4 + odd / 2  # of the four samples with an odd number two have no label
    loss.backward()
    nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
    torch.optim.AdamW(expected.parameters(), lr=0.02, weight_decay=0.0).step()
    assert_equal_weights(model, expected, atol=1e-6)
    (row,) = rows_of(tmp_path, kind="step")
    assert row["num_targets"] == 6
    found = [row["loss"], row["loss_even"], row["loss_odd"]]
    assert found == pytest.approx([loss.item(), even.item() / 4, odd.item() / 2], rel=1e-6)


def test_examples_stand_with_each_evaluation(tmp_path):
    run(tmp_path, TinyObjective(shows_examples=True))
    assert all(row["examples"] == [{"prompt": "a _ c", "guess": "b"}] for row in rows_of(tmp_path, kind="epoch"))


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4])
def test_accumulation_does_not_change_the_mathematics(tmp_path, micro_batch_size):
    whole, _ = run(tmp_path / "whole", metric_for_best="loss")
    parts, _ = run(tmp_path / "parts", metric_for_best="loss", micro_batch_size=micro_batch_size)
    assert_equal_weights(parts, whole, atol=1e-6)
    for ours, theirs in zip(rows_of(tmp_path / "parts"), rows_of(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_run_is_a_function_of_its_seed(tmp_path):
    models = [new_model(dropout_p=0.3) for _ in range(3)]
    for model, name, seed in zip(models, ("one", "same", "other"), (5, 5, 6), strict=True):
        torch.manual_seed(len(name))  # what the caller's generator did before is of no consequence
        run(tmp_path / name, model=model, seed=seed)
    assert_equal_weights(models[0], models[1])
    with pytest.raises(AssertionError):
        assert_equal_weights(models[0], models[2])


@pytest.mark.parametrize(
    ("metric", "scores", "best_step"),
    [("accuracy", [0.1, 0.5, 0.5, 0.4, 0.3], 10), ("loss", [0.9, 0.7, 0.2, 0.4, 0.2], 15)],
)
def test_the_model_ends_with_its_best_weights(tmp_path, metric, scores, best_step):
    model, result = run(tmp_path, TinyObjective(scores=[{metric: score} for score in scores]), metric_for_best=metric)
    assert (result.best_step, result.best_metric) == (best_step, scores[best_step // 5 - 1])
    assert not result.is_stopped_early
    assert not model.training
    assert saved_steps(tmp_path) == [best_step, 18, 21]  # the best one, and the last two
    at_best, _ = run(tmp_path / "best", max_steps=best_step, schedule="constant", eval_steps=best_step)
    constant, _ = run(
        tmp_path / "constant",
        TinyObjective(scores=[{metric: score} for score in scores]),
        metric_for_best=metric,
        schedule="constant",
    )
    assert_equal_weights(constant, at_best)


def test_patience_stops_the_run(tmp_path):
    objective = TinyObjective(scores=[{"accuracy": score} for score in (0.1, 0.4, 0.3, 0.4)])
    _, result = run(tmp_path, objective, early_stopping_patience=2)
    assert (result.num_steps, result.best_step, result.is_stopped_early) == (20, 10, True)
    _, again = run(tmp_path, objective, early_stopping_patience=2, resume=True)
    assert again == result


@pytest.mark.parametrize("bad_batch", [1, 9])
def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(tmp_path, bad_batch):
    class Diverging(TinyObjective):
        def compute_loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            loss = super().compute_loss(model, batch)
            return loss * float("nan") if self.num_batches == bad_batch else loss

    model = new_model()
    message = f"step {bad_batch}: the loss is nan and the gradient norm nan, so the run ended before this update"
    with pytest.raises(DivergedError, match=message):
        run(tmp_path, Diverging(), model=model)
    assert len(rows_of(tmp_path, kind="step")) == bad_batch - 1
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_score_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(DivergedError, match=r"step 5: the evaluation gives \{'accuracy': inf\}"):
        run(tmp_path, TinyObjective(scores=[{"accuracy": float("inf")}]))


def test_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"metric_for_best is 'mcc': .* gives: loss, accuracy"):
        run(tmp_path, metric_for_best="mcc")


def test_no_sample_is_refused(tmp_path):
    with pytest.raises(DataError, match="no sample to train on"):
        run(tmp_path, TinyObjective(num_samples=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu9"}, "device is 'tpu9': it must be like cpu, cuda or cuda:1"),
        ({"device": "meta"}, "device is 'meta': only cpu and cuda can train"),
        ({"precision": "bf16"}, "precision is 'bf16', which is for CUDA"),
    ],
)
def test_a_device_that_cannot_train_is_refused(tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        run(tmp_path, **changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_refused_where_there_is_none(tmp_path):
    with pytest.raises(SettingsError, match="device is 'cuda': torch finds no CUDA device here; use cpu"):
        run(tmp_path, device="cuda")


def stop_at(batch: int, signal_number: int) -> TinyObjective:
    return TinyObjective(on_batch=lambda count: signal.raise_signal(signal_number) if count == batch else None)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_this_step_and_the_run_goes_on_exactly(tmp_path, signal_number):
    whole, whole_result = run(tmp_path / "whole", model=new_model(dropout_p=0.1))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(
        Interrupted, match=r"stopped after step 11 of 21, which is saved .*: resume it to go on"
    ) as stopped:
        run(tmp_path / "run", stop_at(11, signal_number), model=new_model(dropout_p=0.1))
    assert stopped.value.exit_code == 130
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert latest_checkpoint(tmp_path / "run" / "checkpoints").name == "step-00000011"
    model, result = run(tmp_path / "run", model=new_model(dropout_p=0.1), resume=True)
    assert_equal_weights(model, whole)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")
    assert (result.best_step, result.best_metric) == (whole_result.best_step, whole_result.best_metric)


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "optimizer.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "optimizer.safetensors").write_bytes(content)


DAMAGES = {
    "a flipped byte": flip_a_byte,
    "a truncated file": lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 9),
    "a missing file": lambda folder: (folder / "state.json").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a manifest that is not JSON": lambda folder: (folder / "manifest.json").write_text("{"),
    "a manifest that lists nothing": lambda folder: (folder / "manifest.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage, caplog):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "run", stop_at(11, signal.SIGTERM))
    damage(tmp_path / "run" / "checkpoints" / "step-00000011")
    with caplog.at_level(logging.WARNING):
        model, _ = run(tmp_path / "run", resume=True)
    assert "step-00000011: the checkpoint is damaged" in caplog.text
    assert "trying the one before it" in caplog.text
    assert_equal_weights(model, whole)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


def test_damage_to_every_checkpoint_is_an_error(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, stop_at(4, signal.SIGTERM))
    for folder in (tmp_path / "checkpoints").iterdir():
        flip_a_byte(folder)
    with pytest.raises(CheckpointError, match="every checkpoint is damaged; start the run again"):
        run(tmp_path, resume=True)
    assert saved_steps(tmp_path) == [3, 4]


def test_damaged_best_weights_are_not_returned(tmp_path):
    objective = TinyObjective(scores=[{"accuracy": score} for score in (0.9, 0.8, 0.7, 0.6, 0.5)])
    run(tmp_path, objective)
    flip_a_byte(tmp_path / "checkpoints" / "step-00000005")
    with pytest.raises(CheckpointError, match=r"step-00000005: .* damaged \(optimizer.safetensors changed"):
        run(tmp_path, resume=True)


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path):
    whole, _ = run(tmp_path / "whole")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n{"kind": "st')
    model, _ = run(tmp_path / "run", resume=True)
    assert_equal_weights(model, whole)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


def test_a_folder_with_a_run_is_refused(tmp_path):
    run(tmp_path, max_steps=1)
    with pytest.raises(CheckpointError, match="holds a run already: resume it, or choose another folder"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"learning_rate": 0.01},
            "step-00000007 cannot be resumed: learning_rate was 0.02 and is 0.01: resume a run as",
        ),
        ({"epochs": 4, "seed": 6}, "seed was 5 and is 6, epochs was 3 and is 4: resume"),
        ({"num_samples": 47}, "num_samples was 49 and is 47: resume"),
    ],
)
def test_a_run_is_resumed_as_it_began(tmp_path, changes, message):
    with pytest.raises(Interrupted):
        run(tmp_path, stop_at(7, signal.SIGTERM))
    objective = TinyObjective(num_samples=changes.pop("num_samples", 49))
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, objective, resume=True, **changes)


def test_what_only_concerns_saving_and_logging_may_change(tmp_path):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "run", stop_at(7, signal.SIGTERM))
    model, _ = run(tmp_path / "run", resume=True, save_steps=4, log_steps=1)
    assert_equal_weights(model, whole)


def test_another_model_cannot_resume(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, stop_at(7, signal.SIGTERM))
    model = new_model()
    model.classifier = nn.Linear(13, 5)
    with pytest.raises(CheckpointError, match=r"cannot be resumed: the checkpoint is of another model .*size mismatch"):
        run(tmp_path, model=model, resume=True)


def test_lost_metrics_are_an_error(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, stop_at(7, signal.SIGTERM))
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match="has 0 lines, but the checkpoint was saved after 8"):
        run(tmp_path, resume=True)


def test_a_state_of_another_version_is_refused():
    state = TrainingState.first(SETTINGS, num_samples=49)
    with pytest.raises(CheckpointError, match="written by another version"):
        state.continued({"step": 3})


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
            self.head.weight = self.embedding.weight

    model, state = Tied(), TrainingState.first(SETTINGS, num_samples=1)
    save_checkpoint(tmp_path, model=model, optimizer=Optimizer(model, SETTINGS), state=state)
    other = Tied()
    load_model_weights(tmp_path / "step-00000000", other)
    assert other.head.weight is other.embedding.weight
    assert_equal_weights(other, model)


def test_a_disk_that_fills_up_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unmask.training.checkpoint.save_file", full)
    with pytest.raises(DataError, match="step-00000003: cannot be written: No space left on device; free some space"):
        run(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_progress_without_a_terminal_is_lines_and_a_table(tmp_path):
    output = io.StringIO()
    settings = replace(SETTINGS, epochs=1, log_steps=3, eval_steps=None, save_steps=None)
    console = Console(file=output, width=80)
    train(new_model(), TinyObjective(), settings, run_folder=tmp_path, console=console)
    lines = output.getvalue().splitlines()
    steps = rows_of(tmp_path, kind="step")
    assert lines[0].startswith(f"step 3/7  loss {steps[2]['loss']:.4f}  lr 1.00e-02  ")
    assert lines[0].endswith(" tokens/s  0:00:00 left")
    names = ["epoch", "train loss", "dev loss", "dev accuracy", "train seconds", "eval seconds", "tokens per second"]
    assert re.split(" {2,}", lines[2].strip()) == names
    (epoch,) = rows_of(tmp_path, kind="epoch")
    assert lines[3].split()[:4] == ["1", *(f"{epoch[name]:.4f}" for name in ("train_loss", "dev_loss", "dev_accuracy"))]
    assert lines[3].endswith("  best")
    assert [len(line) for line in lines[2:4]] == [len(lines[2]), len(lines[2]) + len("  best")]


def test_progress_in_a_terminal_is_a_bar(tmp_path):
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    train(new_model(), TinyObjective(), replace(SETTINGS, max_steps=2), run_folder=tmp_path, console=console)
    assert "step 2/2" in output.getvalue()
    assert "tokens/s" in output.getvalue()
