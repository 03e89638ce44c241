"""Attention maps as SVG for a page: vector shapes in the page's colours, as it lets no image in. S tokens."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["labelled_map_svg", "small_map_svg"]

_SHADES = 10  # told apart; a cell below half a shade is left empty
_CELL = 10  # units of the drawing
_LETTER = 4.9  # width of a letter of a label, about
_LONGEST_LABEL = 14  # letters
_PIXELS = 2.2  # of a unit, where there is room: a short text is not blown up
_FEWEST_TOLD = 0.05  # of the attention of a token: such cells say what they are when pointed at


def small_map_svg(attention: NDArray[np.float32], *, title: str) -> str:
    """One head's map without labels, rows attend to columns: at most so many paths as there are shades.

    Args:
        attention: probabilities, (S, S).
        title: what it is, plain text.
    """
    size = len(attention)
    paths = []
    shades = np.rint(np.asarray(attention) * _SHADES).astype(int)
    for shade in range(1, _SHADES + 1):
        cells = "".join(f"M{column} {row}h1v1h-1z" for row, column in np.argwhere(shades == shade).tolist())
        if cells:
            paths.append(f'<path d="{cells}" fill-opacity="{shade / _SHADES:g}"/>')
    return (
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(title)}" fill="var(--blue)" '
        f'shape-rendering="crispEdges"><title>{escape(title)}</title>{"".join(paths)}</svg>'
    )


def labelled_map_svg(attention: NDArray[np.float32], tokens: Sequence[str], *, title: str) -> str:
    """One head's map with the tokens at its sides: from the token of a row to that of a column.

    Args:
        attention: probabilities, (S, S).
        tokens: S of them, in any script: the page's font draws them.
        title: what it is, plain text.
    """
    labels = [token if len(token) <= _LONGEST_LABEL else f"{token[: _LONGEST_LABEL - 1]}…" for token in tokens]
    room = _LETTER * max(map(_width, labels)) + 6
    size = _CELL * len(tokens)
    parts = [f'<rect x="0" y="0" width="{size}" height="{size}" fill="var(--raised)"/>']
    for row, column in np.argwhere(np.asarray(attention) >= 0.5 / _SHADES / 2).tolist():
        share = float(attention[row, column])
        told = ""
        if share >= _FEWEST_TOLD:
            told = f"<title>{escape(tokens[row])} → {escape(tokens[column])}: {share:.0%}</title>"
        parts.append(
            f'<rect x="{column * _CELL}" y="{row * _CELL}" width="{_CELL}" height="{_CELL}" fill="var(--blue)" '
            f'fill-opacity="{share:.2f}">{told}</rect>'
        )
    for place, label in enumerate(labels):
        middle = place * _CELL + _CELL / 2
        parts.append(f'<text x="-4" y="{middle + 2.7:g}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<text transform="translate({middle + 2.7:g} -4) rotate(-90)">{escape(label)}</text>')
    box = f"{-room:.0f} {-room:.0f} {size + room:.0f} {size + room:.0f}"
    return (
        f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}" fill="var(--ink)" font-size="8" '
        f'style="max-width: {_PIXELS * (size + room):.0f}px">'
        f"{''.join(parts)}</svg>"
    )


def _width(label: str) -> float:
    """Letters of a label, where those of East Asia count for two."""
    return sum(2 if ord(letter) > 0x1100 else 1 for letter in label)
