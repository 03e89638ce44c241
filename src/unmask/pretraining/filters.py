"""Named filters for raw text: what stands between a file as it was published and the plain form that readers expect.

That form has one paragraph a line and a blank line between documents. A *line filter* brings the lines of one file (or
of one record) into it; a *document filter* then chooses among documents. Both are streams in and streams out, so that a
filter holds a few lines, never a file. Line filters that know a publisher's layout leave other files as they are, so
that one command can read a folder of both; the others can be kept to some files (`two-blank-lines:*shakespeare*`).
"""

from __future__ import annotations

import itertools
import re
from fnmatch import fnmatch
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from unmask.pretraining.corpora import Document

__all__ = [
    "FILTERS",
    "DocumentFilter",
    "Line",
    "LineFilter",
    "apply_document_filters",
    "apply_line_filters",
    "check_filters",
]

Line: TypeAlias = tuple[int, str]  # its number in the file, from 1, and its text without the line end
LineFilter: TypeAlias = "Callable[[Iterator[Line]], Iterator[Line]]"
DocumentFilter: TypeAlias = "Callable[[Iterator[Document]], Iterator[Document]]"

_MIN_WORDS = 20  # of a document that `min-words` keeps
_LOOK_AHEAD = 500  # lines searched for the end of Project Gutenberg's header
_MIN_CHAPTER = 50  # words: between two headings of a table of contents there are fewer
_MAX_FRONT = 1000  # words: what is longer before the first heading is no title page
_MAX_HEADING = 120  # characters

_START = re.compile(r"\*\*\* ?START OF (?:TH(?:E|IS) )?PROJECT GUTENBERG|\*END ?\*? ?THE SMALL PRINT", re.IGNORECASE)
_END = re.compile(
    r"\*\*\* ?END OF (?:TH(?:E|IS) )?PROJECT GUTENBERG|End of (?:the |this )?Project Gutenberg", re.IGNORECASE
)
_NUMBER = r"""(?:[IVXLCDM]+|\d+|(?:THE\ )?(?:ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN|TWELVE|THIRTEEN|
    FOURTEEN|FIFTEEN|SIXTEEN|SEVENTEEN|EIGHTEEN|NINETEEN|TWENTY|THIRTY|FIRST|SECOND|THIRD|FOURTH|FIFTH|SIXTH|SEVENTH|
    EIGHTH|NINTH|TENTH|LAST)(?:[ -](?:ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE))?)\b"""
_HEADING = re.compile(
    rf"""(?: (?:CHAPTER|BOOK|PART|VOLUME|VOL\.|LETTER|ADVENTURE|STAVE|CANTO|ACT|SCENE|SECTION|EPILOGUE:?)\ +{_NUMBER}
          |  (?:FIRST|SECOND|THIRD)\ EPILOGUE\b
          |  [IVXLCDM]+\.(?:\ +[A-Z].*)?$ | [IVXLCDM]+$
          |  (?-i:PREFACE|FOREWORD|PRELUDE|PROLOGUE|EPILOGUE|FINALE|CONCLUSION|INTRODUCTION|INTRODUCTORY|DEDICATION|
               CONTENTS|ILLUSTRATIONS|LIST\ OF\ ILLUSTRATIONS|APPENDIX|INDEX|FOOTNOTES|NOTES|ETYMOLOGY|EXTRACTS
               |Preface|Foreword|Prelude|Prologue|Epilogue|Finale|Introduction|Contents|Appendix)\b(?=[^a-z]*$|[ .:(])
        )""",
    re.IGNORECASE | re.VERBOSE,
)
_LIST_HEADING = re.compile(r"(?:LIST OF )?(?:CONTENTS|ILLUSTRATIONS|INDEX)\b", re.IGNORECASE)
_ENDS_LIKE_PROSE = re.compile(r"[.!?…:;,—–-][\"'”’)\]_*]*$")
_ITALICS = re.compile(r"(?<!\w)_(.+?)_(?!\w)")

