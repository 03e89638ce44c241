"""`unmask fill`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = '  unmask fill "The [MASK] slept on the [MASK]." --model google-bert/bert-base-uncased --top-k 3'


def run(arguments: Sequence[str]) -> None:
    """Parse, guess, print a table a mask."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from unmask.workflows.fill import fill

    masks, as_json = parse_with_json(
        fill, arguments, command="fill", more_help=_HELP, printed="a list in JSON for each mask"
    )
    if as_json:
        print_json([[asdict(guess) for guess in guesses] for guesses in masks])
        return
    # The vocabulary's own spelling is a column of its own where it is another.
    has_marks = any(guess.token != guess.word for guesses in masks for guess in guesses)
    for number, guesses in enumerate(masks, start=1):
        table = Table("word", title=f"mask {number} of {len(masks)}", title_justify="left")
        if has_marks:
            table.add_column("token")
        table.add_column("probability", justify="right")
        table.add_column("text")
        for guess in guesses:
            spelling = [Text(guess.token)] if has_marks else []
            table.add_row(Text(guess.word), *spelling, f"{guess.probability:.4f}", Text(guess.text))
        Console().print(table)
