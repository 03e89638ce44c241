"""Reading tagged sentences, whatever the errors of their file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from unmask.checks.raw import read_lines
from unmask.checks.sieve import Sieve, is_general, read_excerpt
from unmask.checks.subject import Item
from unmask.data.sources import suffix_of
from unmask.data.tagged_sentence import blocks_of
from unmask.errors import DataError
from unmask.tasks import Tagging

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.checks.sieve import Lines, Log
    from unmask.data import TaggedSentence
    from unmask.tasks import Reading

__all__ = ["read_sentences"]

_MOST_TRIED = 100  # sentences, in search of one that can be read


def read_sentences(source: str, path: Path | None, reading: Reading, log: Log) -> list[Item]:
    """Read sentences; `Reading.columns` names the column of the words as text and that of the tags as label."""
    if path is None or path.is_dir():
        raise DataError("tagged sentences are read from a file: name one", path=source)
    file = path
    lines, findings = read_lines(file)
    log.findings += findings
    broken = {finding.line for finding in findings if finding.severity == "error"}

    def read_at(place: Path) -> list[TaggedSentence]:
        return Tagging.read(place, reading)

    def read(blocks: Sequence[Lines]) -> list[TaggedSentence]:
        excerpt = [line for block in (*anchor, *blocks) for line in (*block, (0, ""))]
        sentences = read_excerpt(file, excerpt, read_at)
        placed = [
            replace(
                sentence,
                source=str(file),
                line=excerpt[sentence.line - 1][0],
                lines=tuple(excerpt[line - 1][0] for line in sentence.lines),
            )
            for sentence in sentences
        ]
        return placed[num_anchored:]

    anchor: list[Lines] = []  # a sentence that tells what the format is, where another alone would not
    num_anchored = 0
    sentences: list[TaggedSentence] = []
    error = None
    if not broken:
        try:
            sentences = read_at(file)
        except DataError as refusal:
            error = refusal
    if not sentences:
        is_json = suffix_of(file) in (".jsonl", ".json")
        blocks = [[line] for line in lines if line[1].strip()] if is_json else list(blocks_of(lines))
        if error is not None and is_general(error, blocks):
            raise error
        whole = [block for block in blocks if not broken.intersection(range(block[0][0] - 1, block[-1][0] + 2))]
        log.num_refused += len(blocks) - len(whole)
        blocks = whole
        for block in blocks[:_MOST_TRIED]:
            with suppress(DataError):
                num_anchored, anchor = len(read([block])), [block]
                break
        sieve = Sieve(read)
        sentences = sieve(blocks)
        log.take(sieve, error)
    return [
        Item(
            texts=(sentence.shown_text,),
            pieces=tuple(f" {word}" for word in _words_of(sentence)),
            labels=sentence.tags or (),
            line=sentence.line,
            label_column=sentence.label_column,
            example=sentence,
        )
        for sentence in sentences
    ]


def _words_of(sentence: TaggedSentence) -> Sequence[str]:
    """What a tokenizer reads as one word each: the words, or characters up to a blank."""
    if not sentence.by_character:
        return sentence.words
    text, offsets = sentence.shown_text, sentence.offsets
    return [text[offsets[first][0] : offsets[stop - 1][1]] for first, stop in sentence.runs()]
