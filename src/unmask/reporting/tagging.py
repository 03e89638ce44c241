"""The report of a tagger: the sections every run has, which spans and tags it knows, and what it takes for what."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from unmask.metrics.tagging import TaggingReport
from unmask.reporting.page import Plot, Section, html_table
from unmask.reporting.plots import confusion_matrix_plot
from unmask.reporting.sections import (
    MISTAKES_SHOWN,
    confusions,
    first_words,
    headline_section,
    item_list,
    last_words,
    run_sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unmask.reporting.record import RunRecord

__all__ = [
    "TAGGING_DETAILS",
    "TAGGING_SECTIONS",
    "confusion_section",
    "mistakes_section",
    "result_section",
    "types_section",
]

_PER_SENTENCE = 4
_AROUND = 120  # characters of the sentence before its first mistake, and after its last
_MOST_TAGS_DRAWN = 30  # beyond, cells are too small to read
_CONFUSIONS_SHOWN = 15


@dataclass(frozen=True)
class _Mistake:
    """One wrong span or word: where it is, what is said of it as HTML, and how sure the model was."""

    ranges: tuple[tuple[int, int], ...]
    said: str
    score: float


def result_section(record: RunRecord) -> Section | None:
    """The headline, with the spans that were found, and the words that a constant answer tags rightly."""
    return headline_section(record, verdict=_verdict(TaggingReport.from_dict(record.dev)) if record.dev else "")


def types_section(record: RunRecord) -> Section | None:
    """Scores on the dev set per type of span; per tag, where tags mark none."""
    if not record.dev:
        return None
    report = TaggingReport.from_dict(record.dev)
    if report.scheme is None:
        return Section(
            title="Tag by tag",
            explanation="Precision: how far a tag that was given can be trusted. Recall: how many of the words that "
            "have it were given it.",
            html=html_table(
                ["Tag", "Precision", "Recall", "F1", "Words"],
                [
                    [tag.name, tag.precision, tag.recall, tag.f1, tag.support]
                    for tag in sorted(report.tags, key=lambda tag: -tag.support)
                ],
            ),
        )
    malformed = (
        f" {report.num_malformed:,} predicted {'tag does' if report.num_malformed == 1 else 'tags do'} not go with the "
        "one before, an I- without a B- perhaps: such a tag begins a span, as for conlleval."
        if report.num_malformed
        else ""
    )
    return Section(
        title="Type by type",
        explanation="A span counts as found if its type, its first word and its last are all right; nothing is given "
        "for a part. Precision: how far a span that was given can be trusted. Recall: how many of the spans there are "
        f"were found.{malformed}",
        html=html_table(
            ["Type", "Precision", "Recall", "F1", "Spans", "Given", "Right"],
            [
                [one.name, one.precision, one.recall, one.f1, one.support, one.num_predicted, one.num_correct]
                for one in sorted(report.types, key=lambda one: -one.support)
            ],
        ),
    )


def confusion_section(record: RunRecord) -> Section | None:
    """Which tags of the dev set were taken for which."""
    if not record.dev:
        return None
    report = TaggingReport.from_dict(record.dev)
    names = [tag.name for tag in report.tags]
    matrix: Sequence[Sequence[int]] = report.confusion_matrix
    often = confusions(names, matrix)[:_CONFUSIONS_SHOWN]
    plots: tuple[Plot, ...] = ()
    rows = "one tag"
    if len(names) > _MOST_TAGS_DRAWN and report.scheme is not None:
        names, matrix = _by_type(names, matrix)
        rows = "one type, wherever in a span they stand,"
    if len(names) <= _MOST_TAGS_DRAWN:
        caption = f"Each row holds the words of {rows} and shows what they were given, the darker the more of the row."
        plots = (Plot("confusion_matrix", confusion_matrix_plot(names, matrix), caption),)
    return Section(
        title="What is taken for what",
        explanation="The words of the dev set by their tag and the one they were given. Below, the pairs that were "
        "mixed up most often.",
        html=html_table(["Tag", "Taken for", "Words"], often) if often else "",
        plots=plots,
    )


def mistakes_section(record: RunRecord) -> Section | None:
    """The sentences of the dev set with the wrong answers that the model was surest of, marked."""
    found = [(line, _mistakes(line)) for line in record.predictions]
    wrong = [(line, mistakes) for line, mistakes in found if mistakes]
    if not wrong:
        return None
    surest = sorted(wrong, key=lambda pair: -max(mistake.score for mistake in pair[1]))[:MISTAKES_SHOWN]
    what = "spans" if "entities" in record.predictions[0] else "words"
    return Section(
        title="Most confident mistakes",
        explanation=f"{len(wrong):,} of {len(found):,} dev sentences have mistakes; these are the {len(surest)} with "
        f"what the model was surest of. The {what} it is wrong about are marked. Read them: some carry a doubtful tag, "
        "others show what the model has not learned.",
        html=item_list(_item(line, own) for line, own in surest),
    )


TAGGING_DETAILS = (types_section, confusion_section, mistakes_section)

TAGGING_SECTIONS = run_sections(result=result_section, details=TAGGING_DETAILS)


def _by_type(tags: Sequence[str], matrix: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]]]:
    """Add up the counts of tags that mark spans of one type: B-PER and I-PER are PER, and O stays."""
    types = ["O" if tag == "O" else tag.partition("-")[2] or tag for tag in tags]
    names = sorted({*types} - {"O"}) + ["O"] * ("O" in types)
    places = [names.index(name) for name in types]
    summed = [[0] * len(names) for _ in names]
    for row, counts in zip(places, matrix, strict=True):
        for column, count in zip(places, counts, strict=True):
            summed[row][column] += count
    return names, summed


def _verdict(report: TaggingReport) -> str:
    frequent, words = report.most_frequent, report.num_words
    right = sum(row[tag] for tag, row in enumerate(report.confusion_matrix))
    said = (
        f"{right:,} of {words:,} words have the right tag ({right / words:.1%}); always answering “{frequent.name}” "
        f"would be right for {frequent.support:,} ({frequent.support / words:.1%})."
    )
    if report.scheme is None:
        return f"On the dev set {said}"
    true, given, correct = (
        sum(getattr(one, of) for one in report.types) for of in ("support", "num_predicted", "num_correct")
    )
    wrong = f"{given - correct:,} wrong one{'' if given - correct == 1 else 's'}"
    return f"The model finds {correct:,} of the {true:,} dev spans, and gives {wrong}. {said}"


def _mistakes(line: Mapping[str, Any]) -> list[_Mistake]:
    """What is wrong in a line of `predictions_dev.jsonl`."""
    if "entities" in line:
        return _wrong_spans(line)
    return [
        _Mistake(
            ((start, end),),
            f"“{escape(word)}” is <strong>{escape(tag)}</strong>, predicted <em>{escape(predicted)}</em> with "
            f"{score:.1%}",
            score,
        )
        for word, (start, end), tag, predicted, score in zip(
            *(line[key] for key in ("words", "offsets", "tags", "predicted", "scores")), strict=True
        )
        if tag != predicted
    ]


def _wrong_spans(line: Mapping[str, Any]) -> list[_Mistake]:
    """Spans that were missed, each with one found in its place, and those found where there is none."""
    true, found = (
        {(span["type"], span["start"], span["end"]): span for span in line[key]}
        for key in ("entities", "predicted_entities")
    )
    extra = [span for key, span in found.items() if key not in true]
    mistakes = []
    for span in (span for key, span in true.items() if key not in found):
        said = f"“{escape(span['text'])}” is <strong>{escape(span['type'])}</strong>, predicted "
        instead = next((other for other in extra if _overlap(span, other)), None)
        if instead is None:
            score = _mean_score(line, span)
            mistakes.append(_Mistake((_range(span),), f"{said}<em>nothing</em> with {score:.1%}", score))
            continue
        extra.remove(instead)
        said += f"<em>{escape(instead['type'])}</em> “{escape(instead['text'])}” with {instead['score']:.1%}"
        mistakes.append(_Mistake((_range(span), _range(instead)), said, instead["score"]))
    for span in extra:
        said = (
            f"“{escape(span['text'])}” is <strong>nothing</strong>, predicted <em>{escape(span['type'])}</em> with "
            f"{span['score']:.1%}"
        )
        mistakes.append(_Mistake((_range(span),), said, span["score"]))
    return mistakes


def _range(span: Mapping[str, Any]) -> tuple[int, int]:
    return span["start"], span["end"]


def _overlap(span: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(other["start"] < span["end"] and span["start"] < other["end"])


def _mean_score(line: Mapping[str, Any], span: Mapping[str, Any]) -> float:
    """How sure the model was of its tags within a span."""
    own = [
        score
        for score, (start, end) in zip(line["scores"], line["offsets"], strict=True)
        if start < span["end"] and span["start"] < end
    ]
    return sum(own) / max(len(own), 1)


def _item(line: Mapping[str, Any], mistakes: Sequence[_Mistake]) -> str:
    shown = sorted(mistakes, key=lambda mistake: -mistake.score)[:_PER_SENTENCE]
    more = f"<p>and {len(mistakes) - len(shown):,} more</p>" if len(shown) < len(mistakes) else ""
    said = "".join(f"<p>{mistake.said}</p>" for mistake in shown)
    return f"<li><q>{_marked(line['text'], [place for one in shown for place in one.ranges])}</q>{said}{more}</li>"


def _marked(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """A text as HTML with parts of it marked, and what is far from them left out."""
    merged: list[list[int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    html, place = "", 0
    for start, end in merged:
        between = text[place:start]
        if not html and len(between) > _AROUND:
            between = f"… {last_words(between[-_AROUND:])}"
        elif len(between) > 2 * _AROUND:
            between = f"{first_words(between[:_AROUND])} … {last_words(between[-_AROUND:])}"
        html += f"{escape(between)}<em>{escape(text[start:end])}</em>"
        place = end
    rest = text[place:]
    return html + escape(rest if len(rest) <= _AROUND else f"{first_words(rest[:_AROUND])} …")
