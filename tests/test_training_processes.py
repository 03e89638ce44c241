"""Runs that are killed, stopped and spread over processes. Run: pytest tests/test_training_processes.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training_programs.train_tiny import run

PROGRAMS = Path(__file__).parent / "training_programs"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TIMINGS = ("seconds", "train_seconds", "eval_seconds", "tokens_per_second")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMINGS} for row in rows]


def test_twenty_kills_change_nothing(tmp_path):
    command = [sys.executable, PROGRAMS / "kill_and_resume.py", tmp_path, "20", "1"]
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=120)
    whole = load_file(tmp_path / "whole" / "final.safetensors")
    killed = sorted(tmp_path.glob("killed-*"))
    assert killed
    for folder in killed:
        weights = load_file(folder / "final.safetensors")
        assert weights.keys() == whole.keys()
        assert all(torch.equal(weights[name], whole[name]) for name in whole)
        assert rows_of(folder) == rows_of(tmp_path / "whole")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_from_outside_ends_the_program_with_130(tmp_path, signal_number):
    command = [sys.executable, PROGRAMS / "train_tiny.py", tmp_path, "--slow"]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as program:
        metrics = tmp_path / "metrics.jsonl"
        while program.poll() is None and not (metrics.exists() and metrics.read_text()):
            time.sleep(0.05)
        program.send_signal(signal_number)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    step = max(row["step"] for row in rows_of(tmp_path))
    assert step < 21
    assert f"stopped after step {step} of 21, which is saved in {tmp_path}" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "checkpoints" / f"step-{step:08d}" / "manifest.json").exists()


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Train on two processes, of which rank 1 fails if it writes in the folder."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, PROGRAMS / "train_tiny.py", folder, *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def test_two_processes_end_in_the_weights_of_one_also_after_a_kill_and_a_stop(tmp_path):
    """Batches of 8 and 1 samples on two ranks in micro-batches of 3: shares of 4 and 4, and of 1 and none."""
    alone, _ = run(tmp_path / "alone")
    folder = tmp_path / "run"

    killed = torchrun(folder, "--signal-at", "9", str(int(signal.SIGKILL)))
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert not (folder / "final.safetensors").exists()
    assert [path.name for path in (folder / "checkpoints").glob("step-*")] == ["step-00000003"]  # it died in the fifth

    stopped = torchrun(folder, "--resume", "--signal-at", "5", str(int(signal.SIGTERM)))
    assert stopped.returncode != 0
    assert stopped.stderr.count("which is saved in") == 2  # both ranks, though one was told
    assert "only rank 0 may write" not in stopped.stderr

    finished = torchrun(folder, "--resume")
    assert finished.returncode == 0, finished.stderr
    weights = load_file(folder / "final.safetensors")
    for name, expected in alone.state_dict().items():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-6)
    for ours, theirs in zip(rows_of(folder), rows_of(tmp_path / "alone"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