_ARTICLE = re.compile(r" ?= [^=](?:.*[^=])? = ?")
_SECTION = re.compile(r" ?(?:= ){2,}.* (?:= ?){2,}")
_JOINED_MARKS = re.compile(r" @([-,.])@ ")
_SPACE_BEFORE = re.compile(r" (?=[,.;:!?)\]%](?: |$)|'(?:s|t|re|ve|ll|d|m)(?: |$))")
_SPACE_AFTER = re.compile(r"(?<![^ ])([(\[$£€]) ")
_QUOTED = re.compile(r'" (.*?) "')


def check_filters(names: Sequence[str]) -> None:
    """Refuse what names no filter: `NAME`, or `NAME:PATTERN` for a line filter of the files whose path matches.

    Raises:
        SettingsError: there is no such filter, or a pattern stands where none can.
    """
    for entry in names:
        name, colon, pattern = entry.partition(":")
        if name not in FILTERS:
            raise SettingsError(f"there is no filter {name!r}: the filters are {', '.join(FILTERS)}")
        if colon and not pattern:
            raise SettingsError(f"filters has {entry!r}: write a pattern behind the colon, or leave it out")
        if pattern and name in _DOCUMENT_FILTERS:
            raise SettingsError(f"the filter {name} works on the corpus as a whole: leave out the pattern {pattern!r}")


def apply_line_filters(lines: Iterator[Line], names: Sequence[str], *, path: str) -> Iterator[Line]:
    """Send the lines of one file through the line filters among `names` that are for it, in their order."""
    for entry in names:
        name, _, pattern = entry.partition(":")
        if name in _LINE_FILTERS and fnmatch(path, pattern or "*"):
            lines = _LINE_FILTERS[name](lines)
    return lines


def apply_document_filters(documents: Iterator[Document], names: Sequence[str]) -> Iterator[Document]:
    """Send all documents of a corpus through the document filters among `names`, in their order."""
    for name in names:
        if name in _DOCUMENT_FILTERS:
            documents = _DOCUMENT_FILTERS[name](documents)
    return documents


def gutenberg(lines: Iterator[Line]) -> Iterator[Line]:
    r"""A book of Project Gutenberg: chapters as documents, hard-wrapped lines joined to paragraphs.

    Left out: the header and the licence, title pages, tables of contents, headings, pictures, rows of stars, and the
    underscores of _italics_. A chapter of fewer than 50 words counts as a line of the contents. A file without the line
    `*** START OF THIS PROJECT GUTENBERG EBOOK` passes as it is.
    """
    head = list(itertools.islice(lines, _LOOK_AHEAD))
    start = next((i for i, (_, text) in enumerate(head) if _START.search(text)), None)
    if start is None:
        yield from head
        yield from lines
        return
    body = itertools.takewhile(lambda line: not _END.match(line[1].lstrip()), itertools.chain(head[start + 1 :], lines))
    yield from _chapters(_paragraphs(body))


def unwrap(lines: Iterator[Line]) -> Iterator[Line]:
    """Hard-wrapped text: lines are joined to paragraphs, which a blank line parts; two or more part documents."""
    previous = 0
    for block in _blocks(lines):
        if previous and block[0][0] - previous > 2:
            yield previous + 1, ""
        yield block[0][0], " ".join(text.strip() for _, text in block)
        previous = block[-1][0]


def two_blank_lines(lines: Iterator[Line]) -> Iterator[Line]:
    """Verse and plays: each line stays a paragraph, single blank lines are passed over, two or more part documents."""
    previous = 0
    for block in _blocks(lines):
        if previous and block[0][0] - previous > 2:
            yield previous + 1, ""
        yield from block
        previous = block[-1][0]


def line_per_document(lines: Iterator[Line]) -> Iterator[Line]:
    """One text a line, such as reviews or headlines: each line is a document of its own."""
    for number, text in lines:
        yield number, text
        yield number, ""


