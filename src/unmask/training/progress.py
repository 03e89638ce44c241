"""What a person sees of a run: a bar that moves where there is a terminal, a line now and then where there is none.

The table of evaluations grows by a row after each one, its columns being whatever the evaluation scored.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from unmask.training.distributed import is_main_process

if TYPE_CHECKING:
    from types import TracebackType

    from unmask.training.metrics_log import Row

__all__ = ["TrainingProgress"]

_WINDOW = 20  # steps over which speed is averaged
_NUMBER_WIDTH = 10


class TrainingProgress:
    """Shows a run as it goes; use it as a context, once.

    Args:
        total_steps: steps of the whole run.
        first_step: steps done already, where a run goes on.
        log_steps: steps between lines where there is no terminal.
        console: where to write; by default stderr, and nowhere on ranks above 0.
    """

    def __init__(
        self, *, total_steps: int, first_step: int = 0, log_steps: int = 50, console: Console | None = None
    ) -> None:
        self._console = console or Console(stderr=True, quiet=not is_main_process())
        self._total_steps, self._log_steps = total_steps, log_steps
        self._recent: deque[tuple[int, float]] = deque(maxlen=_WINDOW)  # (real tokens, seconds) of the last steps
        self._has_header = False
        self._bar = Progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=first_step)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, row: Row) -> None:
        """Show one step: its loss and learning rate, and the speed of the last few."""
        self._recent.append((row["num_tokens"], row["seconds"]))
        tokens, seconds = (sum(column) for column in zip(*self._recent, strict=True))
        speed = tokens / seconds if seconds else 0.0
        description = f"loss {row['loss']:.4f}  lr {row['learning_rate']:.2e}  {speed:,.0f} tokens/s"
        self._bar.update(self._task, completed=row["step"], description=description)
        if not self._console.is_terminal and row["step"] % self._log_steps == 0:
            left = timedelta(seconds=round((self._total_steps - row["step"]) * seconds / len(self._recent)))
            self._print(f"step {row['step']}/{self._total_steps}  {description}  {left} left")

    def epoch(self, row: Row, *, is_best: bool) -> None:
        """Add the row of one evaluation."""
        cells = {
            name.replace("_", " "): value for name, value in row.items() if name not in ("kind", "step", "examples")
        }
        widths = [max(len(name), _NUMBER_WIDTH) for name in cells]
        if not self._has_header:
            self._print("  ".join(name.rjust(width) for name, width in zip(cells, widths, strict=True)))
            self._has_header = True
        numbers = (
            _format(name, value).rjust(width) for (name, value), width in zip(cells.items(), widths, strict=True)
        )
        self._print("  ".join(numbers) + ("  best" if is_best else ""))

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def _format(name: str, value: float) -> str:
    if name == "epoch":
        return f"{value:g}"
    if name.endswith("seconds"):
        return f"{value:.1f}"
    return f"{value:,.0f}" if name == "tokens per second" else f"{value:.4f}"
