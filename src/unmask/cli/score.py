"""`unmask score`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - likewise

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError
from unmask.filling import Variant  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.workflows.score import PairScores, SentenceScore

_HELP = """\
  unmask score "The keys are old." "The keys is old." --model google-bert/bert-base-uncased
  unmask score --pairs pairs.tsv --model runs/bert"""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Score sentences with a masked language model by their pseudo-log-likelihood: which would it sooner expect?

    Args:
        sentences: two or more that differ in one choice.
        model: a folder or hub id of a model with a masked LM head.
        pairs: in place of sentences, a file of minimal pairs: columns sentence_good and sentence_bad, perhaps
            phenomenon.
        variant: what is hidden with a token: the later pieces of its word, nothing else, or its whole word.
    """

    sentences: Positional[tuple[str, ...]] = ()
    model: str
    pairs: Path | None = None
    variant: Variant = "word_l2r"


def run(arguments: Sequence[str]) -> None:
    """Parse, score, print a row a sentence; or the accuracy on pairs."""
    typed, as_json = parse_with_json(_Arguments, arguments, command="score", more_help=_HELP)
    if bool(typed.sentences) == (typed.pairs is not None):
        raise SettingsError('give sentences ("The keys are old." "The keys is old."), or --pairs and a file')

    # Help and usage errors need not wait for torch.
    from rich.console import Console

    from unmask.workflows.score import score, score_pairs

    if typed.pairs is not None:
        judged = score_pairs(typed.pairs, model=typed.model, variant=typed.variant)
        if as_json:
            print_json(
                {
                    "accuracy": judged.accuracy,
                    "variant": judged.variant,
                    "groups": {
                        group: {"accuracy": accuracy, "pairs": count}
                        for group, (accuracy, count) in judged.by_group.items()
                    },
                    "pairs": [asdict(pair) | {"is_right": pair.is_right} for pair in judged.pairs],
                }
            )
        else:
            Console().print(_pairs_table(judged))
        return
    scores = score(typed.sentences, model=typed.model, variant=typed.variant)
    if as_json:
        print_json([asdict(sentence) for sentence in scores])
    else:
        Console().print(_scores_table(scores))


def _scores_table(scores: Sequence[SentenceScore]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("sentence", "log-likelihood", "perplexity", "least expected")
    for column in table.columns[1:3]:
        column.justify = "right"
    best = max(sentence.pseudo_log_likelihood for sentence in scores)
    for sentence in scores:
        is_best = len(scores) > 1 and sentence.pseudo_log_likelihood == best
        lowest = min(range(len(sentence.tokens)), key=sentence.log_probabilities.__getitem__)
        table.add_row(
            Text(sentence.text, style="bold" if is_best else ""),
            Text(f"{sentence.pseudo_log_likelihood:.2f}", style="bold" if is_best else ""),
            f"{sentence.pseudo_perplexity:,.1f}",
            Text(f"{sentence.tokens[lowest]} ({sentence.log_probabilities[lowest]:.2f})"),
        )
    return table


def _pairs_table(judged: PairScores) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("minimal pairs", "pairs", "accuracy")
    for column in table.columns[1:]:
        column.justify = "right"
    groups = judged.by_group
    if len(groups) > 1:
        for group, (accuracy, count) in groups.items():
            table.add_row(Text(group), f"{count:,}", f"{accuracy:.4f}")
        table.add_section()
    table.add_row("all", f"{len(judged.pairs):,}", f"{judged.accuracy:.4f}", style="bold")
    return table
