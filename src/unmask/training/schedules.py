"""The learning rate of each step, as a fraction of its peak: pure functions of the step's number.

They equal the lambdas of `get_*_schedule_with_warmup` in transformers: the first update of a warm-up has learning
rate 0, and the update after the last would have 0 again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmask.training.settings import Schedule

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule: Schedule, step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The fraction of the peak learning rate that an update takes.

    Args:
        schedule: the curve after warm-up: "linear" and "cosine" (half a period) fall from 1 to 0, "constant" stays.
        step: updates done before this one; 0 is the first.
        warmup_steps: updates of linear rise from 0.
        total_steps: updates of the whole run, warm-up included.
    """
    if step < warmup_steps:
        return step / warmup_steps
    falling_steps = max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return max(0.0, (total_steps - step) / falling_steps)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / falling_steps))
    return 1.0
