"""AdamW with clipping in its kernel, against torch's own. Run: pytest tests/test_training_optimizer.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unmask.errors import CheckpointError
from unmask.training import Optimizer, TrainingSettings, parameter_groups

SETTINGS = TrainingSettings(learning_rate=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-6, max_grad_norm=1.3)


def new_model() -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(17, 5), nn.Linear(5, 11), nn.LayerNorm(11), nn.Linear(11, 3, bias=False))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)  # as small as a real model's: beyond 1 a float32 is only exact to 1e-7
    return model


def set_gradients(model: nn.Module, step: int) -> None:
    """Gradients whose norm lies below max_grad_norm at even steps, and above it at odd ones."""
    torch.manual_seed(100 + step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) * (0.05 if step % 2 == 0 else 2.0)


def ours(model: nn.Module, optimizer: Optimizer, step: int) -> torch.Tensor:
    set_gradients(model, step)
    grad_norm = optimizer.grad_norm()
    optimizer.update(learning_rate=0.01 / (step + 1), loss=torch.tensor(0.5), grad_norm=grad_norm)
    return grad_norm


def test_matrices_decay_and_vectors_do_not():
    model = new_model()
    model[1].bias.requires_grad_(False)
    matrices, vectors = parameter_groups(model, weight_decay=0.1)
    assert [tuple(parameter.shape) for parameter in matrices["params"]] == [(17, 5), (11, 5), (3, 11)]
    assert [tuple(parameter.shape) for parameter in vectors["params"]] == [(11,), (11,)]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)


def test_ten_steps_equal_clip_grad_norm_and_adamw():
    model, reference = new_model(), new_model()
    optimizer = Optimizer(model, SETTINGS)
    adamw = torch.optim.AdamW(
        parameter_groups(reference, weight_decay=0.1), betas=(0.8, 0.95), eps=1e-6, fused=False, foreach=False
    )
    for step in range(10):
        grad_norm = ours(model, optimizer, step)
        set_gradients(reference, step)
        expected_norm = nn.utils.clip_grad_norm_(reference.parameters(), 1.3)
        for group in adamw.param_groups:
            group["lr"] = 0.01 / (step + 1)
        adamw.step()
        torch.testing.assert_close(grad_norm, expected_norm, rtol=1e-6, atol=0)
        for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_after_a_number_that_is_not_finite_no_weight_ever_changes(bad):
    model = new_model()
    optimizer = Optimizer(model, SETTINGS)
    ours(model, optimizer, 0)
    before = {name: value.clone() for name, value in (model.state_dict() | optimizer.state_dict()).items()}
    for step in (1, 2):
        set_gradients(model, step)
        if step == 1 and bad == "gradient":
            model[0].weight.grad[3, 2] = float("inf")
        loss = torch.tensor(float("nan") if step == 1 and bad == "loss" else 0.5)
        optimizer.update(learning_rate=0.01, loss=loss, grad_norm=optimizer.grad_norm())
    for name, value in (model.state_dict() | optimizer.state_dict()).items():
        assert torch.equal(value, before[name]), name


def test_a_restored_optimizer_goes_on_bit_for_bit():
    model = new_model()
    optimizer = Optimizer(model, SETTINGS)
    for step in range(3):
        ours(model, optimizer, step)
    saved = {name: value.clone() for name, value in optimizer.state_dict().items()}
    assert set(saved) >= {"0.weight.step", "2.bias.exp_avg", "3.weight.exp_avg_sq"}
    copy = new_model()
    copy.load_state_dict(model.state_dict())
    restored = Optimizer(copy, SETTINGS)
    restored.load_state_dict(saved)
    for step in range(3, 6):
        ours(model, optimizer, step)
        ours(copy, restored, step)
    for name, value in (model.state_dict() | optimizer.state_dict()).items():
        assert torch.equal(value, (copy.state_dict() | restored.state_dict())[name]), name


def test_the_state_of_another_model_is_refused():
    optimizer = Optimizer(new_model(), SETTINGS)
    with pytest.raises(CheckpointError, match=r"of another model: pooler.weight.step is unknown"):
        optimizer.load_state_dict({"pooler.weight.step": torch.tensor(1.0)})


def test_modules_hear_of_each_update():
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decays: list[float] = []

        def after_update(self, *, decay: float) -> None:
            self.decays.append(decay)

    model = nn.Sequential(new_model(), Frozen())
    optimizer = Optimizer(model, SETTINGS)
    for step in range(2):
        ours(model, optimizer, step)
    assert model[1].decays == pytest.approx([1 - 0.01 * 0.1, 1 - 0.005 * 0.1], abs=1e-15)
