"""Division as scores have it: where there is nothing to divide by, 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["divide"]


def divide(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """The quotients, of the shape that both have together; 0 where there is nothing to divide by."""
    above, below = np.asarray(above), np.asarray(below)
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)
