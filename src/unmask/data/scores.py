"""Reading one number that a model shall learn to give, such as how alike two sentences are."""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING

from unmask.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_score"]

_REMEDY = "write one, or leave the row out"


def read_score(
    value: object,
    source: str | Path,
    line: int,
    field: str,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> float:
    """The number a field holds.

    Args:
        value: text as a table gives it, or a number as JSON gives it.
        source: the file, for messages; likewise `line`, counted from 1, and `field`.
        lowest: the smallest score there may be.
        highest: the largest.

    Raises:
        DataError: it is empty, no number, not finite, or outside the range.
    """
    number = _parse(value)
    if number is None:
        problem = f"the score {reprlib.repr(value)} is not a number: {_REMEDY}"
        if isinstance(value, str) and not value.strip():
            problem = f"there is no score here: {_REMEDY}"
        elif isinstance(value, str) and _parse(value.replace(",", ".")) is not None:
            problem = f"the score {reprlib.repr(value)} is not a number: write a point where the comma is"
        raise DataError(problem, path=source, line=line, field=field)
    if not math.isfinite(number):
        problem = f"the score {reprlib.repr(value)} is not a finite number: {_REMEDY}"
        raise DataError(problem, path=source, line=line, field=field)
    if not lowest <= number <= highest:
        raise DataError(
            f"the score {number:g} lies outside {lowest:g} to {highest:g}: correct it, or the range",
            path=source,
            line=line,
            field=field,
        )
    return number


def _parse(value: object) -> float | None:
    """None for what no one would call a number: Python would also take 1_000 and True."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf
    except ValueError:
        return None
