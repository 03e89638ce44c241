"""`unmask tokenizer train` and `unmask tokenizer report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
usage: unmask tokenizer {train,report} [OPTIONS]

A model reads pieces of words, and its tokenizer decides which. Train one on the text the model will learn from.

  train   learn a vocabulary from files of text, save it, and report on lines held out
  report  say how a tokenizer does on a text: tokens a word, unknown words, vocabulary used

  unmask tokenizer train corpus.txt --vocab-size 8000 --lowercase --output-dir tokenizers/mine
  unmask tokenizer report tokenizers/mine --data heldout.txt

unmask tokenizer train --help tells all of train; unmask tokenize shows what a tokenizer makes of a sentence."""

_TRAIN_HELP = """\
The family decides the special tokens and, without --kind, the kind of pieces:

  bert, electra  WordPiece        [PAD] [UNK] [CLS] [SEP] [MASK]
  roberta        byte-level BPE   <s> <pad> </s> <unk> <mask>
  albert         Unigram          <pad> <unk> [CLS] [SEP] [MASK]
  gpt            byte-level BPE   <|endoftext|>

  unmask tokenizer train books.txt.gz wiki.jsonl --vocab-size 8000 --lowercase --output-dir tokenizers/en
  unmask tokenizer train corpus.txt --family roberta --held-out dev.txt --output-dir tokenizers/en-bpe
  unmask tokenizer train ko.txt --vocab-size 16000 --output-dir tokenizers/ko"""

_REPORT_HELP = "  unmask tokenizer report minilm --data heldout.txt"


def run(arguments: Sequence[str]) -> None:
    """Parse, train or report, print the report."""
    name, *rest = arguments or ("--help",)
    if name in ("-h", "--help", "help"):
        print(_HELP)
    elif name == "train":
        _train(rest)
    elif name == "report":
        _report(rest)
    else:
        raise SettingsError(f"there is no command {name!r}: it is train or report; unmask tokenizer --help says more")


def _train(arguments: Sequence[str]) -> None:
    from rich.console import Console

    from unmask.workflows.tokenizer import train_tokenizer

    if "--help" not in arguments and "-h" not in arguments and not any(_names_folder(word) for word in arguments):
        raise SettingsError("output_dir is missing: name a new folder, such as --output-dir tokenizers/mine")
    result, as_json = parse_with_json(train_tokenizer, arguments, command="tokenizer train", more_help=_TRAIN_HELP)
    if as_json:
        print_json(result.to_dict())
        return
    if result.report is not None:
        Console().print(result.report.to_table())
    print(f"{result.tokenizer.vocab_size:,} pieces from {result.num_texts:,} lines in {result.seconds:.1f} s")
    print(f"tokenizer   {result.folder}")


def _names_folder(word: str) -> bool:
    return word.partition("=")[0].replace("_", "-") == "--output-dir"


def _report(arguments: Sequence[str]) -> None:
    from rich.console import Console

    from unmask.workflows.tokenizer import tokenizer_report

    report, as_json = parse_with_json(tokenizer_report, arguments, command="tokenizer report", more_help=_REPORT_HELP)
    if as_json:
        print_json(report.to_dict())
    else:
        Console().print(report.to_table())
