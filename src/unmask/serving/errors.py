"""What a client is told where there is no answer: a status, and a body as text-embeddings-inference writes it.

| status | error_type | meaning |
| --- | --- | --- |
| 400 | Validation, Empty | the body is no JSON; there is nothing to answer |
| 401 | Unauthorized | the key is missing or wrong |
| 404, 405 | NotFound, MethodNotAllowed | there is no such route or model; not by this method |
| 408 | Timeout | the body did not arrive in time |
| 413 | Validation | the body, the number of texts or a text is too long |
| 415 | Validation | the body is not said to be JSON |
| 422 | Validation | the body is JSON, and cannot be asked |
| 424 | Backend | the model could not compute it |
| 429 | Overloaded | too much is waiting; Retry-After says when to come again |
| 503 | Unhealthy | the server is closing |
| 504 | Timeout | there was no answer before the deadline |
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response

from unmask.errors import CheckpointError, DataError, UnmaskError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Refusal", "json_response", "refusal_of"]


class Refusal(Exception):  # noqa: N818 - a request is refused; nothing went wrong here
    """A request that is not answered.

    Args:
        status: of HTTP.
        error_type: as in the table above.
        message: what is wrong, and what to do.
        headers: to send with it.
    """

    def __init__(self, status: int, error_type: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message, self.headers = status, error_type, message, headers

    def response(self) -> Response:
        return json_response({"error": self.message, "error_type": self.error_type}, self.status, self.headers)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Write JSON. It has no word for NaN, which becomes null."""
    return Response(to_json(content, inf_nan_mode="null"), status, headers, "application/json")


def refusal_of(error: Exception) -> Refusal:
    """Tell a client of an error: of its own in its words, of ours without our insides, which go to the log."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, CheckpointError) or not isinstance(error, UnmaskError):
        logging.getLogger("unmask.serving").error("a request could not be computed", exc_info=error)
        return Refusal(424, "Backend", "the model could not compute this request; the server's log says why")
    message = f"{error.path}: {error.problem}" if isinstance(error, DataError) else str(error)  # a body has no lines
    message = message.replace("truncation=True", '"truncate": true')  # as JSON says it
    return Refusal(413 if isinstance(error, TooLongError) else 422, "Validation", message)
