"""Text tokenized once, on disk, where training reads it through the memory map.

A store is a folder:

| file | holds |
| --- | --- |
| `tokens.bin` | the ids of all sentences, without special tokens; uint16, or uint32 for vocabularies above 65,536 |
| `sentence_starts.bin` | where each sentence starts in `tokens`, and their end; int64, (num_sentences + 1,) |
| `document_starts.bin` | where each document starts in `sentence_starts`, and their end; int64, (num_documents + 1,) |
| `store.json` | counts, settings, sources, and the size and sha256 of each file; written last |
| `tokenizer/` | the tokenizer, in Hugging Face's layout |

All numbers are little-endian. Opening reads `store.json` and looks at sizes, so it takes as long for 10 GB as for 10
KB; `TokenStore.verify` reads everything. `unmask.pretraining.building` writes stores.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import CheckpointError
from unmask.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from unmask.tokenization import Tokenizer

__all__ = [
    "DOCUMENTS_FILE",
    "RECORD_FILE",
    "SENTENCES_FILE",
    "TOKENIZER_FOLDER",
    "TOKENS_FILE",
    "SourceInfo",
    "StoreInfo",
    "TokenStore",
]

VERSION = 1
TOKENS_FILE, SENTENCES_FILE, DOCUMENTS_FILE = "tokens.bin", "sentence_starts.bin", "document_starts.bin"
RECORD_FILE, PROGRESS_FILE, TOKENIZER_FOLDER = "store.json", "progress.json", "tokenizer"
START_DTYPE = np.dtype("<i8")
_BLOCK = 2**24  # tokens checked at once
_BUILD_AGAIN = "build it again with unmask corpus build"


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """One file or data set that went into a store.

    Args:
        name: its path as it was read, or its id on the hub.
        size: bytes; None for a data set.
        sha256: of its bytes; None for a data set.
    """

    name: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store says about itself.

    Args:
        version: of the layout described above.
        tokenizer_fingerprint: `Tokenizer.fingerprint` of the tokenizer it was built with.
        vocab_size: ids are below this.
        language: whose rules found the sentences, or "none".
        filters: what the text went through.
        text_column: the column read of JSON lines, Parquet and data sets, if one was named.
        document_per_file: whether text files were one document each.
        line_breaks: whether paragraphs are parted by the tokenizer's line break instead of a space.
        sources: what was read, in order.
        num_tokens, num_sentences, num_documents: counts.
        num_words: runs of characters without white space, in the filtered text.
        unigram_entropy: the entropy of a token drawn from the store, -sum p ln p over the vocabulary, in nats: what a
            model loses that knows how frequent each token is, and nothing else.
        files: size in bytes and sha256 of each binary file.
    """

    version: int
    tokenizer_fingerprint: str
    vocab_size: int
    language: str
    filters: tuple[str, ...]
    text_column: str | None
    document_per_file: bool
    line_breaks: bool
    sources: tuple[SourceInfo, ...]
    num_tokens: int
    num_sentences: int
    num_documents: int
    num_words: int
    unigram_entropy: float
    files: Mapping[str, tuple[int, str]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> StoreInfo:
        """Read what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or is not what it should be.
        """
        values = {field.name: content[field.name] for field in fields(cls)}
        for name in ("num_tokens", "num_sentences", "num_documents"):
            if not isinstance(values[name], int) or values[name] < 1:
                raise ValueError(f"{name} is {values[name]!r}")
        values["filters"] = tuple(values["filters"])
        values["sources"] = tuple(SourceInfo(**source) for source in values["sources"])
        values["files"] = {name: (int(size), str(sha256)) for name, (size, sha256) in values["files"].items()}
        return cls(**values)


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """How ids are stored: in 2 bytes where they fit, else in 4."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


class TokenStore:
    """A tokenized corpus, open for reading; `TokenStore.open` makes one.

    Attributes:
        folder: where it lies.
        info: what it says about itself.
        tokens: uint16 or uint32, (num_tokens,); a memory map, read-only.
        sentence_starts: int64, (num_sentences + 1,): where in `tokens` each sentence starts.
        document_starts: int64, (num_documents + 1,): the first sentence of each document. Both close with the
            end of the last one, so that differences are lengths; no sentence and no document is empty.
    """

    def __init__(self, folder: Path, info: StoreInfo) -> None:
        self.folder, self.info = folder, info
        self.tokens: NDArray[np.unsignedinteger[Any]] = self._map(
            TOKENS_FILE, token_dtype(info.vocab_size), info.num_tokens
        )
        self.sentence_starts: NDArray[np.int64] = self._map(SENTENCES_FILE, START_DTYPE, info.num_sentences + 1)
        self.document_starts: NDArray[np.int64] = self._map(DOCUMENTS_FILE, START_DTYPE, info.num_documents + 1)
        if self.sentence_starts[-1] != info.num_tokens or self.document_starts[-1] != info.num_sentences:
            raise CheckpointError(f"{folder}: its files do not belong together: {_BUILD_AGAIN}")

    @classmethod
    def open(cls, folder: str | Path, *, tokenizer: Tokenizer | None = None) -> TokenStore:
        """Open a store without reading its text.

        Args:
            folder: where it lies.
            tokenizer: the one its ids are wanted for; None asks nothing.

        Raises:
            CheckpointError: there is no finished store, it is of another version, its record is damaged, a file is
                missing or cut short, or it was built with another tokenizer.
        """
        folder = Path(folder)
        store = cls(folder, _read_info(folder))
        if tokenizer is not None and tokenizer.fingerprint != store.info.tokenizer_fingerprint:
            raise CheckpointError(
                f"{folder}: this store was built with another tokenizer (of {store.info.vocab_size} tokens, "
                f"fingerprint {store.info.tokenizer_fingerprint[:12]}; this one has {tokenizer.vocab_size}, "
                f"{tokenizer.fingerprint[:12]}), so its numbers mean other words: {_BUILD_AGAIN}, or use the tokenizer "
                f"in {folder / TOKENIZER_FOLDER}"
            )
        return store

    @property
    def num_tokens(self) -> int:
        """Tokens in all."""
        return self.info.num_tokens

    @property
    def num_sentences(self) -> int:
        """Sentences in all."""
        return self.info.num_sentences

    @property
    def num_documents(self) -> int:
        """Documents in all."""
        return self.info.num_documents

    def sentence(self, index: int) -> NDArray[np.unsignedinteger[Any]]:
        """The ids of one sentence, (length,); a view of the map."""
        if not 0 <= index < self.num_sentences:
            raise IndexError(f"sentence {index} of {self.num_sentences}")
        return self.tokens[self.sentence_starts[index] : self.sentence_starts[index + 1]]

    def load_tokenizer(self) -> Tokenizer:
        """Load the tokenizer the store was built with.

        Raises:
            CheckpointError: its files are missing or were changed.
        """
        from unmask.tokenization import Tokenizer

        tokenizer = Tokenizer.from_folder(self.folder / TOKENIZER_FOLDER)
        if tokenizer.fingerprint != self.info.tokenizer_fingerprint:
            raise CheckpointError(
                f"{self.folder / TOKENIZER_FOLDER}: not the tokenizer this store was built with: put that one back"
            )
        return tokenizer

    def verify(self) -> None:
        """Read everything, and compare it with what was written.

        Raises:
            CheckpointError: a file was changed, an id is outside the vocabulary, or a sentence or document is empty.
        """
        for name, (_, sha256) in self.info.files.items():
            if sha256_of(self.folder / name) != sha256:
                raise CheckpointError(
                    f"{self.folder / name}: damaged, its content is not what was written: copy it again, or "
                    f"{_BUILD_AGAIN}"
                )
        for start in range(0, self.num_tokens, _BLOCK):
            largest = int(self.tokens[start : start + _BLOCK].max())
            if largest >= self.info.vocab_size:
                raise CheckpointError(
                    f"{self.folder}: there is a token {largest}, outside the vocabulary of {self.info.vocab_size}: "
                    f"{_BUILD_AGAIN}"
                )
        for starts in (self.sentence_starts, self.document_starts):
            for begin in range(0, len(starts), _BLOCK):
                if starts[0] != 0 or (np.diff(starts[begin : begin + _BLOCK + 1]) < 1).any():
                    raise CheckpointError(f"{self.folder}: a sentence or document of it is empty: {_BUILD_AGAIN}")

    def _map(self, name: str, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        path, expected = self.folder / name, length * dtype.itemsize
        try:
            size = path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}; {_BUILD_AGAIN}") from error
        if size != expected:
            is_short = "cut short" if size < expected else "longer than it was written"
            raise CheckpointError(
                f"{path}: {is_short}, {size} bytes where {RECORD_FILE} says {expected}: copy it again, or "
                + _BUILD_AGAIN
            )
        return np.memmap(path, dtype=dtype, mode="r", shape=(length,))


def _read_info(folder: Path) -> StoreInfo:
    path = folder / RECORD_FILE
    try:
        content = json.loads(path.read_bytes())
        version = content["version"]
        if version == VERSION:
            return StoreInfo.from_dict(content)
    except (FileNotFoundError, NotADirectoryError):
        if (folder / PROGRESS_FILE).is_file():
            raise CheckpointError(
                f"{folder}: the build of this store is not finished: the same unmask corpus build again goes on with it"
            ) from None
        raise CheckpointError(
            f"{folder}: no store here, {RECORD_FILE} is missing: make one with unmask corpus build"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not the record of a store ({type(error).__name__}: {error}): {_BUILD_AGAIN}"
        ) from error
    raise CheckpointError(
        f"{path}: a store of version {version}, and this unmask reads version {VERSION}: {_BUILD_AGAIN}"
    )
