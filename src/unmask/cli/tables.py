"""The tables that several commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.tasks import Prediction

__all__ = ["evaluations_table", "predictions_table"]


def evaluations_table(evaluations: Sequence[dict[str, Any]]) -> Table:
    """Draw the scores of one or more data sets, one a row."""
    from rich.table import Table
    from rich.text import Text

    metrics = list(evaluations[0]["metrics"])
    table = Table("data", *metrics)
    for entry in evaluations:
        table.add_row(Text(entry["data"]), *(f"{entry['metrics'][name]:.4f}" for name in metrics))
    return table


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """Draw labels, probabilities and texts."""
    from rich.table import Table
    from rich.text import Text

    table = Table("label", "probability", "text")
    table.columns[1].justify = "right"
    for prediction in predictions:
        text = prediction.text if prediction.text_pair is None else f"{prediction.text} | {prediction.text_pair}"
        table.add_row(Text(prediction.label), f"{prediction.probability:.3f}", Text(text))
    return table
