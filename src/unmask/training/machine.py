"""What a machine can do: the measure that a run's arithmetic is held against, and memory that stays at hand."""

from __future__ import annotations

import ctypes
import statistics
import sys
import time

import torch

__all__ = ["keep_freed_memory", "matrix_product_rate"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc

_CPU_SIZE, _CUDA_SIZE = 2048, 8192  # large enough for the product to be all there is to do


def matrix_product_rate(
    device: torch.device | None = None, *, dtype: torch.dtype = torch.float32, rounds: int = 3
) -> float:
    """Measure the floating-point operations a second of a large square matrix product, the median of some rounds.

    Args:
        device: where; the CPU if None.
        dtype: of both factors.
        rounds: products that are timed, after one that is not.
    """
    device = device or torch.device("cpu")
    size = _CPU_SIZE if device.type == "cpu" else _CUDA_SIZE
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=device)
    seconds = []
    for _ in range(rounds + 1):
        _wait_for(device)
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        _wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[1:])


def keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next one, where it is glibc; elsewhere do nothing.

    As it comes, it returns blocks to the system once enough are free: after each backward pass, so that each step
    faults every page in anew. Blocks of more than 32 MiB still go back. The process keeps the memory of its largest
    step.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**25)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
