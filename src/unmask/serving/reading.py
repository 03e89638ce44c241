"""Requests as they come in: their bodies within limits, as values of the right types."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from unmask.serving.errors import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from fastapi import Request, Response
    from starlette.types import Scope

    from unmask.serving.settings import ServeSettings

__all__ = ["JsonRoute", "header", "read_body", "read_json"]

_MOST_MISTAKES = 64  # of a body

BodyT = TypeVar("BodyT", bound=BaseModel)


class JsonRoute(APIRoute):
    """A route whose endpoint takes the request and its body, and gives a response.

    FastAPI describes it, for the document of the API; it is called without FastAPI's solving of dependencies, which
    takes as long as all else that is done for a request of one short text.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.answer

    @cached_property
    def body_type(self) -> type[BaseModel]:
        """What the endpoint takes."""
        found: type[BaseModel] = get_type_hints(self.endpoint)["body"]
        return found

    async def answer(self, request: Request) -> Response:
        """Read a request within the limits, have it answered, or say why not."""
        try:
            if (batcher := request.app.state.models.full_batcher) is not None:  # before anything is read
                raise batcher.refusal()
            _check_type(request)
            body = read_json(await read_body(request, request.app.state.settings), self.body_type)
            response: Response = await self.endpoint(request, body)
        except Exception as error:
            return refusal_of(error).response()
        return response


def _check_type(request: Request) -> None:
    """Make sure that a body says it is JSON: a web page of another origin cannot say so without being allowed to."""
    kind, _, parameters = header(request.scope, b"content-type").lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].strip(b' "')
    if kind.strip() != b"application/json" or charset not in (b"", b"utf-8", b"utf8"):
        raise Refusal(415, "Validation", "send JSON in UTF-8, and say so: Content-Type: application/json")
    if header(request.scope, b"content-encoding").lower() not in (b"", b"identity"):
        raise Refusal(415, "Validation", "send the body as it is, without Content-Encoding")


def header(scope: Scope, name: bytes) -> bytes:
    """Give a header of a request, by its name in lower case; nothing where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def read_body(request: Request, settings: ServeSettings) -> bytes:
    """Read a body, counting its bytes as they arrive.

    Raises:
        Refusal: it is too long, too slow, or broken off.
    """
    announced = header(request.scope, b"content-length")
    if announced.isdigit() and int(announced) > settings.max_body_bytes:
        raise _too_long(settings)
    chunks: list[bytes] = []
    num_bytes, has_more = 0, True
    try:
        async with asyncio.timeout(settings.body_seconds):
            while has_more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "Validation", "the body broke off")
                chunks.append(message.get("body", b""))
                num_bytes, has_more = num_bytes + len(chunks[-1]), message.get("more_body", False)
                if num_bytes > settings.max_body_bytes:
                    raise _too_long(settings)
    except TimeoutError as error:
        seconds = settings.body_seconds
        raise Refusal(408, "Timeout", f"the body did not arrive in {seconds:g} s", {"Connection": "close"}) from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_long(settings: ServeSettings) -> Refusal:
    message = f"the body is longer than {settings.max_body_bytes:,} bytes: send it in parts"
    return Refusal(413, "Validation", message, {"Connection": "close"})  # the rest of it is not read


def read_json(body: bytes, body_type: type[BodyT]) -> BodyT:
    """Read JSON of a schema.

    Raises:
        Refusal: it is no JSON (400), or not of this schema (422).
    """
    try:
        return body_type.model_validate_json(body)
    except ValidationError as error:
        if (count := error.error_count()) > _MOST_MISTAKES:  # to write them all down would hold up everybody
            known = ", ".join(body_type.model_fields)
            raise Refusal(422, "Validation", f"the body has {count:,} mistakes; what can be given: {known}") from None
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        if mistakes[0]["type"] == "json_invalid":
            reason = mistakes[0]["msg"].partition(": ")[2]
            raise Refusal(400, "Validation", f"the body is not JSON ({reason})") from error
        raise Refusal(422, "Validation", _described(mistakes, body_type)) from error


def _described(mistakes: Sequence[Any], body_type: type[BaseModel]) -> str:
    """Say which field is wrong; where it may be several things, which those are, in the words of the schema."""
    first = mistakes[0]
    if not first["loc"]:
        return "the body must be a JSON object"
    name = str(first["loc"][0])
    field = body_type.model_fields.get(name)
    if field is None:
        return f"there is no {name[:50]!r} here; there are {', '.join(body_type.model_fields)}"
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{name} is missing: give {field.description}"
    same_field = sum(one["loc"][:1] == first["loc"][:1] for one in mistakes)
    if same_field > 1:
        return f"{name} must be {field.description}"
    place = ".".join(str(step) for step in first["loc"])
    return f"{place[:200]}: {first['msg'][0].lower()}{first['msg'][1:]}"
