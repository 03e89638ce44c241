"""Checks of the texts: empty ones, damaged ones, tokenised ones, and the same text twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.subject import Item, Subject
    from unmask.data import Finding
    from unmask.data.findings import Severity

__all__ = [
    "find_conflicts",
    "find_damaged_text",
    "find_duplicates",
    "find_empty_texts",
    "find_leaks",
    "find_near_leaks",
    "find_shared_contexts",
    "find_tokenised",
]

_PLACEHOLDERS = {"nan", "null", "none", "n/a", "#n/a", "<na>", "nil"}
# What is left where UTF-8 is read as Windows-1252 or Latin-1: a byte that begins a character, then those that go on
# with it. A letter before the end of a quotation may look so too: such ends do not count beside one letter, and of
# scripts other than Latin's it takes two characters in a row.
_INSIDE = (
    "\u0080-\u00ba\u00bc-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u201a\u201e\u2020-\u2022"
    "\u2030\u2039\u20ac\u2122"
)
_GOES_ON = f"[{_INSIDE}\u00bb\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u203a]"
_DAMAGE = re.compile(
    "[\ufffd\ufeff]"  # replaced; a mark inside
    f"|[\u00c2-\u00c5][{_INSIDE}]"  # Latin letters, no-break spaces
    f"|\u00e2[{_INSIDE}]{_GOES_ON}|\u00f0[\u0178\u009f]|\u00ef[\u00bb\u00bf]"  # dashes, quotes; emoji; the first two
    f"|(?:[\u00c2-\u00df]{_GOES_ON}|[\u00e0-\u00ef]{_GOES_ON}{{2}}){{2}}"
)
# How tokenised English is told from raw: a blank before punctuation and before n't, 's, ..., or none.
_TOKENISED = re.compile(r"\w (?:n['’]t|['’](?:s|re|ve|ll|d|m))\b|\w [.,;:?!](?= |$)|(?:^| )(?:``|'')(?: |$)|-[LR]RB-")
_RAW = re.compile(r"\w(?:n['’]t|['’](?:s|re|ve|ll|d|m))\b|\w[.,;:?!](?=\s|$)")
_MOSTLY, _HARDLY, _LEAST_TELLING = 0.7, 0.2, 10
_MOST_ASKED = 20_000  # texts of a file, evenly over it
_LEAST_NEAR = 8  # letters and digits, below which texts are alike by chance


def find_empty_texts(subject: Subject) -> Iterator[Finding]:
    """Texts of blanks, which training refuses; one empty text of a pair; words that stand for a missing value.

    Rows that training leaves out (`skip_empty`) are told where files are read, and are no items.
    """
    for data in subject.sets:
        for item in data.items:
            is_empty = [not text.strip() for text in item.texts]
            if all(is_empty):
                problem = "the text is empty, there is nothing to read in it"
                advice = "fill it in, or leave the row out (--skip-empty)"
                yield data.finding("empty_field", problem, item, severity="error", advice=advice)
            elif any(is_empty):
                which = "first" if is_empty[0] else "second"
                advice = "fill it in, or leave the row out"
                yield data.finding("empty_field", f"the {which} text of the pair is empty", item, advice=advice)
            for text in item.texts:
                if text.strip().casefold() in _PLACEHOLDERS:
                    advice = "if it stands for a missing value, fill it in or leave the row out"
                    yield data.finding("empty_field", f"the text is {text.strip()!r}", item, advice=advice)


def find_damaged_text(subject: Subject) -> Iterator[Finding]:
    """Characters that a wrong decoding leaves, and byte order marks in the middle of a text."""
    for data in subject.sets:
        seen: set[str] = set()  # contexts are shared by many questions
        for item in data.items:
            for text in item.texts:
                if text.isascii() or text in seen or (found := _DAMAGE.search(text)) is None:
                    continue
                seen.add(text)
                part = text[max(0, found.start() - 8) : found.end() + 8]
                is_mark = found[0] == "\ufeff"
                yield data.finding(
                    "damaged_text",
                    f"{part!r} " + ("has a byte order mark inside" if is_mark else "looks like text decoded wrongly"),
                    item,
                    severity="note" if is_mark else "warning",
                    advice="take it out" if is_mark else "read the text's source again, in the encoding it has",
                )


def find_tokenised(subject: Subject) -> Iterator[Finding]:
    """Files with blanks before punctuation beside files without, as CoLA's tokenized/ and raw/; or both in one."""
    told = {}
    for data in subject.sets:
        some = data.items[:: 1 + len(data.items) // _MOST_ASKED]
        votes = [(item, vote) for item in some if (vote := _is_tokenised(item)) is not None]
        if len(votes) >= _LEAST_TELLING:
            told[data.path] = data, votes, sum(vote for _, vote in votes) / len(votes)
    mostly = [(data, votes) for data, votes, share in told.values() if share > _MOSTLY]
    hardly = [(data, votes) for data, votes, share in told.values() if share < _HARDLY]
    for data, votes in mostly if hardly else ():
        item = next(item for item, vote in votes if vote)
        other, others = hardly[0]
        raw = next(item for item, vote in others if not vote)
        yield data.finding(
            "raw_and_tokenised",
            f"the texts are tokenised ({_sample(item, _TOKENISED)}), and those of {other.path} are raw "
            f"({raw.place}: {_sample(raw, _RAW)})",
            item,
            advice="take the files of one kind: of CoLA raw/ or tokenized/ for both, raw/ for a pretrained model",
        )
    for data, votes, share in told.values():
        if _HARDLY <= share <= _MOSTLY:
            rarer = share <= 0.5
            item = next(item for item, vote in votes if vote == rarer)
            yield data.finding(
                "raw_and_tokenised",
                f"of {len(votes):,} texts that tell, {share:.0%} are tokenised, with blanks before punctuation, the "
                f"others raw; the first of the fewer is here ({_sample(item, _TOKENISED if rarer else _RAW)})",
                item,
                severity="note",
                advice="if files of two kinds were joined, take one kind",
            )
    for data, votes in () if hardly else mostly:
        item = next(item for item, vote in votes if vote)
        yield data.finding(
            "tokenised_text",
            f"the texts are tokenised, with blanks before punctuation ({_sample(item, _TOKENISED)})",
            item,
            severity="note",
            advice="texts to predict must be written alike; where there is a raw version, take that",
        )


def _is_tokenised(item: Item) -> bool | None:
    """Whether a text looks tokenised; None if it does not tell."""
    num_tokenised = sum(len(_TOKENISED.findall(text)) for text in item.texts)
    num_raw = sum(len(_RAW.findall(text)) for text in item.texts)
    return None if num_tokenised == num_raw else num_tokenised > num_raw


def _sample(item: Item, pattern: re.Pattern[str]) -> str:
    for text in item.texts:
        if (found := pattern.search(text)) is not None:
            return repr(text[max(0, found.start() - 8) : found.end()])
    return ""


def find_duplicates(subject: Subject) -> Iterator[Finding]:
    """The same text with the same labels twice in one file."""
    severity: Severity = "note" if subject.task == "tagging" else "warning"
    for data in subject.sets:
        first: dict[tuple[str, ...], Item] = {}
        for item, key in zip(data.items, data.keys, strict=True):
            before = first.setdefault(key, item)
            if before is not item and before.labels == item.labels and any(key):
                yield data.finding(
                    "duplicate",
                    f"the same as {before.place}: {_shown(item)}",
                    item,
                    severity=severity,
                    advice="keep one: a text that stands twice counts twice, and may end up in train and in dev",
                )


def find_conflicts(subject: Subject) -> Iterator[Finding]:
    """The same text with different labels in one file."""
    for data in subject.sets:
        first: dict[tuple[str, ...], Item] = {}
        for item, key in zip(data.items, data.keys, strict=True):
            before = first.setdefault(key, item)
            if before.labels != item.labels and any(key):
                yield data.finding(
                    "conflicting_labels",
                    f"{_difference(subject, item, before)}: {_shown(item)}",
                    item,
                    advice="find out which is right: a model cannot learn both",
                )


def find_leaks(subject: Subject) -> Iterator[Finding]:
    """Texts of a dev or test file that a model has seen: in train, or when the best of its checkpoints was chosen."""
    for earlier, later in subject.pairs_of_sets():
        if earlier.path == later.path:
            yield later.finding(
                "leak",
                f"this is the {earlier.role} file too: its scores say nothing about other texts",
                advice=f"give another file for {later.role}",
            )
            continue
        known = dict(zip(reversed(earlier.keys), reversed(earlier.items), strict=True))
        for item, key in zip(later.items, later.keys, strict=True):
            if any(key) and (seen := known.get(key)) is not None:
                label = "" if seen.labels == item.labels else f", {_difference(subject, item, seen, there=True)}"
                yield later.finding(
                    "leak",
                    f"stands in {earlier.path}, {seen.place}, too{label}: {_shown(item)}",
                    item,
                    advice=f"take it out of {earlier.role}: what a model has seen is no test of it",
                )


def find_near_leaks(subject: Subject) -> Iterator[Finding]:
    """Texts that differ from one of an earlier file in punctuation and blanks alone."""
    for earlier, later in subject.pairs_of_sets():
        if earlier.path == later.path:
            continue
        exact = set(earlier.keys)
        known = dict(zip(map(_letters, reversed(earlier.keys)), reversed(earlier.items), strict=True))
        for item, key in zip(later.items, later.keys, strict=True):
            letters = _letters(key)
            if key not in exact and len(letters) >= _LEAST_NEAR and (seen := known.get(letters)) is not None:
                yield later.finding(
                    "near_leak",
                    f"stands in {earlier.path}, {seen.place}, too, but for punctuation and blanks: {_shown(item)}",
                    item,
                    severity="note",
                    advice=f"if it is the same text, take it out of {earlier.role}",
                )


def find_shared_contexts(subject: Subject) -> Iterator[Finding]:
    """Contexts of dev or test that stand in train too, with other questions."""
    for earlier, later in subject.pairs_of_sets():
        if earlier.path == later.path:
            continue
        known = {key[-1]: item for key, item in zip(reversed(earlier.keys), reversed(earlier.items), strict=True)}
        exact, seen = set(earlier.keys), set()
        for item, key in zip(later.items, later.keys, strict=True):
            if key[-1] in known and key[-1] not in seen and key not in exact:
                seen.add(key[-1])
                yield later.finding(
                    "shared_context",
                    f"the context stands in {earlier.path}, {known[key[-1]].place}, too: {item.texts[-1][:40]!r}",
                    item,
                    advice="part questions by whole articles (unmask.data.split_by_article)",
                )


def _letters(key: tuple[str, ...]) -> str:
    """A key without all that is neither letter nor digit, its texts kept apart."""
    return "|".join(re.sub(r"[\W_]+", "", text) for text in key)


def _difference(subject: Subject, item: Item, other: Item, *, there: bool = False) -> str:
    """How two items are labelled differently."""
    if subject.task == "tagging":
        own, others = next(
            ((a, b) for a, b in zip(item.labels, other.labels, strict=False) if a != b), (str(len(item.labels)), "?")
        )
    else:
        own, others = ", ".join(item.labels) or "none", ", ".join(other.labels) or "none"
    return f"labelled {own} here and {others} {'there' if there else f'in {other.place}'}"


def _shown(item: Item) -> str:
    text = " | ".join(item.texts[:1] if len(item.texts[-1]) > 200 else item.texts)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
