"""Checks of tagged sentences: spans that break off, spans that no token can end with, sentences without an end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unmask.checks.tokens import encode_ids
from unmask.data import find_broken_spans
from unmask.metrics.tag_schemes import detect_scheme, read_spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding, TaggedSentence
    from unmask.metrics.tag_schemes import TagScheme

__all__ = [
    "find_long_sentences",
    "find_malformed_spans",
    "find_misaligned_spans",
    "find_schemes",
    "find_unseen_types",
    "find_wordless",
    "scheme_of",
]

_LONG = 300  # words: more in one sentence than people write
_AT_ONCE = 512


def find_malformed_spans(subject: Subject) -> Iterator[Finding]:
    """Tags that their scheme does not allow where they stand: refused by training, unless it shall repair them."""
    for data in subject.sets:
        if (scheme := scheme_of(subject, data)) is not None:
            for finding in find_broken_spans(_sentences(data), scheme=scheme):
                is_repaired = subject.options.repair_spans
                advice = "" if is_repaired else "--repair-spans reads such tags as conlleval does"
                yield replace(finding, severity="warning" if is_repaired else "error", advice=advice)


def find_schemes(subject: Subject) -> Iterator[Finding]:
    """Files whose spans are tagged in different schemes, or one of words beside one of characters."""
    if subject.train is None or not subject.train.items:
        return
    ours, has_characters = scheme_of(subject, subject.train), subject.train.items[0].example.by_character
    for data in subject.sets:
        if not data.items:
            continue
        theirs = scheme_of(subject, data)
        if None not in (ours, theirs) and theirs != ours:
            yield data.finding(
                "tag_schemes",
                f"the tags are {theirs}, and those of {subject.train.path} {ours}: they are converted",
                data.items[0],
                severity="note",
                advice="if that is not so, say which with --tag-scheme",
            )
        if data.items[0].example.by_character != has_characters:
            units = ("words", "characters") if has_characters else ("characters", "words")
            yield data.finding(
                "tag_units",
                f"here {units[0]} have tags, and {units[1]} in {subject.train.path}",
                data.items[0],
                severity="error",
                advice="give files of one kind",
            )


def find_unseen_types(subject: Subject) -> Iterator[Finding]:
    """Types of spans, or tags that mark none, of which the training file has no example."""
    if subject.train is None or not subject.train.items or subject.options.labels is not None:
        return
    has_spans = scheme_of(subject, subject.train) is not None

    def name(tag: str) -> str:
        return tag[2:] if has_spans and tag != "O" else tag

    known = {name(tag) for item in subject.train.items for tag in item.labels}
    for data in subject.sets:
        seen: set[str] = set()
        for item in data.items if data.role != "train" else ():
            for tag, line in zip(item.labels, item.example.lines, strict=True):
                if name(tag) not in known and name(tag) not in seen:
                    seen.add(name(tag))
                    yield replace(
                        data.finding(
                            "unseen_label",
                            f"the tag {tag!r} is not one the model was given to learn",
                            item,
                            severity="error",
                            advice="mend the tag, or add examples of it to the training file",
                        ),
                        line=line,
                    )


def find_long_sentences(subject: Subject) -> Iterator[Finding]:
    """Sentences so long that a blank line between two may be missing."""
    for data in subject.sets:
        for item in data.items:
            if len(item.pieces) > _LONG:
                yield data.finding(
                    "long_sentence",
                    f"the sentence has {len(item.pieces):,} words",
                    item,
                    advice="see whether a blank line between sentences is missing",
                )


def find_wordless(subject: Subject) -> Iterator[Finding]:
    """Words of which the tokenizer leaves nothing."""
    if subject.tokenizer is None:
        return
    pieces = list(dict.fromkeys(piece for data in subject.sets for item in data.items for piece in item.pieces))
    nothing = {piece for piece, ids in zip(pieces, encode_ids(subject.tokenizer, pieces), strict=True) if not ids}
    for data in subject.sets:
        found = [(item, piece) for item in data.items for piece in item.pieces if piece in nothing]
        if found:
            yield data.finding(
                "nothing_left",
                f"the tokenizer of {subject.model} leaves nothing of {len(found):,} words, such as {found[0][1]!r}",
                found[0][0],
                severity="error" if subject.tokenizer.unk_token_id is None else "note",
                advice="the model reads them as the unknown token: see what they are",
            )


def find_misaligned_spans(subject: Subject) -> Iterator[Finding]:
    """Spans of characters that begin or end inside a token, which so can have no tag that is right."""
    if subject.tokenizer is None:
        return
    for data in subject.sets:
        scheme = scheme_of(subject, data)
        items = [item for item in data.items if _has_long_pieces(item)]
        if scheme is None or not items:
            continue
        known: dict[str, frozenset[int]] = {}
        pieces = list(dict.fromkeys(piece for item in items for piece in item.pieces))
        for start in range(0, len(pieces), _AT_ONCE):
            some = pieces[start : start + _AT_ONCE]
            encodings = subject.tokenizer.encode_batch(some, add_special_tokens=False).encodings
            for piece, encoding in zip(some, encodings, strict=True):
                known[piece] = _inside(encoding.offsets)
        for item in items:
            yield from _misaligned(data, item, scheme, known, subject.model)


def _misaligned(
    data: DataSet, item: Item, scheme: TagScheme, known: dict[str, frozenset[int]], model: str
) -> Iterator[Finding]:
    sentence: TaggedSentence = item.example
    inside: set[int] = set()  # places of the text that lie within a token
    for (first, _), piece in zip(sentence.runs(), item.pieces, strict=True):
        inside |= {sentence.offsets[first][0] + place for place in known[piece]}
    for span in read_spans(sentence.tags or (), scheme):
        start, end = sentence.offsets[span.start][0], sentence.offsets[span.end - 1][1]
        which = [word for word, place in (("begins", start), ("ends", end)) if place in inside]
        if which:
            yield data.finding(
                "misaligned_span",
                f"the {span.type} {sentence.shown_text[start:end]!r} {' and '.join(which)} inside a token of {model}",
                type(item)(texts=(), pieces=(), labels=(), line=sentence.lines[span.start]),
                advice="no tag of that token is right: take a tokenizer of smaller pieces, or one trained on such text",
            )


def _inside(offsets: list[tuple[int, int]]) -> frozenset[int]:
    """Places strictly within a token; two tokens of one place, as of a syllable's letters, count once."""
    return frozenset(place for start, end in offsets for place in range(start + 1, end))


def _has_long_pieces(item: Item) -> bool:
    """Whether a tokenizer is given several units as one, so that a tag may end inside a token."""
    sentence: TaggedSentence = item.example
    return sentence.by_character and any(stop - start > 1 for start, stop in sentence.runs())


def _sentences(data: DataSet) -> list[TaggedSentence]:
    return [item.example for item in data.items]


def scheme_of(subject: Subject, data: DataSet) -> TagScheme | None:
    """How a file marks spans, as training takes it; None where it marks none.

    A few sentences may look like iob1 for want of the B that would tell: what the training file told decides.
    """
    if (given := subject.options.tag_scheme) is not None:
        return None if given == "plain" else given
    found = detect_scheme(item.labels for item in data.items)
    learnt = None if subject.train in (None, data) else scheme_of(subject, subject.train)
    return learnt if found is None or {found, learnt} == {"bio", "iob1"} else found
