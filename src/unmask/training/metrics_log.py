"""metrics.jsonl: one line of JSON a step and one an evaluation, without a gap or a repeat however often a run is killed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError
from unmask.files import append_json_lines

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MetricsLog", "Row"]

Row = dict[str, Any]  # one line: its "kind" is "step" or "epoch"


class MetricsLog:
    """The rows of a run, on disk after each `flush`.

    Args:
        path: the file; made if missing.
        num_lines: lines to keep of those there. What follows them was written after the checkpoint that the run goes
            on from, and will be written again.

    Raises:
        CheckpointError: the file has fewer lines.
    """

    def __init__(self, path: Path, *, num_lines: int) -> None:
        self._path, self._unwritten = path, list[Row]()
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(lines) < num_lines:
            raise CheckpointError(f"{path} has {len(lines)} lines, the checkpoint was saved after {num_lines}")
        self.rows: list[Row] = [json.loads(line) for line in lines[:num_lines]]
        if lines[num_lines:]:
            os.truncate(path, sum(map(len, lines[:num_lines])))

    def append(self, row: Row) -> None:
        self.rows.append(row)
        self._unwritten.append(row)

    def flush(self) -> None:
        """Write what was appended, through to the disk."""
        append_json_lines(self._path, self._unwritten)
        self._unwritten.clear()
