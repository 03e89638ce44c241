"""From raw documents to a token store: read in order, tokenized by any number of processes, written shard by shard.

**The same bytes always.** Documents are read in one process, cut into sentences and tokenized in chunks anywhere, and
written in the order they were read. The result depends on the sources, the settings and the tokenizer; not on the
number of workers, the size of a shard, or how often the build was killed.

**A kill at any moment.** A shard is appended to the binary files and flushed; then `progress.json` records how long
they are and how many documents they hold. The next run cuts the files back to the record, passes over those documents,
and goes on. `store.json` is written when all is there.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from tokenizers import Tokenizer as Backend

from unmask.errors import CheckpointError, DataError, SettingsError, UnmaskError
from unmask.files import append_bytes, lock_folder, remove_leftovers, sha256_of, write_json
from unmask.pretraining.corpora import Document, list_sources, read_documents
from unmask.pretraining.filters import check_filters
from unmask.pretraining.sentences import Language, split_sentences
from unmask.pretraining.store import (
    DOCUMENTS_FILE,
    PROGRESS_FILE,
    RECORD_FILE,
    SENTENCES_FILE,
    START_DTYPE,
    TOKENIZER_FOLDER,
    TOKENS_FILE,
    VERSION,
    SourceInfo,
    StoreInfo,
    TokenStore,
    token_dtype,
)
from unmask.tokenization.hangul import is_composed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from unmask.tokenization import Tokenizer

__all__ = ["BuildProgress", "build_store"]

_CHUNK = 2**19  # characters tokenized at once
_BLOCK = 2**24  # tokens counted at once


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """How far a build has come.

    Args:
        num_parts: documents taken from the corpus; a very long one counts once for each of its parts.
        num_tokens, num_sentences, num_documents, num_words: what the store holds so far.
        text_bytes: of text behind us, in UTF-8.
        is_document_open: the last document has no sentence yet; what continues it begins it.
        is_complete: everything has been read.
    """

    num_parts: int = 0
    num_tokens: int = 0
    num_sentences: int = 0
    num_documents: int = 0
    num_words: int = 0
    text_bytes: int = 0
    is_document_open: bool = False
    is_complete: bool = False


def build_store(
    folder: str | Path,
    sources: Sequence[str | Path],
    tokenizer: Tokenizer,
    *,
    language: Language = "en",
    filters: Sequence[str] = (),
    text_column: str | None = None,
    document_per_file: bool = False,
    line_breaks: bool = False,
    data_dir: Path | None = None,
    workers: int = 1,
    shard_size: int = 2**25,
    progress: Callable[[BuildProgress], None] | None = None,
) -> TokenStore:
    """Tokenize a corpus into a store, or go on with a build that was stopped; a finished one is opened.

    Sentences are tokenized one by one, each behind the space that parts it from the one before, so that a tokenizer
    which tells the beginning of a word by its space (GPT, RoBERTa) sees what running text would show it. Special tokens
    written out in the text ("[MASK]", "</s>") are tokenized as the characters they are.

    Args:
        folder: of the store; new, empty, or that of the same build.
        sources: files, folders, or ids of data sets on the hub: see `unmask.pretraining.corpora`.
        tokenizer: its fingerprint becomes part of the store.
        language: whose rules find the sentences; "none" takes each paragraph for one.
        filters: names of `FILTERS`, applied in this order; `NAME:PATTERN` is for the files whose path matches.
        text_column: the column or key that holds the text; None takes the usual names.
        document_per_file: each text file is one document.
        line_breaks: part paragraphs by the tokenizer's line break instead of a space, where it has one: for models that
            are to write verse and dialogue.
        data_dir: where relative paths are looked for after the working directory.
        workers: processes that tokenize. One is this process, whose tokenizer uses several threads by itself; more are
            worth it from four cores on. A script that asks for more keeps its calls under `if __name__ == "__main__"`.
        shard_size: bytes of text between two records; a kill loses at most these.
        progress: called after each chunk of text.

    Raises:
        SettingsError: a setting outside its range.
        DataError: a source cannot be read, or has changed since the build began; there is no text; the folder holds
            something else; the disk is full.
        CheckpointError: the folder holds a store, or the beginning of one, with other settings.
    """
    folder = Path(folder)
    check_filters(filters)
    if language not in get_args(Language):
        split_sentences("", language)  # says what is wrong
    if workers < 1:
        raise SettingsError(f"workers is {workers}: it must be 1 or more")
    if shard_size < 1:
        raise SettingsError(f"shard_size is {shard_size}: it must be 1 byte or more")
    found = list_sources(sources, data_dir=data_dir)
    settings = {
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "language": language,
        "filters": list(filters),
        "text_column": text_column,
        "document_per_file": document_per_file,
        "line_breaks": line_breaks,
    }
    source_infos = [_source_info(source) for source in found]
    is_new = not folder.is_dir() or not any(folder.iterdir())
    with lock_folder(folder):
        try:
            return _build_or_open(
                folder,
                found,
                source_infos,
                settings,
                tokenizer,
                workers=workers,
                shard_size=shard_size,
                progress=progress,
            )
        except UnmaskError:
            if is_new:
                _remove_beginning(folder)
            raise


def _build_or_open(
    folder: Path,
    found: list[Path | str],
    source_infos: list[SourceInfo],
    settings: dict[str, Any],
    tokenizer: Tokenizer,
    *,
    workers: int,
    shard_size: int,
    progress: Callable[[BuildProgress], None] | None,
) -> TokenStore:
    """Build with nobody else at work in the folder."""
    text_column, document_per_file = settings["text_column"], settings["document_per_file"]
    filters, language = settings["filters"], settings["language"]
    if (folder / RECORD_FILE).exists():
        store = TokenStore.open(folder)
        _refuse_changes(folder, store.info.to_dict(), settings, store.info.sources, source_infos)
        (folder / PROGRESS_FILE).unlink(missing_ok=True)  # a kill came just before it went
        return store
    state = _begin_or_resume(folder, settings, source_infos)

    writer = _Writer(folder, token_dtype(tokenizer.vocab_size), state)
    record = {"version": VERSION, "settings": settings, "sources": [asdict(info) for info in source_infos]}
    if not state.is_complete:
        documents = read_documents(found, text_column=text_column, document_per_file=document_per_file, filters=filters)
        encode = partial(_encode_chunk, dtype=writer.dtype, language=language)
        chunks = _chunks(islice(documents, state.num_parts, None), min(_CHUNK, shard_size))
        encoder = _Encoder(tokenizer, line_breaks=settings["line_breaks"])
        with closing(_in_order(encode, chunks, encoder, tokenizer, workers=workers)) as results:
            for chunk, encoded in results:
                writer.add(chunk, encoded)
                if progress is not None:
                    progress(writer.state)
                if writer.pending_bytes >= shard_size:
                    writer.flush()
                    write_json(folder / PROGRESS_FILE, record | {"state": asdict(writer.state)})
        if not writer.state.num_tokens:
            left = f" that the filters {', '.join(filters)} leave" if filters else ""
            raise DataError(f"the corpus is empty: there is no text{left} in {', '.join(map(str, found))}")
        writer.flush()
        writer.state = replace(writer.state, is_complete=True)
        write_json(folder / PROGRESS_FILE, record | {"state": asdict(writer.state)})
    writer.finish()
    tokenizer.save(folder / TOKENIZER_FOLDER)
    _write_record(folder, settings, source_infos, writer)
    (folder / PROGRESS_FILE).unlink(missing_ok=True)
    return TokenStore.open(folder)


@dataclass(frozen=True)
class _Encoded:
    """A chunk of documents in numbers.

    Args:
        tokens: ids of all its sentences, (num_tokens,).
        sentence_lengths: tokens of each sentence, int64, (num_sentences,); none is 0.
        document_lengths: sentences of each document, int64, (num_documents,).
        num_words: words in it.
        text_bytes: its size in UTF-8, line ends counted.
    """

    tokens: NDArray[np.unsignedinteger[Any]]
    sentence_lengths: NDArray[np.int64]
    document_lengths: NDArray[np.int64]
    num_words: int
    text_bytes: int


class _Encoder:
    """A tokenizer set for running text: no special tokens, and white space before a sentence where it counts."""

    def __init__(self, tokenizer: Tokenizer, *, line_breaks: bool) -> None:
        self.line_breaks = line_breaks
        self._morphemes = tokenizer.morphemes
        self._backend = _taking_text_as_text(tokenizer.backend)
        self._backend_for_composed = _taking_text_as_text(tokenizer.backend_for_composed)
        alone, second, spaced, broken = self.encode(["a", "b", "a b", "a\nb"])
        self.space = "" if spaced == alone + second else " "
        self.line_break = "\n" if line_breaks and broken != spaced else self.space

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if self._morphemes:
            from unmask.tokenization.morphemes import split_morphemes

            texts = [split.text for split in split_morphemes(texts)]
        backend = self._backend_for_composed if all(map(is_composed, texts)) else self._backend
        return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def _taking_text_as_text(backend: Backend) -> Backend:
    """Copy a backend, and have it tokenize special tokens that are written out as any other characters."""
    copied = Backend.from_str(backend.to_str())
    copied.encode_special_tokens = True
    return copied


_worker_encoder: _Encoder  # of a worker process


def _start_worker(tokenizer: Tokenizer, line_breaks: bool) -> None:
    global _worker_encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C goes to all; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _worker_encoder = _Encoder(tokenizer, line_breaks=line_breaks)


def _die_with_parent() -> None:
    """End a worker whose parent was killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode_in_worker(encode: Callable[[list[Document], _Encoder], _Encoded], chunk: list[Document]) -> _Encoded:
    return encode(chunk, _worker_encoder)


