"""The report of a tagger, from lines written by hand. Run: pytest tests/test_reporting_tagging.py"""

from __future__ import annotations

from typing import Any

import pytest

from unmask.metrics.tagging import tagging_report
from unmask.reporting.record import RunRecord
from unmask.reporting.tagging import confusion_section, mistakes_section, result_section, types_section

EPOCH = {"epoch": 1, "dev_loss": 0.5, "dev_accuracy": 0.8, "dev_f1": 0.25}


def record(
    tags: list[list[str]], predicted: list[list[str]], *, scheme: Any, lines: list[dict[str, Any]] | None = None
) -> RunRecord:
    metric = "accuracy" if scheme is None else "f1"
    return RunRecord(
        config={"task": "tagging", "metric_for_best": metric},
        environment={},
        command="",
        steps=[],
        epochs=[EPOCH],
        data={},
        read_predictions=lambda: lines or [],
        dev={"kind": "tagging", **tagging_report(tags, predicted, scheme=scheme).to_dict()},
        evaluations=[],
    )


SPANS = record(
    [["B-PER", "I-PER", "O", "B-LOC", "O"], ["O", "B-LOC"]],
    [["B-PER", "I-PER", "O", "B-PER", "O"], ["I-LOC", "O"]],
    scheme="bio",
)
PLAIN = record([["DET", "NOUN", "VERB"], ["NOUN"]], [["DET", "VERB", "VERB"], ["NOUN"]], scheme=None)


def test_the_verdict_counts_spans_and_words() -> None:
    section = result_section(SPANS)
    assert section is not None
    for said in (
        "The model finds 1 of the 3 dev spans, and gives 2 wrong ones.",
        "4 of 7 words have the right tag (57.1%); always answering “O” would be right for 3 (42.9%).",
    ):
        assert said in section.html
    section = result_section(PLAIN)
    assert section is not None
    assert "On the dev set 3 of 4 words have the right tag (75.0%)" in section.html
    assert "always answering “NOUN” would be right for 2 (50.0%)" in section.html
    assert "The share of labels that are right." in section.html


def cells(html: str) -> list[list[str]]:
    rows = html.partition("<tbody>")[2].split("</tr>")[:-1]
    return [[cell.partition("<")[0] for cell in row.split("<td>")[1:]] for row in rows]


def test_types_and_tags_the_most_frequent_first() -> None:
    section = types_section(SPANS)
    assert section is not None
    assert section.title == "Type by type"
    assert cells(section.html) == [
        ["LOC", "0.000", "0.000", "0.000", "2", "1", "0"],
        ["PER", "0.500", "1.000", "0.667", "1", "2", "1"],
    ]
    assert "1 predicted tag does not go with the one before" in section.explanation
    section = types_section(PLAIN)
    assert section is not None
    assert section.title == "Tag by tag"
    assert cells(section.html)[0] == ["NOUN", "1.000", "0.500", "0.667", "2"]


def test_what_is_taken_for_what_is_counted_and_drawn() -> None:
    section = confusion_section(SPANS)
    assert section is not None
    assert sorted(cells(section.html)) == [["B-LOC", "B-PER", "1"], ["B-LOC", "O", "1"], ["O", "I-LOC", "1"]]
    [plot] = section.plots
    assert [text.get_text() for text in plot.figure.axes[0].get_yticklabels()] == [
        "B-LOC",
        "B-PER",
        "I-LOC",
        "I-PER",
        "O",
    ]
    many = [f"T{number:02}" for number in range(31)]
    section = confusion_section(record([many], [many[::-1]], scheme=None))
    assert section is not None
    assert section.plots == ()
    assert len(cells(section.html)) == 15


def test_many_tags_of_spans_are_drawn_by_type() -> None:
    """16 types have 33 tags: a true B-T00 taken for I-T00 is of its type; one for B-T01 is not, nor one for O."""
    begins = [f"B-T{number:02}" for number in range(16)]
    inside = [f"I-T{number:02}" for number in range(16)]
    true = [*begins, *inside, "O", "B-T00", "B-T00"]
    predicted = ["I-T00", *begins[1:], *inside, "O", "B-T01", "O"]
    section = confusion_section(record([true], [predicted], scheme="bio"))
    assert section is not None
    [plot] = section.plots
    axes = plot.figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == [*(f"T{number:02}" for number in range(16)), "O"]
    counts = {tuple(map(int, text.xy)): text.get_text() for text in axes.texts}  # (column, row), of those above 0
    assert counts == {(n, n): "2" for n in range(16)} | {(16, 16): "1", (1, 0): "1", (16, 0): "1"}
    assert "the words of one type, wherever in a span they stand" in (plot.caption or "")
    assert sorted(cells(section.html)) == [["B-T00", "B-T01", "1"], ["B-T00", "I-T00", "1"], ["B-T00", "O", "1"]]


