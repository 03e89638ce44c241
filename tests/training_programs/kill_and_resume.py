"""Train once without a pause, then once with kills at random moments, resuming after each.

    python tests/training_programs/kill_and_resume.py FOLDER NUM_KILLS SEED

Half of the kills come after a random number of function calls, so that they strike inside a step or a half-written
checkpoint however short that is; half after a random time. A run that ends before its kill is followed by another one,
in FOLDER/killed-0, FOLDER/killed-1 and so on; the one without a pause is FOLDER/whole. Children are forked: torch is
imported once.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from train_tiny import train_and_save

if TYPE_CHECKING:
    from collections.abc import Callable


def forked(work: Callable[[], None]) -> int:
    """Start a child that does the work; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def count_calls(until: int | None) -> dict[str, int]:
    """Count this process's function calls, Python's and C's, and die at the given one."""
    counter = {"calls": 0}

    def count(_frame: Any, event: str, _argument: Any) -> None:
        if event.endswith("call"):
            counter["calls"] += 1
            if counter["calls"] == until:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    return counter


def import_what_a_step_imports() -> None:
    """Else each child would spend most of its calls there. Autograd must wait: its threads would not survive a fork."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    torch.optim.AdamW([parameter], fused=True).step()


def main() -> None:
    folder, num_kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))

    def whole() -> None:
        counter = count_calls(until=None)
        train_and_save(folder / "whole")
        (folder / "calls").write_text(str(counter["calls"]))

    import_what_a_step_imports()
    started = time.monotonic()
    assert os.waitpid(forked(whole), 0)[1] == 0
    seconds, calls = time.monotonic() - started, int((folder / "calls").read_text())

    kills, num_runs = 0, 0
    while kills < num_kills:
        by_calls = kills % 2 == 0
        until = rng.randrange(calls // 2) if by_calls else None

        def killed(run: Path = folder / f"killed-{num_runs}", until: int | None = until) -> None:
            count_calls(until)
            train_and_save(run, resume=True)

        child = forked(killed)
        if not by_calls:
            time.sleep(rng.uniform(0, seconds / 2))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            kills += 1
        else:
            assert status == 0
            num_runs += 1
    assert os.waitpid(forked(lambda: train_and_save(folder / f"killed-{num_runs}", resume=True)), 0)[1] == 0


if __name__ == "__main__":
    main()
