"""The colours of a report, once for the page and its plots.

Series are blue, orange and green after Okabe and Ito (2008), which the common kinds of colour blindness keep apart; no
plot relies on colour alone.
"""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "css_variables"]

LIGHT = {
    "paper": "#fcfcfa",
    "raised": "#f4f4ef",
    "ink": "#1b1d21",
    "muted": "#63686f",
    "rule": "#dfdfd8",
    "blue": "#0a5fa3",
    "orange": "#c4500c",
    "green": "#1a8a6c",
}

DARK = {
    "paper": "#16181b",
    "raised": "#1f2226",
    "ink": "#eceae5",
    "muted": "#a0a4ab",
    "rule": "#34383e",
    "blue": "#74b9f2",
    "orange": "#f39b52",
    "green": "#5fcba9",
}


def css_variables(colours: dict[str, str]) -> str:
    """The palette as CSS custom properties: `--ink: #1b1d21; ...`."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
