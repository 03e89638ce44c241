"""Write the report of a run: `report.html`, which opens anywhere, and its plots as PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.files import new_folder, write_text
from unmask.reporting.classification import CLASSIFICATION_DETAILS, CLASSIFICATION_SECTIONS
from unmask.reporting.multi_label import MULTI_LABEL_DETAILS, MULTI_LABEL_SECTIONS
from unmask.reporting.page import Section, render_page
from unmask.reporting.plots import to_png
from unmask.reporting.pretraining import PRETRAINING_SECTIONS, pretraining_summary
from unmask.reporting.question_answering import QUESTION_ANSWERING_DETAILS, QUESTION_ANSWERING_SECTIONS
from unmask.reporting.record import RunRecord
from unmask.reporting.regression import REGRESSION_DETAILS, REGRESSION_SECTIONS
from unmask.reporting.search import read_search, search_sections
from unmask.reporting.sections import run_sections
from unmask.reporting.seeds import read_seeds, seeds_sections
from unmask.reporting.tagging import TAGGING_DETAILS, TAGGING_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["SECTIONS", "write_report"]

SECTIONS: dict[str, Sequence[Callable[[RunRecord], Section | None]]] = {
    "classification": CLASSIFICATION_SECTIONS,
    "multi-label": MULTI_LABEL_SECTIONS,
    "question-answering": QUESTION_ANSWERING_SECTIONS,
    "regression": REGRESSION_SECTIONS,
    "tagging": TAGGING_SECTIONS,
    "pretraining": PRETRAINING_SECTIONS,
}
"""The makers of a report's sections, in order, by what the run's config.json calls its task.

A task that is not here has the sections any run can have.
"""

_DETAILS: dict[str, Sequence[Callable[[RunRecord], Section | None]]] = {
    "classification": CLASSIFICATION_DETAILS,
    "multi-label": MULTI_LABEL_DETAILS,
    "question-answering": QUESTION_ANSWERING_DETAILS,
    "regression": REGRESSION_DETAILS,
    "tagging": TAGGING_DETAILS,
}  # those that tell what the best model does on the dev set: of several seeds, the one that was kept


def write_report(folder: Path, *, sections: Sequence[Callable[[RunRecord], Section | None]] | None = None) -> Path:
    """Write `report.html` and `plots/*.png` of a run, in place of those that are there.

    Args:
        folder: the run folder.
        sections: the makers of its sections, in order; one that returns None is left out. None takes those of the
            run's task, or those of a run of several seeds.

    Returns:
        The path of `report.html`.

    Raises:
        DataError: the folder holds no run, holds a broken file, or cannot be written to.
    """
    record = RunRecord.read(folder)
    task = record.config.get("task", "training")
    seeds = read_seeds(folder) if sections is None else None
    search = read_search(folder) if sections is None else None
    if seeds is not None:
        made = seeds_sections(folder, record, seeds, details=_DETAILS.get(task, ()))
    else:
        if sections is None:
            sections = [*search_sections(search), *SECTIONS.get(task, run_sections())]
        made = [section for make in sections if (section := make(record)) is not None]
    with new_folder(folder / "plots", replace=True) as partial:
        for plot in (plot for section in made for plot in section.plots):
            (partial / f"{plot.name}.png").write_bytes(to_png(plot.figure))
    page = folder / "report.html"
    write_text(
        page,
        render_page(
            title=folder.resolve().name,
            kind=f"{task} report" + (", several seeds" if seeds else ", best trial of a search" if search else ""),
            summary=_SUMMARIES.get(task, _summary)(record),
            sections=made,
        ),
    )
    return page


def _summary(record: RunRecord) -> str:
    """What was trained on what, as far as the settings tell: "minilm, trained on train.tsv (7,695 texts), ..."."""
    settings = record.config
    parts = [str(settings["model"])] if "model" in settings else []
    if "train" in settings:
        parts.append(f"trained on {settings['train']}{_rows(record, 'train')}")
    if "dev" in record.data:
        dev = " and ".join(settings.get("dev") or ["texts held back"])
        parts.append(f"judged on {dev}{_rows(record, 'dev')}")
    return ", ".join(parts)


def _rows(record: RunRecord, split: str) -> str:
    return f" ({record.count(record.data[split]['rows'])})" if split in record.data else ""


_SUMMARIES = {"pretraining": pretraining_summary}
