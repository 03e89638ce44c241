"""The benchmark of answers: its loops and ours say the same where both look at every span.

Run: .venv/bin/python -m pytest tests/test_benchmarks_answers.py
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from tiny import save_tiny_bert, sentences

FOLDER = Path(__file__).parents[1] / "benchmarks"


def write_squad(path: Path, *, num_texts: int) -> None:
    """Texts of some ten tokens, with a question that has an answer and one that has none each."""
    rng, paragraphs = random.Random(3), []
    for number, (text, _) in enumerate(sentences(num_texts, seed=2)):
        word = rng.choice(text.removesuffix(".").split())
        found = {"id": f"{number}a", "question": "who?", "answers": [{"text": word, "answer_start": text.index(word)}]}
        none = {"id": f"{number}b", "question": "the dog?", "answers": [], "is_impossible": True}
        paragraphs.append({"context": text, "qas": [found | {"is_impossible": False}, none]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "all", "paragraphs": paragraphs}]}))


def test_loops_and_arrays_answer_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import answers

    save_tiny_bert(tmp_path / "bert", max_position_embeddings=384)
    write_squad(tmp_path / "squad.json", num_texts=40)
    arguments = [
        "--data-dir",
        tmp_path,
        "--source",
        "squad.json",
        "--model",
        tmp_path / "bert",
        "--rounds",
        2,
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["answers.py", *map(str, arguments)])
    answers.main()
    told = json.loads(capsys.readouterr().out)
    assert told["same_answers"] == 1
    assert (told["questions"], told["windows"]) == (80, 80)
    assert told["ratios"]["run_squad_loops"] > 0
    assert set(told["seconds"]) >= {"read", "encode", "score"}


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import answers

    monkeypatch.setattr(sys, "argv", ["answers.py", "--data-dir", str(tmp_path), "--source", "no.json"])
    with pytest.raises(SystemExit) as exit_:
        answers.main()
    assert exit_.value.code == 3
    assert "no.json" in capsys.readouterr().err
