"""The report of a model that answers questions: the sections every run has, and which questions it can answer."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from unmask.metrics.question_answering import QuestionAnsweringReport
from unmask.reporting.page import Plot, Section, html_table
from unmask.reporting.plots import label_line_ends, new_figure
from unmask.reporting.sections import (
    MISTAKES_SHOWN,
    first_words,
    format_score,
    headline_section,
    item_list,
    last_words,
    run_sections,
)
from unmask.reporting.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from unmask.reporting.record import RunRecord

__all__ = [
    "QUESTION_ANSWERING_DETAILS",
    "QUESTION_ANSWERING_SECTIONS",
    "lengths_section",
    "mistakes_section",
    "question_word",
    "result_section",
    "threshold_section",
    "words_section",
]


# What a question asks for, by the first of these in it. Words that may stand inside others are bounded.
_QUESTION_WORDS = {
    "who": r"\b(?:who|whom|whose)\b|누구|누가(?![가-힣])",
    "how many": r"\bhow (?:many|much)\b|몇|얼마",
    "what": r"\bwhat\b|무엇|무슨|뭐|뭘",
    "when": r"\bwhen\b|언제",
    "where": r"\bwhere\b|어디",
    "which": r"\bwhich\b|어느|어떤",
    "why": r"\bwhy\b|(?<![가-힣])왜(?![가-힣])",
    "how": r"\bhow\b|어떻게",
}
_ANY_WORD = re.compile(
    "|".join(f"(?P<{name.replace(' ', '_')}>{pattern})" for name, pattern in _QUESTION_WORDS.items()), re.IGNORECASE
)
_EXCERPT = 60  # characters that a run keeps on either side of an answer
_BOUNDS_OF_WORDS, _BOUNDS_OF_CHARACTERS = (1, 2, 3, 5, 10), (2, 4, 8, 16)  # the longest answer of each group but one


def question_word(question: str) -> str:
    """What kind of answer a question asks for, by its first question word, English or Korean; "other" without one."""
    found = _ANY_WORD.search(question)
    return "other" if found is None or found.lastgroup is None else found.lastgroup.replace("_", " ")


def result_section(record: RunRecord) -> Section | None:
    """The headline, with always answering nothing beside the model where that is ever right."""
    return headline_section(record, verdict=_verdict(_dev_report(record)) if record.dev else "")


def words_section(record: RunRecord) -> Section | None:
    """Scores by what is asked for."""
    return _groups_section(
        "Question by question word",
        "What is asked for, by the first question word. Names, dates and numbers are easier to find than reasons.",
        "Asked for",
        _grouped(record.predictions, lambda line: question_word(line["question"])),
        order=lambda groups: sorted(groups, key=lambda name: -len(groups[name])),
    )


def lengths_section(record: RunRecord) -> Section | None:
    """Scores by the length of the right answer, of the questions that have one."""
    if not record.dev:
        return None
    in_characters = _dev_report(record).rules == "korquad"
    unit, bounds = ("characters", _BOUNDS_OF_CHARACTERS) if in_characters else ("words", _BOUNDS_OF_WORDS)

    def group(line: dict[str, Any]) -> str:
        answer = line["answers"][0]
        length = len(answer.replace(" ", "")) if in_characters else len(answer.split())
        lowest = 1
        for bound in bounds:
            if length <= bound:
                return f"{lowest} to {bound}" if lowest < bound else f"{bound}"
            lowest = bound + 1
        return f"{lowest} or more"

    return _groups_section(
        "Answer by answer length",
        f"How long the right answer is, in {unit}; of several the first counts. The longer it is, the more there is to "
        "get wrong at either end: F1 stays, exact match falls.",
        unit.capitalize(),
        _grouped((line for line in record.predictions if line["answers"]), group),
        order=lambda groups: sorted(groups, key=lambda name: int(name.split()[0])),
    )


def threshold_section(record: RunRecord) -> Section | None:
    """What other thresholds of giving no answer would have scored on the dev set."""
    curve = record.dev.get("threshold_curve") if record.dev else None
    if not curve:
        return None
    chosen = _dev_report(record).null_threshold
    is_given = record.config.get("null_score_diff_threshold") is not None
    best = max(curve["f1"])
    caption = (
        "Far left nothing is answered, far right everything. Dashed: "
        + (f"{chosen:.3f}, the threshold that the model keeps." if chosen is not None else "none is kept.")
        + f" The highest F1 is {best:.3f}."
    )
    return Section(
        title="When to answer nothing",
        explanation="The model leaves a question unanswered where its score of no answer is above that of the best "
        "span by more than a threshold. "
        + ("It was given." if is_given else "It was chosen for its F1 on these questions, which flatters it a little."),
        plots=(Plot("null_threshold", _threshold_plot(curve, chosen), caption),),
    )


def mistakes_section(record: RunRecord) -> Section | None:
    """The answers on the dev set that share least with the right ones, the surest first."""
    wrong = [line for line in record.predictions if not line["exact_match"]]
    if not wrong:
        return None
    worst = sorted(wrong, key=lambda line: (line["f1"], -line["score"]))[:MISTAKES_SHOWN]
    return Section(
        title="Worst mistakes",
        explanation=f"Of {len(wrong):,} dev questions whose answer is not exactly right, the {len(worst)} that share "
        "least with it, the surest first. Read them: some right answers are only not in the file, others show what the "
        "model has not learned.",
        html=item_list(map(_mistake, worst)),
    )


QUESTION_ANSWERING_DETAILS = (words_section, lengths_section, threshold_section, mistakes_section)

QUESTION_ANSWERING_SECTIONS = run_sections(result=result_section, details=QUESTION_ANSWERING_DETAILS)


def _dev_report(record: RunRecord) -> QuestionAnsweringReport:
    return QuestionAnsweringReport.from_dict(record.dev["answers"])


def _verdict(report: QuestionAnsweringReport) -> str:
    exact = report.metrics["exact_match"]
    told = f"The answer is exactly right for {exact:.1%} of {report.num_questions:,} dev questions."
    if not report.num_no_answer:
        return told
    told += f" {report.num_no_answer:,} of them have none in their text"
    if "no_answer_f1" in report.metrics:
        told += f", which it says of {report.metrics['no_answer_exact_match']:.1%} of these"
    return told + f". Always answering nothing would have F1 {report.score_of_no_answers:.3f}."


def _grouped(
    lines: Iterable[dict[str, Any]], group: Callable[[dict[str, Any]], str]
) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(group(line), []).append(line)
    return groups


def _groups_section(
    title: str,
    explanation: str,
    column: str,
    groups: Mapping[str, Sequence[dict[str, Any]]],
    *,
    order: Callable[[Mapping[str, Sequence[dict[str, Any]]]], list[str]],
) -> Section | None:
    """Draw the scores of each group, and of each that has one a right answer, marked in its text."""
    if not groups:
        return None
    rows: list[list[str | float]] = []
    examples = []
    for name in order(groups):
        lines = groups[name]
        means = [sum(line[score] for line in lines) / len(lines) for score in ("exact_match", "f1")]
        rows.append([name, len(lines), format_score("exact_match", means[0]), means[1]])
        right = [line for line in lines if line["exact_match"] and line["predicted_excerpt"]]
        if right:
            examples.append(_right(max(right, key=lambda line: line["score"]), name))
    html = html_table([column, "Questions", "Exact match", "F1"], rows)
    if examples:
        explanation += " Below the table, for each kind that has one, the surest right answer, marked in its text."
        html += item_list(examples)
    return Section(title=title, explanation=explanation, html=html)


def _right(line: dict[str, Any], group: str) -> str:
    return (
        f"<li><q>{escape(line['question'])}</q>{_excerpt(line['predicted_excerpt'], 'strong')}"
        f"<p>{escape(group)}, {line['score']:.1%} sure</p></li>"
    )


def _mistake(line: dict[str, Any]) -> str:
    html = f"<li><q>{escape(line['question'])}</q>"
    if line["answer_excerpt"]:
        html += _excerpt(line["answer_excerpt"], "strong")
    if line["predicted_excerpt"] and line["predicted_excerpt"] != line["answer_excerpt"]:
        html += _excerpt(line["predicted_excerpt"], "em")
    answers = ", ".join(dict.fromkeys(map(escape, line["answers"]))) or "none"
    predicted = escape(line["predicted"]) or "no answer"
    return (
        f"{html}<p>right <strong>{answers}</strong>, answered <em>{predicted}</em> with {line['score']:.1%}, "
        f"F1 {line['f1']:.2f}</p></li>"
    )


def _excerpt(parts: Sequence[str], mark: str) -> str:
    """Some words of a text with an answer among them, marked."""
    before, answer, after = parts
    if len(before) >= _EXCERPT:
        before = f"… {last_words(before)}"
    if len(after) >= _EXCERPT:
        after = f"{first_words(after)} …"
    return f"<q>{escape(before)}<{mark}>{escape(answer)}</{mark}>{escape(after)}</q>"


def _threshold_plot(curve: Mapping[str, Sequence[float]], chosen: float | None) -> Figure:
    """F1 and exact match by threshold, and the one that was chosen."""
    figure, axes = new_figure("Score by threshold")
    ends = {}
    for name, key, colour in (("F1", "f1", "blue"), ("exact match", "exact_match", "orange")):
        axes.plot(curve["thresholds"], curve[key], color=LIGHT[colour], linewidth=1.8)
        ends[name] = (curve[key][-1], colour)
    if chosen is not None:
        axes.axvline(chosen, color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlabel("score of no answer less that of the best span")
    label_line_ends(axes, ends)
    return figure
