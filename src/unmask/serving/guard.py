"""What stands before the routes: the key, the door that closes, the counting of all who pass.

Whoever asks a model is led to its route from here. FastAPI's own way there, through a scan of all routes and stacks of
contexts that nobody uses, takes three times as long.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from unmask.serving.errors import Refusal
from unmask.serving.reading import header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from unmask.serving.metrics import Metrics
    from unmask.serving.reading import JsonRoute

__all__ = ["Guard", "Lifecycle"]

_WHILE_CLOSING = ("/health", "/metrics")  # still answered
_WITHOUT_KEY = ("/health", "/docs", "/openapi.json")  # a browser that shows them has a place to put the key in


@dataclass(kw_only=True)
class Lifecycle:
    """Where a server stands in its life.

    Args:
        is_closing: it takes no more work.
        num_in_flight: requests that came and are not answered.
    """

    is_closing: bool = False
    num_in_flight: int = 0


class Guard:
    """Lets requests pass, or not, and counts them.

    Args:
        app: all routes.
        routes: those that ask a model, by their paths.
        lifecycle: of the server.
        metrics: where to count.
        api_key: what clients must send; None asks for nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Mapping[str, JsonRoute],
        lifecycle: Lifecycle,
        metrics: Metrics,
        api_key: str | None,
    ) -> None:
        self._app, self._routes, self._lifecycle, self._metrics = app, routes, lifecycle, metrics
        self._api_key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "499"  # as nginx writes it where the client went

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        self._lifecycle.num_in_flight += 1
        self._metrics.in_flight.inc()
        try:
            if (refusal := self._refusal(scope)) is not None:
                await refusal.response()(scope, receive, send_noted)
            elif scope["method"] == "POST" and (route := self._routes.get(scope["path"])) is not None:
                scope["route"] = route
                response = await route.answer(Request(scope, receive))
                await response(scope, receive, send_noted)
            else:
                await self._app(scope, receive, send_noted)
        finally:
            self._lifecycle.num_in_flight -= 1
            self._metrics.in_flight.dec()
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if self._lifecycle.is_closing and scope["path"] not in _WHILE_CLOSING:
            return Refusal(503, "Unhealthy", "the server is closing: ask another", {"Connection": "close"})
        if self._api_key is None or scope["path"] in _WITHOUT_KEY:
            return None
        scheme, _, key = header(scope, b"authorization").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._api_key):
            return None
        message = "send the key of this server: Authorization: Bearer KEY"
        return Refusal(401, "Unauthorized", message, {"WWW-Authenticate": "Bearer"})
