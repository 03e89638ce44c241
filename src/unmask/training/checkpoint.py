"""Training checkpoints: complete and verified, or they do not exist. Weights are safetensors, the rest is JSON.

    checkpoints/step-00000012/model.safetensors       the model's state_dict
                              optimizer.safetensors   AdamW's moments, by parameter name
                              state.json              `TrainingState`
                              manifest.json           SHA-256 of the three, written last

Each is written aside, flushed to the disk and renamed (`files.new_folder`). The last two stay, and with each the one
that was best when it was saved: the best weights are an ordinary checkpoint that a newer one points to, so there is no
moment at which a kill could lose them.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from unmask.errors import CheckpointError
from unmask.files import new_folder, remove_leftovers, sha256_of, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.training.optimizer import Optimizer
    from unmask.training.state import TrainingState

__all__ = [
    "latest_checkpoint",
    "load_model_weights",
    "load_optimizer_state",
    "load_state",
    "remove_unneeded",
    "save_checkpoint",
    "step_folder",
    "verify",
]

_LOG = logging.getLogger(__name__)
_MODEL, _OPTIMIZER, _STATE, _MANIFEST = "model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
_KEPT = 2  # checkpoints: the newest, and the one before it in case the newest is damaged


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return checkpoints / f"step-{step:08d}"


def save_checkpoint(checkpoints: Path, *, model: nn.Module, optimizer: Optimizer, state: TrainingState) -> None:
    """Write the checkpoint of `state.step`, then remove those no longer needed.

    Raises:
        DataError: the disk is full or read-only; the earlier checkpoints survive.
    """
    with new_folder(step_folder(checkpoints, state.step), replace=True) as folder:
        save_file(_without_aliases(model.state_dict()), folder / _MODEL)
        save_file(optimizer.state_dict(), folder / _OPTIMIZER)
        write_json(folder / _STATE, state.to_json())
        write_json(folder / _MANIFEST, {name: sha256_of(folder / name) for name in (_MODEL, _OPTIMIZER, _STATE)})
    remove_unneeded(checkpoints)


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """Find the newest checkpoint that is whole; what is damaged after it is removed, with a warning in the log.

    Only for the one process that writes there.

    Returns:
        Its folder, or None where none was ever saved.

    Raises:
        CheckpointError: there are checkpoints, and all are damaged.
    """
    if not checkpoints.is_dir():
        return None
    remove_leftovers(checkpoints)
    damaged = []
    for folder in reversed(_by_step(checkpoints)):
        try:
            verify(folder)
        except CheckpointError as error:
            _LOG.warning("%s; trying the one before it", error)
            damaged.append(folder)
        else:
            for newer in damaged:
                shutil.rmtree(newer)
            return folder
    if damaged:
        raise CheckpointError(f"{checkpoints}: every checkpoint is damaged; start the run again")
    return None


def verify(folder: Path) -> None:
    """Check that a checkpoint holds exactly what was written.

    Raises:
        CheckpointError: a file is missing or has changed.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        damaged = [name for name in (_MODEL, _OPTIMIZER, _STATE) if sha256_of(folder / name) != manifest[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: the checkpoint is damaged ({error})") from error
    if damaged:
        raise CheckpointError(
            f"{folder}: the checkpoint is damaged ({', '.join(damaged)} changed since it was written)"
        )


def load_state(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's `state.json`, as `TrainingState.continued` takes it."""
    state: dict[str, Any] = json.loads((folder / _STATE).read_bytes())
    return state


def load_model_weights(folder: Path, model: nn.Module) -> None:
    """Copy a checkpoint's weights and buffers into a model.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    weights = load_file(folder / _MODEL)
    own = model.state_dict()
    kept = {_place(tensor): name for name, tensor in _without_aliases(own).items()}
    try:
        model.load_state_dict({name: weights[kept[_place(tensor)]] for name, tensor in own.items()} | weights)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint is of another model ({' '.join(str(error).split())})") from error


def load_optimizer_state(folder: Path, optimizer: Optimizer) -> None:
    """Copy a checkpoint's moments into an optimizer.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    optimizer.load_state_dict(load_file(folder / _OPTIMIZER))


def remove_unneeded(checkpoints: Path) -> None:
    """Keep the last checkpoints and what they name as best."""
    folders = _by_step(checkpoints)
    kept = set(folders[-_KEPT:])
    for folder in folders[-_KEPT:]:
        with suppress(OSError, ValueError, KeyError):  # the older one may be damaged: then it names no best
            if (best_step := load_state(folder)["best_step"]) is not None:
                kept.add(step_folder(checkpoints, best_step))
    for folder in folders:
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _by_step(checkpoints: Path) -> list[Path]:
    return sorted(checkpoints.glob("step-*"))


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """What two names of one tensor have in common."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _without_aliases(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep the first name of each tensor (tied embeddings have two), laid out as safetensors wants it."""
    first = {_place(tensor): name for name, tensor in reversed(tensors.items())}
    return {name: tensor.contiguous() for name, tensor in tensors.items() if first[_place(tensor)] == name}
