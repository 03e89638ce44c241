"""Tags of the words of texts, or of their characters, and the spans that they mark."""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.programs.shared import Model, main, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(
    r"\w+://\S*\w/?|(?:[^\W\d_]\.){2,}|[@#]?\w+(?:(?:[-.@&/+]|['’](?![ㄱ-힣])|(?<=\d)[,:](?=\d))\w+)*|([^\w\s])\1*"
)
_CLITIC = re.compile(r"(?<=\w)(?:n['’]t|['’](?:s|m|d|re|ve|ll))$", re.IGNORECASE)
_BEGINS, _ENDS = "BSU", "ESLU"  # letters of tags: those that begin a span whatever stands before, those that end one


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The words, where they stand, the tag of each and its probability; and the spans, where the tags mark any."""
    by_character = model.task.get("text_unit") == "character"
    split = split_characters if by_character else split_words
    specials = _Specials(model)
    read, sequences = [], []
    for given in inputs:
        units = split(given["text"])
        if not units:
            raise SystemExit("a text is empty, there is no word in it")
        pieces, rows, row_of_unit = _tokenize(model, given["text"], units, by_character=by_character)
        windows = _windows(len(pieces), model.max_length - specials.count, model.task.get("doc_stride"))
        read.append((given["text"], units, rows, row_of_unit, windows))
        sequences += [specials.around(pieces[start:stop]) for start, stop in windows]
    outputs = iter(model.run(sequences))
    for text, units, rows, row_of_unit, windows in read:
        logits = [next(outputs) for _ in windows]
        shown = [[min(row - start, stop - 1 - row) for start, stop in windows] for row in rows]
        best = [own.index(max(own)) for own in shown]  # the window that shows most around a row
        places = [(window, row - windows[window][0] + specials.first) for row, window in zip(rows, best, strict=True)]
        of_rows = np.stack([logits[window][place] for window, place in places])
        probabilities = softmax(of_rows)
        tags = [model.labels[int(of_rows[row].argmax())] for row in row_of_unit]
        scores = [float(probabilities[row].max()) for row in row_of_unit]
        marks_spans = (
            model.task.get("tag_scheme") != "plain"
            and any(tag != "O" for tag in model.labels)
            and all(tag == "O" or re.fullmatch(r"[BIESLU](-.*)?", tag) for tag in model.labels)
        )
        if by_character and marks_spans:  # a B- belongs to the first of the characters that a piece answers for
            goes_on = [False, *(row == before for before, row in itertools.pairwise(row_of_unit))]
            tags = [f"I{tag[1:]}" if on and tag != "O" else tag for tag, on in zip(tags, goes_on, strict=True)]
        result = {"text": text, "words": [text[start:end] for start, end in units], "offsets": units}
        result |= {"tags": tags, "scores": scores}
        if marks_spans:
            result["entities"] = [
                {
                    "type": type_,
                    "text": text[units[first][0] : units[stop - 1][1]],
                    "start": units[first][0],
                    "end": units[stop - 1][1],
                    "score": sum(scores[first:stop]) / (stop - first),
                }
                for type_, first, stop in _spans(tags)
            ]
        yield result


def split_words(text: str) -> list[tuple[int, int]]:
    """Find the words: parted at blanks and from the marks around them, English clitics (do|n't, dog|'s) too."""
    joined: list[str] = []
    for character in text:  # an accent or a joiner counts as the character that bears it
        if _is_joining(character):
            character = joined[-1] if joined and not joined[-1].isspace() else "x"
        joined.append(character)
    words = []
    for match in _WORD.finditer("".join(joined)):
        start, end = match.span()
        clitic = _CLITIC.search(text, start, end)
        cut = clitic.start() if clitic and clitic.start() > start else end
        words += [(start, cut), (cut, end)] if cut < end else [(start, end)]
    return words


def split_characters(text: str) -> list[tuple[int, int]]:
    """Find the characters that are no blanks, each with its accents and joiners, or a Hangul syllable's letters."""
    starts: list[int] = []
    for place, point in enumerate(text):
        goes_on = bool(starts) and not text[place - 1].isspace()
        if goes_on:
            syllable = unicodedata.normalize("NFC", text[starts[-1] : place + 1])
            goes_on = _is_joining(point) or all(map(_is_joining, syllable[1:]))
        if not goes_on:
            starts.append(place)
    ends = [*starts[1:], len(text)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if not text[start].isspace()]


