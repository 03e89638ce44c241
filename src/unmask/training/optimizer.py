"""AdamW with decoupled weight decay for matrices only, and gradient clipping inside its kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unmask.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.training.settings import TrainingSettings

__all__ = ["AfterUpdate", "Optimizer", "parameter_groups"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps for each parameter, under torch's names


@runtime_checkable
class AfterUpdate(Protocol):
    """A module with weights the optimizer does not see, told what each update would have done to them.

    It is told nothing where all its parameters are frozen: then the others are too.
    """

    def after_update(self, *, decay: float) -> None:
        """Take note of one optimizer step; decay is 1 - learning_rate * weight_decay, at its parameters' rate."""


def parameter_groups(
    model: nn.Module, *, weight_decay: float, lr_factors: Mapping[str, float] | None = None
) -> list[dict[str, object]]:
    """Split the trainable parameters: matrices decay; biases and the scales of norms, which are vectors, do not.

    Loshchilov and Hutter 2019 (arXiv:1711.05101) decay every parameter; BERT's own code leaves these out.

    Args:
        model: whose parameters.
        weight_decay: of the matrices.
        lr_factors: the fraction of the learning rate that a parameter takes, by name; 1 for those not named.

    Returns:
        Groups with `lr_factor` beside the keys of AdamW, those of the highest rate first, matrices before vectors.

    Raises:
        ValueError: if the model has no parameter of a name.
    """
    factors = lr_factors or {}
    names = {name for name, _ in model.named_parameters()}
    if unknown := factors.keys() - names:
        raise ValueError(f"lr_factors names {min(unknown)}, which is no parameter of the model")
    members: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members.setdefault((-factors.get(name, 1.0), parameter.ndim < 2), []).append(parameter)
    return [
        {"params": members[key], "weight_decay": 0.0 if key[1] else weight_decay, "lr_factor": -key[0]}
        for key in sorted(members)
    ]


class Optimizer:
    """The updates of one model.

    Clipping equals `clip_grad_norm_` followed by `torch.optim.AdamW`, without its pass over all gradients: the fused
    kernel divides by `grad_scale` as it reads them. The same kernel leaves the weights alone where `found_inf` is 1;
    that flag stays up once a loss or a gradient norm is not finite, so on CUDA nothing must wait to look at it.

    Args:
        model: already on the device it is trained on.
        settings: AdamW's numbers and the norm to clip to.
        lr_factors: the fraction of the learning rate that a parameter takes, by name; 1 for those not named.

    Raises:
        ValueError: if the model has no parameter of such a name.
    """

    def __init__(
        self, model: nn.Module, settings: TrainingSettings, *, lr_factors: Mapping[str, float] | None = None
    ) -> None:
        groups = parameter_groups(model, weight_decay=settings.weight_decay, lr_factors=lr_factors)
        self._adamw = torch.optim.AdamW(groups, settings.learning_rate, settings.betas, settings.eps, fused=True)
        self._names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._listeners = _listeners(model, lr_factors or {})
        self._weight_decay, self._max_grad_norm = settings.weight_decay, settings.max_grad_norm
        self._found_inf = torch.zeros((), device=next(iter(self._names)).device)

    def zero_grad(self) -> None:
        self._adamw.zero_grad(set_to_none=True)

    def grad_norm(self) -> Tensor:
        """The L2 norm of all gradients together, before clipping; float32, a scalar on the device."""
        return nn.utils.get_total_norm([parameter.grad for parameter in self._names if parameter.grad is not None])

    def update(self, *, learning_rate: float, loss: Tensor, grad_norm: Tensor) -> None:
        """Take one step with the gradients as they are; no step at all if this or an earlier one was not finite.

        Args:
            learning_rate: of this step, before each parameter's factor.
            loss: of this step, a scalar.
            grad_norm: what `grad_norm()` returned.
        """
        is_bad = ~torch.isfinite(loss + grad_norm)
        self._found_inf = torch.maximum(self._found_inf, is_bad.to(self._found_inf.dtype))
        self._adamw.found_inf = self._found_inf  # type: ignore[attr-defined]  # how GradScaler speaks to fused kernels
        self._adamw.grad_scale = self._grad_scale(grad_norm)  # type: ignore[attr-defined]
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]
        self._adamw.step()
        for module, lr_factor in self._listeners:
            module.after_update(decay=1 - learning_rate * lr_factor * self._weight_decay)

    def _grad_scale(self, grad_norm: Tensor) -> Tensor | None:
        """What gradients are divided by; 1e-6 as in `clip_grad_norm_`."""
        if self._max_grad_norm is None:
            return None
        scale = ((grad_norm + 1e-6) / self._max_grad_norm).clamp(min=1)
        return None if scale.is_cpu and scale == 1 else scale  # dividing by 1 would still rewrite every gradient

    def state_dict(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as `<parameter>.<moment>`."""
        return {
            f"{name}.{moment}": self._adamw.state[parameter][moment]
            for parameter, name in self._names.items()
            if parameter in self._adamw.state
            for moment in _MOMENTS
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over copies of what `state_dict` returned.

        Raises:
            CheckpointError: it belongs to another model.
        """
        expected = {f"{name}.{moment}" for name in self._names.values() for moment in _MOMENTS}
        if not state.keys() <= expected:
            raise CheckpointError(
                f"the optimizer's state is of another model: {min(state.keys() - expected)} is unknown"
            )
        for parameter, name in self._names.items():
            if f"{name}.step" in state:  # a parameter that never had a gradient has no state
                self._adamw.state[parameter] = {
                    moment: state[f"{name}.{moment}"].to(parameter.device, copy=True) for moment in _MOMENTS
                }


def _listeners(model: nn.Module, lr_factors: Mapping[str, float]) -> list[tuple[AfterUpdate, float]]:
    """Find the modules to be told of updates, and the fraction of the learning rate they take."""
    found = []
    for path, module in model.named_modules():
        own = dict(module.named_parameters(prefix=path))
        if isinstance(module, AfterUpdate):
            trained = [name for name, parameter in own.items() if parameter.requires_grad]
            if trained or not own:
                found.append((module, lr_factors.get(trained[0], 1.0) if trained else 1.0))
    return found
