"""The queue of a model: what is computed together, in which order, and what happens to those who fail or go.

Run: pytest tests/test_serving_batcher.py
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from served import wait_until
from unmask.errors import DataError
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes import Runtime
from unmask.serving.batcher import Batcher
from unmask.serving.errors import Refusal
from unmask.serving.metrics import Metrics
from unmask.serving.settings import ServeSettings
from unmask.tasks import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unmask.runtimes import Steps

BAD_TOKEN = 13


@dataclass
class Recording(Runtime):
    """Gives each token its double. It writes down what it computes, and waits until it may."""

    head: str = "encoder"
    max_seq_length: int = 1000
    passes: list[list[list[int]]] = field(default_factory=list)
    may_run: threading.Event = field(default_factory=threading.Event)
    num_running: int = 0
    num_threads: int = 1  # type: ignore[assignment]  # of the machine
    chosen: threading.local = field(default_factory=threading.local)
    threads_of_passes: list[int] = field(default_factory=list)

    def set_num_threads(self, count: int) -> None:
        self.chosen.num_threads = count

    def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
        self.passes.append([ids.tolist() for ids in input_ids])
        self.threads_of_passes.append(self.chosen.num_threads)
        self.num_running += 1
        assert self.may_run.wait(20)
        self.num_running -= 1
        if BAD_TOKEN in input_ids.values:
            raise RuntimeError("an unlucky token")
        if rows is not None:
            values = [2 * ids[own] for ids, own in zip(input_ids, rows, strict=True)]
            return Ragged.of([one.reshape(-1, 1).astype(np.float32) for one in values])
        return Ragged((2 * input_ids.values[:, None]).astype(np.float32), input_ids.offsets)


def samples_of(inputs: Sequence[list[int]], rows: Ragged | None = None) -> Samples:
    ids = Ragged.of(inputs, np.int64)
    return Samples(input_ids=ids, token_type_ids=Ragged(np.zeros_like(ids.values), ids.offsets), rows=rows)


def doubled(inputs: Sequence[list[int]], options: Any) -> Steps[list[Any]]:
    """Steps of one: the doubles of the tokens."""
    for ids in inputs:
        if not ids:
            raise DataError("it is empty")
    outputs = yield samples_of(inputs)
    return [own[:, 0].tolist() for own in outputs]


def first_doubled(inputs: Sequence[list[int]], options: Any) -> Steps[list[Any]]:
    """Steps that name rows: the double of the first token."""
    outputs = yield samples_of(inputs, Ragged(np.zeros(len(inputs), np.int64), offsets_of([1] * len(inputs))))
    return [own[:, 0].tolist() for own in outputs]


def doubled_often(inputs: Sequence[list[int]], times: int) -> Steps[list[Any]]:
    """Several steps: the doubles of the doubles."""
    for _ in range(times):
        outputs = yield samples_of(inputs)
        inputs = [own[:, 0].astype(int).tolist() for own in outputs]
    return list(inputs)


@pytest.fixture
def runtime() -> Recording:
    return Recording()


@pytest.fixture
def make(runtime: Recording) -> Iterator[Callable[..., Batcher]]:
    made = []

    def make(**settings: Any) -> Batcher:
        made.append(Batcher(runtime, ServeSettings(**settings), Metrics()))
        made[-1].start()
        return made[-1]

    yield make
    runtime.may_run.set()
    for batcher in made:
        batcher.close()
        assert batcher.num_requests == batcher.num_tokens == 0


def submit(
    batcher: Batcher, *inputs: list[int], steps: Any = doubled, options: Any = None
) -> asyncio.Future[list[Any]]:
    return batcher.submit(steps, inputs, options, num_bytes=4 * sum(map(len, inputs)))


async def occupy(batcher: Batcher, runtime: Recording) -> asyncio.Future[list[Any]]:
    """Have the model compute something, so that whatever comes now waits."""
    answer = submit(batcher, [1])
    await asyncio.to_thread(wait_until, lambda: runtime.num_running == 1)
    return answer


async def gathered(*answers: asyncio.Future[list[Any]]) -> list[Any]:
    """Results, or errors, and one more turn of the loop, in which they leave the queue."""
    results = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 20)
    await asyncio.sleep(0)
    return results


def test_what_many_ask_is_computed_in_one_pass(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make()
        first = await occupy(batcher, runtime)
        answers = [submit(batcher, [n, n], [n]) for n in range(100, 120)]
        runtime.may_run.set()
        assert (await gathered(first, *answers))[1:] == [[[2 * n, 2 * n], [2 * n]] for n in range(100, 120)]

    asyncio.run(main())
    assert [len(own) for own in runtime.passes] == [1, 40]
    assert list(map(len, runtime.passes[1])) == [1] * 20 + [2] * 20


def test_who_comes_alone_does_not_wait(make: Any, runtime: Recording) -> None:
    runtime.may_run.set()

    async def main() -> None:
        batcher = make(max_overtaking_ms=10_000)
        assert await asyncio.wait_for(submit(batcher, [5] * 900), 5) == [[10] * 900]
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_pass_has_no_more_tokens_than_it_may(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_batch_tokens=50)
        first = await occupy(batcher, runtime)
        answers = [submit(batcher, [n] * 20) for n in range(100, 109)]
        long = submit(batcher, [7] * 120, [8] * 30, [9] * 30)
        runtime.may_run.set()
        *_, last = await gathered(first, *answers, long)
        assert last == [[14] * 120, [16] * 30, [18] * 30]

    asyncio.run(main())
    counts = [sum(map(len, own)) for own in runtime.passes]
    assert [count for count in counts if count > 50] == [120]  # a text that is longer goes alone
    assert sum(counts) == 1 + 9 * 20 + 120 + 60


@pytest.mark.parametrize(("max_overtaking_ms", "expected"), [(500, [1, 2, 40]), (0, [40, 2, 1])])
def test_short_ones_go_first_for_a_time(
    make: Any, runtime: Recording, max_overtaking_ms: int, expected: list[int]
) -> None:
    async def main() -> None:
        batcher = make(max_batch_tokens=1, max_overtaking_ms=max_overtaking_ms)
        first = await occupy(batcher, runtime)
        answers = [submit(batcher, [length] * length) for length in (40, 2, 1)]
        runtime.may_run.set()
        await gathered(first, *answers)

    asyncio.run(main())
    assert [len(own[0]) for own in runtime.passes[1:]] == expected


def test_a_long_one_is_overtaken_for_no_longer_than_that(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_batch_tokens=1, max_overtaking_ms=30)
        first = await occupy(batcher, runtime)
        long = submit(batcher, [4] * 40)
        await asyncio.sleep(0.04)
        short = submit(batcher, [1])
        runtime.may_run.set()
        await gathered(first, long, short)

    asyncio.run(main())
    assert list(map(len, (own[0] for own in runtime.passes[1:]))) == [40, 1]


def test_a_long_request_lets_short_ones_in_between(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_batch_tokens=10)
        long = submit(batcher, *([9] * 10 for _ in range(5)))
        await asyncio.to_thread(wait_until, lambda: runtime.num_running == 1)
        short = submit(batcher, [1])
        runtime.may_run.set()
        await gathered(long, short)

    asyncio.run(main())
    assert [len(own[0]) for own in runtime.passes] == [10, 1, 10, 10, 10, 10]


def test_steps_of_several_go_on_side_by_side(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make()
        first = await occupy(batcher, runtime)
        asked = [submit(batcher, [n], steps=doubled_often, options=times) for n, times in ((3, 3), (5, 1), (7, 3))]
        runtime.may_run.set()
        assert (await gathered(first, *asked))[1:] == [[[24]], [[10]], [[56]]]

    asyncio.run(main())
    assert [sorted(own) for own in runtime.passes[1:]] == [[[3], [5], [7]], [[6], [14]], [[12], [28]]]


def test_steps_without_rows_are_not_mixed_with_others(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make()
        first = await occupy(batcher, runtime)
        asked = [submit(batcher, [3, 4]), submit(batcher, [5, 6], steps=first_doubled), submit(batcher, [7, 8])]
        runtime.may_run.set()
        assert (await gathered(first, *asked))[1:] == [[[6, 8]], [[10]], [[14, 16]]]

    asyncio.run(main())
    assert sorted(map(len, runtime.passes[1:])) == [1, 2]


@pytest.mark.parametrize(
    ("bad", "expected", "steps"),
    [([BAD_TOKEN, 2], RuntimeError, doubled), ([BAD_TOKEN], RuntimeError, first_doubled), ([], DataError, doubled)],
)
def test_the_bad_one_fails_alone(
    make: Any, runtime: Recording, bad: list[int], expected: type[Exception], steps: Any
) -> None:
    async def main() -> None:
        batcher = make()
        first = await occupy(batcher, runtime)
        good = [submit(batcher, [n], [n + 1]) for n in range(100, 111)]
        failing = submit(batcher, [1], bad, steps=steps)
        more = [submit(batcher, [n]) for n in range(200, 205)]
        runtime.may_run.set()
        results = await gathered(first, failing, *good, *more)
        assert isinstance(results[1], expected)
        assert results[2:] == [[[2 * n], [2 * n + 2]] for n in range(100, 111)] + [[[2 * n]] for n in range(200, 205)]

    asyncio.run(main())


def test_who_went_is_not_computed(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make()
        first = await occupy(batcher, runtime)
        stays, goes = submit(batcher, [3]), submit(batcher, [4])
        goes.cancel()
        runtime.may_run.set()
        assert (await gathered(first, stays))[1] == [[6]]

    asyncio.run(main())
    assert runtime.passes == [[[1]], [[3]]]


def test_who_went_in_the_middle_is_not_computed_further(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_batch_tokens=10)
        goes = submit(batcher, [4] * 10, [5] * 10, [6] * 10)
        await asyncio.to_thread(wait_until, lambda: runtime.num_running == 1)
        goes.cancel()
        runtime.may_run.set()
        assert await gathered(submit(batcher, [3])) == [[[6]]]

    asyncio.run(main())
    assert runtime.passes == [[[4] * 10], [[3]]]


def test_past_its_deadline_a_request_is_refused_and_not_computed(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(deadline_seconds=0.05)
        first = await occupy(batcher, runtime)
        late = submit(batcher, [4])
        results = await gathered(first, late)
        assert [(one.status, one.error_type) for one in results] == [(504, "Timeout")] * 2
        runtime.may_run.set()
        assert await gathered(submit(batcher, [5])) == [[[10]]]

    asyncio.run(main())
    assert runtime.passes == [[[1]], [[5]]]


def test_a_full_queue_refuses_at_once(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_queue_requests=2)
        first = await occupy(batcher, runtime)
        second = submit(batcher, [2])
        assert batcher.is_full
        with pytest.raises(Refusal, match="too many requests") as refused:
            submit(batcher, [3])
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
        runtime.may_run.set()
        await gathered(first, second)
        assert not batcher.is_full

    asyncio.run(main())


def test_a_queue_is_full_by_tokens_too_but_an_idle_model_takes_what_comes(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_queue_tokens=20)
        first = submit(batcher, [2] * 100)
        assert batcher.is_full
        with pytest.raises(Refusal, match="too many requests"):
            submit(batcher, [3])
        runtime.may_run.set()
        await gathered(first)
        small = submit(batcher, [2])
        with pytest.raises(Refusal, match="too many requests"):
            submit(batcher, [3] * 30)
        await gathered(small)

    asyncio.run(main())


def test_two_workers_share_what_there_is(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(workers=2)
        await asyncio.to_thread(wait_until, lambda: batcher._num_idle == 2)
        answers = [submit(batcher, [n]) for n in range(100, 108)]
        await asyncio.to_thread(wait_until, lambda: runtime.num_running == 2)
        runtime.may_run.set()
        assert await gathered(*answers) == [[[2 * n]] for n in range(100, 108)]

    asyncio.run(main())
    assert list(map(len, runtime.passes)) == [4, 4]


def test_there_is_a_worker_for_each_core_and_no_more_than_four(make: Any, runtime: Recording) -> None:
    async def main(num_cores: int) -> int:
        runtime.num_threads = num_cores
        return len(make()._threads)

    assert [asyncio.run(main(num_cores)) for num_cores in (1, 2, 4, 16)] == [1, 2, 4, 4]


@pytest.mark.parametrize(("threads", "alone", "shared"), [(None, 8, 4), (3, 3, 3)])
def test_workers_share_the_cores_and_one_that_is_alone_has_all(
    make: Any, runtime: Recording, threads: int | None, alone: int, shared: int
) -> None:
    runtime.num_threads = 8
    runtime.may_run.set()

    async def main() -> None:
        batcher = make(workers=2, threads=threads)
        for inputs in ([100] * 200, [101] * 200, [102]):  # the last has too little for several cores
            await asyncio.to_thread(wait_until, lambda: batcher._num_idle == 2)
            await submit(batcher, inputs)
        await asyncio.to_thread(wait_until, lambda: batcher._num_idle == 2)
        await gathered(*(submit(batcher, [n] * 200) for n in range(103, 110)))

    asyncio.run(main())
    assert runtime.threads_of_passes[:4] == [alone, alone, shared, shared]


def test_nothing_is_begun_for_who_has_gone_and_what_takes_long_lets_others_in_between(
    make: Any, runtime: Recording
) -> None:
    runtime.may_run.set()
    begun: list[str] = []
    may_go_on = threading.Event()

    def slow_steps(inputs: Sequence[Any], options: Any) -> Iterator[Any]:
        begun.append(options)
        assert may_go_on.wait(20)
        time.sleep(0.06)  # longer than all Python before a pass may take
        yield from ()
        return inputs

    def quick_steps(inputs: Sequence[Any], options: Any) -> Steps[list[Any]]:
        results = yield from doubled(inputs, options)
        begun.append("quick is done")
        return results

    async def main() -> None:
        batcher = make(workers=1)
        answers = {name: submit(batcher, [1] * 400, steps=slow_steps, options=name) for name in "abcd"}
        await asyncio.to_thread(wait_until, lambda: begun == ["a"])
        answers.pop("b").cancel()
        quick = submit(batcher, [5], steps=quick_steps)
        await asyncio.sleep(0)
        may_go_on.set()
        await gathered(*answers.values(), quick)

    asyncio.run(main())
    assert begun == ["a", "c", "quick is done", "d"]


def test_new_tokens_count_as_work(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(max_queue_tokens=300)
        first = batcher.submit(doubled, [[1]], None, num_bytes=4, num_new_tokens=250)
        with pytest.raises(Refusal, match="too many requests"):
            batcher.submit(doubled, [[1]], None, num_bytes=4, num_new_tokens=60)
        runtime.may_run.set()
        await first

    asyncio.run(main())


def test_abandoned_requests_are_told(make: Any, runtime: Recording) -> None:
    async def main() -> None:
        batcher = make(workers=1)
        answers = [await occupy(batcher, runtime), submit(batcher, [2])]
        batcher.abandon(Refusal(503, "Unhealthy", "gone"))
        for answer in answers:
            with pytest.raises(Refusal, match="gone"):
                await answer
        runtime.may_run.set()
        await asyncio.to_thread(wait_until, lambda: batcher._num_idle == 1)
        assert runtime.passes == [[[1]]]

    asyncio.run(main())


def test_closing_computes_what_was_asked(runtime: Recording) -> None:
    async def main() -> None:
        batcher = Batcher(runtime, ServeSettings(), Metrics())
        batcher.start()
        first = await occupy(batcher, runtime)
        second = submit(batcher, [2])
        await asyncio.sleep(0)
        runtime.may_run.set()
        await asyncio.to_thread(batcher.close)
        assert await gathered(first, second) == [[[2]], [[4]]]

    asyncio.run(main())
