"""The loss over a vocabulary, without the copies of its logits that autograd would keep.

Axes: M rows, E embedding, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["linear_cross_entropy"]


def linear_cross_entropy(rows: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Sum the cross-entropy of softmax(rows weight^T + bias) over rows: a scalar.

    It equals `F.cross_entropy(F.linear(rows, weight, bias), labels, reduction="sum")`, and keeps one (M, V) tensor for
    the backward pass in place of three: over a vocabulary of 30 thousand, passes over memory cost as much as products.

    Args:
        rows: float, (M, E).
        weight: float, (V, E).
        bias: float, (V,), or None.
        labels: the right column of each row, int64, (M,); none is ignored.
    """
    if not rows.is_cpu or not torch.is_grad_enabled():  # autocast and its kernels see the plain form
        return F.cross_entropy(F.linear(rows, weight, bias).float(), labels, reduction="sum")
    loss: Tensor = _LinearCrossEntropy.apply(rows, weight, bias, labels)  # type: ignore[no-untyped-call]
    return loss


class _Workspace:
    """Room for one (M, V) tensor, kept from a step to the next.

    The C library returns a block of this size to the system as soon as it is freed, and every page of the next one is
    then faulted in anew: a third of the product that fills it.
    """

    def __init__(self) -> None:
        self._spare: Tensor | None = None

    def take(self, num_rows: int, num_columns: int, *, like: Tensor) -> Tensor:
        """Take the room, or new room where it is taken or too small."""
        spare, self._spare, size = self._spare, None, num_rows * num_columns
        if spare is None or len(spare) < size or spare.dtype != like.dtype:
            spare = like.new_empty(size)
        return spare[:size].view(num_rows, num_columns)

    def give_back(self, room: Tensor) -> None:
        """Give back what `take` gave, to be overwritten."""
        self._spare = room.new_empty(0).set_(room.untyped_storage())


_workspace = _Workspace()
_TINY = 1e-30  # far above 1e-38, where float32 begins to lose digits


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        logits = _workspace.take(len(rows), len(weight), like=rows)
        if bias is None:
            torch.mm(rows, weight.t(), out=logits)
        else:
            torch.addmm(bias, rows, weight.t(), out=logits)
        probabilities = torch.softmax(logits, -1, out=logits)  # what the backward pass needs, in the one pass there is
        right = probabilities.gather(1, labels[:, None])[:, 0]
        losses = -right.log()
        if len(lost := (right < _TINY).nonzero()[:, 0]):  # so improbable that too few of its digits are left
            losses[lost] = F.cross_entropy(F.linear(rows[lost], weight, bias), labels[lost], reduction="none")
        ctx.save_for_backward(rows, weight, labels)
        ctx.probabilities, ctx.has_bias = probabilities, bias is not None
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (scale,) = gradients
        rows, weight, labels = ctx.saved_tensors
        residual = ctx.probabilities  # d loss / d logits = softmax - one-hot, made where the softmax stands
        ctx.probabilities = None
        residual[torch.arange(len(labels)), labels] -= 1
        rows_gradient = (residual @ weight).mul_(scale)
        weight_gradient = residual.t() @ (rows * scale)  # the small factor is scaled, not the large product
        bias_gradient = residual.t() @ scale.expand(len(labels)) if ctx.has_bias else None
        _workspace.give_back(residual)
        return rows_gradient, weight_gradient, bias_gradient, None
