"""Whether two runs differ: scores from sums against the metrics themselves, tests against oracles, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tiny import finetune_tiny, make_workplace, save_tiny_bert, unmask
from unmask import compare
from unmask.errors import DataError, SettingsError
from unmask.metrics import (
    bootstrap_interval,
    classification_metrics,
    mcnemar_test,
    multilabel_metrics,
    paired_permutation_test,
    pearson,
    regression_metrics,
)
from unmask.metrics.paired import (
    bootstrap_difference,
    correlation_score,
    label_scores,
    mean_score,
    permute_recipes,
    ratio_score,
)
from unmask.metrics.tagging import tagging_metrics
from unmask.reporting.comparison import cost_rows, note_on_costs
from unmask.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Line = dict[str, Any]


def total(score: Any, things: Sequence[Any]) -> float:
    return float(score.from_sums(score.terms(things).sum(0, keepdims=True))[0])


# Scores from sums


@pytest.mark.parametrize("num_labels", [2, 3, 7])
def test_scores_of_labels_are_the_metrics(num_labels):
    names = [f"label-{i}" for i in range(num_labels)]
    scores = label_scores(lambda pair: ([names[pair[0]]], [names[pair[1]]]), names)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 30))
        some = rng.integers(1, num_labels + 1)  # some labels may not occur, or all answers be one
        labels, given = rng.integers(0, some, size), rng.integers(0, rng.integers(1, num_labels + 1), size)
        expected = classification_metrics(labels.tolist(), given.tolist(), num_labels=num_labels)
        pairs = list(zip(labels.tolist(), given.tolist(), strict=True))
        for name in ("mcc", "f1"):
            assert total(scores[name], pairs) == pytest.approx(expected[name], abs=1e-12), (seed, name)


def test_scores_of_label_sets_are_the_metrics():
    names = ["a", "b", "c"]
    line_scores = TASKS["multi-label"].line_scores
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels, given = rng.random((2, 9, 3)) < rng.random()
        lines = [
            {
                "labels": [n for n, is_in in zip(names, a, strict=True) if is_in],
                "predicted": [n for n, is_in in zip(names, b, strict=True) if is_in],
                "probabilities": dict.fromkeys(names, 0.5),
            }
            for a, b in zip(labels, given, strict=True)
        ]
        expected = multilabel_metrics(labels, given)
        scores = line_scores(lines)
        assert set(scores) == {"exact_match", "hamming_accuracy", "micro_f1", "macro_f1"}
        for name, score in scores.items():
            assert total(score, lines) == pytest.approx(expected[name], abs=1e-12), (seed, name)


def test_scores_of_numbers_are_the_metrics():
    scores = TASKS["regression"].line_scores([])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        right = rng.integers(0, 6, 12).astype(float) + 1000 * (seed % 2)
        given = right * rng.normal() + rng.normal(size=12) * (seed % 5)
        lines = [{"score": a, "predicted": b} for a, b in zip(right.tolist(), given.tolist(), strict=True)]
        expected = regression_metrics(right, given)
        for name in ("mae", "mse", "pearson"):
            assert total(scores[name], lines) == pytest.approx(expected[name], rel=1e-7, abs=1e-7), (seed, name)
    constant = [{"score": float(i), "predicted": 2.7} for i in range(5)]
    assert total(scores["pearson"], constant) == 0.0


def test_a_correlation_of_a_part_is_that_of_the_part():
    """What the bootstrap and the permutation test ask: sums over some, with answers of either model."""
    rng = np.random.default_rng(0)
    right = rng.normal(5, 1, 30)
    first, second = right + rng.normal(size=30), right - 3 + rng.normal(size=30)
    score = correlation_score(lambda pair: pair)
    terms = [score.terms(list(zip(right, given, strict=True))) for given in (first, second)]
    for _ in range(20):
        drawn, is_second = rng.integers(0, 30, 25), rng.random(25) < 0.5
        sums = np.where(is_second[:, None], terms[1][drawn], terms[0][drawn]).sum(0, keepdims=True)
        mixed = np.where(is_second, second[drawn], first[drawn])
        assert score.from_sums(sums)[0] == pytest.approx(pearson(right[drawn], mixed), abs=1e-9)


def test_scores_of_tags_and_answers_are_the_metrics():
    tags = [["B-PER", "I-PER", "O"], ["O", "O"], ["B-LOC", "O", "B-PER"]]
    given = [["B-PER", "O", "O"], ["O", "B-LOC"], ["B-LOC", "O", "B-PER"]]
    spans = [  # (type, start, end) in characters, words of one letter
        ([("PER", 0, 3)], [("PER", 0, 1)]),
        ([], [("LOC", 2, 3)]),
        ([("LOC", 0, 1), ("PER", 4, 5)], [("LOC", 0, 1), ("PER", 4, 5)]),
    ]
    keys = ("type", "start", "end")
    lines = [
        {
            "text": " ".join("x" * len(right)),
            "words": ["x"] * len(right),
            "tags": right,
            "predicted": guess,
            "entities": [dict(zip(keys, span, strict=True)) for span in true],
            "predicted_entities": [dict(zip(keys, span, strict=True)) | {"score": 0.5} for span in found],
        }
        for right, guess, (true, found) in zip(tags, given, spans, strict=True)
    ]
    tagging = TASKS["tagging"]
    expected = tagging_metrics(tags, given, scheme="bio")
    scores = tagging.line_scores(lines)
    for name in ("accuracy", "f1"):
        assert total(scores[name], lines) == pytest.approx(expected[name], abs=1e-12)
    assert expected["f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert tagging.decisions(lines[0]) == [("B-PER", "B-PER"), ("O", "I-PER"), ("O", "O")]
    plain = [{"tags": ["NOUN"], "predicted": ["VERB"]}]
    assert set(tagging.line_scores(plain)) == {"accuracy"}

    answers = [{"f1": 0.5, "exact_match": 0.0}, {"f1": 1.0, "exact_match": 1.0}]
    scores = TASKS["question-answering"].line_scores(answers)
    assert {name: total(score, answers) for name, score in scores.items()} == {"f1": 0.75, "exact_match": 0.5}


# Recipes and seeds


def test_two_models_are_drawn_as_any_metric_is():
    """With a seed each, the interval is that of the difference by `bootstrap_interval`, the same resamples."""
    rng = np.random.default_rng(3)
    pairs = [list(zip(rng.integers(0, 3, 40), rng.integers(0, 3, 40), strict=True)) for _ in range(2)]
    right = [a for a, _ in pairs[0]]
    first, second = [b for _, b in pairs[0]], [b for _, b in pairs[1]]
    names = ["a", "b", "c"]
    score = label_scores(lambda pair: ([names[pair[0]]], [names[pair[1]]]), names)["mcc"]
    terms = [score.terms(list(zip(right, given, strict=True))) for given in (first, second)]

    def difference(drawn: Any) -> float:
        mcc = [
            classification_metrics([int(right[i]) for i in drawn], [int(given[i]) for i in drawn], num_labels=3)["mcc"]
            for given in (first, second)
        ]
        return mcc[0] - mcc[1]

    expected = bootstrap_interval(difference, np.arange(40), num_resamples=60, seed=5)
    found = bootstrap_difference([terms[0]], [terms[1]], score.from_sums, num_resamples=60, seed=5)
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-12)


def test_seeds_are_drawn_too():
    """One example: what varies are seeds alone. Means of two draws of 0 and 1 are 0, 1/2, 1; less 1/2."""
    score = mean_score(float)
    first, second = [score.terms([0.0]), score.terms([1.0])], [score.terms([0.5])]
    interval = bootstrap_difference(first, second, score.from_sums, num_resamples=2000)
    assert (interval.value, interval.low, interval.high) == (0.0, -0.5, 0.5)
    narrower = bootstrap_difference(first, second, score.from_sums, num_resamples=2000, level=0.4)
    assert (narrower.low, narrower.high) == (0.0, 0.0)  # half of the draws
    alone = bootstrap_difference(first[:1], second, score.from_sums, num_resamples=200)
    assert (alone.low, alone.high) == (-0.5, -0.5)
    with pytest.raises(ValueError, match=r"\[1, 2\] examples: give each model the same"):
        bootstrap_difference(first, [score.terms([0.5, 0.5])], score.from_sums)
    with pytest.raises(ValueError, match="a level of 1"):
        bootstrap_difference(first, second, score.from_sums, level=1)


def test_unequal_numbers_of_seeds_are_permuted_as_their_means():
    """A mean is linear: swapping all seeds' answers of an example is swapping their mean."""
    rng = np.random.default_rng(1)
    first, second = rng.random((3, 11)), rng.random((2, 11)) + 0.2
    score = mean_score(float)
    found = permute_recipes([score.terms(x) for x in first], [score.terms(x) for x in second], score.from_sums)
    expected = paired_permutation_test(first.mean(0), second.mean(0))
    assert found.is_exact
    assert found.p_value == expected.p_value
    assert found.difference == pytest.approx(expected.difference, abs=1e-12)


