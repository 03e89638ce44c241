"""The report of question answering: groups, thresholds and mistakes of a record made by hand.

Run: pytest tests/test_reporting_question_answering.py
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from unmask.metrics.question_answering import question_answering_report, score_answers
from unmask.reporting import RunRecord
from unmask.reporting.question_answering import (
    QUESTION_ANSWERING_SECTIONS,
    lengths_section,
    mistakes_section,
    question_word,
    result_section,
    threshold_section,
    words_section,
)


def line(question: str, predicted: str, *answers: str, f1: float, score: float = 0.5) -> dict[str, Any]:
    """As `judge` writes it, of a context that is the answer between two words."""
    right = answers[0] if answers else None
    return {
        "question": question,
        "predicted": predicted,
        "answers": list(answers),
        "exact_match": float(f1 == 1),
        "f1": f1,
        "score": score,
        "predicted_excerpt": ["before ", predicted, " <after>"] if predicted else None,
        "answer_excerpt": ["left ", right, " right"] if right else None,
    }


LINES = [
    line("Who wrote it?", "Mary & Tom", "Mary & Tom", f1=1.0, score=0.9),
    line("By whom was it read?", "Tom", "Tom", f1=1.0, score=0.4),
    line("In what year was it?", "1916", "1914", f1=0.0, score=0.8),
    line("How many of them were there?", "seven of the <b>", "seven of the nine", f1=0.75, score=0.7),
    line("How did it end?", "", f1=1.0),
    line("Name the author.", "Tom", f1=0.0, score=0.95),
]


def record(lines: list[dict[str, Any]] = LINES, **changes: Any) -> RunRecord:
    raw = score_answers(
        [one["predicted"] for one in lines],
        [one["answers"] for one in lines],
        rules=changes.pop("rules", "squad2"),
    )
    report = question_answering_report(raw, null_scores=range(len(lines)), null_threshold=99.0)
    dev: dict[str, Any] = {"kind": "question-answering", "answers": report.to_dict(), "metrics": {"f1": 0.6}}
    if report.num_no_answer:
        dev["threshold_curve"] = {
            "thresholds": [0.0, 1.5, 3.0],
            "exact_match": [0.2, 0.5, 0.4],
            "f1": [0.2, 0.625, 0.5],
        }
    values: dict[str, Any] = {
        "config": {"metric_for_best": "f1", **changes},
        "environment": {},
        "command": "",
        "steps": [],
        "epochs": [{"epoch": 1, "dev_f1": 0.6, "dev_exact_match": 0.5, "dev_loss": 1.0, "train_loss": 1.2}],
        "data": {},
        "read_predictions": lambda: lines,
        "dev": dev,
        "evaluations": [],
    }
    return RunRecord(**values)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("Who wrote it?", "who"),
        ("Whose is it?", "who"),
        ("In which city, and when?", "which"),
        ("WHAT is it?", "what"),
        ("Since when?", "when"),
        ("Where?", "where"),
        ("Why not?", "why"),
        ("How much is it?", "how many"),
        ("How far is it?", "how"),
        ("Somewhat odd: name it.", "other"),
        ("그 책을 쓴 사람은 누구인가?", "who"),
        ("몇 년에 태어났는가?", "how many"),
        ("언제 어디서 만났나?", "when"),
        ("임진왜란을 일으킨 나라는?", "other"),
        ("왜 그랬는가?", "why"),
        ("어떻게 되었나?", "how"),
        ("수도의 이름은 무엇인가?", "what"),
    ],
)
def test_a_question_is_of_the_kind_of_its_first_question_word(question: str, word: str) -> None:
    assert question_word(question) == word


def rows(html: str) -> list[list[str]]:
    """The cells of a section's table."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>") if "<td>" in row]


def test_scores_by_question_word_with_a_right_answer_of_each() -> None:
    section = words_section(record())
    assert section is not None
    assert rows(section.html) == [
        ["who", "2", "100.0%", "1.000"],
        ["what", "1", "0.0%", "0.000"],
        ["how many", "1", "0.0%", "0.750"],
        ["how", "1", "100.0%", "1.000"],
        ["other", "1", "0.0%", "0.000"],
    ]
    assert section.html.count("<li>") == 1  # the surest that is right; no text can be marked where there is no answer
    assert "<q>before <strong>Mary &amp; Tom</strong> &lt;after&gt;</q>" in section.html
    assert "who, 90.0% sure" in section.html


