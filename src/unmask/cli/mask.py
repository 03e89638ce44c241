"""`unmask mask`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.workflows.mask import MaskedExample

_HELP = """\
  unmask mask "there is my school and i love this place" --tokenizer minilm --words my love place
  unmask mask "there is my school and i love this place" --mask-unit word --seed 3"""


def run(arguments: Sequence[str]) -> None:
    """Parse, mask, print a row a token."""
    from rich.console import Console

    from unmask.workflows.mask import mask

    example, as_json = parse_with_json(mask, arguments, command="mask", more_help=_HELP)
    if as_json:
        print_json(example.to_dict())
        return
    Console().print(_table(example))
    Console().print(_summary(example), highlight=False, markup=False)


def _table(example: MaskedExample) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("#", "token", "id", "chosen", "the model sees", "its id", "label"):
        table.add_column(header, justify="right" if header in ("#", "id", "its id", "label") else "left")
    for number, token in enumerate(example.tokens):
        table.add_row(
            Text(str(number), "dim"),
            Text(token.token),
            str(token.token_id),
            {"": "", "masked": "yes", "random": "yes: random", "kept": "yes: kept"}[token.fate],
            Text(token.seen),
            str(token.seen_id),
            str(token.label),
            style="cyan" if token.is_special else "yellow" if token.fate else "",
        )
    return table


def _summary(example: MaskedExample) -> str:
    fates = Counter(token.fate for token in example.tokens if not token.is_special)
    chosen = fates["masked"] + fates["random"] + fates["kept"]
    return (
        f"{chosen} of {fates.total()} tokens are to be guessed: the model sees {fates['masked']} as the mask, "
        f"{fates['random']} as a random token, {fates['kept']} as they are. Label -100: nothing to guess."
    )
