"""The tables that commands print, at 80 columns. Run: pytest tests/test_cli_tables.py."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tiny import unmask
from unmask.cli.tables import details, predictions_table, seeds_table, unanswerable_details
from unmask.metrics import bootstrap_mean, summarize_seeds
from unmask.metrics.question_answering import question_answering_report, score_answers
from unmask.metrics.regression import regression_report


def drawn(*parts: Any) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def over(values: list[float]) -> dict[str, Any]:
    return summarize_seeds(values).to_dict() | {"interval": bootstrap_mean(values).to_dict()}


def test_seeds_have_their_range_and_interval_in_80_columns() -> None:
    scores = {"loss": [0.5, 0.75, 0.25], "accuracy": [0.5, 0.7, 0.9], "mcc": [0.1, 0.3, 0.2], "f1": [0.25, 0.5, 0.5]}
    seeds = {
        "best_seed": 1,
        "seeds": [
            {"seed": seed, "is_collapsed": seed == 0, "dev": {name: own[seed] for name, own in scores.items()}}
            for seed in range(3)
        ],
        "dev": {name: over(own) for name, own in scores.items()},
        "evaluations": [],
    }
    out = drawn(seeds_table(seeds))
    assert "…" not in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    accuracy = {row[1]: row[3] for row in rows}
    interval = bootstrap_mean(scores["accuracy"])
    assert accuracy == {
        "0": "0.5000",
        "1": "0.7000",
        "2": "0.9000",
        "mean": "0.7000",
        "± std": "0.2000",
        "lowest": "0.5000",
        "highest": "0.9000",
        "95% from": f"{interval.low:.4f}",
        "95% to": f"{interval.high:.4f}",
    }


def answers_entry(answers: list[list[str]]) -> dict[str, Any]:
    raw = score_answers(["Tom", "", "Ann"], answers)
    report = question_answering_report(raw, null_scores=[-2.0, 1.5, -1.0], null_threshold=0.25)
    return {"data": "dev", "kind": "question-answering", "answers": report.to_dict()}


def test_questions_without_an_answer_have_rows_and_a_threshold_of_their_own() -> None:
    entry = answers_entry([["Tom"], [], []])
    out = drawn(*unanswerable_details([entry, {"data": "none"}]))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["all", "0.667", "0.667", "3"],
        ["with an answer", "1.000", "1.000", "1"],
        ["without one", "0.500", "0.500", "2"],
    ]
    said = " ".join(out.split())
    assert "Null threshold 0.250: above it a question is left unanswered." in said
    assert "Always answering nothing would give exact match and F1 0.667." in said
    assert drawn(details(entry)) in out
    assert unanswerable_details([answers_entry([["Tom"], ["Bo"], ["Ann"]])]) == []


def test_scores_of_regression_stand_in_one_line() -> None:
    report = regression_report([0.0, 1.0, 2.0], [0.0, 1.0, 1.5])
    out = drawn(details({"kind": "regression", **report.to_dict()}))
    shown = "  ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
    assert out.splitlines()[-1] == shown


class _Answer:
    def __init__(self, **cells: str) -> None:
        self.cells = cells

    def to_cells(self) -> dict[str, str]:
        return self.cells


def test_long_texts_are_cut_between_words_and_answers_are_not() -> None:
    text, tags = "river stone " * 450, "river/NOUN " * 20
    out = drawn(predictions_table([_Answer(label="good", text=text), _Answer(label=tags, text="a short one")]))
    assert out.count("river stone") < 12
    assert " …" in out
    assert out.count("river/NOUN") == 20
    assert "a short one" in out


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_the_first_example_is_indented_as_the_others(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert unmask(command, "--help") == 0
    examples = [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith(f"unmask {command} ")]
    assert len(examples) == 2
    assert all(line.startswith("  unmask") for line in examples)
