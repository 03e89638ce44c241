"""Regression, multi-label and long texts from the command line to the report, and in transformers.

Run: pytest tests/test_workflows_tasks.py
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import QUICK, finetune_tiny, make_workplace, sentences, unmask, weights_of, write_rows
from unmask import FinetuneSettings, evaluate, predict, read_table
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LEARN = (*QUICK, "--epochs", 8, "--learning-rate", "5e-3")


def write_pairs(path: Path, count: int, *, seed: int) -> Path:
    """Pairs of sentences, with 5 where they begin alike and 1 where they do not, and a little noise."""
    rng = random.Random(seed)
    firsts, seconds = ([text for text, _ in sentences(count, seed=seed + part)] for part in (0, 100))
    rows = []
    for first, second in zip(firsts, seconds, strict=True):
        if rng.random() < 0.5:
            second = f"{first.split()[0]} {second.split(maxsplit=1)[1]}"
        alike = first.split()[0] == second.split()[0]
        rows.append(f"{first}\t{second}\t{4.5 if alike else 1.5:.1f}")
    path.write_text("sentence1\tsentence2\tscore\n" + "".join(f"{row}\n" for row in rows))
    return path


def write_topics(path: Path, count: int, *, seed: int) -> Path:
    rows = []
    for text, _ in sentences(count, seed=seed):
        labels = ["plural"] * (text[2] in "eo") + ["long"] * (len(text.split()) > 4)
        rows.append((text, ";".join(labels)))
    return write_rows(path, rows, header=("text", "labels"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace with a run of regression on pairs and one of multi-label."""
    place = make_workplace(tmp_path_factory.mktemp("place"))
    for name, count, seed in (("train", 64, 1), ("dev", 16, 2), ("test", 17, 3)):
        write_pairs(place / f"pairs-{name}.tsv", count, seed=seed)
        write_topics(place / f"topics-{name}.tsv", count, seed=seed)
    runs: dict[str, Sequence[object]] = {
        "regression": ("--text-pair-column", "sentence2", "--score-range", 0, 5, *files(place, "pairs")),
        "multi-label": ("--label-separator", ";", *files(place, "topics")),
    }
    for task, arguments in runs.items():
        model = ("--model", place / "bert", "--output-dir", place / task)
        assert unmask("finetune", task, *model, *arguments, *LEARN) == 0
    return place


def files(place: Path, kind: str) -> tuple[object, ...]:
    train, dev, test = (place / f"{kind}-{name}.tsv" for name in ("train", "dev", "test"))
    return "--train", train, "--dev", dev, "--test", test


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def hf_logits(folder: Path, texts: Sequence[str], pairs: Sequence[str] | None = None) -> torch.Tensor:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(list(texts), pairs and list(pairs), padding=True, return_tensors="pt")).logits


# Regression


