"""metrics.jsonl: a JSON line for each step and evaluation, with no gap and no repeat however often a run is killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError
from unmask.files import append_json_lines, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MetricsLog", "Row"]

Row = dict[str, Any]  # one line: its "kind" is "step" or "epoch"


class MetricsLog:
    """The rows of a run so far, on disk after each `flush`.

    Args:
        path: the file; made if missing.
        num_lines: lines to keep of those there. What follows them was written after the checkpoint that the run goes
            on from, and will be written again.
        is_writer: whether this process is the one that writes; the others only keep `rows`.

    Raises:
        CheckpointError: the file has fewer lines.
    """

    def __init__(self, path: Path, *, num_lines: int, is_writer: bool) -> None:
        self._path, self._is_writer, self._unwritten = path, is_writer, list[Row]()
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(lines) < num_lines:
            raise CheckpointError(f"{path} has {len(lines)} lines, but the checkpoint was saved after {num_lines}")
        self.rows: list[Row] = [json.loads(line) for line in lines[:num_lines]]
        if is_writer:
            write_bytes(path, b"".join(lines[:num_lines]))

    def append(self, row: Row) -> None:
        self.rows.append(row)
        self._unwritten.append(row)

    def flush(self) -> None:
        """Write what was appended, through to the disk."""
        if self._is_writer and self._unwritten:
            append_json_lines(self._path, self._unwritten)
        self._unwritten.clear()
