"""HTTP on one connection: uvicorn's, but that a request's head is small and comes in time, and refusals are our own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from unmask.serving.errors import Refusal

if TYPE_CHECKING:
    import asyncio

__all__ = ["make_protocol"]

_MOST_HEAD_BYTES = 65_536  # of a request line and headers

# Below uvicorn's own, but that not each scanner of ports writes a line of the log.
_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)


class _Protocol(HttpToolsProtocol):
    """A connection. It is closed where no head of a request has come for too long after it was opened or begun."""

    head_seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.logger = _log
        self._head_bytes = 0
        self._is_in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        # What comes with the end of a head may be its body: so one chunk of a socket more than the limit is taken.
        if self._is_in_head and self._head_bytes > _MOST_HEAD_BYTES:
            self._refuse(431, f"the request's head is longer than {_MOST_HEAD_BYTES:,} bytes: send shorter headers")
            return
        self._head_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._head_bytes, self._is_in_head = 0, True
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is not HTTP/1.1 as it should be")

    def _await_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request, and close the connection."""
        response = Refusal(status, "Validation", message, {"Connection": "close"}).response()
        head = [f"HTTP/1.1 {status} Refused".encode(), *(name + b": " + value for name, value in response.raw_headers)]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()


def make_protocol(head_seconds: float) -> type[HttpToolsProtocol]:
    """Make the class of connections.

    Args:
        head_seconds: in which the head of a request must have come, counted from the opening of the connection, or from
            its own first byte where that comes later.
    """
    return type("Protocol", (_Protocol,), {"head_seconds": head_seconds})
