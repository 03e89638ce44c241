"""A report is a list of sections; this file makes them one HTML page that needs nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from unmask.reporting.plots import to_svg
from unmask.reporting.theme import DARK, LIGHT, css_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

__all__ = ["Link", "Plot", "Section", "html_list", "html_table", "render_page"]

_WIDE = 7  # inches; a wider figure has the whole width of the page, so that its letters can be read


@dataclass(frozen=True)
class Plot:
    """One figure of a report.

    Args:
        name: file name in `plots/`, without its ending.
        figure: the drawing.
        caption: how to read it, plain text; None for a plot that is saved but not shown on the page.
    """

    name: str
    figure: Figure
    caption: str | None = None


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page.

    Args:
        text: what it says, plain text.
        target: where it leads, as a path from the page's own folder.
    """

    text: str
    target: str


@dataclass(frozen=True)
class Section:
    """One part of a report, made from the run's record by a small function.

    Args:
        title: heading, plain text.
        explanation: what is to be seen here and how to read it, plain text.
        html: what stands below the plots. Text that comes from data, files or settings must be escaped in it.
        plots: figures, shown in this order.
    """

    title: str
    explanation: str = ""
    html: str = ""
    plots: tuple[Plot, ...] = ()


def render_page(
    *, title: str, kind: str, summary: str, sections: Sequence[Section], origin: str = "the files of this run folder"
) -> str:
    """The whole page; `title`, `kind` (what sort of report this is), `summary` and `origin` are plain text."""
    links = (f'<a href="#section-{number}">{escape(section.title)}</a>' for number, section in enumerate(sections))
    return Template(files("unmask.reporting").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        kind=escape(kind),
        summary=escape(summary),
        contents="\n".join(links),
        sections="\n".join(_render_section(section, number) for number, section in enumerate(sections)),
        light_colours=css_variables(LIGHT),
        dark_colours=css_variables(DARK),
        origin=escape(origin),
        version=version("unmask"),
    )


def html_table(
    columns: Sequence[str], rows: Sequence[Sequence[str | float | Link]], *, best_row: int | None = None
) -> str:
    """A table: its first column names the row, the others hold figures and stand to the right.

    Args:
        columns: headings, plain text.
        rows: cells in the order of `columns`; an int is shown with thousands set apart, a float with three decimals.
        best_row: index of a row to point out.
    """
    html = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}</tr></thead>\n<tbody>\n"
    for index, row in enumerate(rows):
        start = '<tr class="best">' if index == best_row else "<tr>"
        html += f"{start}{''.join(f'<td>{_format(cell)}</td>' for cell in row)}</tr>\n"
    return f'<div class="scroll"><table>\n{html}</tbody></table></div>'


def html_list(entries: Mapping[str, str], *, kind: str) -> str:
    """Names and values as a description list of CSS class `kind`: "facts" or "settings"."""
    lines = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in entries.items())
    return f'<dl class="{kind}">\n' + "\n".join(lines) + "\n</dl>"


def _render_section(section: Section, number: int) -> str:
    shown = [plot for plot in section.plots if plot.caption is not None]
    parts = [f'<section id="section-{number}">', f"<h2>{escape(section.title)}</h2>"]
    if section.explanation:
        parts.append(f'<p class="explanation">{escape(section.explanation)}</p>')
    if shown:
        parts += ['<div class="plots">', *map(_render_plot, shown), "</div>"]
    return "\n".join([*parts, section.html, "</section>"])


def _render_plot(plot: Plot) -> str:
    caption = escape(plot.caption or "")
    svg = to_svg(plot.figure, name=plot.name).replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    kind = ' class="wide"' if plot.figure.get_size_inches()[0] > _WIDE else ""
    return f"<figure{kind}>\n{svg}<figcaption>{caption}</figcaption>\n</figure>"


def _format(cell: str | float | Link) -> str:
    """A cell as HTML."""
    if isinstance(cell, Link):
        return f'<a href="{escape(quote(cell.target))}">{escape(cell.text)}</a>'
    if isinstance(cell, str):
        return escape(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.3f}".replace("-", "−")