def test_right_answers_are_promised_only_where_there_are_any() -> None:
    with_one, without = words_section(record()), words_section(record(LINES[2:4]))
    assert with_one is not None
    assert without is not None
    assert "Below the table, for each kind that has one, the surest right answer" in with_one.explanation
    assert "Below the table" not in without.explanation
    assert "<li>" not in without.html


def test_what_stands_around_an_answer_is_cut_between_words() -> None:
    """A run keeps 60 characters on either side, of which the first and the last may be of half a word."""
    cut = line("Who?", "Tom", "Tom", f1=1.0)
    before, after = (
        "eadnought battleships and ocean liners of many kinds, made by "[:60],
        " of Hull, a yard on the Humber known for its newer technolog",
    )
    assert (len(before), len(after)) == (60, 60)
    section = words_section(record([cut | {"predicted_excerpt": [before, "Tom", after]}]))
    assert section is not None
    assert "<q>… battleships and ocean liners of many kinds, made b<strong>" in section.html
    assert "</strong> of Hull, a yard on the Humber known for its newer …</q>" in section.html


def test_scores_by_answer_length_in_words_or_characters() -> None:
    section = lengths_section(record())
    assert section is not None
    assert rows(section.html) == [
        ["1", "2", "50.0%", "0.500"],
        ["3", "1", "100.0%", "1.000"],
        ["4 to 5", "1", "0.0%", "0.750"],
    ]
    korean = [line("누구?", "이순신", "이순신", f1=1.0), line("어디?", "서울 종로", "서울 종로구", f1=0.9)]
    section = lengths_section(record(korean, rules="korquad"))
    assert section is not None
    assert rows(section.html) == [["3 to 4", "1", "100.0%", "1.000"], ["5 to 8", "1", "0.0%", "0.900"]]
    assert "in characters" in section.explanation


def test_the_threshold_is_shown_where_questions_may_have_no_answer() -> None:
    section = threshold_section(record())
    assert section is not None
    [plot] = section.plots
    assert plot.caption is not None
    assert "99.000, the threshold that the model keeps" in plot.caption
    assert "The highest F1 is 0.625" in plot.caption
    assert "flatters it a little" in section.explanation
    drawn, exact, chosen = plot.figure.axes[0].lines
    assert drawn.get_xydata().tolist() == [[0.0, 0.2], [1.5, 0.625], [3.0, 0.5]]
    assert exact.get_ydata().tolist() == [0.2, 0.5, 0.4]
    assert chosen.get_xdata() == [99.0, 99.0]
    given = threshold_section(record(null_score_diff_threshold=99.0))
    assert given is not None
    assert "It was given." in given.explanation
    assert threshold_section(record(LINES[:4])) is None


def test_the_worst_mistakes_come_first_with_both_places_marked() -> None:
    section = mistakes_section(record())
    assert section is not None
    assert "Of 3 dev questions" in section.explanation
    first, second, third = section.html.split("<li>")[1:]
    assert "right <strong>none</strong>, answered <em>Tom</em> with 95.0%, F1 0.00" in first
    assert "<q>left <strong>1914</strong> right</q><q>before <em>1916</em> &lt;after&gt;</q>" in second
    assert "answered <em>seven of the &lt;b&gt;</em>" in third
    assert mistakes_section(record(LINES[:2])) is None


def test_the_verdict_compares_with_answering_nothing() -> None:
    section = result_section(record())
    assert section is not None
    assert "The answer is exactly right for 50.0% of 6 dev questions" in section.html
    assert "2 of them have none in their text, which it says of 50.0% of these" in section.html
    assert "Always answering nothing would have F1 0.333" in section.html
    section = result_section(record(LINES[:4]))
    assert section is not None
    assert "nothing" not in section.html


def test_a_run_that_just_began_has_a_report() -> None:
    empty: dict[str, Any] = {name: {} for name in ("config", "environment", "data", "dev")}
    empty |= {name: [] for name in ("steps", "epochs", "evaluations")}
    began = RunRecord(command="", read_predictions=list, **empty)
    assert [section.title for make in QUESTION_ANSWERING_SECTIONS if (section := make(began))] == ["How to repeat it"]
