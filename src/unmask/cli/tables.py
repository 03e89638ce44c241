"""The tables that several commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from unmask.tasks import Answer

__all__ = ["details_table", "evaluations_table", "predictions_table", "seeds_table"]


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
    """Draw the scores of each seed, then mean ± standard deviation: of the dev set, and of each other file.

    The two stand one below the other, so that four scores fit a terminal of 80 columns.
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
        table.add_row(Text(data), "mean", *(f"{summary['mean']:.4f}" for summary in over), "", style="bold")
        stds = ("" if summary["std"] is None else f"{summary['std']:.4f}" for summary in over)
        table.add_row(Text(data), "± std", *stds, "", style="bold", end_section=True)
    return table


def details_table(entry: dict[str, Any]) -> Table | None:
    """Draw what a data set's entry tells beyond its scores, by its kind; None for a kind that has no more to tell."""
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
    return None if make is None else make(entry)


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
        table.add_row(*(Text(row.get(name, "")) for name in names))
    return table


def _is_number(cell: str) -> bool:
    return cell.replace("-", "").replace(".", "").isdigit()
