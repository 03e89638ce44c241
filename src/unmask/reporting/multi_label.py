"""The report of a model that gives any number of labels: the sections every run has, and how each label does."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from unmask.metrics.multilabel import MultilabelReport
from unmask.reporting.page import Section, html_table
from unmask.reporting.sections import (
    MISTAKES_SHOWN,
    headline_section,
    item_list,
    quotes,
    run_sections,
)

if TYPE_CHECKING:
    from unmask.reporting.record import RunRecord

__all__ = ["MULTI_LABEL_DETAILS", "MULTI_LABEL_SECTIONS", "labels_section", "mistakes_section", "result_section"]


def result_section(record: RunRecord) -> Section | None:
    """The headline, with how many texts got just their labels."""
    return headline_section(record, verdict=_verdict(record) if record.dev else "")


def labels_section(record: RunRecord) -> Section | None:
    """Scores per label on the dev set."""
    if not record.dev:
        return None
    report = MultilabelReport.from_dict(record.dev)
    return Section(
        title="Label by label",
        explanation="Precision: how far a label that was given can be trusted. Recall: how many of the texts that have "
        "it were found. “Given” counts the dev texts that the model gave it to.",
        html=html_table(
            ["Label", "Precision", "Recall", "F1", "Texts", "Given"],
            [
                [label.name, label.precision, label.recall, label.f1, label.support, predicted]
                for label, predicted in zip(report.labels, report.num_predicted, strict=True)
            ],
        ),
    )


def mistakes_section(record: RunRecord) -> Section | None:
    """The answers on the dev set that are wrong by the surest label."""
    wrong = [line for line in record.predictions if set(line["labels"]) != set(line["predicted"])]
    if not wrong:
        return None
    surest = sorted(wrong, key=lambda line: -_surprise(line))[:MISTAKES_SHOWN]
    return Section(
        title="Most confident mistakes",
        explanation=f"Of {len(wrong):,} dev texts with a label missing or too many, the {len(surest)} where the model "
        "was surest. Read them: some carry doubtful labels, others show what the model has not learned.",
        html=item_list(map(_mistake, surest)),
    )


MULTI_LABEL_DETAILS = (labels_section, mistakes_section)

MULTI_LABEL_SECTIONS = run_sections(result=result_section, details=MULTI_LABEL_DETAILS)


def _verdict(record: RunRecord) -> str:
    report = MultilabelReport.from_dict(record.dev)
    right = round(report.metrics["exact_match"] * report.num_examples)
    without = sum(not line["labels"] for line in record.predictions)
    return (
        f"The model gives just the right labels to {right:,} of {report.num_examples:,} dev texts "
        f"({right / report.num_examples:.1%}). Giving none to any would be right for {without:,} "
        f"({without / report.num_examples:.1%})."
    )


def _surprise(line: dict[str, Any]) -> float:
    """How sure the model was of the label it is most wrong about, in [0.5, 1]."""
    wrong = set(line["labels"]) ^ set(line["predicted"])
    return max(max(p, 1 - p) for label, p in line["probabilities"].items() if label in wrong)


def _mistake(line: dict[str, Any]) -> str:
    labels, predicted = (escape(", ".join(line[key])) or "none" for key in ("labels", "predicted"))
    return (
        f"<li>{quotes(line)}<p>labelled <strong>{labels}</strong>, predicted <em>{predicted}</em>, "
        f"{_surprise(line):.1%} sure</p></li>"
    )
