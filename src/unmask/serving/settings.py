"""What a server is told: where it listens, whom it answers, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.errors import SettingsError

__all__ = ["ServeSettings"]

_AT_LEAST = {
    "port": 0,
    "max_body_bytes": 1,
    "body_seconds": 0.001,
    "max_texts": 1,
    "max_batch_tokens": 1,
    "max_queue_requests": 1,
    "max_queue_tokens": 1,
    "max_overtaking_ms": 0,
    "deadline_seconds": 0.001,
    "drain_seconds": 0,
    "max_new_tokens": 1,
    "workers": 1,
    "threads": 1,
}


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where a server listens, whom it answers, and how much it takes.

    Args:
        host: address to listen on; 127.0.0.1 is reached from this machine alone, 0.0.0.0 from everywhere.
        port: to listen on; 0 takes a free one.
        api_key: what clients must send, as `Authorization: Bearer KEY`; None asks for nothing. /health needs none.
        cors_origins: web pages whose scripts may ask, such as https://example.org; "*" is all of them.
        max_body_bytes: of a request; a longer one is answered 413 as soon as that is known.
        body_seconds: in which the body of a request must have arrived; then 408.
        max_texts: of a request; more are answered 413.
        max_batch_tokens: of one pass of a model. More make better use of the machine, fewer let a short text that comes
            during a pass wait less.
        max_queue_requests: that one model may have waiting and in work; another is answered 429, at once.
        max_queue_tokens: likewise, of all these together, at four bytes of JSON a token. A request that comes to an
            idle model is taken whatever its size.
        max_overtaking_ms: milliseconds in which shorter requests that come later may go first.
        deadline_seconds: from the arrival of a request to its answer; past it, it leaves the queue and is answered 504.
        drain_seconds: that /health says 503 before the port is closed, so that a load balancer notices.
        max_new_tokens: that one request to /generate may ask for.
        workers: passes of one model that are computed side by side, if enough is asked; None is one for each core, 4 at
            most, or 1 on a GPU.
        threads: cores of one pass; None is all for a pass that is alone, and a share for each of several.

    Raises:
        SettingsError: a value is outside its range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 2**20
    body_seconds: float = 10.0
    max_texts: int = 128
    max_batch_tokens: int = 2048
    max_queue_requests: int = 512
    max_queue_tokens: int = 2**17
    max_overtaking_ms: float = 500.0
    deadline_seconds: float = 30.0
    drain_seconds: float = 0.0
    max_new_tokens: int = 256
    workers: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise SettingsError(f"{name} is {value}: it must be {least} or more")
        if self.port > 65535:
            raise SettingsError(f"port is {self.port}: it must be 65535 or less")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.strip() == self.api_key != ""):
            raise SettingsError("the API key must be of ASCII characters, without blanks around it, and not empty")
