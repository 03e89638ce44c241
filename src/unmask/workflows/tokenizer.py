"""Train a tokenizer on files of text, and report how one does on text it has not seen."""

from __future__ import annotations

import time
from collections.abc import Sequence  # noqa: TC003 - the command line is made from these annotations
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any

from unmask.errors import DataError
from unmask.files import new_folder, write_json
from unmask.tokenization.corpus import find_texts, read_texts
from unmask.tokenization.families import FamilyName, Kind  # noqa: TC001
from unmask.tokenization.report import TokenizerReport
from unmask.tokenization.report import tokenizer_report as report_on_texts
from unmask.tokenization.training import Normalization, train_on_texts
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unmask.tokenization import Tokenizer

__all__ = ["TrainedTokenizer", "tokenizer_report", "train_tokenizer"]

_HELD_OUT_EVERY = 100  # lines
_MOST_HELD_OUT = 20_000  # lines, which stay in memory
_LINES_BETWEEN_SIGNS = 20_000
_OWN_FILES = frozenset(
    {
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer_report.json"),
        *("vocab.txt", "vocab.json", "merges.txt", "spiece.model"),
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainedTokenizer:
    """A tokenizer just trained.

    Args:
        tokenizer: ready for use.
        report: how it does on held-out text; None where there was none.
        folder: where it was saved; None where it was not.
        num_texts: lines it learned from.
        seconds: how long it took, reading included.
    """

    tokenizer: Tokenizer
    report: TokenizerReport | None
    folder: Path | None
    num_texts: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what can be said in JSON."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "vocab_size": self.tokenizer.vocab_size,
            "num_texts": self.num_texts,
            "seconds": self.seconds,
            "report": None if self.report is None else self.report.to_dict(),
        }


def train_tokenizer(
    files: Sequence[str | Path],
    /,
    *,
    output_dir: Path | None = None,
    family: FamilyName = "bert",
    kind: Kind | None = None,
    vocab_size: int = 30_000,
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: Normalization = "nfc",
    special_tokens: Sequence[str] = (),
    min_frequency: int = 2,
    character_coverage: float = 0.9999,
    morphemes: bool = False,
    held_out: Sequence[str | Path] = (),
    text_column: str | None = None,
    data_dir: Path | None = None,
    overwrite: bool = False,
) -> TrainedTokenizer:
    """Learn a vocabulary from text, save it in Hugging Face's layout, and report how it does on held-out text.

    Files are .txt or .md (a text a line), .jsonl or .parquet (a text a row), and may be gzipped. They are read once, a
    line at a time. Korean is safe: syllables stay whole, and every spelling of them gets the same ids.

    Args:
        files: the text.
        output_dir: a new folder for the tokenizer; None saves nothing.
        family: whose special tokens and template: bert, roberta, albert, electra or gpt.
        kind: wordpiece, bpe (on bytes) or unigram; None is what the family's paper used.
        vocab_size: ids at most, special tokens included.
        lowercase: make letters small.
        strip_accents: take accents off letters; Hangul stays whole.
        normalization: nfc composes letters with accents, and Hangul however it is spelt; nfkc also folds full-width and
            other variants, and is not for Korean; none takes text as it comes.
        special_tokens: more of them, after the family's own.
        min_frequency: how often pieces (of Unigram: words) must occur together to be learned.
        character_coverage: share of the text that known characters make up; the rarest are unknown (not with bpe).
        morphemes: split Korean words into morphemes first, which needs kiwipiepy. unmask does so again whenever it
            loads this tokenizer; transformers does not.
        held_out: files to report on; without any, every 100th line of the text is kept apart (20,000 at most).
        text_column: the column of .jsonl and .parquet files; None is "text".
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.
        overwrite: take the place of a folder that is there.

    Raises:
        DataError: a file cannot be used, there is no text, or the folder exists.
        SettingsError: a setting is out of range, or vocab_size too small for special tokens and characters.
    """
    start = time.perf_counter()
    if output_dir is not None:
        _refuse_used_folder(output_dir, overwrite=overwrite)
    paths = find_texts(files, data_dir=data_dir)
    held_out_paths = find_texts(held_out, data_dir=data_dir) if held_out else None
    counted = _CountedTexts(every=None if held_out_paths else _HELD_OUT_EVERY)
    with _naming(paths):
        tokenizer = train_on_texts(
            counted.pass_on(read_texts(paths, text_column=text_column)),
            kind=kind,
            vocab_size=vocab_size,
            family=family,
            lowercase=lowercase,
            strip_accents=strip_accents,
            normalization=normalization,
            special_tokens=special_tokens,
            min_frequency=min_frequency,
            character_coverage=character_coverage,
            morphemes=morphemes,
        )
    texts: Iterable[str] = read_texts(held_out_paths, text_column=text_column) if held_out_paths else counted.held_out
    seconds = time.perf_counter() - start
    report = report_on_texts(tokenizer, texts) if held_out_paths or counted.held_out else None
    if output_dir is not None:
        with new_folder(output_dir, replace=overwrite) as partial:
            tokenizer.save(partial)
            if report is not None:
                write_json(partial / "tokenizer_report.json", report.to_dict())
    return TrainedTokenizer(
        tokenizer=tokenizer, report=report, folder=output_dir, num_texts=counted.num_texts, seconds=seconds
    )


def tokenizer_report(
    tokenizer: str,
    /,
    *,
    data: Sequence[str | Path],
    text_column: str | None = None,
    data_dir: Path | None = None,
) -> TokenizerReport:
    """Report how a tokenizer does on text: tokens a word, unknown words, how much of the vocabulary is used.

    Text it was trained on flatters it: give text it has not seen.

    Args:
        tokenizer: a folder with a tokenizer, a hub id, or "minilm".
        data: files of text: .txt, .md, .jsonl, .parquet, gzipped or not.
        text_column: the column of .jsonl and .parquet files; None is "text".
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.

    Raises:
        CheckpointError: there is no tokenizer of that name.
        DataError: a file cannot be used, or there is no word in any.
    """
    paths = find_texts(data, data_dir=data_dir)
    loaded = load_tokenizer(tokenizer)
    with _naming(paths):
        return report_on_texts(loaded, read_texts(paths, text_column=text_column))


@contextmanager
def _naming(paths: Sequence[Path]) -> Iterator[None]:
    """Say which files an error is about, where it names none."""
    try:
        yield
    except DataError as error:
        if error.path is not None:
            raise
        raise DataError(error.problem, path=", ".join(map(str, paths))) from error


class _CountedTexts:
    """Counts texts as they pass, keeps every so-many-th apart, and gives a sign of life now and then."""

    def __init__(self, *, every: int | None) -> None:
        self._every = every
        self.held_out: list[str] = []
        self.num_texts = 0

    def pass_on(self, texts: Iterable[str]) -> Iterator[str]:
        from rich.console import Console

        console = Console(stderr=True)
        with console.status("reading") as status:
            for number, text in enumerate(texts, start=1):
                if self._every and number % self._every == 0 and len(self.held_out) < _MOST_HELD_OUT:
                    self.held_out.append(text)
                    continue
                self.num_texts += 1
                yield text
                if number % _LINES_BETWEEN_SIGNS == 0:
                    status.update(f"reading: {number:,} lines")
        console.print(f"{self.num_texts:,} lines read; learning pieces", highlight=False)


def _refuse_used_folder(folder: Path, *, overwrite: bool) -> None:
    """Make sure that nothing but a tokenizer would be lost, before hours of work and not after."""
    if folder.exists() and not folder.is_dir():
        raise DataError("a file of this name is in the way: choose another name", path=folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise DataError("the folder exists already: choose another name, or say --overwrite", path=folder)
    if others := sorted(entry.name for entry in folder.iterdir() if entry.name not in _OWN_FILES):
        raise DataError(f"holds more than a tokenizer ({others[0]}): choose another name", path=folder)
