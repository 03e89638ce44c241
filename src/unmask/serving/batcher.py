"""What many clients ask of one model, computed together.

A request waits in a queue. When a thread is free to compute, it takes as much as one pass holds, at once: waiting for
more would help only where more is about to come, and then it comes while the pass is computed. So a request that comes
alone is computed alone, without delay, and batches grow with the load by themselves.

**Order.** A request is due so many milliseconds after it came as it has tokens, `max_overtaking_ms` at most, and the
one that is due first goes first. Short requests so overtake long ones, but each long one for a bounded time.

**Flights.** What is asked alike (the same steps, the same options) is answered by one run of the steps of its pipeline,
a flight: one call of the tokenizer, one of whatever comes after the model. Its sequences are computed beside those of
other flights, shortest first, a pass of `max_batch_tokens` at a time, and a long flight lets shorter ones in between.

**Cores.** Several threads take from the queue, and compute side by side, each with its share of the cores: they need
not wait for one another in each layer. One that finds no other at work has all cores, if it has enough for them.

**Failures.** Where a flight or a pass fails it is halved, and each half tried again, until the request that fails is
alone; nobody else notices. Where nobody waits for an answer any more, because the client went or the deadline passed,
nothing more is computed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.ragged import Ragged
from unmask.serving.errors import Refusal
from unmask.serving.flight import Asked, Flight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from unmask.runtimes import Runtime, Steps
    from unmask.serving.flight import Part
    from unmask.serving.metrics import Metrics
    from unmask.serving.settings import ServeSettings

__all__ = ["Batcher"]

_BEHIND = 5  # of priorities, 19 of which are below the usual one
_MOST_WORKERS = 4  # more would wait for one another's Python
_TOKENS_WORTH_CORES = 64  # of a pass: with fewer, cores wait for one another longer than they compute
_SECONDS_OF_PYTHON = 0.05  # before a pass; what takes longer is taken up one after the other
_BYTES_OF_A_TOKEN = 4  # of JSON: English has about 4, Korean 3 a syllable, which is one token or two


class Batcher:
    """The queue of one model, and the threads that compute it.

    Requests come from one event loop; only that touches what is not guarded by the condition.

    Args:
        runtime: computes; asked by all threads.
        settings: the limits.
        metrics: where to count.
        name: of the model there.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: ServeSettings,
        metrics: Metrics,
        *,
        name: str = "model",
    ) -> None:
        self._runtime, self._settings = runtime, settings
        self._refused, self._tokens = metrics.refused.labels(name), metrics.tokens.labels(name)
        self._batch_tokens, self._batch_texts = metrics.batch_tokens.labels(name), metrics.batch_texts.labels(name)
        metrics.queue_requests.labels(name).set_function(lambda: self.num_requests)
        metrics.queue_tokens.labels(name).set_function(lambda: self.num_tokens)
        self.num_requests = self.num_tokens = 0  # that wait or are in work
        self._answers: set[asyncio.Future[list[Any]]] = set()
        self._last_wait = 0.0  # seconds it took to answer the last
        self._is_waking = False
        self._numbers = itertools.count()
        self._inbox: deque[tuple[float, int, Asked]] = deque()  # from the event loop to whichever thread comes first
        num_cores = runtime.num_threads
        num_workers = settings.workers or min(num_cores, _MOST_WORKERS)
        self._cores_alone = settings.threads or num_cores
        self._cores_shared = settings.threads or max(1, num_cores // num_workers)
        for count in (
            self._cores_shared,
            self._cores_alone,
            num_cores,
        ):  # once, here: it may take a while, and it may fail
            runtime.set_num_threads(count)
        self._threads = [threading.Thread(target=self._work, name=f"{name} {number}", daemon=True)
                         for number in range(num_workers)]  # fmt: skip
        # Guarded by the condition:
        self._condition = threading.Condition()
        self._queue: list[tuple[float, int, Asked]] = []
        self._num_queued_tokens = self._num_idle = 0
        self._is_closed = False

    # In the event loop.

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads, once all that was asked is computed."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def abandon(self, error: Exception) -> None:
        """Answer all requests with an error; what is being computed for them is lost."""
        for answer in list(self._answers):
            if not answer.done():
                answer.set_exception(error)

    @property
    def is_full(self) -> bool:
        """Whether another request would be refused, whatever its size."""
        settings = self._settings
        return self.num_requests >= settings.max_queue_requests or self.num_tokens >= settings.max_queue_tokens

    def refusal(self) -> Refusal:
        """Count a request that comes to a full queue, and tell it to come when what waits now is answered."""
        self._refused.inc()
        seconds = math.ceil(max(1.0, self._last_wait))
        return Refusal(
            429, "Overloaded", f"too many requests are waiting: try again in {seconds} s", {"Retry-After": str(seconds)}
        )

    def submit(
        self,
        steps: Callable[[Sequence[Any], Any], Steps[list[Any]]],
        inputs: Sequence[Any],
        options: Hashable,
        *,
        num_bytes: int,
        num_new_tokens: int = 0,
    ) -> asyncio.Future[list[Any]]:
        """Queue a request.

        Args:
            steps: answers inputs, as `Pipeline.steps` does; called in a thread, with the inputs of all who give the
                same steps and equal options.
            inputs: one at least.
            options: given to the steps.
            num_bytes: of the request, which tell about how many tokens it has.
            num_new_tokens: that it wants written besides.

        Returns:
            One result an input, in time. It fails with what the steps raise, or a `Refusal` at the deadline. Whoever
            cancels it takes the request back.

        Raises:
            Refusal: the queue is full.
        """
        num_tokens = 1 + num_bytes // _BYTES_OF_A_TOKEN + num_new_tokens
        is_too_much = self.num_tokens > 0 and self.num_tokens + num_tokens > self._settings.max_queue_tokens
        if is_too_much or self.num_requests >= self._settings.max_queue_requests:
            raise self.refusal()
        loop, now = asyncio.get_running_loop(), time.monotonic()
        due = now + min(num_tokens, self._settings.max_overtaking_ms) / 1000
        answer: asyncio.Future[list[Any]] = loop.create_future()
        asked = Asked(steps, inputs, options, num_tokens, due, answer)
        deadline = loop.call_later(self._settings.deadline_seconds, self._expire, answer)

        def leave(_: asyncio.Future[list[Any]]) -> None:
            deadline.cancel()
            self.num_requests -= 1
            self.num_tokens -= num_tokens
            self._last_wait = time.monotonic() - now

        answer.add_done_callback(leave)
        answer.add_done_callback(self._answers.discard)
        self._answers.add(answer)
        self.num_requests += 1
        self.num_tokens += num_tokens
        self._inbox.append((due, next(self._numbers), asked))  # not into the queue: no thread is waited for here
        if not self._is_waking:  # once for all the requests that the loop has read
            self._is_waking = True
            loop.call_soon(self._wake)
        return answer

    def _wake(self) -> None:
        self._is_waking = False
        with self._condition:
            self._condition.notify_all()

    def _expire(self, answer: asyncio.Future[list[Any]]) -> None:
        if not answer.done():
            seconds = self._settings.deadline_seconds
            answer.set_exception(Refusal(504, "Timeout", f"there was no answer in {seconds:g} s: ask for less at once"))

    # In the threads.

    def _work(self) -> None:
        _step_back()
        flights: list[Flight] = []
        while (taken := self._take(flights)) is not None:
            groups, has_all_cores = taken
            try:
                self._runtime.set_num_threads(self._cores_alone if has_all_cores else self._cores_shared)
                begun = time.monotonic()
                while groups and time.monotonic() - begun < _SECONDS_OF_PYTHON:
                    flights += Flight.begin(groups.pop(0))
                self._put_back(groups)
                flights = self._compute([flight for flight in flights if flight.is_awaited])
            except Exception as error:  # a mistake of ours must not end the thread
                logging.getLogger("unmask.serving").exception("a batch was lost")
                for asked in itertools.chain(*groups, *(flight.asked for flight in flights)):
                    asked.fail(error)
                flights = []

    def _take(self, flights: Sequence[Flight]) -> tuple[list[list[Asked]], bool] | None:
        """Wait until there is something to compute, and take those requests that belong into the next pass.

        Args:
            flights: of this thread, which go on.

        Returns:
            Groups of requests that are answered together, and whether they should have all cores: no other thread is at
            work, nor has anything to take; None when it is time to end.
        """
        with self._condition:
            while not self._queue and not self._inbox and not flights:
                if self._is_closed:
                    return None
                self._num_idle += 1
                self._condition.wait()
                self._num_idle -= 1
            while self._inbox:
                entry = self._inbox.popleft()
                heapq.heappush(self._queue, entry)
                self._num_queued_tokens += entry[-1].num_tokens
            room = self._settings.max_batch_tokens
            share = math.ceil(self._num_queued_tokens / (1 + self._num_idle))  # others are free to compute too
            ahead = deque(sorted(flights, key=lambda flight: flight.due))
            groups: dict[Hashable, list[Asked]] = {}
            while self._queue and room > 0 and share > 0:
                if ahead and ahead[0].due <= self._queue[0][0]:
                    room -= ahead.popleft().num_tokens
                    continue
                _, number, asked = heapq.heappop(self._queue)
                self._num_queued_tokens -= asked.num_tokens
                if asked.is_awaited:
                    is_large = asked.num_tokens > room  # others should not wait for all of it
                    key = (asked.steps, asked.options, number if is_large else None)
                    groups.setdefault(key, []).append(asked)
                    room -= asked.num_tokens
                    share -= asked.num_tokens
            is_alone = not self._queue and self._num_idle == len(self._threads) - 1
            taken: Iterable[Flight | Asked] = itertools.chain(flights, *groups.values())
            return list(groups.values()), is_alone and sum(one.num_tokens for one in taken) >= _TOKENS_WORTH_CORES

    def _put_back(self, groups: Sequence[Sequence[Asked]]) -> None:
        """Give up requests that would wait too long for those taken with them, which do much before the model."""
        with self._condition:
            for asked in itertools.chain(*groups):
                heapq.heappush(self._queue, (asked.due, next(self._numbers), asked))
                self._num_queued_tokens += asked.num_tokens
            if groups:
                self._condition.notify_all()

    def _compute(self, flights: list[Flight]) -> list[Flight]:
        """Compute one pass; returns the flights that go on."""
        flights.sort(key=lambda flight: flight.due)
        parts: list[Part] = []
        room = self._settings.max_batch_tokens
        for flight in flights:
            if not parts or (room > 0 and flight.has_rows == parts[0].flight.has_rows):
                part = flight.part(room, is_first=not parts)
                if part.num_tokens:
                    parts.append(part)
                    room -= part.num_tokens
        going_on = flights[:]
        for part, outputs in self._run(parts):
            going_on.remove(part.flight)
            going_on += part.flight.receive(part, outputs)
        return going_on

    def _run(self, parts: list[Part]) -> list[tuple[Part, Ragged | Exception]]:
        """Compute parts of several flights in one pass; where that fails, in two, and so on."""
        if not parts:
            return []
        input_ids, token_type_ids = (
            Ragged.concatenate([getattr(part.samples, name) for part in parts])
            for name in ("input_ids", "token_type_ids")
        )
        asked = [part.samples.rows for part in parts if part.samples.rows is not None]  # of all of them, or of none
        rows = Ragged.concatenate(asked) if asked else None
        try:
            outputs = self._runtime.run(input_ids, token_type_ids, rows)
            if not np.isfinite(outputs.values).all():
                raise FloatingPointError("the model computes no numbers (NaN)")
        except Exception as error:
            if len(parts) == 1:
                return [(parts[0], error)]
            half = len(parts) // 2
            return self._run(parts[:half]) + self._run(parts[half:])
        self._batch_texts.observe(len(input_ids))
        self._batch_tokens.observe(len(input_ids.values))
        self._tokens.inc(len(input_ids.values))
        bounds = itertools.accumulate((len(part.samples.input_ids) for part in parts), initial=0)
        return [
            (part, outputs.take(np.arange(*bound)))
            for part, bound in zip(parts, itertools.pairwise(bounds), strict=True)
        ]


def _step_back() -> None:
    """Let the thread that reads requests go first: so it refuses what is too much at once, however busy the cores."""
    with contextlib.suppress(OSError, AttributeError):  # where a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BEHIND)
