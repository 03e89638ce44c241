"""The tables that several commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.reporting.sections import first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from unmask.metrics.question_answering import QuestionAnsweringReport
    from unmask.tasks import Answer

__all__ = ["details", "evaluations_table", "predictions_table", "seeds_table", "unanswerable_details"]

_OVER_SEEDS = {"mean": "mean", "± std": "std", "lowest": "min", "highest": "max"}  # rows, as seeds.json has them
_CHARACTERS_SHOWN = 120  # of a cell that quotes a text
_QUOTING = ("text", "question")  # the columns that repeat what was asked; all of it is in --json


def evaluations_table(evaluations: Sequence[dict[str, Any]]) -> Table:
    """Draw the scores of one or more data sets, one a row."""
    from rich.table import Table
    from rich.text import Text

    metrics = list(evaluations[0]["metrics"])
    table = Table("data", *metrics)
    for entry in evaluations:
        table.add_row(Text(entry["data"]), *(f"{entry['metrics'][name]:.4f}" for name in metrics))
    return table


def seeds_table(seeds: dict[str, Any]) -> Table:
    """Draw the scores of each seed, then what they come to: of the dev set, and of each other file.

    Mean, standard deviation, range and interval stand one below the other, so that four scores fit 80 columns.
    """
    from rich.table import Column, Table
    from rich.text import Text

    metrics = list(seeds["dev"])
    table = Table("data", *(Column(name, no_wrap=True) for name in ("seed", *metrics, "")))
    sets = [("dev", seeds["dev"], [entry["dev"] for entry in seeds["seeds"]])]
    for place, entry in enumerate(seeds["evaluations"]):
        sets.append((entry["data"], entry["metrics"], [one["evaluations"][place]["metrics"] for one in seeds["seeds"]]))
    for data, summaries, scores in sets:
        for entry, values in zip(seeds["seeds"], scores, strict=True):
            notes = {"kept": entry["seed"] == seeds["best_seed"], "collapsed": entry["is_collapsed"]}
            note = ", ".join(name for name, holds in notes.items() if holds)
            table.add_row(Text(data), f"{entry['seed']}", *(f"{values[name]:.4f}" for name in metrics), note)
        for entry in seeds.get("diverged", []):
            table.add_row(Text(data), f"{entry['seed']}", *("" for _ in metrics), "diverged")
        over = [summaries[name] for name in metrics]
        level = f"{over[0]['interval']['level']:.0%}"
        rows = {name: [summary[key] for summary in over] for name, key in _OVER_SEEDS.items()}
        rows |= {
            f"{level} {end}": [summary["interval"][key] for summary in over]
            for end, key in (("from", "low"), ("to", "high"))
        }
        for name, row in rows.items():
            cells = ("" if value is None else f"{value:.4f}" for value in row)
            table.add_row(Text(data), name, *cells, "", style="bold" if name in ("mean", "± std") else None)
        table.add_section()
    return table


def details(entry: dict[str, Any]) -> RenderableType | None:
    """Draw what a data set's entry tells beyond its scores, by its kind; None for a kind that has no more to tell."""
    from rich.console import Group

    from unmask.metrics import ClassificationReport
    from unmask.metrics.multilabel import MultilabelReport
    from unmask.metrics.question_answering import QuestionAnsweringReport
    from unmask.metrics.regression import RegressionReport
    from unmask.metrics.tagging import TaggingReport

    makers: dict[str, Callable[[dict[str, Any]], Table]] = {
        "classification": lambda entry: ClassificationReport.from_dict(entry).to_table(),
        "multi-label": lambda entry: MultilabelReport.from_dict(entry).to_table(),
        "question-answering": lambda entry: QuestionAnsweringReport.from_dict(entry["answers"]).to_table(),
        "regression": lambda entry: RegressionReport.from_dict(entry).to_table(),
        "tagging": lambda entry: TaggingReport.from_dict(entry).to_table(),
    }
    make = makers.get(entry.get("kind", "classification"))
    if make is None:
        return None
    table = make(entry)
    caption, table.caption = table.caption or "", None  # below the table it has room for whole lines
    if entry.get("kind") == "question-answering":
        caption = _told_of_no_answers(QuestionAnsweringReport.from_dict(entry["answers"]))
    return Group(table, caption) if caption else table


def unanswerable_details(entries: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """Draw `details` of the data sets with questions that have no answer, each below its name."""
    from rich.text import Text

    drawn: list[RenderableType] = []
    for entry in entries:
        if entry.get("answers", {}).get("num_no_answer") and (table := details(entry)) is not None:
            drawn += [Text(entry["data"]), table]
    return drawn


def _told_of_no_answers(report: QuestionAnsweringReport) -> str:
    """When a model of questions answers nothing, and what always doing so would give; "" where all have an answer."""
    if not report.num_no_answer:
        return ""
    told = f"Always answering nothing would give exact match and F1 {report.score_of_no_answers:.3f}."
    if report.null_threshold is not None:
        told = f"Null threshold {report.null_threshold:.3f}: above it a question is left unanswered. {told}"
    if "best_f1" in report.metrics:
        best, threshold = report.metrics["best_f1"], report.metrics["best_f1_threshold"]
        told += f"\nThe best F1 that a threshold gives here is {best:.3f}, at {threshold:.3f}."
    return told


def predictions_table(answers: Sequence[Answer]) -> Table:
    """Draw answers, one a row, in the columns that they name; numbers stand at the right."""
    from rich.table import Table
    from rich.text import Text

    rows = [answer.to_cells() for answer in answers]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names)
    for column, name in zip(table.columns, names, strict=True):
        if all(_is_number(row[name]) for row in rows if name in row):
            column.justify = "right"
    for row in rows:
        table.add_row(*(Text(_shown(name, row.get(name, ""))) for name in names))
    return table


def _shown(column: str, cell: str) -> str:
    """A cell, cut between words to about two lines if it quotes a long text."""
    if column not in _QUOTING or len(cell) <= _CHARACTERS_SHOWN:
        return cell
    return f"{first_words(cell[:_CHARACTERS_SHOWN])} …"


def _is_number(cell: str) -> bool:
    return cell.replace("-", "").replace(".", "").isdigit()
