"""`unmask embed`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
Without a file, texts come from standard input, one a line.

  unmask embed reviews.jsonl --output vectors.parquet
  unmask embed sentences.tsv --text-column sentence --output vectors.npy --pooling cls --normalize True
  cat texts.txt | unmask embed --output vectors.jsonl --model sentence-transformers/all-mpnet-base-v2"""


def run(arguments: Sequence[str]) -> None:
    """Parse, embed, say what was written."""
    from unmask.workflows.embed import embed

    made, as_json = parse_with_json(embed, arguments, command="embed", more_help=_HELP)
    if as_json:
        print_json(asdict(made) | {"output": str(made.output)})
        return
    texts, length = "text" if made.num_texts == 1 else "texts", ", of length 1" if made.normalize else ""
    print(
        f"{made.num_texts:,} {texts}: vectors of {made.num_dimensions} numbers ({made.pooling}{length}) written to "
        f"{made.output}"
    )
