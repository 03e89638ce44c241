"""Checks of tagged sentences: spans that break off, spans that no token can end with, sentences without an end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unmask.checks.labels import tell_missing
from unmask.checks.tokens import describe_ends, encode_ids, places_inside
from unmask.data import find_broken_spans
from unmask.data.findings import count_of
from unmask.errors import DataError
from unmask.metrics.tag_schemes import detect_scheme, read_spans, scheme_beside, scheme_of_tags, type_of_tag
from unmask.tasks.labels import say_unknown
from unmask.tasks.plain_tags import say_near_scheme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.checks.subject import DataSet, Item, Subject
    from unmask.data import Finding, TaggedSentence
    from unmask.metrics.tag_schemes import TagScheme

__all__ = [
    "find_long_sentences",
    "find_malformed_spans",
    "find_misaligned_spans",
    "find_missing_types",
    "find_near_schemes",
    "find_schemes",
    "find_unseen_types",
    "find_wordless",
    "scheme_of",
]

_LONG = 300  # words: more in one sentence than people write
_AT_ONCE = 512


def find_malformed_spans(subject: Subject) -> Iterator[Finding]:
    """Tags that their scheme has not, and those it does not allow where they stand.

    Training refuses both; of the latter it repairs those that it shall.
    """
    for data in subject.sets:
        if (scheme := scheme_of(subject, data)) is None:
            continue
        foreign = _foreign_tags(data, scheme)
        for tag in sorted(foreign):
            item, count = data.first_with[tag], data.label_counts[tag]
            yield data.finding(
                "bad_tag",
                f"the tag {tag!r} is none of {scheme}'s; {count:,} {'word has' if count == 1 else 'words have'} it",
                item,
                word=item.labels.index(tag),
                severity="error",
                advice="correct the tag, or say with --tag-scheme how tags mark spans",
            )
        sentences = [replace(item.example, tags=item.labels) for item in data.items if foreign.isdisjoint(item.labels)]
        for finding in find_broken_spans(sentences, scheme=scheme):
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


def find_near_schemes(subject: Subject) -> Iterator[Finding]:
    """Tags to learn from that mark no spans and look nearly as if they did, unless they are said to be plain."""
    for data in subject.sets:
        if subject.train not in (None, data) or subject.options.tag_scheme is not None or not data.items:
            continue
        if scheme_of(subject, data) is None and (near := say_near_scheme(data.label_counts)) is not None:
            yield data.finding("near_scheme", near[0], data.items[0], word=0, advice=near[1])


def find_missing_types(subject: Subject) -> Iterator[Finding]:
    """Types of spans, or tags that mark none, of which a dev or test file has no example, whatever its scheme."""
    marks_spans = subject.train is not None and scheme_of(subject, subject.train) is not None
    name = _type_of if marks_spans else str
    kind = "type" if marks_spans else "tag"
    yield from tell_missing(subject, lambda data: set(map(name, data.label_counts)), kind)


def find_unseen_types(subject: Subject) -> Iterator[Finding]:
    """Types of spans, or tags that mark none, that were not given, or of which training has no example."""
    given, train = subject.labels, subject.train
    learnt = set(given.names if given is not None else () if train is None else train.label_counts)
    if not learnt:
        return
    ours = scheme_of_tags(learnt) if train is None or not train.items else scheme_of(subject, train)
    for data in subject.sets:
        if data.role == "train" and given is None:
            continue
        # Tags in another scheme than those given are converted, and those of a type stand and fall together.
        scheme = scheme_of(subject, data)
        name = _type_of if ours is not None and (given is None or scheme != ours) else str
        foreign = _foreign_tags(data, scheme)  # of which there is another finding
        told = {name(tag) for tag in learnt}
        for tag, item in data.first_with.items():
            if name(tag) not in told and tag not in foreign:
                told.add(name(tag))
                problem, advice = say_unknown("tag", tag, sorted(learnt))
                word = item.labels.index(tag)
                yield data.finding("unseen_label", problem, item, word=word, severity="error", advice=advice)


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
        found = [(item, piece[1:]) for item in data.items for piece in item.pieces if piece in nothing]
        if found:
            yield data.finding(
                "nothing_left",
                f"the tokenizer of {subject.model} leaves nothing of {count_of(len(found), 'word')}, such as "
                f"{found[0][1]!r}",
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
        if scheme is None:
            continue
        foreign = _foreign_tags(data, scheme)
        items = [item for item in data.items if _has_long_pieces(item) and foreign.isdisjoint(item.labels)]
        known: dict[str, frozenset[int]] = {}
        pieces = list(dict.fromkeys(piece for item in items for piece in item.pieces))
        for start in range(0, len(pieces), _AT_ONCE):
            some = pieces[start : start + _AT_ONCE]
            encodings = subject.tokenizer.encode_batch(some, add_special_tokens=False).encodings
            for piece, encoding in zip(some, encodings, strict=True):
                known[piece] = places_inside(piece, encoding.offsets)
        for item in items:
            yield from _misaligned(data, item, scheme, known, subject.model)


def _misaligned(
    data: DataSet, item: Item, scheme: TagScheme, known: dict[str, frozenset[int]], model: str
) -> Iterator[Finding]:
    sentence: TaggedSentence = item.example
    text = sentence.shown_text
    inside: set[int] = set()  # places of the text that lie within a token
    for (first, _), piece in zip(sentence.runs(), item.pieces, strict=True):
        inside |= {sentence.offsets[first][0] + place - 1 for place in known[piece]}  # a piece begins with a blank
    for span in read_spans(item.labels, scheme):
        start, end = sentence.offsets[span.start][0], sentence.offsets[span.end - 1][1]
        if which := describe_ends(text, start, end, inside):
            yield data.finding(
                "misaligned_span",
                f"the {span.type} {text[start:end]!r} {which} inside a token of {model}",
                item,
                word=span.start,
                advice="no tag of that token is right: take a tokenizer of smaller pieces, or one trained on such text",
            )


def _has_long_pieces(item: Item) -> bool:
    """Whether a tokenizer is given several units as one, so that a tag may end inside a token."""
    sentence: TaggedSentence = item.example
    return sentence.by_character and any(stop - start > 1 for start, stop in sentence.runs())


def _foreign_tags(data: DataSet, scheme: TagScheme | None) -> set[str]:
    """The tags of a file that its scheme has not, at whatever place."""
    return set() if scheme is None else {tag for tag in data.label_counts if not _is_of(tag, scheme)}


def _is_of(tag: str, scheme: TagScheme) -> bool:
    try:
        read_spans([tag], scheme)
    except DataError:
        return False
    return True


def _type_of(tag: str) -> str:
    return tag if tag == "O" else type_of_tag(tag)


def scheme_of(subject: Subject, data: DataSet) -> TagScheme | None:
    """How a file marks spans, as training takes it; None where it marks none."""
    if (given := subject.options.tag_scheme) is not None:
        return None if given == "plain" else given
    found = detect_scheme(item.labels for item in data.items)
    learnt = None if subject.train in (None, data) else scheme_of(subject, subject.train)
    return scheme_beside(found, learnt)
