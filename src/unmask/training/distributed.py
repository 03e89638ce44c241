"""One process or many: the same loop runs alone and under torchrun.

Gradients travel by DistributedDataParallel (NCCL between GPUs, gloo between CPUs). The few numbers that steer the loop
always travel by gloo, so that on CUDA no step waits for the device.

Rank 0 evaluates while the others wait for its scores. Sharding the dev set would be quicker, but then each task would
have to merge its scores; and if every rank evaluated for itself, the last bits could differ between GPUs, and so the
decision to stop.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from unmask.training.settings import TrainingSettings

__all__ = ["World", "is_main_process", "join_world", "training_device"]

_PATIENCE = timedelta(hours=2)  # the longest evaluation on rank 0 that the others wait for

# The last group of processes that was left. gloo's threads let go of a tensor some time after it was exchanged, and
# need Python's lock for it; who takes the group's last reference away meanwhile holds that lock and waits for these
# threads, for ever. So it is kept until another is left, or the process ends.
_left: list[Any] = []


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints, inside a world or before one is joined."""
    return int(os.environ.get("RANK", "0")) == 0


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes that train together, and this one's place among them.

    Args:
        rank: 0 ... size - 1.
        size: number of processes.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make `backward` average gradients over all processes, and start them all from rank 0's weights."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)

    def sum(self, *numbers: int) -> list[int]:
        """Each number summed over all processes."""
        if self.size == 1:
            return list(numbers)
        totals = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(totals)
        return totals.tolist()

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.sum(0)

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """A tensor on the device summed over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def from_main(self, content: Any) -> Any:
        """What rank 0 gives, on every process: anything JSON can say, and no pickle. The others wait for it."""
        if self.size == 1:
            return content
        text = bytearray(json.dumps(content).encode())
        length = torch.tensor(len(text))
        dist.broadcast(length, src=0)
        letters = (
            torch.frombuffer(text, dtype=torch.uint8) if self.is_main else torch.empty(int(length), dtype=torch.uint8)
        )
        dist.broadcast(letters, src=0)
        return json.loads(letters.numpy().tobytes())


@contextmanager
def join_world(settings: TrainingSettings) -> Iterator[World]:
    """Join the processes that torchrun started, or be a world of one; leave it at the end.

    Raises:
        SettingsError: there is no such device, or it cannot compute in the precision asked for.
    """
    rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    device = training_device(settings)
    joins = size > 1 and not dist.is_initialized()
    if joins:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield World(rank=rank, size=size, device=device)
    finally:
        if joins:
            _left[:] = [dist.group.WORLD]
            dist.destroy_process_group()


def training_device(settings: TrainingSettings) -> torch.device:
    """Find where this process computes.

    Raises:
        SettingsError: there is no such device, or it cannot compute in the precision asked for.
    """
    has_cuda = torch.cuda.is_available()
    try:
        device = torch.device(settings.device or ("cuda" if has_cuda else "cpu"))
    except RuntimeError as error:
        raise SettingsError(f"device is {settings.device!r}: it must be like cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"device is {settings.device!r}: only cpu and cuda can train")
    if device.type == "cuda" and not has_cuda:
        raise SettingsError(f"device is {settings.device!r}: torch finds no CUDA device here; use cpu")
    if settings.precision == "bf16" and device.type != "cuda":
        raise SettingsError("precision is 'bf16', which is for CUDA: on a CPU it is slower than fp32; use fp32")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        if (device.index or 0) >= torch.cuda.device_count():
            raise SettingsError(f"device is {device}: torch finds {torch.cuda.device_count()} CUDA devices here")
        torch.cuda.set_device(device)
    return device