def test_the_surest_mistakes_come_first_with_their_spans_marked() -> None:
    def span(kind: str, text: str, start: int, score: float | None = None) -> dict[str, Any]:
        return {"type": kind, "text": text, "start": start, "end": start + len(text)} | (
            {} if score is None else {"score": score}
        )

    text = "Ann & Bo saw <Rome> and Oslo"
    line = {
        "text": text,
        "words": text.split(),
        "offsets": [[0, 3], [4, 5], [6, 8], [9, 12], [13, 19], [20, 23], [24, 28]],
        "tags": ["B-PER", "O", "B-PER", "O", "B-LOC", "O", "B-LOC"],
        "predicted": ["B-PER", "O", "O", "B-LOC", "B-PER", "O", "B-LOC"],
        "scores": [0.9, 0.8, 0.625, 0.75, 0.5, 0.9, 0.9],
        "entities": [span("PER", "Ann", 0), span("PER", "Bo", 6), span("LOC", "<Rome>", 13), span("LOC", "Oslo", 24)],
        "predicted_entities": [
            span("PER", "Ann", 0, 0.9),
            span("LOC", "saw", 9, 0.75),
            span("PER", "<Rome>", 13, 0.5),
            span("LOC", "Oslo", 24, 0.9),
        ],
    }
    right = line | {"predicted": line["tags"], "predicted_entities": [e | {"score": 1.0} for e in line["entities"]]}  # type: ignore[union-attr]
    surer = line | {"predicted_entities": [span("PER", "Ann & Bo", 0, 0.99)], "text": text.replace("Oslo", "Ulm.")}
    made = record([["O"]], [["O"]], scheme="bio", lines=[right, line, surer])  # type: ignore[list-item]
    section = mistakes_section(made)
    assert section is not None
    assert section.explanation.startswith("2 of 3 dev sentences have mistakes; these are the 2 with")
    first, second = section.html.split("<li>")[1:]
    assert "“Ann” is <strong>PER</strong>, predicted <em>PER</em> “Ann &amp; Bo” with 99.0%" in first
    assert "<q><em>Ann &amp; Bo</em> saw" in first
    assert "Ann &amp; <em>Bo</em> <em>saw</em> <em>&lt;Rome&gt;</em> and Oslo" in second
    order = [
        "“saw” is <strong>nothing</strong>, predicted <em>LOC</em> with 75.0%",
        "“Bo” is <strong>PER</strong>, predicted <em>nothing</em> with 62.5%",
        "“&lt;Rome&gt;” is <strong>LOC</strong>, predicted <em>PER</em> “&lt;Rome&gt;” with 50.0%",
    ]
    places = [second.index(said) for said in order]
    assert places == sorted(places)


def test_wrong_words_are_marked_where_tags_mark_no_spans() -> None:
    words = [f"w{number}" for number in range(300)]
    starts = [sum(len(word) + 1 for word in words[:number]) for number in range(300)]
    tags = ["A"] * 300
    predicted = [*tags[:150], "B", *tags[151:298], "B", "A"]
    line = {
        "text": " ".join(words),
        "words": words,
        "offsets": [[start, start + len(word)] for start, word in zip(starts, words, strict=True)],
        "tags": tags,
        "predicted": predicted,
        "scores": [0.5] * 299 + [0.75],
    }
    section = mistakes_section(record([tags], [predicted], scheme=None, lines=[line]))
    assert section is not None
    html = section.html
    assert "“w150” is <strong>A</strong>, predicted <em>B</em> with 50.0%" in html
    assert html.count("<em>w") == 2
    assert "<q>… " in html
    assert "w149 <em>w150</em> w151" in html
    assert " … " in html.partition("<em>w150</em>")[2].partition("<em>w298</em>")[0]
    assert html.partition("<em>w298</em>")[2].startswith(" w299</q>")
    assert mistakes_section(record([tags], [tags], scheme=None, lines=[line | {"predicted": tags}])) is None


@pytest.mark.parametrize("make", [types_section, confusion_section, mistakes_section])
def test_a_run_that_is_not_done_has_no_such_section(make: Any) -> None:
    empty = RunRecord(
        config={},
        environment={},
        command="",
        steps=[],
        epochs=[],
        data={},
        read_predictions=list,
        dev={},
        evaluations=[],
    )
    assert make(empty) is None
    assert result_section(empty) is None