def wikitext(lines: Iterator[Line]) -> Iterator[Line]:
    """WikiText: ` = Title = ` begins a document, headings go, `@-@` and spaces before punctuation are undone.

    `<unk>` stays: what was there is not known. A file whose first line of text is no ` = Title = ` passes as it is.
    """
    head = []
    for line in lines:
        head.append(line)
        if line[1].strip():
            break
    if not head or not _ARTICLE.fullmatch(head[-1][1]):
        yield from head
        yield from lines
        return
    after_blank = True  # formulas between paragraphs may look like titles
    for number, text in itertools.chain(head, lines):
        is_blank = not text.strip()
        if after_blank and _ARTICLE.fullmatch(text):
            yield number, ""
        elif not is_blank and not _SECTION.fullmatch(text):
            yield number, _detokenize(text.strip())
        after_blank = is_blank


def dedupe(documents: Iterator[Document]) -> Iterator[Document]:
    """Leave out a document that has the very paragraphs of one before it; of a long one, the first million characters.

    Of each document 8 bytes of a hash are remembered: some 80 MB for a million documents.
    """
    seen: set[bytes] = set()
    is_kept = True
    for document in documents:
        if not document.continues:
            digest = blake2b("\n".join(document.paragraphs).encode(), digest_size=8).digest()
            is_kept = digest not in seen
            seen.add(digest)
        if is_kept:
            yield document


def min_words(documents: Iterator[Document]) -> Iterator[Document]:
    """Leave out documents of fewer than 20 words."""
    is_kept = True
    for document in documents:
        if not document.continues:
            is_kept = sum(len(paragraph.split()) for paragraph in document.paragraphs) >= _MIN_WORDS
        if is_kept:
            yield document


def _blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Runs of lines that are not blank."""
    for is_text, run in itertools.groupby(lines, key=lambda line: bool(line[1].strip())):
        if is_text:
            yield list(run)


def _paragraphs(lines: Iterable[Line]) -> Iterator[Line]:
    """Blocks of lines joined, as the number of the first and one text; those without a word are left out."""
    for block in _blocks(lines):
        text = " ".join(" ".join(text for _, text in block).split())
        if "Project Gutenberg" in text or (text.lstrip("[ _").startswith("Illustration") and text.endswith("]")):
            continue
        if any(character.isalnum() for character in text):
            yield block[0][0], _ITALICS.sub(r"\1", text)


def _chapters(paragraphs: Iterator[Line]) -> Iterator[Line]:
    """The paragraphs of each chapter, blank lines between; without headings, front matter and lists."""
    pending: list[Line] = []  # of a chapter not yet long enough to be one
    num_words = 0
    threshold: float = _MAX_FRONT
    after_heading = False
    for number, text in paragraphs:
        if len(text) <= _MAX_HEADING and _HEADING.match(text):
            if num_words >= threshold:
                yield number, ""
            pending, num_words, after_heading = [], 0, True
            threshold = float("inf") if _LIST_HEADING.match(text) else _MIN_CHAPTER
            continue
        is_title = len(text) <= _MAX_HEADING and not _ENDS_LIKE_PROSE.search(text)
        if is_title and (after_heading or text.isupper()):
            continue
        after_heading = False
        was_chapter = num_words >= threshold
        num_words += len(text.split())
        if was_chapter:
            yield number, text
        else:
            pending.append((number, text))
            if num_words >= threshold:
                yield from pending
                pending = []


def _detokenize(text: str) -> str:
    text = _JOINED_MARKS.sub(r"\1", text)
    text = _SPACE_AFTER.sub(r"\1", _SPACE_BEFORE.sub("", text))
    return _QUOTED.sub(r'"\1"', text)


_LINE_FILTERS: dict[str, LineFilter] = {
    "gutenberg": gutenberg,
    "wikitext": wikitext,
    "unwrap": unwrap,
    "two-blank-lines": two_blank_lines,
    "lines": line_per_document,
}
_DOCUMENT_FILTERS: dict[str, DocumentFilter] = {"dedupe": dedupe, "min-words": min_words}
FILTERS: dict[str, LineFilter | DocumentFilter] = {**_LINE_FILTERS, **_DOCUMENT_FILTERS}
