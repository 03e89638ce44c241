"""From raw texts to the sequences of a pretraining run: tokenize once, hold some back, cut into sequences, pack."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import DataError, SettingsError
from unmask.pretraining.building import build_store
from unmask.pretraining.corpora import list_sources, text_size
from unmask.pretraining.formats import all_documents, make_source, split_documents
from unmask.pretraining.packs import pack_to_budget
from unmask.pretraining.selection import select_sequences
from unmask.pretraining.store import RECORD_FILE, VERSION, TokenStore
from unmask.pretraining.unigram import count_tokens, unigram_cross_entropy
from unmask.training import is_main_process
from unmask.workflows.corpus import ReadingProgress
from unmask.workflows.run_folder import describe_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rich.console import Console

    from unmask.pretraining.formats import Documents, SequenceSource
    from unmask.tokenization import Tokenizer
    from unmask.workflows.pretrain_settings import PretrainSettings

__all__ = ["PretrainData", "read_data"]

_PATIENCE = 24 * 3600.0  # seconds that the other processes wait for the first to tokenize


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Some documents of a store.

    Args:
        store: where they are.
        documents: which they are.
    """

    store: TokenStore
    documents: Documents

    @property
    def num_tokens(self) -> int:
        starts = self.store.sentence_starts
        return int((starts[self.documents[:, 1]] - starts[self.documents[:, 0]]).sum())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what they are: a resumed run must meet the very same."""
        digest = hashlib.sha256(json.dumps(self.store.info.to_dict()["files"]).encode())
        digest.update(np.ascontiguousarray(self.documents, "<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class PretrainData:
    """What a run learns from, and what it is judged by.

    Args:
        train_texts: the documents to learn from.
        dev_texts: the documents to be judged by.
        train: their sequences.
        dev: at most max_dev_sequences of them.
        packs: training sequences that fill a budget together; None where each is a sample by itself.
        unigram_cross_entropy: the loss, in nats, of guessing dev tokens by how frequent they are in training; see
            `unmask.pretraining.unigram`.
    """

    train_texts: Texts
    dev_texts: Texts
    train: SequenceSource
    dev: SequenceSource
    packs: list[NDArray[np.int64]] | None
    unigram_cross_entropy: float

    @property
    def num_samples(self) -> int:
        """Samples of an epoch, as the training loop counts them."""
        return len(self.train) if self.packs is None else len(self.packs)

    def describe(self, batch_size: float) -> dict[str, Any]:
        """Say what there is, as `data.json` has it; `batch_size` counts the sequences of a step."""
        return {
            name: {
                "documents": len(texts.documents),
                "sentences": int(np.diff(texts.documents, axis=1).sum()),
                "text_tokens": texts.num_tokens,
                "sequences": len(source),
                **describe_lengths(source.lengths, max(1, round(batch_size))),
                "cut_sentences": source.num_cut_sentences,
                "sha256": texts.fingerprint,
                **entropy,
            }
            for name, texts, source, entropy in (
                ("train", self.train_texts, self.train, {}),
                ("dev", self.dev_texts, self.dev, {"unigram_cross_entropy": self.unigram_cross_entropy}),
            )
        }


def read_data(settings: PretrainSettings, tokenizer: Tokenizer, *, console: Console) -> PretrainData:
    """Tokenize the texts, if no earlier run has, and make sequences of them.

    Args:
        settings: filled in by `unmask.workflows.pretrain_model.begin`.
        tokenizer: of the model, with new tokens.
        console: where progress is shown.

    Raises:
        CheckpointError: a store is of another tokenizer, damaged or cut short.
        DataError: a text cannot be read, there is none, or too little for the objective.
        SettingsError: the settings of the sequences contradict one another.
    """
    if not settings.corpus and settings.store is None:
        raise SettingsError("corpus is missing: name the texts to learn from, such as --corpus books.txt wiki/")
    _refuse_shared_sources(settings)
    store = _open_store(settings, tokenizer, settings.corpus, settings.store, console=console)
    if settings.dev_corpus:
        beside = settings.store and settings.store.with_name(f"{settings.store.name}-dev")
        dev_store = _open_store(settings, tokenizer, settings.dev_corpus, beside, console=console)
        parts = (
            Texts(store=store, documents=all_documents(store)),
            Texts(store=dev_store, documents=all_documents(dev_store)),
        )
    else:
        train_documents, dev_documents = split_documents(
            store, dev_fraction=settings.dev_fraction, seed=settings.dev_seed
        )
        parts = Texts(store=store, documents=train_documents), Texts(store=store, documents=dev_documents)
    train, dev = (
        _sequences(settings, tokenizer, texts, name=n) for n, texts in zip(("train", "dev"), parts, strict=True)
    )
    pack_tokens = settings.pack_tokens
    counts = [count_tokens(texts.store, texts.documents, vocab_size=tokenizer.vocab_size) for texts in parts]
    return PretrainData(
        train_texts=parts[0],
        dev_texts=parts[1],
        train=train,
        dev=select_sequences(dev, max_sequences=settings.max_dev_sequences),
        packs=None if pack_tokens is None else pack_to_budget(train.lengths, budget=pack_tokens, seed=settings.seed),
        unigram_cross_entropy=unigram_cross_entropy(*counts),
    )


def _sequences(settings: PretrainSettings, tokenizer: Tokenizer, texts: Texts, *, name: str) -> SequenceSource:
    assert settings.format is not None
    try:
        return make_source(
            settings.format,
            texts.store,
            texts.documents,
            tokenizer,
            max_seq_length=settings.max_seq_length,
            pair_objective=settings.pair_objective,
            seed=settings.seed if name == "train" else settings.dev_seed,
            short_seq_probability=settings.short_seq_probability,
        )
    except DataError as error:
        where = ", ".join(settings.corpus) or texts.store.folder
        if name == "train":
            raise DataError(error.problem, path=where) from error
        raise DataError(
            f"the dev texts are {len(texts.documents)} of its documents, too few for this: raise dev_fraction, give "
            f"dev_corpus, or mend the texts ({error.problem})",
            path=", ".join(settings.dev_corpus) or where,
        ) from error


def _refuse_shared_sources(settings: PretrainSettings) -> None:
    """Make sure that nothing is learnt from and judged by."""
    train, dev = (
        {
            source if isinstance(source, str) else source.resolve()
            for source in (list_sources(corpus, data_dir=settings.data_dir) if corpus else ())
        }
        for corpus in (settings.corpus, settings.dev_corpus)
    )
    if shared := sorted(map(str, train & dev)):
        raise DataError(
            "is in corpus and in dev_corpus: a model must be judged by text it did not learn from", path=shared[0]
        )


def _open_store(
    settings: PretrainSettings,
    tokenizer: Tokenizer,
    corpus: Sequence[str],
    folder: Path | None,
    *,
    console: Console,
) -> TokenStore:
    """Open the store of a corpus; the first of several processes makes it where there is none, the others wait."""
    sources = list_sources(corpus, data_dir=settings.data_dir) if corpus else []
    is_given = folder is not None
    folder = folder or _cached_store(settings, tokenizer, sources)
    record = folder / RECORD_FILE
    if not is_main_process():
        _wait_for(record)
    elif sources and (is_given or not record.exists()):
        is_new = not record.exists()
        with ReadingProgress(text_size(sources), console) as progress:
            store = build_store(
                folder,
                sources,
                tokenizer,
                language=settings.language,
                filters=settings.filters,
                text_column=settings.text_column,
                document_per_file=settings.document_per_file,
                line_breaks=settings.line_breaks,
                workers=settings.workers,
                progress=progress.show,
            )
        if is_new:
            return store
    store = TokenStore.open(folder, tokenizer=tokenizer)
    if is_main_process():
        store.verify()
    return store


def _cached_store(settings: PretrainSettings, tokenizer: Tokenizer, sources: Sequence[Path | str]) -> Path:
    """Name the folder that belongs to these texts as they are, the way they are read, and the tokenizer."""
    stats = {str(source): source.stat() for source in sources if isinstance(source, Path)}
    what = {
        "version": VERSION,
        "sources": [
            [str(Path(source).resolve()), stats[str(source)].st_size, stats[str(source)].st_mtime_ns]
            if str(source) in stats
            else [str(source)]
            for source in sources
        ],
        "tokenizer": tokenizer.fingerprint,
        **{
            name: getattr(settings, name)
            for name in ("language", "filters", "text_column", "document_per_file", "line_breaks")
        },
    }
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "unmask" / "stores" / digest[:32]


def _wait_for(path: Path) -> None:
    start = time.monotonic()
    while not path.exists():
        if time.monotonic() - start > _PATIENCE:
            raise DataError("waited a day for the first process to tokenize the texts", path=path)
        time.sleep(0.5)
