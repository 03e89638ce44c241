"""Turn raw text into a token store, and look into one.

unmask corpus build books/ wiki.jsonl --tokenizer google-bert/bert-base-uncased --output-dir stores/mine
"""

from __future__ import annotations

import time
from collections.abc import Sequence  # noqa: TC003 - the command line is made from these annotations
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any, Self

from unmask.errors import SettingsError
from unmask.pretraining.building import build_store
from unmask.pretraining.corpora import list_sources, text_size
from unmask.pretraining.sentences import Language  # noqa: TC001
from unmask.pretraining.store import TokenStore

if TYPE_CHECKING:
    from rich.console import Console

    from unmask.pretraining.building import BuildProgress
    from unmask.pretraining.store import StoreInfo

__all__ = ["BuiltCorpus", "CorpusView", "ReadingProgress", "ShownDocument", "build_corpus", "show_corpus"]

_SECONDS_BETWEEN_LINES = 30.0  # where there is no terminal


@dataclass(frozen=True, kw_only=True)
class BuiltCorpus:
    """A store just built, or found finished.

    Args:
        folder: where it lies.
        info: its counts, settings and sources.
        seconds: how long this run took; the build may have begun in an earlier one.
    """

    folder: Path
    info: StoreInfo
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"folder": str(self.folder), "seconds": self.seconds, **self.info.to_dict()}


@dataclass(frozen=True, kw_only=True)
class ShownDocument:
    """A document as a model will see it.

    Args:
        index: which document of the store, from 0.
        num_sentences: of the whole document.
        num_tokens: likewise.
        sentences: the first ones, decoded.
    """

    index: int
    num_sentences: int
    num_tokens: int
    sentences: list[str]


@dataclass(frozen=True, kw_only=True)
class CorpusView:
    """A store, and some of what is in it.

    Args:
        folder: where it lies.
        info: its counts, settings and sources.
        num_bytes: size of its binary files.
        sentence_tokens: mean tokens of a sentence.
        document_tokens: mean tokens of a document.
        documents: a few, evenly spaced.
    """

    folder: Path
    info: StoreInfo
    num_bytes: int
    sentence_tokens: float
    document_tokens: float
    documents: list[ShownDocument]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "folder": str(self.folder),
            "num_bytes": self.num_bytes,
            "sentence_tokens": self.sentence_tokens,
            "document_tokens": self.document_tokens,
            **self.info.to_dict(),
            "documents": [vars(document) for document in self.documents],
        }


def build_corpus(
    corpus: Sequence[str | Path],
    /,
    *,
    tokenizer: str,
    output_dir: Path,
    language: Language = "en",
    filters: Sequence[str] = (),
    text_column: str | None = None,
    document_per_file: bool = False,
    line_breaks: bool = False,
    data_dir: Path | None = None,
    workers: int = 1,
) -> BuiltCorpus:
    """Read documents, cut them into sentences, tokenize them, and write them where training reads them.

    Can be stopped at any moment; the same command goes on from there, and ends in the same bytes.

    Args:
        corpus: files (.txt, .jsonl, .parquet; .gz too), folders of them, hub ids (org/name).
        tokenizer: a folder with a tokenizer, a hub id, or "minilm".
        output_dir: folder of the store; new, or one whose build was stopped.
        language: whose rules find the sentences: en, ko, or none (each paragraph is one).
        filters: what the text goes through, in this order; each a name, or name:pattern for some files.
        text_column: the column that holds the text; None takes text, content, document, article or raw_content.
        document_per_file: each text file is one document.
        line_breaks: part paragraphs by the tokenizer's line break, where it has one, instead of a space.
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.
        workers: processes that tokenize; one is this process, whose tokenizer uses several threads by itself.

    Raises:
        DataError: a source cannot be read or has changed since the build began, there is no text, or the folder holds
            something else.
        CheckpointError: there is no such tokenizer, or the folder holds a store with other settings.
        SettingsError: there is no such filter or language, or workers is less than 1.
    """
    from unmask.workflows.loading import load_tokenizer

    start = time.perf_counter()
    found = list_sources(corpus, data_dir=data_dir)
    with ReadingProgress(text_size(found)) as progress:
        store = build_store(
            output_dir,
            found,
            load_tokenizer(tokenizer),
            language=language,
            filters=filters,
            text_column=text_column,
            document_per_file=document_per_file,
            line_breaks=line_breaks,
            workers=workers,
            progress=progress.show,
        )
    return BuiltCorpus(folder=output_dir, info=store.info, seconds=time.perf_counter() - start)


def show_corpus(folder: Path, /, *, documents: int = 3, sentences: int = 5, verify: bool = False) -> CorpusView:
    """Say what a store holds, and show some of its documents, sentence by sentence.

    Args:
        folder: of the store.
        documents: how many to show, evenly spaced from the first on.
        sentences: of each document to show at most.
        verify: read everything, and compare it with what was written.

    Raises:
        CheckpointError: there is no finished store, or it is damaged.
        SettingsError: documents or sentences is negative.
    """
    if documents < 0 or sentences < 0:
        raise SettingsError(f"documents is {documents} and sentences {sentences}: they must be 0 or more")
    store = TokenStore.open(folder)
    if verify:
        store.verify()
    tokenizer = store.load_tokenizer()
    shown = []
    for number in range(min(documents, store.num_documents)):
        index = number * store.num_documents // documents
        first, end = store.document_starts[index : index + 2].tolist()
        shown.append(
            ShownDocument(
                index=index,
                num_sentences=end - first,
                num_tokens=int(store.sentence_starts[end] - store.sentence_starts[first]),
                sentences=[
                    tokenizer.decode(store.sentence(sentence).tolist()).strip()
                    for sentence in range(first, min(end, first + sentences))
                ],
            )
        )
    return CorpusView(
        folder=folder,
        info=store.info,
        num_bytes=sum(size for size, _ in store.info.files.values()),
        sentence_tokens=store.num_tokens / store.num_sentences,
        document_tokens=store.num_tokens / store.num_documents,
        documents=shown,
    )


class ReadingProgress:
    """A bar of the text read where there is a terminal, a line now and then where there is none.

    Args:
        total: bytes of text there are, about; None where that is not known.
        console: where to write; by default stderr.
    """

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console or Console(stderr=True)
        self._total = total
        self._last_line = self._start = time.perf_counter()
        self._bar = Progress(
            TextColumn("reading"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, state: BuildProgress) -> None:
        """Show how far the build is."""
        description = (
            f"{state.text_bytes / 1e6:,.1f} MB  {state.num_documents:,} documents  {state.num_tokens:,} tokens"
        )
        completed = state.text_bytes if self._total is None else min(state.text_bytes, self._total)
        self._bar.update(self._task, completed=completed, description=description)
        now = time.perf_counter()
        if not self._console.is_terminal and now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"{now - self._start:.0f} s  {description}", soft_wrap=True, highlight=False)
