"""`unmask fill`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - the command line is made from these annotations

from unmask.cli.arguments import parse_with_json, print_json
from unmask.filling import Comparison  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.workflows.fill import Filling, Guess

_HELP = """\
  unmask fill "The [MASK] slept on the [MASK]." --model google-bert/bert-base-uncased --top-k 3
  unmask fill "The [MASK] slept on the [MASK]." --model runs/bert --joint
  unmask fill "It was a [MASK] film." --model runs/bert --candidates good bad terrible
  unmask fill "He went to see the [MASK]." --model runs/bert --max-pieces 3"""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Guess the words behind each [MASK] of a text: each mask for itself, or all of them together.

    Args:
        text: with one or more masks, written [MASK] or as the model's tokenizer writes them.
        model: a folder or hub id of a model with a masked LM head.
        top_k: guesses a mask, or fillings of the text, the most probable first; 5 unless given, or all candidates.
        joint: fill all masks together: the most certain first, then the others in sight of it.
        candidates: the words to choose among, of any number of pieces.
        max_pieces: pieces that a word may have; 1 unless given.
        beam_width: fillings kept at each step; twice top_k unless given, 10 at least.
        compare: what words of different numbers of pieces are compared by: the mean of the log-probabilities of their
            pieces, or the total.
    """

    text: Positional[str]
    model: str
    top_k: int | None = None
    joint: bool = False
    candidates: tuple[str, ...] | None = None
    max_pieces: int | None = None
    beam_width: int | None = None
    compare: Comparison = "mean"


def run(arguments: Sequence[str]) -> None:
    """Parse, guess, print a table a mask; or one of fillings."""
    typed, as_json = parse_with_json(
        _Arguments,
        arguments,
        command="fill",
        more_help=_HELP,
        printed="a list in JSON for each mask, or one of fillings",
    )

    # Help and usage errors need not wait for torch.
    from unmask.workflows.fill import fill, fill_jointly

    is_joint = typed.joint or any(value is not None for value in (typed.candidates, typed.max_pieces, typed.beam_width))
    if is_joint:
        fillings = fill_jointly(
            typed.text,
            model=typed.model,
            top_k=typed.top_k,
            candidates=typed.candidates,
            max_pieces=typed.max_pieces,
            beam_width=typed.beam_width,
            compare=typed.compare,
        )
        if as_json:
            print_json([asdict(filling) for filling in fillings])
        else:
            _print_fillings(fillings)
        return
    masks = fill(typed.text, model=typed.model, top_k=5 if typed.top_k is None else typed.top_k)
    if as_json:
        print_json([[asdict(guess) for guess in guesses] for guesses in masks])
    else:
        _print_guesses(masks)


def _print_guesses(masks: Sequence[Sequence[Guess]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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


def _print_fillings(fillings: Sequence[Filling]) -> None:
    """One row a filling; the mean has a column of its own where fillings differ in their number of pieces."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    differ = len({filling.num_pieces for filling in fillings}) > 1
    has_pieces = any(len(word.tokens) > 1 for filling in fillings for word in filling.words)
    table = Table("words")
    if has_pieces:
        table.add_column("pieces")
    table.add_column("log-probability", justify="right")
    if differ:
        table.add_column("mean", justify="right")
    table.add_column("text")
    for filling in fillings:
        pieces = [Text(", ".join(" ".join(word.tokens) for word in filling.words))] if has_pieces else []
        means = [f"{filling.mean_log_probability:.3f}"] if differ else []
        table.add_row(
            Text(", ".join(word.word for word in filling.words)),
            *pieces,
            f"{filling.log_probability:.3f}",
            *means,
            Text(filling.text),
        )
    Console().print(table)
