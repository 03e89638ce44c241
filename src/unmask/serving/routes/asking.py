"""From the body of a request to the results of a pipeline, by way of the queue of its model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from unmask.pipelines import InputRow, Pipeline, PipelineOptions
from unmask.serving.errors import Refusal, json_response
from unmask.serving.reading import header

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from fastapi import Request, Response

    from unmask.runtimes import Steps
    from unmask.serving.models import ServedModel

__all__ = ["ask", "listed", "wait_for"]

_CLIENT_WENT = 499  # nobody reads it but the metrics


@dataclass(frozen=True)
class _Call:
    """A pipeline and what it is told: requests with equal ones are answered together."""

    pipeline: Pipeline[Any, Any, Any]
    options: PipelineOptions


@lru_cache(maxsize=256)
def _make_call(pipeline: Pipeline[Any, Any, Any], **options: Any) -> _Call:
    """Check what a pipeline is told; most requests tell it the same."""
    return _Call(pipeline, pipeline.told(**options))


def _answer(rows: Sequence[InputRow], call: _Call) -> Steps[list[Any]]:
    """Parse and answer; in a thread, since a long text takes its time in both."""
    parsed = [call.pipeline.parse(row.value, source=row.source, line=row.line) for row in rows]
    return (yield from call.pipeline.steps(parsed, call.options))


async def ask(
    request: Request,
    task: str,
    model: str | None,
    inputs: Any,
    *,
    is_batch: bool | None = None,
    num_texts: int | None = None,
    num_new_tokens: int = 0,
    **options: Any,
) -> Response:
    """Answer inputs with a pipeline.

    Args:
        request: whose body was read.
        task: of the pipeline.
        model: as the body names it.
        inputs: one, as `Pipeline.parse` takes it, or a list of them.
        is_batch: whether it is a list of them, of whose results a list is given; None says so of any list.
        num_texts: that they hold; None counts inputs.
        num_new_tokens: that are to be written.
        options: of the pipeline.

    Raises:
        Refusal: there is no such model, too many inputs or none, no room or no time.
        UnmaskError: an input cannot be answered.
    """
    served = request.app.state.models.find(model, task)
    pipeline = served.pipelines[task]
    if is_batch is None:
        is_batch = isinstance(inputs, list)
    inputs = inputs if is_batch else [inputs]
    _check_count(request, len(inputs) if num_texts is None else num_texts)
    places = (f"inputs[{number}]" for number in range(len(inputs))) if is_batch else ("inputs",)
    rows = [InputRow(value, place, 1) for place, value in zip(places, inputs, strict=True)]
    has_list = any(isinstance(value, tuple) and len(value) > 1 for value in options.values())  # too much to remember
    call = (_make_call.__wrapped__ if has_list else _make_call)(pipeline, **options)
    results = await wait_for(request, served, _answer, rows, call, num_new_tokens=num_new_tokens)
    return json_response(results if is_batch else results[0])


def listed(inputs: Any) -> list[Any]:
    """Make a list of one input; a list stays one."""
    return inputs if isinstance(inputs, list) else [inputs]


async def wait_for(
    request: Request,
    served: ServedModel,
    steps: Callable[[Sequence[Any], Any], Steps[list[Any]]],
    inputs: Sequence[Any],
    options: Hashable,
    *,
    num_new_tokens: int = 0,
) -> list[Any]:
    """Queue inputs and wait for their results, as long as the client does.

    Raises:
        Refusal: there are too many inputs or none, no room or no time; or the client went.
        UnmaskError: an input cannot be answered.
    """
    _check_count(request, len(inputs))
    num_bytes = int(header(request.scope, b"content-length") or 0) or sum(len(str(one)) for one in inputs)
    answer = served.batcher.submit(steps, inputs, options, num_bytes=num_bytes, num_new_tokens=num_new_tokens)
    watch = asyncio.ensure_future(request.receive())  # what comes after the body is that the client went
    watch.add_done_callback(lambda _: answer.cancel())
    try:
        return await answer
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled():
            raise Refusal(_CLIENT_WENT, "Gone", "the client went") from None
        raise
    finally:
        watch.cancel()


def _check_count(request: Request, num_texts: int) -> None:
    limit = request.app.state.settings.max_texts
    if not num_texts:
        raise Refusal(400, "Empty", "there is nothing to answer: give one input at least")
    if num_texts > limit:
        raise Refusal(413, "Validation", f"{num_texts:,} texts are more than the {limit:,} of a request: send fewer")
