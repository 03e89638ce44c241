"""Question answering from the command line to the report, and in transformers.

Run: pytest tests/test_workflows_question_answering.py
"""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import NOUNS, OTHERS, QUICK, VERBS, save_tiny_bert, unmask
from unmask import evaluate, predict
from unmask.metrics import score_answers

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("--max-seq-length", 24, "--doc-stride", 6, "--max-answer-length", 5, "--n-best-size", 4)


def write_squad(path: Path, count: int, *, seed: int, share_impossible: float) -> Path:
    """Texts in which nouns do things; a question names a noun, its answer is what that does, if anything."""
    rng = random.Random(seed)
    paragraphs = []
    for number in range(count):
        nouns = rng.sample(NOUNS, 9)
        verbs = [rng.choice(VERBS) for _ in nouns]
        sentences = [f"{noun} {verb} {rng.choice(OTHERS)}." for noun, verb in zip(nouns[:-1], verbs[:-1], strict=True)]
        context = " ".join(sentences)
        entries: list[dict[str, Any]] = []
        for place in range(2):
            is_impossible = number % 5 < 5 * share_impossible and place == 0
            noun = nouns[-1] if is_impossible else nouns[place]
            start = 0 if is_impossible else context.index(f"{noun} ") + len(noun) + 1
            answers = [] if is_impossible else [{"text": verbs[place], "answer_start": start}]
            entries.append(
                {"id": f"{seed}-{number}-{place}", "question": f"{noun} today", "answers": answers}
                | ({"is_impossible": is_impossible} if share_impossible else {})
            )
        paragraphs.append({"context": context, "qas": entries})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "nouns", "paragraphs": paragraphs}]}))
    return path


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bert/, files of both kinds and a run on questions some of which have no answer."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert")
    for name, count, seed in (("train", 20, 1), ("dev", 10, 2), ("test", 9, 3)):
        write_squad(place / f"two-{name}.json", count, seed=seed, share_impossible=0.8)
        write_squad(place / f"one-{name}.json", count, seed=seed, share_impossible=0)
    files = ("--train", place / "two-train.json", "--dev", place / "two-dev.json", "--test", place / "two-test.json")
    arguments = ("--model", place / "bert", *files, "--output-dir", place / "run", *QUICK, *OPTIONS)
    assert unmask("finetune", "question-answering", *arguments) == 0
    return place


def test_the_run_says_what_it_did(place: Path) -> None:
    run = place / "run"
    config, model = read_json(run / "config.json"), read_json(run / "model" / "config.json")
    assert (config["task"], config["labels"], config["metric_for_best"]) == ("question-answering", None, "f1")
    assert config["null_score_diff_threshold"] is None
    memory = model["unmask_task"]
    assert memory == {
        "task": "question-answering",
        "max_seq_length": 24,
        "doc_stride": 6,
        "max_query_length": 64,
        "max_answer_length": 5,
        "n_best_size": 4,
        "answer_rules": "squad2",
        "null_score_diff_threshold": memory["null_score_diff_threshold"],
    }
    assert isinstance(memory["null_score_diff_threshold"], float)
    assert (model["architectures"], model["id2label"]) == (["BertForQuestionAnswering"], {"0": "start", "1": "end"})
    data = read_json(run / "data.json")["train"]
    assert data["questions"] == {"with_answer": 24, "without_answer": 16}
    assert (data["rows"], data["truncated_texts"]) == (40, 0)
    assert data["windows"] > 40
    dev, [test] = read_json(run / "evaluation_dev.json"), read_json(run / "evaluation.json")
    assert (dev["kind"], dev["num_examples"], test["num_examples"]) == ("question-answering", 20, 18)
    lines = read_lines(run / "predictions_dev.jsonl")
    assert dev["metrics"]["f1"] == pytest.approx(np.mean([line["f1"] for line in lines]))
    assert dev["metrics"]["exact_match"] == pytest.approx(np.mean([line["exact_match"] for line in lines]))
    scores = score_answers([line["predicted"] for line in lines], [line["answers"] for line in lines])
    assert dev["metrics"]["f1"] == pytest.approx(scores.f1.mean())
    epochs = [line for line in read_lines(run / "metrics.jsonl") if line["kind"] == "epoch"]
    assert dev["metrics"]["f1"] == pytest.approx(max(epoch["dev_f1"] for epoch in epochs))
    assert {"dev_has_answer_f1", "dev_no_answer_f1", "dev_loss"} <= epochs[0].keys()
    for entry in (dev, test):
        assert entry["answers"]["null_threshold"] == memory["null_score_diff_threshold"]
    page = (run / "report.html").read_text()
    for said in ("Question by question word", "Answer by answer length", "When to answer nothing", "Exact match"):
        assert said in page
    assert (run / "plots" / "null_threshold.png").is_file()
    assert "or with nothing where the score of no answer is above" in (run / "model" / "README.md").read_text()


