"""What a server counts of itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("unmask_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "unmask_request_seconds", "From a request to its answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge(
            "unmask_requests_in_flight", "Requests that came and are not answered.", registry=registry
        )
        self.refused = Counter(
            "unmask_refused", "Requests refused because too much was waiting.", ["model"], registry=registry
        )
        self.queue_requests = Gauge(
            "unmask_queue_requests", "Requests waiting and in work.", ["model"], registry=registry
        )
        self.queue_tokens = Gauge("unmask_queue_tokens", "Their tokens, about.", ["model"], registry=registry)
        self.batch_tokens = Histogram(
            "unmask_batch_tokens", "Tokens of a pass.", ["model"], buckets=_TOKENS, registry=registry
        )
        self.batch_texts = Histogram(
            "unmask_batch_texts", "Sequences of a pass.", ["model"], buckets=_COUNTS, registry=registry
        )
        self.tokens = Counter("unmask_tokens", "Tokens computed.", ["model"], registry=registry)

    def text(self) -> bytes:
        """All of them, in Prometheus' format."""
        return generate_latest(self._registry)