def _encode_chunk(chunk: list[Document], encoder: _Encoder, *, dtype: np.dtype[Any], language: Language) -> _Encoded:
    texts: list[str] = []
    counts = np.zeros(len(chunk), np.int64)
    num_words = text_bytes = 0
    for index, document in enumerate(chunk):
        between = encoder.line_break if document.continues else ""
        before = len(texts)
        for paragraph in document.paragraphs:
            num_words += len(paragraph.split())
            text_bytes += len(paragraph.encode()) + 1
            for sentence in split_sentences(paragraph, language):
                texts.append(between + sentence)
                between = encoder.space
            between = encoder.line_break
        counts[index] = len(texts) - before
    ids = encoder.encode(texts)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    tokens = np.fromiter(chain.from_iterable(ids), dtype, int(lengths.sum()))
    has_tokens = lengths > 0  # a sentence of control characters has none
    ends = np.concatenate(([0], np.cumsum(has_tokens)))[np.concatenate(([0], np.cumsum(counts)))]
    return _Encoded(tokens, lengths[has_tokens], np.diff(ends), num_words, text_bytes)


def _chunks(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    num_characters = 0
    for document in documents:
        chunk.append(document)
        num_characters += sum(map(len, document.paragraphs))
        if num_characters >= size:
            yield chunk
            chunk, num_characters = [], 0
    if chunk:
        yield chunk


def _in_order(
    encode: Callable[[list[Document], _Encoder], _Encoded],
    chunks: Iterator[list[Document]],
    encoder: _Encoder,
    tokenizer: Tokenizer,
    *,
    workers: int,
) -> Generator[tuple[list[Document], _Encoded], None, None]:
    """Encode chunks, here or in processes, and give them back in order; only a few are on their way at a time."""
    if workers == 1:
        for chunk in chunks:
            yield chunk, encode(chunk, encoder)
        return
    waiting: deque[tuple[list[Document], Future[_Encoded]]] = deque()
    with _pool(tokenizer, encoder.line_breaks, workers) as pool:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_encode_in_worker, encode, chunk)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


