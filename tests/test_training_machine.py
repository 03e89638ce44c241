"""What a machine can do. Run: pytest tests/test_training_machine.py."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch

from unmask.training.machine import keep_freed_memory, matrix_product_rate

_STEPS = """
import resource
import torch
from unmask.training.machine import keep_freed_memory
keep_freed_memory()

def step():
    blocks = [torch.ones(2**20) for _ in range(32)]  # 4 MiB each, freed together
    del blocks

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 5 * 32 * 2**22 // resource.getpagesize()  # that the five steps write to


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is not glibc")
def test_kept_memory_is_not_faulted_in_again():
    # Whether the library would return these blocks without being told is its own affair: it depends on what happens
    # to lie above them. Told, it keeps them.
    ran = subprocess.run([sys.executable, "-c", _STEPS], capture_output=True, check=True)
    assert int(ran.stdout) < _PAGES / 100


def test_keeping_memory_twice_is_keeping_it():
    keep_freed_memory()
    keep_freed_memory()
    assert torch.ones(2**20).sum() == 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt > 0


def test_a_rate_is_that_of_some_product():
    assert 1e8 < matrix_product_rate(rounds=1) < 1e14
