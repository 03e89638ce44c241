"""Labelled data: reading it, parting it, and a small set of our own to start with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.lookup import look_up

if TYPE_CHECKING:
    from unmask.data.acceptability import acceptability_pairs, make_acceptability_set
    from unmask.data.findings import Finding
    from unmask.data.questions import (
        Answer,
        AnswerCheck,
        QuestionExample,
        QuestionFormat,
        read_questions,
        split_by_article,
    )
    from unmask.data.scores import read_score
    from unmask.data.splits import split_indices
    from unmask.data.tables import Table, names_a_file, read_table
    from unmask.data.tagged import TaggedFormat, TaggedSentence, find_broken_spans, read_tagged
    from unmask.data.windows import choose_windows, plan_windows

__all__ = [
    "Answer",
    "AnswerCheck",
    "Finding",
    "QuestionExample",
    "QuestionFormat",
    "Table",
    "TaggedFormat",
    "TaggedSentence",
    "acceptability_pairs",
    "choose_windows",
    "find_broken_spans",
    "make_acceptability_set",
    "names_a_file",
    "plan_windows",
    "read_questions",
    "read_score",
    "read_table",
    "read_tagged",
    "split_by_article",
    "split_indices",
]

_HOMES = {
    "Answer": "questions",
    "AnswerCheck": "questions",
    "Finding": "findings",
    "QuestionExample": "questions",
    "QuestionFormat": "questions",
    "Table": "tables",
    "TaggedFormat": "tagged",
    "TaggedSentence": "tagged",
    "acceptability_pairs": "acceptability",
    "choose_windows": "windows",
    "find_broken_spans": "tagged",
    "make_acceptability_set": "acceptability",
    "names_a_file": "tables",
    "plan_windows": "windows",
    "read_questions": "questions",
    "read_score": "scores",
    "read_table": "tables",
    "read_tagged": "tagged",
    "split_by_article": "questions",
    "split_indices": "splits",
}

__getattr__ = look_up(__name__, _HOMES)
