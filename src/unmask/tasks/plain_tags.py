"""Tags that mark no spans, and look as if they should: a slip among them, or another way to write them all.

Such tags would be learnt word by word, as parts of speech are, and no span would ever be found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unmask.errors import DataError
from unmask.metrics.tag_schemes import scheme_of_tags

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from unmask.tasks.texts import TextExample

__all__ = ["refuse_half_a_scheme", "say_near_scheme"]

_OUTSIDE = {"O", "o", "0", "-", "_"}
_LETTER_FIRST = re.compile(r"(?P<letter>[BIESLU])[-_.:/|](?P<type>.+)", re.IGNORECASE)
_LETTER_LAST = re.compile(r"(?P<type>.+)[-_.:/|](?P<letter>[BIESLU])", re.IGNORECASE)
_MOST_SHOWN = 3  # tags in one message


def refuse_half_a_scheme(places: Mapping[str, TextExample]) -> None:
    """Make sure that of tags which mark no spans none looks as if it did.

    Args:
        places: the tags, each with the word that has it first.

    Raises:
        DataError: some do; the message names the first that spoils it.
    """
    spans = [name for name in places if scheme_of_tags([name]) and len(name) > 1]
    others = [name for name in places if name != "O" and name not in spans]
    if "O" not in places or not spans:
        return
    odd = others[0] if others else spans[-1]
    raise DataError(
        f"the tag {odd!r} is of no scheme that {spans[0]!r} is of (bio, iob1, iobes, bilou): correct it, or say "
        "--tag-scheme plain if tags mark no spans here",
        path=places[odd].source,
        line=places[odd].line,
        field=places[odd].label_column,
    )


def say_near_scheme(tags: Collection[str]) -> tuple[str, str] | None:
    """Say of tags that mark no spans that they look nearly as if they did, and what to do; None if they do not.

    Near are tags in lower case (`b-per`), with another mark than a hyphen (`B_PER`), with the letter last (`PER-B`),
    and numbers, as data sets store tags.
    """
    marked = sorted(set(tags) - _OUTSIDE) or sorted(tags)
    otherwise = "say --tag-scheme plain if they mark none"
    if all(tag.isdecimal() for tag in tags):
        shown = ", ".join(map(repr, sorted(tags, key=int)[:_MOST_SHOWN]))
        return (
            f"the tags are numbers ({shown}): they are learnt word by word, and no spans are found",
            f"if they stand for tags of spans, name these with --labels 0=O 1=B-PER ..., one for each; {otherwise}",
        )
    shown = ", ".join(map(repr, marked[:_MOST_SHOWN]))
    for pattern in (_LETTER_FIRST, _LETTER_LAST):
        found = [pattern.fullmatch(tag) for tag in marked]
        if len(marked) < len(set(tags)) and all(found):
            first = next(match for match in found if match)
            written = f"{first['letter'].upper()}-{first['type'].upper()}"
            return (
                f"the tags {shown} look like those of spans and are none: they are learnt word by word, and no spans "
                "are found",
                f"write them as {written} and O, or name each so with --labels {first[0]}={written} ...; {otherwise}",
            )
    return None
