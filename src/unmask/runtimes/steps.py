"""Work that needs a model now and then: generators that yield samples to be computed and are sent what came of them.

Whoever drives them decides what computes, and whose samples it computes together: one runtime for one caller here, the
requests of many clients in a server.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

from unmask.ragged import Ragged

if TYPE_CHECKING:
    from unmask.runtimes.runtime import Runtime
    from unmask.tasks import Samples

__all__ = ["Steps", "run_steps"]

ResultT = TypeVar("ResultT")

Steps = Generator["Samples", Ragged, ResultT]
"""Yields samples to be computed, is sent the outputs of each of their sequences, returns the result."""


def run_steps(steps: Steps[ResultT], runtime: Runtime) -> ResultT:
    """Take steps to their end, each computed by one runtime."""
    try:
        samples = next(steps)
        while True:
            samples = steps.send(runtime.run_all(samples.input_ids, samples.token_type_ids, samples.rows))
    except StopIteration as end:
        result: ResultT = end.value
        return result
