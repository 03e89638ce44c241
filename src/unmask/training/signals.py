"""SIGTERM and ctrl-C as a request that the loop honours between two steps."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["StopRequest", "stop_on_signals"]


class StopRequest:
    """Whether the run was asked to stop."""

    is_made = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Take note of SIGTERM and SIGINT instead of dying, and put the handlers back at the end.

    Python runs handlers in the main thread only; in another one the request is never made.
    """
    request = StopRequest()

    def take_note(_signal_number: int, _frame: Any) -> None:
        request.is_made = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, take_note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
