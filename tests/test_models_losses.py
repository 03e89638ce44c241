"""The loss over a vocabulary. Run: pytest tests/test_models_losses.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unmask.models.losses import linear_cross_entropy


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1 / 37])
def test_it_is_the_plain_loss_with_the_plain_gradients(has_bias, scale):
    generator = torch.Generator().manual_seed(0)
    rows, weight, bias = (torch.randn(*size, generator=generator) for size in ((37, 13), (101, 13), (101,)))
    labels = torch.randint(101, (37,), generator=generator)
    results = []
    for compute in (linear_cross_entropy, plain):
        inputs = [rows.clone().requires_grad_(), weight.clone().requires_grad_()]
        own_bias = bias.clone().requires_grad_() if has_bias else None
        loss = compute(*inputs, own_bias, labels)
        (loss * scale).backward()
        results.append([loss.detach(), *(tensor.grad for tensor in [*inputs, own_bias] if tensor is not None)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_logits_of_any_size_give_a_finite_loss():
    rows = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [0.0], [-1.0]], requires_grad=True)
    loss = linear_cross_entropy(rows, weight, None, torch.tensor([2, 2]))
    loss.backward()
    assert loss.item() == 2000.0
    assert rows.grad.tolist() == [[2.0], [0.0]]


def test_without_rows_there_is_no_loss():
    weight = torch.randn(5, 3, requires_grad=True)
    loss = linear_cross_entropy(torch.zeros(0, 3, requires_grad=True), weight, None, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert not weight.grad.any()


def plain(rows, weight, bias, labels):
    return F.cross_entropy(F.linear(rows, weight, bias), labels, reduction="sum")


def test_steps_that_overlap_do_not_share_room():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(50, 8, generator=generator)
    runs = []
    for num_rows in (6, 4, 6, 9):
        rows = torch.randn(num_rows, 8, generator=generator, requires_grad=True)
        labels = torch.randint(50, (num_rows,), generator=generator)
        runs.append((rows, labels, linear_cross_entropy(rows, weight, None, labels)))
    for rows, labels, loss in (runs[2], runs[0], runs[3], runs[1]):  # all forward passes first, then out of order
        loss.backward()
        again = rows.detach().clone().requires_grad_()
        F.cross_entropy(F.linear(again, weight), labels, reduction="sum").backward()
        torch.testing.assert_close(rows.grad, again.grad, rtol=1e-5, atol=1e-6)