def _is_joining(point: str) -> bool:
    return unicodedata.category(point) in ("Mn", "Mc", "Me", "Cf") or "\U0001f3fb" <= point <= "\U0001f3ff"


def _tokenize(
    model: Model, text: str, units: list[tuple[int, int]], *, by_character: bool
) -> tuple[list[int], list[int], list[int]]:
    """The pieces of a text, each word's by itself; which of them answer (the rows); and the row of each unit."""
    runs = [[unit] for unit in units]
    if by_character:  # what stands between two blanks is one word to the tokenizer
        runs = []
        for unit in units:
            if runs and runs[-1][-1][1] == unit[0]:
                runs[-1].append(unit)
            else:
                runs.append([unit])
    unknown = model.token_id("unk")
    pieces: list[int] = []
    rows: list[int] = []
    row_of_unit: list[int] = []
    for run in runs:
        begin = run[0][0]
        encoding = model.tokenizer.encode(f" {text[begin : run[-1][1]]}", add_special_tokens=False)
        if not encoding.ids and unknown is None:
            raise SystemExit(f"the tokenizer leaves nothing of {text[begin : run[-1][1]]!r}: delete it")
        places = [start - begin for start, _ in run]
        owners: list[int] = []  # of each row of this run, the first unit that it answers for
        reached = 0
        for number, (start, _) in enumerate(encoding.offsets or [(0, 0)]):
            reached = max(reached, start - 1) if number else 0
            owner = bisect.bisect_right(places, reached) - 1
            if not owners or owner > owners[-1]:
                owners.append(owner)
                rows.append(len(pieces) + number)
            if not by_character:
                break
        first = len(rows) - len(owners)
        row_of_unit += [first + bisect.bisect_right(owners, unit) - 1 for unit in range(len(run))]
        pieces += encoding.ids or [unknown or 0]
    return pieces, rows, row_of_unit


class _Specials:
    """The special tokens around a text, found by encoding one; `first` is where the text begins."""

    def __init__(self, model: Model) -> None:
        sample = model.tokenizer.encode("a")
        inside = [place for place, owner in enumerate(sample.sequence_ids) if owner is not None]
        self.first, end = inside[0], inside[-1] + 1
        self.before, self.after = sample.ids[: self.first], sample.ids[end:]
        self.count = len(self.before) + len(self.after)

    def around(self, pieces: list[int]) -> tuple[list[int], list[int]]:
        ids = [*self.before, *pieces, *self.after]
        return ids, [0] * len(ids)


def _windows(length: int, room: int, stride: int | None) -> list[tuple[int, int]]:
    stride = min(stride or max(1, room // 2), room)
    starts = [number * stride for number in range(-(-max(0, length - room) // stride) + 1)]
    return [(start, min(start + room, length)) for start in starts]


def _spans(tags: list[str]) -> list[tuple[str, int, int]]:
    """Type, first unit and the one after the last of each span, read as conlleval reads bio, iob1, iobes and bilou."""
    spans: list[tuple[str, int, int]] = []
    opened: tuple[str, int] | None = None
    for place, tag in enumerate([*tags, "O"]):
        letter, type_ = tag[0], tag[2:] or "_"
        if opened is not None and (tag == "O" or letter in _BEGINS or type_ != opened[0]):
            spans.append((*opened, place))
            opened = None
        if tag == "O":
            continue
        opened = opened or (type_, place)
        if letter in _ENDS:
            spans.append((*opened, place + 1))
            opened = None
    return spans


if __name__ == "__main__":
    main(answer)