@contextmanager
def _pool(tokenizer: Tokenizer, line_breaks: bool, workers: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, not forked: a fork copies the locks of threads (torch's, tokenizers') that it does not copy.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (tokenizer, line_breaks))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            f"one of the {workers} processes that tokenize was killed, for want of memory perhaps: give fewer workers; "
            "what was done is kept, and the same build again goes on with it"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Writer:
    """Gathers encoded chunks, and appends them to the files of a store.

    Args:
        folder: of the store.
        dtype: of the tokens.
        state: what the files hold already; they may be longer.

    Attributes:
        state: what they hold, the gathered chunks counted.
        pending_bytes: of text gathered since the last `flush`.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], state: BuildProgress) -> None:
        self.folder, self.dtype, self.state = folder, dtype, state
        self._written = state
        self._tokens: list[NDArray[Any]] = []
        self._sentences: list[NDArray[np.int64]] = []
        self._documents: list[int] = []

    @property
    def pending_bytes(self) -> int:
        return self.state.text_bytes - self._written.text_bytes

    def add(self, chunk: list[Document], encoded: _Encoded) -> None:
        state = self.state
        self._tokens.append(encoded.tokens)
        ends = state.num_tokens + np.cumsum(encoded.sentence_lengths)
        self._sentences.append(ends - encoded.sentence_lengths)
        num_sentences, is_open, num_begun = state.num_sentences, state.is_document_open, 0
        for document, length in zip(chunk, encoded.document_lengths.tolist(), strict=True):
            is_open = is_open or not document.continues
            if length and is_open:
                self._documents.append(num_sentences)
                num_begun += 1
                is_open = False
            num_sentences += length
        self.state = BuildProgress(
            num_parts=state.num_parts + len(chunk),
            num_tokens=state.num_tokens + len(encoded.tokens),
            num_sentences=num_sentences,
            num_documents=state.num_documents + num_begun,
            num_words=state.num_words + encoded.num_words,
            text_bytes=state.text_bytes + encoded.text_bytes,
            is_document_open=is_open,
        )

    def flush(self) -> None:
        """Put on the disk what was gathered."""
        for name, dtype, parts, count in (
            (TOKENS_FILE, self.dtype, self._tokens, self._written.num_tokens),
            (SENTENCES_FILE, START_DTYPE, self._sentences, self._written.num_sentences),
            (DOCUMENTS_FILE, START_DTYPE, [np.array(self._documents, START_DTYPE)], self._written.num_documents),
        ):
            content = np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype)
            append_bytes(self.folder / name, content.tobytes(), offset=count * dtype.itemsize)
        self._tokens, self._sentences, self._documents = [], [], []
        self._written = self.state

    def finish(self) -> None:
        """Close the starts with the ends of the last sentence and the last document."""
        for name, dtype, count, end in (
            (TOKENS_FILE, self.dtype, self.state.num_tokens, None),
            (SENTENCES_FILE, START_DTYPE, self.state.num_sentences, self.state.num_tokens),
            (DOCUMENTS_FILE, START_DTYPE, self.state.num_documents, self.state.num_sentences),
        ):
            content = b"" if end is None else np.array([end], dtype).tobytes()
            append_bytes(self.folder / name, content, offset=count * dtype.itemsize)


def _begin_or_resume(folder: Path, settings: dict[str, Any], sources: list[SourceInfo]) -> BuildProgress:
    path = folder / PROGRESS_FILE
    if folder.exists() and not path.exists() and not _is_own(folder):
        raise DataError("there is something else here already: choose another folder", path=folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    state = BuildProgress()
    if path.exists():
        try:
            record = json.loads(path.read_bytes())
            version = record["version"]
            if version == VERSION:
                state = BuildProgress(**record["state"])
                begun = [SourceInfo(**source) for source in record["sources"]]
                begun_settings = record["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: damaged ({error}): remove the folder to begin anew") from error
        if version != VERSION:
            raise CheckpointError(f"{path}: begun by another version of unmask: remove the folder to begin anew")
        if state.num_parts:  # else nothing was done that could differ
            _refuse_changes(folder, begun_settings, settings, begun, sources)
            return state
    record = {"version": VERSION, "settings": settings, "sources": [asdict(info) for info in sources]}
    write_json(path, record | {"state": asdict(state)})
    return state


def _remove_beginning(folder: Path) -> None:
    """Leave no folder behind of a build that came to nothing; one that has work in it can go on."""
    if not any((folder / name).exists() for name in (TOKENS_FILE, RECORD_FILE)):
        (folder / PROGRESS_FILE).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_own(folder: Path) -> bool:
    """Whether a folder is empty, or was left so by a kill before the first record."""
    return folder.is_dir() and all(entry.name.startswith(f".{PROGRESS_FILE}.") for entry in folder.iterdir())


def _refuse_changes(
    folder: Path,
    old: dict[str, Any],
    new: dict[str, Any],
    old_sources: Sequence[SourceInfo],
    new_sources: Sequence[SourceInfo],
) -> None:
    if old["tokenizer_fingerprint"] != new["tokenizer_fingerprint"]:
        raise CheckpointError(
            f"{folder}: this store was begun with another tokenizer (of {old['vocab_size']} tokens; this one has "
            f"{new['vocab_size']}): use that one, or another folder"
        )
    for name, value in new.items():
        before = list(old[name]) if isinstance(old[name], tuple) else old[name]
        if before != value:
            raise CheckpointError(
                f"{folder}: this store was begun with {name} {before!r}, and now it is {value!r}: give the same, or "
                "another folder"
            )
    if len(old_sources) != len(new_sources):
        raise DataError(
            f"this store was begun with {len(old_sources)} files or data sets, and now there are {len(new_sources)}: "
            "give the same, or another folder",
            path=folder,
        )
    for before, now in zip(old_sources, new_sources, strict=True):
        if (before.size, before.sha256) != (now.size, now.sha256) or (now.sha256 is None and before.name != now.name):
            raise DataError(
                f"this is not what the store in {folder} was begun with ({before.name}), or it has changed since: put "
                "that back, or choose another folder",
                path=now.name,
            )


def _source_info(source: Path | str) -> SourceInfo:
    if isinstance(source, str):
        return SourceInfo(name=source)
    try:
        return SourceInfo(name=str(source), size=source.stat().st_size, sha256=sha256_of(source))
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", path=source) from error


def _write_record(folder: Path, settings: dict[str, Any], sources: list[SourceInfo], writer: _Writer) -> None:
    """Count the tokens, hash the files, and write `store.json`."""
    state = writer.state
    tokens = np.memmap(folder / TOKENS_FILE, dtype=writer.dtype, mode="r")
    counts = np.zeros(settings["vocab_size"], np.int64)
    for start in range(0, len(tokens), _BLOCK):
        counts += np.bincount(tokens[start : start + _BLOCK], minlength=len(counts))
    frequencies = counts[counts > 0] / state.num_tokens
    info = StoreInfo(
        version=VERSION,
        **settings | {"filters": tuple(settings["filters"])},
        sources=tuple(sources),
        num_tokens=state.num_tokens,
        num_sentences=state.num_sentences,
        num_documents=state.num_documents,
        num_words=state.num_words,
        unigram_entropy=-math.fsum(frequencies * np.log(frequencies)),
        files={
            name: ((folder / name).stat().st_size, sha256_of(folder / name))
            for name in (TOKENS_FILE, SENTENCES_FILE, DOCUMENTS_FILE)
        },
    )
    write_json(folder / RECORD_FILE, info.to_dict())
