"""`unmask tokenize`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json
from unmask.tokenization import Explanation, Truncation, explain

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = '  unmask tokenize "My dog is barking" "The cookies are baked" --model minilm --max-length 9'


def run(arguments: Sequence[str]) -> None:
    """Parse, explain, print the steps."""
    from rich.console import Console

    explanation, as_json = parse_with_json(_tokenize, arguments, command="tokenize", more_help=_HELP)
    if as_json:
        print_json(explanation.to_dict())
    else:
        Console().print(explanation.to_table())


def _tokenize(
    text: str,
    text_pair: str | None = None,
    /,
    *,
    model: str = "minilm",
    max_length: int | None = None,
    truncation: Truncation = "longest_first",
    special_tokens: bool = True,
) -> Explanation:
    """Show how a text, or a pair of texts, becomes what a model reads: normalised text, words, pieces, ids.

    Args:
        text: the text.
        text_pair: a second text.
        model: a folder with a tokenizer, a hub id, or "minilm".
        max_length: tokens to keep at most, special tokens included; None keeps all.
        truncation: which text of a pair is cut.
        special_tokens: add [CLS] and [SEP], or what the family has in their place.
    """
    from unmask.workflows.loading import load_tokenizer

    return explain(
        load_tokenizer(model),
        text,
        text_pair,
        max_length=max_length,
        truncation=truncation,
        add_special_tokens=special_tokens,
    )