def test_a_ratio_over_nothing_is_nothing():
    score = ratio_score(lambda pair: pair)
    assert total(score, [(0, 0), (0, 0)]) == 0.0
    assert total(score, [(1, 2), (2, 4)]) == 0.5


# Runs


def classified(right: str, given: str, *, text: str = "text", probability: float = 0.9) -> Line:
    """Lines of a classifier of the labels n and y: a letter an example."""
    return [
        {
            "text": f"{text} {number}",
            "text_pair": None,
            "probability": probability,
            "probabilities": {"n": 1 - probability, "y": probability},
            "label": label,
            "predicted": predicted,
        }
        for number, (label, predicted) in enumerate(zip(right, given, strict=True))
    ]


def write_run(folder: Path, lines: Sequence[Line], *, task: str = "classification", **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"task": task, "metric_for_best": "accuracy", "seed": 0} | config))
    if lines:
        (folder / "predictions_dev.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def write_seeds(folder: Path, runs: Sequence[Sequence[Line]], **config: Any) -> Path:
    for seed, lines in enumerate(runs):
        write_run(folder / f"seed-{seed}", lines, seed=seed, **config)
    (folder / "config.json").write_text((folder / "seed-0" / "config.json").read_text())
    entries = [{"seed": seed, "folder": f"seed-{seed}"} for seed in range(len(runs))]
    told = {"seeds": entries, "best_seed": 0, "num_seeds": len(runs)}
    (folder / "seeds.json").write_text(json.dumps(told))
    return folder


RIGHT = "nnnnnnnnnnyyyyyyyyyy"
GOOD, POOR = "nnnnnnnnnnyyyyyyyyyn", "ynyynynyyynyyynnynnn"


def test_two_models_that_differ(tmp_path):
    first = write_run(tmp_path / "good", classified(RIGHT, GOOD))
    second = write_run(tmp_path / "poor", classified(RIGHT, POOR, probability=0.6))
    result = compare(str(first), str(second))
    is_right = [[a == b for a, b in zip(RIGHT, given, strict=True)] for given in (GOOD, POOR)]
    assert (result.metric, result.num_examples, result.task) == ("accuracy", 20, "classification")
    assert (result.first.mean, result.second.mean) == (0.95, sum(is_right[1]) / 20)
    assert result.mcnemar == mcnemar_test(*is_right)
    assert result.permutation.p_value == paired_permutation_test(*is_right).p_value
    assert result.permutation.p_value == pytest.approx(result.mcnemar.p_value)  # of right and wrong they are one test
    assert result.interval.low > 0
    assert result.differ
    assert result.verdict.startswith(f"{first} is better than {second}. Accuracy is 95.0% against ")
    assert "There is one seed each, so this is of two models; whether recipes differ takes several" in result.verdict

    turned = compare(str(second), str(first), metric="mcc")
    assert turned.verdict.startswith(f"{first} is better than {second}. MCC is ")
    assert turned.interval.high < 0
    ids = [["ny".index(letter) for letter in letters] for letters in (RIGHT, POOR)]
    assert turned.first.mean == pytest.approx(classification_metrics(*ids, num_labels=2)["mcc"])


def test_two_models_that_are_not_told_apart(tmp_path):
    first = write_run(tmp_path / "a", classified(RIGHT, "y" + RIGHT[1:]))
    second = write_run(tmp_path / "b", classified(RIGHT, RIGHT[:-1] + "n"))
    result = compare(str(first), str(second))
    assert not result.differ
    assert result.permutation.p_value == 1.0
    assert f"These dev examples do not tell {first} and {second} apart." in result.verdict
    same = compare(str(first), str(first))
    assert "score the same on every dev example" in same.verdict
    assert not same.differ


def test_less_is_better_of_an_error(tmp_path):
    right = np.linspace(0, 5, 30)
    runs = []
    for name, error in (("near", 0.1), ("far", 1.0)):
        lines = [
            {"text": f"{i}", "text_pair": None, "score": score, "predicted": score + error * (-1) ** i}
            for i, score in enumerate(right.tolist())
        ]
        runs.append(str(write_run(tmp_path / name, lines, task="regression", metric_for_best="spearman")))
    result = compare(runs[1], runs[0])
    assert result.metric == "mae"  # spearman is no function of sums
    assert result.interval.value == pytest.approx(0.9)
    assert result.mcnemar is None
    assert result.verdict.startswith(f"{runs[0]} is better than {runs[1]}.")
    assert compare(*runs, metric="pearson").interval.value > 0
    with pytest.raises(
        SettingsError, match="metric is 'spearman': these runs of regression are compared by mae, mse, pearson"
    ):
        compare(*runs, metric="spearman")


def test_recipes_of_several_seeds(tmp_path):
    """Both have a seed that is good and one that is poor: their spread hides what one seed each would seem to tell."""
    other = RIGHT[:-2] + "ny"
    first = write_seeds(tmp_path / "a", [classified(RIGHT, GOOD), classified(RIGHT, POOR)])
    second = write_seeds(tmp_path / "b", [classified(RIGHT, POOR), classified(RIGHT, other)])
    result = compare(str(first), str(second))
    assert result.first.seeds == (0, 1)
    assert result.first.scores == (0.95, sum(a == b for a, b in zip(RIGHT, POOR, strict=True)) / 20)
    assert result.first.mean == pytest.approx(sum(result.first.scores) / 2)
    assert result.mcnemar is None
    assert not result.differ
    assert "(mean of 2 seeds)" in result.verdict
    assert "interval over examples and seeds" in result.verdict
    assert "--seeds" not in result.verdict
    alone = compare(str(first / "seed-0"), str(second / "seed-0"))
    assert alone.differ
    mixed = compare(str(first), str(second / "seed-1"))
    assert (len(mixed.first.scores), len(mixed.second.scores)) == (2, 1)
    assert f"There is one seed of {second / 'seed-1'}, so this is of one model of that recipe" in mixed.verdict


class TestRefused:
    def test_other_examples(self, tmp_path):
        first = write_run(tmp_path / "a", classified(RIGHT, GOOD))
        other = classified(RIGHT, GOOD)
        other[6]["text"] = "another"
        second = write_run(tmp_path / "b", other)
        with pytest.raises(DataError, match=r"line 7, column 'text': the dev sets differ: .*a has \"text 6\" here and"):
            compare(str(first), str(second))

    def test_other_labels(self, tmp_path):
        first = write_run(tmp_path / "a", classified("nny", "nny"))
        second = write_run(tmp_path / "b", classified("nnn", "nny"))
        with pytest.raises(DataError, match=r"line 3, column 'label': the dev sets differ: .* has \"y\" here"):
            compare(str(first), str(second))

    @pytest.mark.parametrize(("a", "b"), [("nny", "nn"), ("nn", "nny")])
    def test_another_number(self, tmp_path, a, b):
        first, second = (write_run(tmp_path / name, classified(x, x)) for name, x in (("a", a), ("b", b)))
        message = f"b/predictions_dev.jsonl, line 3: the dev sets differ: .*a has {len(a)} examples and .*b {len(b)}"
        with pytest.raises(DataError, match=message):
            compare(str(first), str(second))

    def test_one_seed_of_other_examples(self, tmp_path):
        first = write_run(tmp_path / "a", classified(RIGHT, GOOD))
        runs = [classified(RIGHT, GOOD), classified(RIGHT, GOOD, text="other")]
        second = write_seeds(tmp_path / "b", runs)
        with pytest.raises(DataError, match=r"seed-1/predictions_dev.jsonl, line 1, column 'text'"):
            compare(str(first), str(second))

    def test_other_tasks_and_what_is_no_run(self, tmp_path):
        """A pretraining run and a model's folder have no predictions, and resuming them would not help."""
        first = write_run(tmp_path / "a", classified("ny", "ny"))
        trained = write_run(tmp_path / "d", [], task="pretraining", family="bert")
        (trained / "evaluation.json").write_text(json.dumps([{"data": "dev", "loss": 2.0, "metrics": {}}]))
        model = tmp_path / "model"
        save_tiny_bert(model)
        takes = "unmask compare takes run folders of unmask finetune"
        for folder, message in [
            (
                write_run(tmp_path / "c", [{"text": "x"}], task="multi-label"),
                "this run is of multi-label, and .*classif",
            ),
            (trained, f"d: this run is of pretraining: {takes}"),
            (model, f"model: this folder holds a model, and no run: {takes}"),
            (tmp_path / "e", "holds no run"),
        ]:
            for runs in ((first, folder), (folder, first)) if "multi" not in message else ((first, folder),):
                with pytest.raises(DataError, match=message):
                    compare(*map(str, runs))

    @pytest.mark.parametrize("command", ["finetune", "search"])
    def test_runs_that_have_not_come_to_their_end(self, tmp_path, command):
        first = write_run(tmp_path / "a", classified("ny", "ny"))
        more = {"space": "seed=1,2"} if command == "search" else {}
        empty = write_run(tmp_path / "b", [], **more)
        killed = write_run(tmp_path / "c", classified("ny", "ny"), **more)
        (killed / "checkpoints").mkdir()
        for folder in (empty, killed):
            message = f"{folder}: this run has not come to its end: unmask {command} --resume --output-dir {folder} "
            with pytest.raises(DataError, match=re.escape(message)):
                compare(str(first), str(folder))
        (killed / "checkpoints").rmdir()
        assert compare(str(first), str(killed)).interval.value == 0.0

    def test_seeds_that_are_not_all_done(self, tmp_path):
        first = write_seeds(tmp_path / "a", [classified("nyny", "nyny")] * 2)
        second = write_seeds(tmp_path / "b", [classified("nyny", "nynn")] * 3)
        told = json.loads((second / "seeds.json").read_text())
        (second / "seeds.json").write_text(json.dumps(told | {"num_seeds": 5}))
        for runs in ((first, second), (second, first)):
            with pytest.raises(DataError, match=r"b: this run has not come to its end \(3 of 5 seeds are done\): unm"):
                compare(*map(str, runs))
        diverged = [{"seed": seed, "error": "step 3"} for seed in (3, 4)]
        (second / "seeds.json").write_text(json.dumps(told | {"num_seeds": 5, "diverged": diverged}))
        result = compare(str(first), str(second))
        assert (result.first.num_diverged, result.second.num_diverged) == (0, 2)
        assert "75.0% (mean of 3 seeds; 2 diverged and count in no mean)" in result.verdict

    def test_a_plot_of_another_kind(self, tmp_path):
        with pytest.raises(SettingsError, match=r"end it in .html for a page, or in .png or .svg"):
            compare("a", "b", output=tmp_path / "plot.pdf")


def test_the_command(tmp_path, capsys):
    runs = [write_run(tmp_path / name, classified(RIGHT, x)) for name, x in (("good", GOOD), ("<poor>", POOR))]
    assert unmask("compare", *runs, "--output", tmp_path / "out" / "page.html") == 0
    said = capsys.readouterr().out
    assert "20 dev examples: both right " in said
    assert "McNemar's test: p = " in said
    assert compare(*map(str, runs)).verdict in said
    page = (tmp_path / "out" / "page.html").read_text()
    assert "<svg" in page
    assert "&lt;poor&gt;" in page
    assert "<poor>" not in page

    assert unmask("compare", *runs, "--json", "--metric", "f1", "--output", tmp_path / "plot.png") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(compare(*map(str, runs), metric="f1").to_dict()))
    assert told["difference"] == pytest.approx(told["first"]["mean"] - told["second"]["mean"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert unmask("compare", runs[0], tmp_path) == 3
    assert unmask("compare", *runs, "--metric", "bleu") == 2
    assert "these runs of classification are compared by accuracy, mcc, f1" in capsys.readouterr().err


# What runs cost


def test_adapters_against_full_tuning(tmp_path, capsys, monkeypatch):
    """Two runs as people have them: what is trained, how long, and how much of it is kept."""
    monkeypatch.setenv("COLUMNS", "250")
    place = make_workplace(tmp_path)
    runs = [tmp_path / name for name in ("full", "lora adapters")]
    assert finetune_tiny(place, runs[0], "--max-steps", 3) == 0
    assert finetune_tiny(place, runs[1], "--max-steps", 3, "--tune", "lora", "--lora-rank", 2) == 0
    assert "Beside full tuning" not in (runs[0] / "report.html").read_text()
    page = (runs[1] / "report.html").read_text()
    assert "Beside full tuning" in page
    assert f"<pre><code>unmask compare FULL &#x27;{runs[1]}&#x27;</code></pre>" in page

    capsys.readouterr()
    assert unmask("compare", *runs, "--output", tmp_path / "page.html") == 0
    said, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    result = compare(*map(str, runs))
    for side, run in zip((result.first, result.second), runs, strict=True):
        config = json.loads((run / "config.json").read_text())
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert side.tune == config["tune"]
        assert (side.num_trainable, side.num_total) == (config["num_trainable"], config["num_total"])
        assert side.seconds == pytest.approx(sum(row["seconds"] for row in rows if row["kind"] == "step"))
        assert side.device == json.loads((run / "environment.json").read_text())["device"]
        assert side.model_bytes == sum(path.stat().st_size for path in (run / "model").iterdir())
    assert result.first.num_trainable == result.first.num_total > 4 * result.second.num_trainable
    assert result.first.adapter_bytes is None
    assert 0 < result.second.adapter_bytes < result.second.model_bytes / 2
    trained = f"{result.second.num_trainable:,} of {result.second.num_total:,} ("
    for told in (said, page):
        assert f"all {result.first.num_total:,}" in told
        assert trained in told
        assert f"adapter {result.second.adapter_bytes / 1e6:,.1f} MB, model " in told
        assert "depends on the machine." in told
        assert "An adapter is all there is to keep of a model beside the one it began with." in told


def test_costs_over_seeds_and_machines(tmp_path):
    runs = []
    for name, device, seconds in (("a", "one chip", (1.5, 2.5)), ("b", "another", (3.0, 5.0))):
        run = write_seeds(tmp_path / name, [classified("nyny", "nynn")] * 2, tune="all")
        for seed, own in enumerate(seconds):
            part = run / f"seed-{seed}"
            lines = [{"kind": "step", "step": step, "seconds": own} for step in (1, 2)]
            (part / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
            (part / "environment.json").write_text(json.dumps({"device": device}))
        runs.append(str(run))
    result = compare(*runs)
    assert (result.first.seconds, result.second.seconds) == (4.0, 8.0)
    sides = [asdict(side) for side in (result.first, result.second)]
    assert [row[1:] for row in cost_rows(sides)] == [["all", "", "4 s", ""], ["all", "", "8 s", ""]]
    assert "depends on the machine: these ran on two, one chip and another." in note_on_costs(sides)
    alone = write_run(tmp_path / "alone", classified("nyny", "nyny"))  # of old, which tells nothing
    assert compare(str(alone), runs[0]).first.seconds is None
    assert cost_rows([asdict(compare(str(alone), runs[0]).first)]) == [[str(alone), "", "", "", ""]]
