"""`unmask pretrain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from unmask.cli.arguments import parse, recipe_arguments
from unmask.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.workflows.pretrain import PretrainResult

_EXAMPLES = """\
The family may stand first, without its flag. --config takes a recipe, a file of settings; other flags override it.

  unmask tokenizer train books.txt --kind wordpiece --vocab-size 8000 --output-dir tokenizers/en
  unmask pretrain bert --corpus books.txt --tokenizer tokenizers/en --dry-run
  unmask pretrain bert --corpus books.txt --tokenizer tokenizers/en --budget 30m --output-dir runs/bert
  unmask pretrain --resume --output-dir runs/bert
  unmask pretrain electra --size small --corpus wiki/ --tokenizer tokenizers/en --max-steps 10000 --output-dir runs/rtd
  unmask pretrain bert --objective mlm sop --corpus wiki/ --tokenizer tokenizers/en --output-dir runs/sop
  unmask pretrain --model minilm --objective mlm --corpus law.txt --new-tokens estoppel tort --output-dir runs/law
  unmask pretrain --config recipes/pretrain-shakespeare.yaml --data-dir DATA --output-dir runs/shakespeare

What each family learns, the paper's first:

  bert, albert, roberta   mlm nsp, mlm sop, mlm, rtd  (roberta's own is mlm)
  electra                 rtd, mlm
  gpt                     clm"""


def run(arguments: Sequence[str]) -> None:
    """Parse, pretrain, say what came of it."""
    from unmask.workflows.pretrain import pretrain
    from unmask.workflows.pretrain_settings import PretrainSettings

    if arguments and not arguments[0].startswith("-"):
        arguments = ["--family", *arguments]
    settings = parse(PretrainSettings, recipe_arguments(arguments), command="pretrain", more_help=_EXAMPLES)
    try:
        result = pretrain(settings, console=Console() if settings.dry_run else None)
    except Interrupted as error:
        raise Interrupted(f"{error}: unmask pretrain --resume --output-dir {settings.output_dir}") from error
    if result is None:  # a dry run, or not the first of several processes
        return
    Console().print(_table(result))
    training = result.training
    print(
        f"{training['tokens']:,} tokens in {training['seconds']:,.0f} s, {training['tokens_per_second']:,.0f}/s: "
        f"{training['model_flops_per_second'] / 1e9:,.1f} GFLOP/s, {training['share_of_arithmetic']:.0%} of what this "
        "machine reaches in matrix products"
    )
    print(f"report  {result.report}\nmodel   {result.model}")
    if result.generator is not None:
        print(f"its generator   {result.generator}")


def _table(result: PretrainResult) -> Table:
    from rich.table import Table

    table = Table("dev", "")
    table.columns[1].justify = "right"
    table.add_row("loss", f"{result.loss:.4f}")
    for name, value in result.dev.items():
        table.add_row(name.replace("_", " "), f"{value:.4f}")
    table.add_row("unigram cross-entropy", f"{result.unigram_cross_entropy:.4f}")
    return table
