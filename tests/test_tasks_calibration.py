"""The temperature of a classifier, what is said of its probabilities, and abstaining.

Run: pytest tests/test_tasks_calibration.py
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import finetune_tiny, make_workplace, unmask, weights_of
from unmask import evaluate, predict
from unmask.errors import SettingsError
from unmask.logits import softmax
from unmask.metrics import calibration_report, fit_temperature, log_loss
from unmask.ragged import Ragged
from unmask.tasks import Classification, Labels, Samples, TaskOptions, TextExample
from unmask.tasks.calibration import Abstaining, calibration_entry, fit_on_dev

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def draw(count: int, temperature: float, *, num_labels: int = 3, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits that are `temperature` times too large: the labels are drawn from those over it."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(count, num_labels)) * 1.5
    labels = (rng.random((count, 1)) > softmax(true).cumsum(1)[:, :-1]).sum(1)
    return (true * temperature).astype(np.float32), labels


def examples_of(labels: NDArray[Any], *, source: str = "dev.tsv") -> list[TextExample]:
    return [
        TextExample(text=f"text {line}", text_pair=None, label="abc"[label], source=source, line=line)
        for line, label in enumerate(labels.tolist(), start=2)
    ]


def samples_of(labels: NDArray[Any]) -> Samples:
    ids = Ragged.of([[1, 2]] * len(labels), np.int64)
    return Samples(input_ids=ids, token_type_ids=ids, targets=Ragged.of_rows(labels.astype(np.int64)))


def logits_of(values: NDArray[Any]) -> Ragged:
    return Ragged.of_rows(values)


# The fit.


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_it_finds_the_temperature_that_the_labels_were_drawn_with(temperature: float) -> None:
    logits, labels = draw(4000, temperature)
    fit = fit_on_dev(logits, labels)
    assert fit.temperature == pytest.approx(temperature, rel=0.1)
    assert fit.temperature == fit_temperature(logits, labels).temperature
    assert fit.cross_fitted == pytest.approx(np.full(4000, temperature), rel=0.15)


def test_each_text_is_judged_with_the_temperature_of_the_half_it_is_not_in() -> None:
    logits, labels = draw(301, 3.0)
    given = fit_on_dev(logits, labels).cross_fitted
    one, other = np.unique(given)
    for mine, theirs in ((one, other), (other, one)):
        is_other = given == theirs
        assert mine == pytest.approx(fit_temperature(logits[is_other], labels[is_other]).temperature)
    for label in range(3):  # halves of each label, to one text
        assert abs((given[labels == label] == one).sum() * 2 - (labels == label).sum()) <= 1


def test_it_stays_one_where_it_would_not_help_texts_it_was_not_fitted_on() -> None:
    kept = 0
    for seed in range(40):
        logits, labels = draw(60, 1.0, seed=seed)
        fit = fit_on_dev(logits, labels)
        if fit.temperature == 1:
            kept += 1
            assert (fit.cross_fitted == 1).all()
        else:
            assert log_loss(softmax(logits / fit.cross_fitted[:, None]), labels) < log_loss(softmax(logits), labels)
    assert 10 < kept < 40


def test_what_cannot_tell_how_sure_is_too_sure_leaves_it_at_one() -> None:
    logits, labels = draw(40, 2.0)
    for size in (1, 2, 40):
        all_right = fit_on_dev(logits[:size], logits[:size].argmax(1))
        assert (all_right.temperature, all_right.cross_fitted.tolist()) == (1, [1] * size)
    assert fit_on_dev(logits[:1], labels[:1]).temperature == 1


def test_logits_that_say_less_than_chance_are_all_but_ignored() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]] * 10, np.float32)
    fit = fit_on_dev(logits, logits.argmin(1))
    assert fit.temperature == 20


# The task.


def test_the_temperature_moves_probabilities_and_nothing_else() -> None:
    logits, labels = draw(300, 3.0)
    examples, samples = examples_of(labels), samples_of(labels)
    before = Classification(Labels(("a", "b", "c"), ("a", "b", "c")))
    after = before.tuned(examples, samples, logits_of(logits))
    assert (before.temperature, before.options.temperature) == (1, None)
    assert after.temperature == pytest.approx(fit_temperature(logits, labels).temperature)
    assert after.score(examples, samples, logits_of(logits)) == before.score(examples, samples, logits_of(logits))
    plain, tempered = (task.predict(examples, samples, logits_of(logits)) for task in (before, after))
    assert [answer.label for answer in plain] == [answer.label for answer in tempered]
    for answers, temperature in ((plain, 1.0), (tempered, after.temperature)):
        expected = softmax(logits, temperature=temperature)
        found = np.array([list(answer.probabilities.values()) for answer in answers])
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert [answer.probability for answer in answers] == pytest.approx(expected.max(1), abs=1e-6)
    again = Classification.for_model(after.id2label, TaskOptions.of(json.loads(json.dumps(after.memory))))
    assert again.predict(examples, samples, logits_of(logits)) == tempered
    assert "divided by" in after.summary(pairs=False)
    assert "divided" not in before.summary(pairs=False)


def test_a_given_temperature_is_kept_and_a_model_without_one_has_one() -> None:
    logits, labels = draw(300, 3.0)
    names = {0: "a", 1: "b", 2: "c"}
    given = Classification.for_model(names, TaskOptions(temperature=1.7))
    assert given.tuned(examples_of(labels), samples_of(labels), logits_of(logits)).temperature == 1.7
    assert Classification.for_model(names, TaskOptions.of({"task": "classification"})).temperature == 1
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(SettingsError, match=r"temperature is .*: it must be positive and finite"):
            TaskOptions(temperature=value)


def test_the_dev_texts_are_judged_cross_fitted_and_others_are_not() -> None:
    logits, labels = draw(400, 3.0)
    task = Classification(Labels(("a", "b", "c"), ("a", "b", "c")))
    examples, samples = examples_of(labels), samples_of(labels)
    task = task.tuned(examples, samples, logits_of(logits))
    fit = fit_on_dev(logits, labels)

    def calibration_of(examples: list[TextExample], part: slice = slice(None)) -> dict[str, Any]:
        return task.report(examples, samples_of(labels[part]), logits_of(logits[part]))["calibration"]

    dev = calibration_of(examples)
    assert (dev["cross_fitted"], dev["temperature"]) == (True, fit.temperature)
    assert dev["after"]["metrics"]["nll"] == pytest.approx(
        log_loss(softmax(logits / fit.cross_fitted[:, None]), labels)
    )
    # One of several dev files: its texts keep the half they are in.
    part = slice(100, 250)
    some = calibration_of(examples[part], part)
    assert some["cross_fitted"]
    assert some["after"]["metrics"]["nll"] == pytest.approx(
        log_loss(softmax(logits[part] / fit.cross_fitted[part, None]), labels[part])
    )
    other = calibration_of(examples_of(labels, source="test.tsv"))
    assert not other["cross_fitted"]
    assert dev["curve"] == other["curve"]  # two temperatures would mix up which texts are surest
    for state, temperature in (("before", 1.0), ("after", task.temperature)):
        expected = calibration_report(logits, labels, temperature=temperature).to_dict()
        assert other[state]["metrics"] == pytest.approx(expected["metrics"])
        assert other[state]["bins"] == expected["bins"]
    assert other["before"]["metrics"]["ece"] > 2 * other["after"]["metrics"]["ece"]
    assert other["after"]["metrics"]["nll"] <= dev["after"]["metrics"]["nll"]  # what was fitted on them flatters


def test_class_weights_and_smoothing_do_not_weigh_in() -> None:
    logits, labels = draw(200, 2.0)
    plain = Classification(Labels(("a", "b", "c"), ("a", "b", "c")))
    options = TaskOptions(class_weights=("1", "7", "0.5"), label_smoothing=0.2)
    weighted = Classification(plain.labels, options)
    entries = [
        task.tuned(examples_of(labels), samples_of(labels), logits_of(logits)).report(
            examples_of(labels), samples_of(labels), logits_of(logits)
        )
        for task in (plain, weighted)
    ]
    assert entries[0] == entries[1]


# The entry.


def test_thresholds_by_hand() -> None:
    # Confidences 0.9, 0.7, 0.6, 0.95; the second is wrong.
    rows = [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]]
    labels = np.array([0, 0, 0, 1])
    entry = calibration_entry(np.log(rows), labels, temperature=1.0)
    assert not entry["cross_fitted"]
    by_cost = {row["mistake_cost"]: row for row in entry["thresholds"]}
    assert list(by_cost) == [2, 5, 10, 20, 50, 100]
    assert by_cost[5] == pytest.approx(
        {
            "mistake_cost": 5,
            "threshold": 0.8,
            "coverage": 0.5,
            "risk": 0.0,
            "cost": 2 / 4,
            "cost_of_all": 5 / 4,
            "best_threshold": 0.8,
            "best_coverage": 0.5,
            "best_cost": 2 / 4,
        }
    )
    assert by_cost[2]["cost"] == by_cost[2]["cost_of_all"] == by_cost[2]["best_cost"] == 2 / 4
    assert by_cost[2]["best_threshold"] == 0
    assert (by_cost[100]["coverage"], by_cost[100]["risk"], by_cost[100]["cost"]) == (0, 0, 1)
    assert by_cost[100]["best_cost"] == 2 / 4
    assert entry["curve"]["coverage"] == [0.25, 0.5, 0.75, 1]
    assert entry["curve"]["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 4])


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    logits, labels = draw(3000, 1.0)
    entry = calibration_entry(logits, labels, temperature=1.3)
    full = calibration_report(logits, labels, temperature=1.3).curve
    curve = entry["curve"]
    assert len(curve["risk"]) == len(curve["threshold"]) == len(curve["coverage"]) == 200
    assert (curve["coverage"][-1], curve["risk"][-1]) == (1, full.risk[-1])
    assert curve["threshold"][0] == pytest.approx(full.threshold[0])
    assert set(curve["coverage"]) <= set(full.coverage)
    assert curve["aurc"] == pytest.approx(full.aurc)
    assert json.loads(json.dumps(entry)) == entry


# Abstaining.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"abstain_below": 0.8}, 0.8),
        ({"abstain_below": 0}, 0),
        ({"mistake_cost": 5, "abstain_cost": 1}, 0.8),
        ({"mistake_cost": 5}, 0.8),
        ({"mistake_cost": 30, "abstain_cost": 3}, 0.9),
        ({"mistake_cost": 1, "abstain_cost": 3}, 0),  # a mistake is cheaper than no answer
    ],
)
def test_the_threshold(given: dict[str, float], expected: float | None) -> None:
    assert Abstaining(**given).threshold == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"abstain_below": 80}, "abstain_below is 80: it must be a probability, from 0 to 1"),
        ({"abstain_below": math.nan}, "abstain_below is nan"),
        ({"mistake_cost": 0}, "mistake_cost is 0: it must be above 0, and finite"),
        ({"mistake_cost": 5, "abstain_cost": -1}, "abstain_cost is -1: it must be above 0"),
        ({"abstain_cost": 1}, "abstain_cost is 1, and mistake_cost is missing: give both"),
        ({"abstain_below": 0.8, "mistake_cost": 5}, "abstain_below is 0.8 and mistake_cost is 5: give the threshold"),
    ],
)
def test_what_cannot_be_a_threshold(given: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Abstaining(**given)


def test_answering_from_the_threshold_of_the_costs_is_cheapest_where_probabilities_are_true() -> None:
    logits, labels = draw(10_000, 1.0)
    for row in calibration_entry(logits, labels, temperature=1.0)["thresholds"]:
        assert row["best_cost"] <= row["cost"] <= row["best_cost"] * 1.05
        assert row["cost"] <= row["cost_of_all"]


# From the command line, with a model that has learnt a little.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = make_workplace(tmp_path_factory.mktemp("place"))
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        test = ("--test", place / "test.tsv")
        assert finetune_tiny(place, place / "run", *test, "--learning-rate", "5e-3", "--epochs", 6) == 0
        given = ("--learning-rate", "5e-3", "--epochs", 6, "--temperature", 4)
        assert finetune_tiny(place, place / "given", *test, *given) == 0
    return place


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_model_folder_remembers_its_temperature_and_transformers_sees_its_logits(place: Path) -> None:
    import transformers

    temperature = read_json(place / "run" / "model" / "config.json")["unmask_task"]["temperature"]
    dev, [test] = read_json(place / "run" / "evaluation_dev.json"), read_json(place / "run" / "evaluation.json")
    assert dev["calibration"]["temperature"] == test["calibration"]["temperature"] == temperature
    assert (dev["calibration"]["cross_fitted"], test["calibration"]["cross_fitted"]) == (True, False)
    assert read_json(place / "run" / "config.json")["temperature"] is None
    assert weights_of(place / "run") == weights_of(place / "given")
    [other] = read_json(place / "given" / "evaluation.json")
    assert (other["loss"], other["metrics"]) == (test["loss"], test["metrics"])
    assert other["calibration"]["temperature"] == 4

    texts = ["this dogs sleep.", "those cats run now."]
    for run, divisor in (("run", temperature), ("given", 4)):
        folder = place / run / "model"
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.no_grad():
            logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        for answers in (predict(folder, texts), predict(place / run, texts)):
            found = [list(answer.probabilities.values()) for answer in answers]
            torch.testing.assert_close(torch.tensor(found), (logits / divisor).softmax(1), atol=1e-5, rtol=0)
    assert evaluate(str(place / "given" / "model"), data=str(place / "test.tsv")) == other


def test_an_old_model_has_the_temperature_one(place: Path, tmp_path: Path, capsys: Any) -> None:
    import shutil

    folder = shutil.copytree(place / "given" / "model", tmp_path / "old")
    config = read_json(folder / "config.json")
    del config["unmask_task"]["temperature"]
    (folder / "config.json").write_text(json.dumps(config))
    [answer], [tempered] = predict(folder, ["this dog sleep."]), predict(place / "given", ["this dog sleep."])
    expected = softmax(4 * np.log([list(tempered.probabilities.values())]))[0]
    assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-5)
    assert unmask("predict", folder, "this dog sleep.", "--abstain-below", "0.5") == 0
    assert "never calibrated" in capsys.readouterr().err


def test_predict_abstains(place: Path, tmp_path: Path, capsys: Any) -> None:
    run = place / "run"
    texts = ["this dog sleep.", "this dogs sleep.", "those cat", "near", "these birds sing now.", "a king"]
    answers = predict(run, texts)
    threshold = sorted(answer.probability for answer in answers)[3]
    assert unmask("predict", run, *texts, "--abstain-below", threshold, "--json") == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["label"] for line in lines] == [a.label if a.probability >= threshold else None for a in answers]
    assert [line["label"] for line in lines].count(None) == 3
    assert [line | {"label": a.label} for line, a in zip(lines, answers, strict=True)] == [a.to_dict() for a in answers]
    assert f"3 of 6 texts left without a label, below {threshold:.4g}" in said.err
    costs = ("--mistake-cost", 1 / (1 - threshold + 1e-9), "--abstain-cost", 1)
    assert unmask("predict", run, *texts, *costs, "--output", tmp_path / "answers.jsonl") == 0
    assert [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()] == lines
    capsys.readouterr()
    assert unmask("predict", run, *texts, "--abstain-below", "1") == 0
    assert capsys.readouterr().out.count("abstained") == 6
    assert unmask("predict", run, *texts, "--abstain-below", "80") == 2
    assert "it must be a probability" in capsys.readouterr().err


def test_only_a_classifier_abstains(place: Path, tmp_path: Path, capsys: Any) -> None:
    config_of = read_json(place / "run" / "model" / "config.json")
    import shutil

    folder = shutil.copytree(place / "run" / "model", tmp_path / "several")
    config_of["problem_type"], config_of["unmask_task"]["task"] = "multi_label_classification", "multi-label"
    (folder / "config.json").write_text(json.dumps(config_of))
    assert unmask("predict", folder, "a king", "--abstain-below", "0.8") == 2
    assert "a model of multi-label, whose answers have no one probability" in capsys.readouterr().err
