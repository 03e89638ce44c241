"""Requests that are answered by one run of the steps of a pipeline, and how far that is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from unmask.runtimes import Steps
    from unmask.tasks import Samples

__all__ = ["Asked", "Flight", "Part"]


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """What one client asks in one request.

    Args:
        steps: answers inputs.
        inputs: one at least.
        options: given to the steps.
        num_tokens: of all inputs, about.
        due: when it should be computed, by the monotonic clock.
        answer: where the results go; of an event loop, and waited for as long as it is not done.
    """

    steps: Callable[[Sequence[Any], Any], Steps[list[Any]]]
    inputs: Sequence[Any]
    options: Hashable
    num_tokens: int
    due: float
    answer: asyncio.Future[list[Any]]

    @property
    def is_awaited(self) -> bool:
        return not self.answer.done()

    def fail(self, error: Exception) -> None:
        """Answer with an error, from any thread."""

        def settle() -> None:
            if self.is_awaited:
                self.answer.set_exception(error)

        self.answer.get_loop().call_soon_threadsafe(settle)


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Some sequences of what a flight wants computed.

    Args:
        flight: which wants them.
        indices: which they are.
        samples: they themselves.
    """

    flight: Flight
    indices: NDArray[np.int64]
    samples: Samples

    @property
    def num_tokens(self) -> int:
        return len(self.samples.input_ids.values)


class Flight:
    """One run of the steps of a pipeline for several requests that ask alike.

    Args:
        asked: one request at least, all with the same steps and equal options.

    Attributes:
        asked: the same.
        due: when the first of them should be computed.
        has_rows: whether what it wants computed names rows.
        num_tokens: still to be computed in this step.

    Raises:
        Exception: whatever the steps raise.
    """

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.asked = asked
        self.due = min(one.due for one in asked)
        self.is_over = False
        inputs = [value for one in asked for value in one.inputs]
        self._steps = asked[0].steps(inputs, asked[0].options)
        self._waiting: NDArray[np.int64] = np.zeros(0, np.int64)
        self._computed: list[tuple[NDArray[np.int64], Ragged]] = []
        self._advance(None)

    @classmethod
    def begin(cls, asked: Sequence[Asked]) -> list[Flight]:
        """Take up requests that are awaited; where the steps refuse them, halve them until the one refused is alone."""
        if not (asked := [one for one in asked if one.is_awaited]):
            return []
        try:
            flight = cls(asked)
        except Exception as error:
            return cls._halve(asked, error)
        return [] if flight.is_over else [flight]

    @property
    def is_awaited(self) -> bool:
        return any(one.is_awaited for one in self.asked)

    def part(self, room: int, *, is_first: bool) -> Part:
        """Take what is to be computed next, the shortest sequences first.

        Args:
            room: tokens it may have together.
            is_first: whether it has one sequence at least, however long.
        """
        fitting = int(np.searchsorted(np.cumsum(self._samples.input_ids.lengths[self._waiting]), room, side="right"))
        chosen = self._waiting[: max(fitting, int(is_first))]
        return Part(self, chosen, self._samples.take(chosen))

    def receive(self, part: Part, outputs: Ragged | Exception) -> list[Flight]:
        """Take the outputs of a part in, and go on if it was the last of a step; returns what is still in flight."""
        try:
            if isinstance(outputs, Exception):
                raise outputs
            self._computed.append((part.indices, outputs))
            self._waiting = self._waiting[len(part.indices) :]
            if not len(self._waiting):
                order = np.argsort(np.concatenate([indices for indices, _ in self._computed]))
                self._advance(Ragged.concatenate([own for _, own in self._computed]).take(order))
        except Exception as error:
            return self._halve(self.asked, error)
        return [] if self.is_over else [self]

    def _advance(self, outputs: Ragged | None) -> None:
        """Send the outputs of a step, and learn what is wanted next; or the results."""
        try:
            self._samples = next(self._steps) if outputs is None else self._steps.send(outputs)
        except StopIteration as end:
            self.is_over = True
            self._answer(end.value)
            return
        self._waiting = np.argsort(self._samples.input_ids.lengths, kind="stable")
        self._computed = []
        self.has_rows = self._samples.rows is not None

    @property
    def num_tokens(self) -> int:
        return int(self._samples.input_ids.lengths[self._waiting].sum())

    def _answer(self, results: list[Any]) -> None:
        """Give each request its results, all in one turn of the event loop."""
        bounds = pairwise(offsets_of([len(one.inputs) for one in self.asked]).tolist())
        shares = [results[first:stop] for first, stop in bounds]

        def settle() -> None:
            for one, share in zip(self.asked, shares, strict=True):
                if one.is_awaited:
                    one.answer.set_result(share)

        self.asked[0].answer.get_loop().call_soon_threadsafe(settle)

    @classmethod
    def _halve(cls, asked: Sequence[Asked], error: Exception) -> list[Flight]:
        if len(asked) == 1:
            asked[0].fail(error)
            return []
        half = len(asked) // 2
        return cls.begin(asked[:half]) + cls.begin(asked[half:])