def test_regression_learns_and_its_run_says_so(place: Path) -> None:
    run = place / "regression"
    config, memory = read_json(run / "config.json"), read_json(run / "model" / "config.json")
    assert (config["task"], config["labels"], config["metric_for_best"]) == ("regression", None, "pearson")
    assert (memory["problem_type"], memory["id2label"]) == ("regression", {"0": "score"})
    assert memory["unmask_task"]["score_range"] == [0, 5]
    dev, [test] = read_json(run / "evaluation_dev.json"), read_json(run / "evaluation.json")
    assert (dev["kind"], dev["num_examples"], test["num_examples"]) == ("regression", 16, 17)
    data = read_json(run / "data.json")
    scores = [float(score) for score in read_table(place / "pairs-train.tsv").column("score")]
    assert data["train"]["no_skill_loss"] == pytest.approx(np.var(scores))
    assert data["train"]["scores"]["mean"] == pytest.approx(np.mean(scores))
    lines = [json.loads(line) for line in (run / "predictions_dev.jsonl").read_text().splitlines()]
    errors = [line["predicted"] - line["score"] for line in lines]
    assert dev["loss"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
    assert dev["metrics"]["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    page = (run / "report.html").read_text()
    for said in ("Score by score", "Farthest off", "A score is off by", "the best constant", "Pearson"):
        assert said in page
    assert (run / "plots" / "predicted_scores.png").is_file()
    card = (run / "model" / "README.md").read_text()
    assert "Gives each text pair a number" in card


def test_transformers_reads_the_same_scores(place: Path) -> None:
    table = read_table(place / "pairs-test.tsv")
    firsts, seconds = table.column("sentence1"), table.column("sentence2")
    scores = [answer.score for answer in predict(place / "regression", firsts, seconds)]
    expected = hf_logits(place / "regression" / "model", firsts, seconds)[:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_evaluating_gives_what_the_run_gave_from_its_model_folder_too(place: Path, capsys: Any) -> None:
    for task, kind, options in (
        ("regression", "pairs", {"text_pair_column": "sentence2"}),
        ("multi-label", "topics", {}),
    ):
        [kept] = read_json(place / task / "evaluation.json")
        assert evaluate(str(place / task / "model"), data=str(place / f"{kind}-test.tsv"), **options) == kept
    assert unmask("evaluate", place / "regression" / "model", "--data", place / "pairs-test.tsv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "regression"


def test_a_pair_is_typed_with_its_second_text(place: Path, capsys: Any) -> None:
    run = place / "regression"
    assert unmask("predict", run, "this dog sleep.", "--text-pair", "this cat run.", "--json") == 0
    line = json.loads(capsys.readouterr().out)
    [expected] = predict(run, ["this dog sleep."], ["this cat run."])
    assert line == expected.to_dict()
    assert line["text_pair"] == "this cat run."
    assert unmask("predict", run, "--data", place / "pairs-dev.tsv", "--text-pair", "this cat run.") == 2
    assert "--text-pair goes with texts" in capsys.readouterr().err
    assert unmask("predict", run, "--data", place / "pairs-dev.tsv") == 0
    assert "score" in capsys.readouterr().out


def test_a_score_out_of_range_later_on_is_still_a_mistake(place: Path, tmp_path: Path, capsys: Any) -> None:
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("sentence1\tsentence2\tscore\na\tb\t7\n")
    assert unmask("evaluate", place / "regression", "--data", wrong) == 3
    assert "wrong.tsv, line 2, column 'score': the score 7 lies outside 0 to 5" in capsys.readouterr().err


# Multi-label


def test_multi_label_learns_and_its_run_says_so(place: Path) -> None:
    run = place / "multi-label"
    config, memory = read_json(run / "config.json"), read_json(run / "model" / "config.json")
    assert (config["labels"], config["metric_for_best"]) == (["long", "plural"], "micro_f1")
    assert (memory["problem_type"], memory["unmask_task"]["label_separator"]) == ("multi_label_classification", ";")
    dev = read_json(run / "evaluation_dev.json")
    assert dev["kind"] == "multi-label"
    assert dev["metrics"]["micro_f1"] > 0.8
    page = (run / "report.html").read_text()
    for said in ("Label by label", "just the right labels", "Micro F1", "plural"):
        assert said in page


def test_transformers_gives_the_same_probabilities(place: Path) -> None:
    texts = read_table(place / "topics-test.tsv").column("text")
    answers = predict(place / "multi-label" / "model", texts)
    expected = hf_logits(place / "multi-label" / "model", texts).sigmoid()
    np.testing.assert_allclose([list(a.probabilities.values()) for a in answers], expected, rtol=1e-4, atol=1e-5)
    assert [a.labels for a in answers] == [
        tuple(name for name, p in zip(("long", "plural"), row, strict=True) if p >= 0.5) for row in expected
    ]


# Long texts, weights, smoothing


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_windows_are_read_in_prediction_as_in_training(place: Path, tmp_path: Path, pooling: str) -> None:
    run = tmp_path / "run"
    windows = ("--long-texts", "windows", "--max-seq-length", 7, "--doc-stride", 2, "--window-pooling", pooling)
    more = ("--test", place / "test.tsv", "--micro-batch-size", 3, "--temperature", 1)
    assert finetune_tiny(place, run, *windows, *more) == 0
    data, [kept] = read_json(run / "data.json"), read_json(run / "evaluation.json")
    assert data["train"]["truncated_texts"] == 0
    assert evaluate(str(run / "model"), data=str(place / "test.tsv")) == kept
    texts = read_table(place / "test.tsv").column("sentence")
    whole = [answer.to_dict() for answer in predict(run / "model", texts)]
    for text, answer in zip(texts, whole, strict=True):
        alone = predict(run / "model", [text])[0].to_dict()
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], rel=1e-4)
    # By hand: the windows of one text, through transformers.
    text = max(texts, key=lambda text: len(text.split()))
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(run / "model")
    body = tokenizer(text, add_special_tokens=False)["input_ids"]
    last, ids = len(body) - 5, tokenizer
    steps = -(-last // 2)
    starts = [step * last // steps for step in range(steps + 1)]
    rows = torch.tensor([[ids.cls_token_id, *body[start : start + 5], ids.sep_token_id] for start in starts])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    with torch.no_grad():
        logits = model(input_ids=rows).logits
    pooled = (logits.mean(0) if pooling == "mean" else logits.max(0).values).softmax(0)
    answer = whole[texts.index(text)]
    np.testing.assert_allclose(list(answer["probabilities"].values()), pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("no_report")
def test_windows_resume_to_the_same_bits(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--long-texts", "windows", "--max-seq-length", 7, "--save-steps", 1, "--label-smoothing", 0.1)
    assert finetune_tiny(place, tmp_path / "whole", *options) == 0

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unmask.training.loop._Run.evaluate", stop)
        assert finetune_tiny(place, tmp_path / "parts", *options) == 130
    assert unmask("finetune", "--resume", "--output-dir", tmp_path / "parts") == 0
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    assert finetune_tiny(place, tmp_path / "small", *options, "--micro-batch-size", 1) == 0
    few, many = (read_json(tmp_path / run / "evaluation_dev.json")["loss"] for run in ("small", "whole"))
    assert few == pytest.approx(many, rel=1e-4)


@pytest.mark.usefixtures("no_report")
def test_weights_and_smoothing_are_part_of_the_loss_ever_after(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--class-weights", "good=3", "--label-smoothing", 0.2, "--truncate", "tail", "--max-seq-length", 7)
    assert finetune_tiny(place, run, *options, "--test", place / "test.tsv") == 0
    [kept] = read_json(run / "evaluation.json")
    assert evaluate(str(run / "model"), data=str(place / "test.tsv")) == kept
    memory = read_json(run / "model" / "config.json")["unmask_task"]
    assert (memory["class_weights"], memory["truncate"], memory["max_seq_length"]) == (["good=3"], "tail", 7)


@pytest.mark.usefixtures("no_report")
def test_balance_is_kept_as_typed_in_the_run_and_as_numbers_in_the_model(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--class-weights", "balanced", "--max-steps", 1) == 0
    assert read_json(run / "config.json")["class_weights"] == ["balanced"]
    weights = read_json(run / "model" / "config.json")["unmask_task"]["class_weights"]
    assert list(map(float, weights)) == pytest.approx([61 / (2 * 30), 61 / (2 * 31)])
    assert FinetuneSettings(class_weights=("balanced",)).task_options.class_weights == ("balanced",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"task": "regression", "label_smoothing": 0.1},
            "label_smoothing is 0.1, and regression has no use for it: .* it is for classification",
        ),
        (
            {"task": "classification", "score_range": (0, 1)},
            "classification has no use for it: .* it is for regression",
        ),
        ({"task": "regression", "metric_for_best": "mcc"}, "metric_for_best is 'mcc': it must be one of loss, pearson"),
        ({"task": "parsing"}, "task is 'parsing': it must be one of classification"),
    ],
)
def test_a_setting_another_task_has_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FinetuneSettings(**settings)


@pytest.mark.usefixtures("no_report")
def test_a_new_task_forgets_the_old_one_s_memory(place: Path, tmp_path: Path) -> None:
    options = ("--model", place / "regression" / "model", "--max-steps", 1)
    assert finetune_tiny(place, tmp_path / "run", *options) == 0
    config = read_json(tmp_path / "run" / "model" / "config.json")
    assert config["unmask_task"]["task"] == "classification"
    assert "problem_type" not in config
    assert list(config["id2label"].values()) == ["bad", "good"]
