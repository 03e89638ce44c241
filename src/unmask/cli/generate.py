"""`unmask generate`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - the command line is made from these annotations

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
  unmask generate "The whale" --model runs/gpt
  unmask generate "The whale" "The sea" --model runs/gpt --temperature 0.8 --top-k 40 --num-return-sequences 3"""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Continue texts with a causal model: by the likeliest token always, or with temperature, top_k or top_p by chance.

    Args:
        prompts: the texts; "" begins where texts begin.
        model: a folder or hub id of a GPT.
        max_new_tokens: tokens to write at most; fewer where the model ends the text or has no position left.
        temperature: divides the logits, above 0; below 1 makes likely tokens likelier.
        top_k: draw among so many likeliest tokens.
        top_p: draw among the fewest likeliest tokens that together have this probability, in (0, 1].
        seed: of the draws.
        num_return_sequences: continuations of each prompt.
    """

    prompts: Positional[tuple[str, ...]]
    model: str
    max_new_tokens: int = 40
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    num_return_sequences: int = 1


def run(arguments: Sequence[str]) -> None:
    """Parse, write, print each text with what it goes on from."""
    typed, as_json = parse_with_json(
        _Arguments, arguments, command="generate", more_help=_HELP, printed="a list in JSON for each prompt"
    )

    # Help and usage errors need not wait for torch.
    from unmask.workflows.generate import generate

    settings = {key: value for key, value in vars(typed).items() if key != "prompts"}
    texts = generate(typed.prompts or ("",), **settings)
    if as_json:
        print_json([[asdict(text) for text in copies] for copies in texts])
        return
    print("\n\n".join(text.prompt + text.text for copies in texts for text in copies))
    if any(text.finish_reason == "positions" for copies in texts for text in copies):
        print("a text ends where the model has no position left", file=sys.stderr)
