"""Spans written as tags: how BIO, IOB1, IOBES and BILOU mark where a span begins and ends.

A tag is `O` (outside every span), or a letter, a hyphen and the span's type, `B-PER`; a letter alone has the type `_`.
The schemes differ in what they spell out of a span's Beginning, Inside, End and Single word:

| scheme | one word | several words | two that touch, same type |
| --- | --- | --- | --- |
| `bio` (IOB2) | B | B I I | B I B I |
| `iob1` | I | I I I | I I B I |
| `iobes` | S | B I E | B E S |
| `bilou` | U | B I L | B L U |

Ramshaw and Marcus 1995 (arXiv:cmp-lg/9505040); Ratinov and Roth 2009 (aclanthology.org/W09-1119).

**One reading serves all four**, well-formed or not, and it is that of CoNLL-2000's `conlleval` and of seqeval with
`mode=None`: walk through the tags with at most one open span. The open span ends before O, B or S, and before any tag
of another type. A tag that is not O and finds no open span opens one, whichever its letter. E and S end theirs. So in
predictions an I without a B begins a span, rather than be lost, and `B-PER I-LOC` is two spans. What a scheme does not
allow is reported by `find_malformed`, and never changes the spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "LETTERS",
    "MalformedTag",
    "TagScheme",
    "TagSpan",
    "convert_tags",
    "detect_scheme",
    "find_malformed",
    "read_spans",
    "scheme_beside",
    "scheme_of_tags",
    "type_of_tag",
    "write_spans",
    "write_tag",
]

TagScheme = Literal["bio", "iob1", "iobes", "bilou"]
LETTERS: dict[TagScheme, str] = {"bio": "BI", "iob1": "BI", "iobes": "BIES", "bilou": "BILU"}
"""The letters that each scheme writes before a type."""
_AS_IOBES = {"L": "E", "U": "S"}
_AS_BILOU = {"E": "L", "S": "U"}


class TagSpan(NamedTuple):
    """Words that belong together.

    Args:
        type: what they are, such as PER.
        start: index of the first word.
        end: index after the last word.
    """

    type: str
    start: int
    end: int


class MalformedTag(NamedTuple):
    """A tag where its scheme does not allow it.

    Args:
        position: index of its word.
        tag: as it was given.
        problem: what is wrong, a sentence without a full stop.
    """

    position: int
    tag: str
    problem: str


def read_spans(tags: Sequence[str], scheme: TagScheme) -> list[TagSpan]:
    """The spans of one sequence of tags, by their position; malformed ones are read as the module's docstring says.

    Args:
        tags: one per word.
        scheme: whose letters they use.

    Raises:
        DataError: a tag is not one of the scheme's.
        ValueError: no such scheme.
    """
    spans: list[TagSpan] = []
    opened: tuple[str, int] | None = None  # type and start
    for position, (letter, type_) in enumerate(_parse(tags, scheme)):
        if opened is not None and (letter in "OBS" or type_ != opened[0]):
            spans.append(TagSpan(*opened, position))
            opened = None
        if letter == "O":
            continue
        if opened is None:
            opened = (type_, position)
        if letter in "ES":
            spans.append(TagSpan(*opened, position + 1))
            opened = None
    if opened is not None:
        spans.append(TagSpan(*opened, len(tags)))
    return spans


def write_spans(spans: Iterable[TagSpan], length: int, scheme: TagScheme) -> list[str]:
    """The well-formed tags of a sequence of `length` words, the inverse of `read_spans`.

    Raises:
        ValueError: spans overlap, are empty or reach outside the sequence; no such scheme.
    """
    _check_scheme(scheme)
    tags = ["O"] * length
    last = TagSpan("", 0, 0)
    for span in sorted(spans, key=lambda span: span.start):
        if not last.end <= span.start < span.end <= length:
            raise ValueError(f"{span} overlaps {last}, is empty or reaches beyond the {length} words")
        size = span.end - span.start
        if scheme == "bio":
            letters = "B" + "I" * (size - 1)
        elif scheme == "iob1":
            touches = (last.type, last.end) == (span.type, span.start) and last.end > 0
            letters = ("B" if touches else "I") + "I" * (size - 1)
        else:
            letters = "S" if size == 1 else "B" + "I" * (size - 2) + "E"
        tags[span.start : span.end] = (write_tag(letter, span.type, scheme) for letter in letters)
        last = span
    return tags


def convert_tags(tags: Sequence[str], source: TagScheme, target: TagScheme) -> list[str]:
    """The same spans in another scheme, always well-formed: `convert_tags(tags, "iob1", "bio")`.

    Raises:
        DataError, ValueError: as `read_spans`.
    """
    return write_spans(read_spans(tags, source), len(tags), target)


def find_malformed(tags: Sequence[str], scheme: TagScheme) -> list[MalformedTag]:
    """The tags which their scheme does not allow where they stand, in order of position.

    * `bio`: I-X follows B-X or I-X.
    * `iob1`: B-X follows a tag of the same type, from which it parts the new span.
    * `iobes`, `bilou`: I-X and E-X (L-X) follow B-X or I-X; B-X and I-X are followed by I-X or E-X (L-X).

    Raises:
        DataError, ValueError: as `read_spans`.
    """
    found: list[MalformedTag] = []
    parsed = [*_parse(tags, scheme), ("O", "_")]
    before = ("O", "_")
    for position, tag in enumerate(tags):
        letter, type_ = parsed[position]
        same_type_before = before[0] != "O" and before[1] == type_
        if scheme == "iob1":
            if letter == "B" and not same_type_before:
                problem = f"{tag} follows no tag of its type, so there is nothing to part it from: write I"
                found.append(MalformedTag(position, tag, problem))
        elif letter in "IE" and not (same_type_before and before[0] in "BI"):
            begin, inside = write_tag("B", type_, scheme), write_tag("I", type_, scheme)
            found.append(MalformedTag(position, tag, f"{tag} follows neither {begin} nor {inside}"))
        elif scheme != "bio" and letter in "BI":
            after = parsed[position + 1]
            if not (after[0] in "IE" and after[1] == type_):
                inside, end = write_tag("I", type_, scheme), write_tag("E", type_, scheme)
                found.append(MalformedTag(position, tag, f"{tag} is followed by neither {inside} nor {end}"))
        before = (letter, type_)
    return found


def scheme_of_tags(tags: Iterable[str]) -> TagScheme | None:
    """The scheme that a set of tags, such as a model's labels, belongs to; None where the tags mark no spans.

    E or S make it `iobes`, L or U `bilou`, only B and I `bio`: a set alone cannot tell `bio` from `iob1`, and the two
    are read alike. None for parts of speech, and for `O` alone.
    """
    letters = set()
    for tag in tags:
        if tag == "O":
            continue
        if tag[:1] not in {"B", "I", "E", "S", "L", "U"} or not (len(tag) == 1 or tag[1] == "-"):
            return None
        letters.add(tag[0])
    if not letters:
        return None
    for scheme in ("bio", "iobes", "bilou"):
        if letters <= set(LETTERS[scheme]):
            return scheme
    return None


def detect_scheme(sequences: Iterable[Sequence[str]]) -> TagScheme | None:
    """The scheme that sequences of tags are written in; None where they mark no spans.

    As `scheme_of_tags`, and with only B and I it is `iob1` where some span begins with I and no B stands where `iob1`
    has none. A file with both is `bio` with mistakes, which `find_malformed` lists.
    """
    sequences = list(sequences)
    scheme = scheme_of_tags({tag for tags in sequences for tag in tags})
    if scheme != "bio":
        return scheme
    begins_with_i = any(find_malformed(tags, "bio") for tags in sequences)
    return "iob1" if begins_with_i and not any(find_malformed(tags, "iob1") for tags in sequences) else "bio"


def scheme_beside(found: TagScheme | None, learnt: TagScheme | None) -> TagScheme | None:
    """The scheme of a file that is read beside the training file: of its dev set, say.

    A few sentences may look like iob1 for want of the B that would tell: what the training file told decides.

    Args:
        found: what the file's own tags tell (`detect_scheme`).
        learnt: what those of the training file told.
    """
    return learnt if found is None or {found, learnt} == {"bio", "iob1"} else found


def type_of_tag(tag: str) -> str:
    """The type of a tag that marks spans; `_` where it has none, as O."""
    return tag[2:] or "_"


def write_tag(letter: str, type_: str, scheme: TagScheme) -> str:
    """The tag of a letter (B, I, E or S; of `bilou` L and U too) and a type, of which `_` is not written."""
    letter = _AS_BILOU.get(letter, letter) if scheme == "bilou" else letter
    return letter if type_ == "_" else f"{letter}-{type_}"


def _parse(tags: Sequence[str], scheme: TagScheme) -> list[tuple[str, str]]:
    """Letter (O, B, I, E or S) and type of each tag; the type of O, and of a letter alone, is `_`."""
    _check_scheme(scheme)
    parsed = []
    for position, tag in enumerate(tags):
        letter = tag[:1]
        if tag != "O" and not (letter and letter in LETTERS[scheme] and (len(tag) == 1 or tag[1] == "-")):
            allowed = ", ".join(f"{known}-TYPE" for known in LETTERS[scheme])
            raise DataError(f"tag {tag!r} of word {position} is none of {scheme}'s: O, {allowed}")
        parsed.append((_AS_IOBES.get(letter, letter), type_of_tag(tag)))
    return parsed


def _check_scheme(scheme: str) -> None:
    if scheme not in get_args(TagScheme):
        raise ValueError(f"{scheme!r} is no tag scheme: choose {', '.join(get_args(TagScheme))}")
