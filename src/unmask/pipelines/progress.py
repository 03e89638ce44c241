"""A bar for work that takes long, on a terminal alone."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress_bar"]

_SHORT = 1.0  # seconds of work that need no bar


@contextmanager
def progress_bar(what: str, total: int | None, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Show how far some work is, on standard error, once it has taken a second.

    Args:
        what: is done.
        total: inputs there are; None where nobody knows.
        is_shown: whether to; never where standard error is no terminal.

    Yields:
        What to call with the number of inputs that were done.
    """
    if not is_shown or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    began, done = time.monotonic(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total, speed="")

    def advance(count: int) -> None:
        nonlocal done
        done += count
        seconds = time.monotonic() - began
        if seconds > _SHORT and (total is None or done < total):
            bar.start()
        bar.update(task, completed=done, speed=f"{done / max(seconds, 1e-9):,.0f}/s")

    try:
        yield advance
    finally:
        bar.stop()
