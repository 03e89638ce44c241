"""`unmask corpus build` and `unmask corpus show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import parse_with_json, print_json
from unmask.data.findings import count_of
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from unmask.pretraining.store import StoreInfo

_HELP = """\
usage: unmask corpus {build,show} [OPTIONS]

Pretraining reads text that was tokenized once: a store.

  build  read documents, cut them into sentences, tokenize them, write the store
  show   say what a store holds, and show some documents

  unmask corpus build books/ wiki.jsonl --tokenizer google-bert/bert-base-uncased --output-dir stores/mine
  unmask corpus show stores/mine

unmask corpus build --help tells all of build."""

_BUILD_HELP = """\
In plain text each line is a paragraph, and a blank line parts documents. Filters bring other text into this form:

  gutenberg        books of Project Gutenberg: header and licence cut, lines joined, chapters as documents
  wikitext         WikiText: articles as documents, headings left out, @-@ undone
  unwrap           lines joined to paragraphs, which a blank line parts; two part documents
  two-blank-lines  lines stay; two blank lines part documents, one is nothing (plays, verse)
  lines            each line is a document (reviews, headlines)
  dedupe           documents that are there already are left out
  min-words        documents of fewer than 20 words are left out

gutenberg and wikitext leave other files as they are; any of the first five can be kept to the files whose path matches
a pattern: --filters gutenberg "two-blank-lines:*shakespeare*"

  unmask corpus build books/ --filters gutenberg --tokenizer minilm --output-dir stores/books
  unmask corpus build reviews.txt.gz --language ko --tokenizer tokenizers/ko --output-dir stores/ko --workers 8"""

_SHOW_HELP = "  unmask corpus show stores/mine --documents 5 --verify"


def run(arguments: Sequence[str]) -> None:
    """Parse, build or show, print what the store holds."""
    name, *rest = arguments or ("--help",)
    if name in ("-h", "--help", "help"):
        print(_HELP)
    elif name == "build":
        _build(rest)
    elif name == "show":
        _show(rest)
    else:
        raise SettingsError(f"there is no command {name!r}: it is build or show; unmask corpus --help says more")


def _build(arguments: Sequence[str]) -> None:
    from rich.console import Console

    from unmask.workflows.corpus import build_corpus

    built, as_json = parse_with_json(build_corpus, arguments, command="corpus build", more_help=_BUILD_HELP)
    if as_json:
        print_json(built.to_dict())
        return
    Console().print(_counts(built.info))
    print(f"store   {built.folder}   ({built.seconds:.1f} s)")


def _show(arguments: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from unmask.workflows.corpus import show_corpus

    view, as_json = parse_with_json(show_corpus, arguments, command="corpus show", more_help=_SHOW_HELP)
    if as_json:
        print_json(view.to_dict())
        return
    console = Console()
    table = _counts(view.info)
    table.add_row("size", f"{view.num_bytes / 1e6:,.1f} MB")
    table.add_row("tokens a sentence", f"{view.sentence_tokens:.1f}")
    table.add_row("tokens a document", f"{view.document_tokens:.1f}")
    console.print(table)
    sources = Table("source", "MB", title="sources", title_justify="left")
    sources.columns[0].overflow, sources.columns[1].justify = "fold", "right"
    for source in view.info.sources:
        sources.add_row(Text(source.name), "" if source.size is None else f"{source.size / 1e6:,.1f}")
    console.print(sources)
    for document in view.documents:
        counts = f"{count_of(document.num_sentences, 'sentence')}, {count_of(document.num_tokens, 'token')}"
        title = f"document {document.index:,}: {counts}"
        table = Table("", "sentence", title=title, title_justify="left")
        for number, sentence in enumerate(document.sentences, start=1):
            table.add_row(str(number), Text(sentence))
        console.print(table)


def _counts(info: StoreInfo) -> Table:
    from rich.table import Table

    table = Table("", "", show_header=False)
    table.columns[1].justify = "right"
    table.add_row("documents", f"{info.num_documents:,}")
    table.add_row("sentences", f"{info.num_sentences:,}")
    table.add_row("words", f"{info.num_words:,}")
    table.add_row("tokens", f"{info.num_tokens:,}")
    table.add_row("tokens a word", f"{info.num_tokens / max(1, info.num_words):.3f}")
    table.add_row("unigram entropy", f"{info.unigram_entropy:.4f} nats")
    table.add_row("vocabulary", f"{info.vocab_size:,}")
    table.add_row("language", info.language)
    table.add_row("filters", ", ".join(info.filters) or "none")
    return table