def test_the_threshold_in_the_folder_is_the_one_that_is_applied(place: Path, tmp_path: Path, capsys: Any) -> None:
    """Changed in the model's config.json, it changes answers and scores: it is read from there, and nowhere else."""
    run, test = place / "run", place / "two-test.json"
    [kept] = read_json(run / "evaluation.json")
    assert evaluate(str(run / "model"), data=str(test)) == kept
    counts = []
    for number, threshold in enumerate((-1e6, kept["answers"]["null_threshold"], 1e6, None)):
        folder = tmp_path / f"model-{number}"
        shutil.copytree(run / "model", folder)
        config = read_json(folder / "config.json")
        config["unmask_task"]["null_score_diff_threshold"] = threshold
        (folder / "config.json").write_text(json.dumps(config))
        assert unmask("predict", folder, "--data", test, "--output", tmp_path / "answers.jsonl") == 0
        answers = read_lines(tmp_path / "answers.jsonl")
        assert len(answers) == 18
        if threshold is not None:
            assert all(line["is_impossible"] == (line["null_score"] > threshold) for line in answers)
        assert all(line["is_impossible"] == (line["text"] == "") for line in answers)
        counts.append(sum(line["is_impossible"] for line in answers))
        entry = evaluate(str(folder), data=str(test))
        golds = [
            [answer["text"] for answer in question["answers"]]
            for paragraph in read_json(test)["data"][0]["paragraphs"]
            for question in paragraph["qas"]
        ]
        scores = score_answers([line["text"] for line in answers], golds)
        assert entry["metrics"]["f1"] == pytest.approx(scores.f1.mean())
    assert counts[0] == 18
    assert counts[2] == counts[3] == 0
    assert unmask("evaluate", run / "model", "--data", test) == 0
    printed = capsys.readouterr().out
    assert "with an answer" in printed
    assert "without one" in printed


def test_a_question_is_typed_with_its_text(place: Path, capsys: Any) -> None:
    run = place / "run"
    context = "dog sleep now. cat run often. bird sing."
    assert unmask("predict", run, "dog today", "--text-pair", context, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    [expected] = predict(run, ["dog today"], [context])
    assert told == json.loads(json.dumps(expected.to_dict()))
    assert told["question"] == "dog today"
    assert sorted(candidate["text"] == "" for candidate in told["n_best"]) == [False] * 4 + [True]
    for candidate in told["n_best"]:
        if candidate["start"] is not None:
            assert context[candidate["start"] : candidate["end"]] == candidate["text"] != ""
    assert unmask("predict", run, "dog today", "--text-pair", context) == 0
    assert "dog today" in capsys.readouterr().out
    assert unmask("predict", run, "dog today") == 3
    assert "give it too, with --text-pair" in capsys.readouterr().err
    assert unmask("predict", run, " ", "--text-pair", context) == 3
    assert "texts, line 1: the question is empty: write it" in capsys.readouterr().err


def test_transformers_reads_the_same_logits(place: Path) -> None:
    import transformers

    folder = place / "run" / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    context = "dog sleep now. cat run often."
    inputs = tokenizer("cat today", context, return_tensors="pt", return_offsets_mapping=True)
    [offsets], owners = inputs.pop("offset_mapping").tolist(), inputs.sequence_ids(0)
    with torch.no_grad():
        output = model(**inputs)
    start, end = output.start_logits[0], output.end_logits[0]
    texts = [place for place, owner in enumerate(owners) if owner == 1]
    best = max(
        ((first, last) for first in texts for last in texts if first <= last < first + 5),
        key=lambda span: float(start[span[0]] + end[span[1]]),
    )
    [answer] = predict(folder, ["cat today"], [context])
    [candidate] = [candidate for candidate in answer.n_best if candidate.start is not None][:1]
    assert (candidate.start, candidate.end) == (offsets[best[0]][0], offsets[best[1]][1])
    null = start[0] + end[0] - start[best[0]] - end[best[1]]
    assert answer.null_score == pytest.approx(float(null), abs=1e-4)


@pytest.mark.usefixtures("no_report")
def test_questions_that_all_have_answers_leave_no_threshold(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    files = ("--train", place / "one-train.json", "--dev", place / "one-dev.json", "--max-steps", 1)
    arguments = ("--model", place / "bert", *files, "--output-dir", run, *QUICK, *OPTIONS)
    assert unmask("finetune", "question-answering", *arguments) == 0
    assert read_json(run / "model" / "config.json")["unmask_task"]["null_score_diff_threshold"] is None
    dev = read_json(run / "evaluation_dev.json")
    assert "threshold_curve" not in dev
    assert dev["answers"]["num_no_answer"] == 0
    assert all(line["predicted"] for line in read_lines(run / "predictions_dev.jsonl"))
    # It answers the unanswerable too; what a threshold would give is said, and not taken.
    entry = evaluate(str(run), data=str(place / "two-test.json"))
    assert entry["answers"]["null_threshold"] is None
    assert entry["answers"]["metrics"]["no_answer_f1"] < 1
    assert entry["answers"]["metrics"]["best_f1"] > entry["metrics"]["f1"]
    assert unmask("predict", run, "--data", place / "two-test.json", "--output", tmp_path / "answers.jsonl") == 0
    assert all(line["text"] for line in read_lines(tmp_path / "answers.jsonl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, "field 'data[0].paragraphs[1].qas[0].question': the question is empty"),
        (
            {"answers": [{"text": "unicorn", "answer_start": 3}], "is_impossible": False},
            "is not in its context: correct one of them",
        ),
    ],
)
def test_a_broken_file_is_one_clear_error_before_anything_is_written(
    place: Path, tmp_path: Path, capsys: Any, change: dict[str, Any], message: str
) -> None:
    content = read_json(place / "two-train.json")
    content["data"][0]["paragraphs"][1]["qas"][0] |= change
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(content))
    arguments = ("--model", place / "bert", "--train", broken, "--output-dir", tmp_path / "run", *QUICK)
    assert unmask("finetune", "question-answering", *arguments) == 3
    error = capsys.readouterr().err
    assert "broken.json" in error
    assert message in error
    assert not (tmp_path / "run").exists()
