"""Reading questions, whatever the errors of their file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from unmask.checks.raw import read_lines
from unmask.checks.sieve import Sieve, read_excerpt
from unmask.checks.subject import Item
from unmask.data import Finding, read_questions
from unmask.data.questions import is_question, read_first_line
from unmask.data.sources import suffix_of
from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.checks.sieve import Lines, Log
    from unmask.data import QuestionExample
    from unmask.tasks import Reading

__all__ = ["read_question_items"]

_Question: TypeAlias = tuple[int, int, int]  # its article, its paragraph, and its place there


def read_question_items(source: str, path: Path | None, reading: Reading, log: Log) -> list[Item]:
    """Read questions with their contexts; what the reader had to repair stands among the findings."""
    if path is None or path.is_dir():
        raise DataError("questions are read from a file: name one", path=source)
    lines, findings = read_lines(path)
    log.findings += findings
    log.num_refused += log.num_errors
    error = None
    examples: list[QuestionExample] = []
    if not log.num_errors:
        try:
            examples, check = read_questions(path)
            log.findings += check.findings
        except DataError as refusal:
            error = refusal
    has_lines = not examples and (suffix_of(path) == ".jsonl" or is_question(read_first_line(lines)))
    if has_lines and (error is None or error.line is not None):
        examples = _sift_question_lines(path, lines, error, log)
    elif error is not None:
        questions = [] if has_lines else _list_questions(lines)
        if not questions:
            raise error
        examples = _sift_squad(path, lines, questions, error, log)
    return [
        Item(
            texts=(example.question, example.context),
            pieces=(example.question, example.context),
            labels=("impossible" if example.is_impossible else "answerable",),
            line=example.line,
            field=example.place,
            example=example,
        )
        for example in examples
    ]


def _sift_question_lines(path: Path, lines: Lines, error: DataError | None, log: Log) -> list[QuestionExample]:
    found: list[Finding] = []

    def read(units: Sequence[tuple[int, str]]) -> list[QuestionExample]:
        excerpt = list(units)
        examples, check = read_excerpt(path, excerpt, partial(read_questions, format="jsonl"))
        found.extend(
            replace(finding, path=str(path), line=excerpt[(finding.line or 1) - 1][0]) for finding in check.findings
        )
        numbers = [excerpt[(example.line or 1) - 1][0] for example in examples]
        return [
            replace(
                example,
                source=str(path),
                line=number,
                id=str(number) if example.id == str(example.line) else example.id,  # it has none of its own
            )
            for example, number in zip(examples, numbers, strict=True)
        ]

    sieve = Sieve(read)
    examples = sieve([line for line in lines if line[1].strip()])
    log.findings += found
    log.take(sieve, error)
    return examples


def _sift_squad(
    path: Path, lines: Lines, questions: Sequence[_Question], error: DataError, log: Log
) -> list[QuestionExample]:
    articles = json.loads("\n".join(line for _, line in lines))["data"]
    found: list[Finding] = []

    def read(units: Sequence[_Question]) -> list[QuestionExample]:
        chosen: dict[int, dict[int, list[int]]] = {}
        for article, paragraph, question in units:
            chosen.setdefault(article, {}).setdefault(paragraph, []).append(question)
        places: dict[str, str] = {}  # of the excerpt's article, paragraph, question: those of the file
        data = []
        for i, (article, paragraphs) in enumerate(chosen.items()):
            copies = []
            for j, (paragraph, qas) in enumerate(paragraphs.items()):
                whole = articles[article]["paragraphs"][paragraph]
                copies.append(whole | {"qas": [whole["qas"][question] for question in qas]})
                here, there = f"data[{i}].paragraphs[{j}]", f"data[{article}].paragraphs[{paragraph}]"
                places |= {f"{here}.qas[{k}]": f"{there}.qas[{question}]" for k, question in enumerate(qas)}
                places[here] = there
            data.append(articles[article] | {"paragraphs": copies})

        def placed(keys: str | None) -> str | None:
            start = re.match(r"data\[\d+\]\.paragraphs\[\d+\](\.qas\[\d+\])?", keys or "")
            return keys if start is None or keys is None else places[start[0]] + keys[start.end() :]

        try:
            one_line = [(0, json.dumps({"data": data}))]
            examples, check = read_excerpt(path, one_line, partial(read_questions, format="squad"))
        except DataError as refusal:
            raise DataError(refusal.problem, path=path, field=placed(refusal.field)) from refusal
        found.extend(replace(finding, path=str(path), field=placed(finding.field)) for finding in check.findings)
        return [replace(example, source=str(path), place=placed(example.place)) for example in examples]

    sieve = Sieve(read)
    examples = sieve(questions)
    log.findings += found
    log.take(sieve, error)
    return examples


def _list_questions(lines: Lines) -> list[_Question]:
    """Where the questions of a SQuAD file are, as far as it has its shape; none if it is not JSON."""

    def entries(record: Any, key: str) -> list[tuple[int, Any]]:
        values = record.get(key) if isinstance(record, dict) else None
        return [pair for pair in enumerate(values) if isinstance(pair[1], dict)] if isinstance(values, list) else []

    try:
        document = json.loads("\n".join(line for _, line in lines))
    except (ValueError, RecursionError):
        return []
    return [
        (i, j, k)
        for i, article in entries(document, "data")
        for j, paragraph in entries(article, "paragraphs")
        for k, _ in entries(paragraph, "qas")
    ]
