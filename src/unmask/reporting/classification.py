"""The report of a classifier: the sections every run has, and what was taken for what."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from unmask.metrics import ClassificationReport, classification_report
from unmask.reporting.calibration import abstention_section, calibration_section
from unmask.reporting.page import Plot, Section, html_table
from unmask.reporting.plots import confusion_matrix_plot
from unmask.reporting.sections import (
    MISTAKES_SHOWN,
    confusions,
    files_section,
    format_score,
    headline_section,
    item_list,
    quotes,
    run_sections,
)

if TYPE_CHECKING:
    from unmask.reporting.record import RunRecord

__all__ = [
    "CLASSIFICATION_DETAILS",
    "CLASSIFICATION_SECTIONS",
    "dev_report",
    "evaluations_section",
    "labels_section",
    "mistakes_section",
    "result_section",
]

_MOST_LABELS_DRAWN = 30  # beyond, cells are too small to read, and their number grows with the square


def dev_report(record: RunRecord) -> ClassificationReport | None:
    """The dev set judged: its entry, or its predictions where the run has none; None where it has neither."""
    if record.dev:
        return ClassificationReport.from_dict(record.dev)
    if not record.predictions:
        return None
    names = list(record.predictions[0]["probabilities"])
    ids = {name: label_id for label_id, name in enumerate(names)}
    return classification_report(
        [ids[line["label"]] for line in record.predictions],
        [ids[line["predicted"]] for line in record.predictions],
        label_names=names,
    )


def result_section(record: RunRecord) -> Section | None:
    """The headline, with how many labels were right beside how many a constant answer gets right."""
    report = dev_report(record)
    return headline_section(record, verdict=_verdict(report) if report else "")


def evaluations_section(record: RunRecord) -> Section | None:
    """The scores of the best epoch on each file alone, with what a constant answer scores."""
    note = " “Baseline” is the accuracy of always answering the most frequent label."
    return files_section(record, more=_right_and_baseline, note=note)


def labels_section(record: RunRecord) -> Section | None:
    """Confusion matrix and scores per label on the dev set."""
    report = dev_report(record)
    if report is None:
        return None
    names = [label.name for label in report.classes]
    is_small = len(names) <= _MOST_LABELS_DRAWN
    most_often = confusions(names, report.confusion_matrix)[:_MOST_LABELS_DRAWN]
    matrix = _matrix(report) if is_small else html_table(["Label", "Taken for", "Texts"], most_often)
    scores = html_table(
        ["Label", "Precision", "Recall", "F1", "Texts"],
        [[label.name, label.precision, label.recall, label.f1, label.support] for label in report.classes],
    )
    return Section(
        title="Label by label",
        explanation=(
            "Each row holds the dev texts of one label and shows what they were taken for: blue where the model is "
            "right, orange where it is wrong, the stronger the more of the row. "
            if is_small
            else f"The labels that were most often taken for one another, of {len(report.classes)}. "
        )
        + "Precision: how far an answer can be trusted. Recall: how many texts of a label were found.",
        html=f'<div class="side-by-side">\n{matrix}\n{scores}\n</div>',
        plots=(Plot("confusion_matrix", confusion_matrix_plot(names, report.confusion_matrix)),) if is_small else (),
    )


def mistakes_section(record: RunRecord) -> Section | None:
    """The wrong answers on the dev set that the model was surest of."""
    wrong = [line for line in record.predictions if line["predicted"] != line["label"]]
    if not wrong:
        return None
    surest = sorted(wrong, key=lambda line: -line["probability"])[:MISTAKES_SHOWN]
    shown = f"the {len(surest)} it was surest of" if len(surest) < len(wrong) else "the surest first"
    return Section(
        title="Most confident mistakes",
        explanation=f"Of {len(wrong):,} wrong answers on the dev set, {shown}. Read them: some texts carry a doubtful "
        "label, others show what the model has not learned.",
        html=item_list(map(_mistake, surest)),
    )


CLASSIFICATION_DETAILS = (labels_section, mistakes_section, calibration_section, abstention_section)

CLASSIFICATION_SECTIONS = run_sections(result=result_section, files=evaluations_section, details=CLASSIFICATION_DETAILS)


def _right_and_baseline(entry: dict[str, Any]) -> dict[str, str | float]:
    report = ClassificationReport.from_dict(entry)
    share = report.most_frequent.support / report.num_examples
    return {"Right": report.num_correct, "Baseline": format_score("accuracy", share)}


def _verdict(report: ClassificationReport) -> str:
    right, total, frequent = report.num_correct, report.num_examples, report.most_frequent
    return (
        f"The model gives the right label to {right:,} of {total:,} dev texts ({right / total:.1%}). "
        f"Always answering “{frequent.name}” would be right for {frequent.support:,} ({frequent.support / total:.1%})."
    )


def _matrix(report: ClassificationReport) -> str:
    names = [escape(label.name) for label in report.classes]
    headings = "".join(f"<th>{name}</th>" for name in ["label ↓<br>predicted →", *names])
    html = f"<thead><tr>{headings}</tr></thead>\n<tbody>\n"
    for row, (name, counts) in enumerate(zip(names, report.confusion_matrix, strict=True)):
        html += f"<tr><th>{name}</th>"
        for column, count in enumerate(counts):
            share = f"{count / max(sum(counts), 1):.0%}"
            kind = ' class="right"' if row == column else ""
            html += f'<td{kind} style="--share: {share}"><b>{count:,}</b><small>{share}</small></td>'
        html += "</tr>\n"
    return f'<div class="scroll"><table class="matrix">\n{html}</tbody></table></div>'


def _mistake(line: dict[str, Any]) -> str:
    return (
        f"<li>{quotes(line)}<p>labelled <strong>{escape(line['label'])}</strong>, "
        f"predicted <em>{escape(line['predicted'])}</em> with {line['probability']:.1%}</p></li>"
    )
