"""Pretraining from raw text to a model folder, on tiny models. Run: pytest tests/test_workflows_pretrain.py."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tiny import DETERMINERS, NOUNS, VERBS, everything_in, sentences, unmask, weights_of, write_rows
from unmask import PretrainSettings, load, pack, pretrain
from unmask.errors import SettingsError
from unmask.files import write_json
from unmask.models.registry import encoder_of
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.unigram import count_tokens, unigram_cross_entropy
from unmask.tokenization.training import train_on_texts
from unmask.workflows.budget import plan_steps
from unmask.workflows.new_tokens import grow_vocabulary

FAMILIES = ("bert", "roberta", "albert", "electra", "gpt")
SIZES = ("--hidden-size", 32, "--num-hidden-layers", 2, "--num-attention-heads", 4, "--max-seq-length", 24)
QUICK = (
    "--batch-tokens",
    480,
    "--micro-batch-tokens",
    240,
    "--learning-rate",
    4e-3,
    "--device",
    "cpu",
    "--dev-fraction",
    0.1,
)


def documents(count: int, *, seed: int) -> list[str]:
    """Documents of 3 to 7 sentences like "These dogs sleep. They wait now.": who does it can be told from context."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        determiner, noun = rng.choice(list(DETERMINERS)), rng.choice(NOUNS[:8])
        plural = DETERMINERS[determiner] == "p"
        lines = [f"{determiner} {noun}{'s' if plural else ''} {rng.choice(VERBS[:6])}."]
        lines += [f"{'they' if plural else 'it'} {rng.choice(VERBS[:6])} now." for _ in range(rng.randrange(2, 7))]
        made.append(" ".join(map(str.capitalize, lines)))
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with corpus.txt and a tokenizer for each family."""
    folder = tmp_path_factory.mktemp("place")
    texts = documents(150, seed=1)
    (folder / "corpus.txt").write_text("\n\n".join(texts) + "\n")
    for family in FAMILIES:
        train_on_texts(texts, family=family, vocab_size=300).save(folder / family)  # type: ignore[arg-type]
    return folder


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path_factory) -> None:
    """Stores lie in a folder of the test; drawing plots and measuring the machine take longer than these runs."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("unmask.workflows.budget.matrix_product_rate", lambda device, dtype: 1e12)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("unmask.workflows.pretrain.write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")


def pretrain_tiny(place: Path, run: Path | None, family: str, *arguments: object) -> int:
    """Pretrain on a workplace's corpus; later arguments override."""
    given = ("--corpus", place / "corpus.txt", "--tokenizer", place / family, *SIZES, *QUICK)
    output = () if run is None else ("--output-dir", run)
    return unmask("pretrain", family, *given, *output, *arguments)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def rows_of(run: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def assert_same_logits(folder: Path, name: str, text: str) -> None:
    """Transformers and we read the folder to the same model and the same ids; `name` is its class there."""
    import transformers

    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt")
    pretrained = load(folder)
    assert tokenizer.model_max_length == pretrained.max_seq_length  # so that it can cut what the model cannot take
    ours = pretrained.tokenizer.encode(text)
    assert ids["input_ids"][0].tolist() == ours.input_ids
    with torch.inference_mode():
        expected, got = theirs(**ids), pretrained.model(pack([ours.input_ids], [ours.token_type_ids]))
    pairs = [
        (getattr(got, field), getattr(expected, field))
        for field in ("logits", "prediction_logits", "seq_relationship_logits")
        if hasattr(got, field) and hasattr(expected, field)
    ]
    if hasattr(expected, "sop_logits"):
        pairs.append((got.seq_relationship_logits, expected.sop_logits))
    assert pairs
    for mine, other in pairs:
        torch.testing.assert_close(mine, other.squeeze(0).reshape(mine.shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "names", "scores"),
    [
        ("bert", {"model": "BertForPreTraining"}, {"mlm_loss", "perplexity", "masked_accuracy", "nsp_accuracy"}),
        ("roberta", {"model": "RobertaForMaskedLM"}, {"mlm_loss", "perplexity", "masked_accuracy"}),
        ("albert", {"model": "AlbertForPreTraining"}, {"mlm_loss", "sop_loss", "sop_accuracy"}),
        (
            "electra",
            {"model": "ElectraForPreTraining", "generator": "ElectraForMaskedLM"},
            {"generator_loss", "rtd_loss", "rtd_accuracy", "rtd_precision", "rtd_recall"},
        ),
        ("gpt", {"model": "GPT2LMHeadModel"}, {"perplexity", "accuracy"}),
    ],
)
def test_a_family_learns_and_transformers_loads_it(place, tmp_path, capsys, family, names, scores):
    run = tmp_path / "run"
    assert pretrain_tiny(place, run, family, "--max-steps", 60) == 0
    said = capsys.readouterr()
    evaluations = rows_of(run, "epoch")
    assert len(evaluations) == 10
    assert evaluations[-1]["dev_loss"] < 0.9 * evaluations[0]["dev_loss"]
    assert evaluations[-1]["examples"][0]["guesses"]
    [entry] = read_json(run / "evaluation.json")
    assert entry["metrics"].keys() >= scores
    chooses = "dev_generator_loss" if family == "electra" else "dev_loss"
    assert entry["loss"] == min(evaluations, key=lambda row: row[chooses])["dev_loss"]
    if family == "electra":  # a generator of 8 numbers a token learns slowly
        assert evaluations[-1]["dev_generator_loss"] < evaluations[0]["dev_generator_loss"]
        assert evaluations[-1]["dev_rtd_loss"] < evaluations[0]["dev_rtd_loss"]
    else:
        assert entry["metrics"].get("mlm_loss", entry["loss"]) < entry["unigram_cross_entropy"]
    assert f"loses {entry['unigram_cross_entropy']:.4f} nats each" in said.err
    assert 0 < entry["training"]["share_of_arithmetic"] < 1
    assert entry["training"]["tokens"] == sum(row["num_tokens"] for row in rows_of(run, "step"))
    assert f"model   {run / 'model'}" in said.out
    for folder, name in names.items():
        assert_same_logits(run / folder, name, "These dogs sleep. They wait now.")
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "environment.json", "command.txt", "data.json", "metrics.jsonl", "evaluation.json"),
        *names,
    }
    data = read_json(run / "data.json")
    assert data["dev"]["unigram_cross_entropy"] == entry["unigram_cross_entropy"]
    assert data["train"]["documents"] + data["dev"]["documents"] >= 150
    assert data["self_check"]["packing_efficiency"] > 0.9
    config = read_json(run / "config.json")
    assert (config["task"], config["family"], config["warmup_ratio"]) == ("pretraining", family, 0.06)


def test_the_report_is_written(place, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert pretrain_tiny(place, run, "electra", "--max-steps", 4) == 0
    page = (run / "report.html").read_text()
    for said in ("pretraining report", "rtd", "corpus.txt", "What training sees"):
        assert said in page
    card = (run / "model" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "(the generator)" in (run / "generator" / "README.md").read_text()
    assert list((run / "plots").glob("*.png"))


@pytest.mark.parametrize(
    ("family", "arguments", "terms"),
    [
        ("bert", ("--objective", "mlm", "--format", "doc-sentences", "--mask-unit", "word"), ()),
        ("bert", ("--objective", "mlm", "sop", "--format", "sentence-pair"), ("mlm", "sop")),
        ("bert", ("--objective", "rtd"), ("generator", "discriminator")),
        ("roberta", ("--objective", "nsp", "mlm"), ("mlm", "nsp")),
        ("roberta", ("--objective", "rtd", "--static-copies", 2), ("generator", "discriminator")),
        ("albert", ("--objective", "rtd", "--generator-size", 0.5), ("generator", "discriminator")),
        ("albert", ("--objective", "mlm", "nsp"), ("mlm", "nsp")),
        ("electra", ("--objective", "mlm", "--format", "blocks", "--embedding-size", 32), ()),
        ("gpt", ("--format", "full-sentences"), ()),
    ],
)
def test_objectives_and_formats_compose(place, tmp_path, family, arguments, terms):
    run = tmp_path / "run"
    assert pretrain_tiny(place, run, family, "--max-steps", 2, *arguments) == 0
    for row in rows_of(run, "step"):
        assert {name.removeprefix("loss_") for name in row if name.startswith("loss_")} == set(terms)
        if terms:
            assert row["loss"] == pytest.approx(sum(row[f"loss_{term}"] for term in terms), rel=1e-5)
    load(run)
    assert (run / "generator").exists() == ("discriminator" in terms)
    if "discriminator" in terms:
        load(run / "generator")


def killed_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Die like a process that is told to, at a moment that has no checkpoint of its own."""
    collate, calls = Pretraining.collate, iter(range(10**6))

    def collate_or_die(self: Pretraining, *arguments: Any, **settings: Any) -> Any:
        if next(calls) == count:
            raise KeyboardInterrupt
        return collate(self, *arguments, **settings)

    monkeypatch.setattr(Pretraining, "collate", collate_or_die)


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_a_killed_run_goes_on_to_the_same_bits(place, tmp_path, monkeypatch, family):
    settings = ("--max-steps", 9, "--eval-steps", 4, "--save-steps", 2)
    assert pretrain_tiny(place, tmp_path / "whole", family, *settings) == 0
    run = tmp_path / "killed"
    with monkeypatch.context() as patch:
        killed_at(patch, 11)  # in step 6, of two packs each
        assert pretrain_tiny(place, run, family, *settings) == 130
    assert (run / "checkpoints").is_dir()
    assert unmask("pretrain", "--resume", "--output-dir", run) == 0
    for name in ("model", "generator") if family == "electra" else ("model",):
        ours, theirs = everything_in(run / name), everything_in(tmp_path / "whole" / name)
        assert ours.keys() == theirs.keys()
        assert all(content == theirs[file] for file, content in ours.items() if file != "README.md")  # it has seconds
    losses = [[row["loss"] for row in rows_of(folder, "step")] for folder in (run, tmp_path / "whole")]
    assert losses[0] == losses[1]


class TestResume:
    def test_a_complete_run_is_left_as_it_is(self, place, tmp_path, capsys):
        run = tmp_path / "run"
        assert pretrain_tiny(place, run, "gpt", "--max-steps", 1) == 0
        before = everything_in(run)
        assert unmask("pretrain", "--resume", "--output-dir", run) == 0
        assert "is complete: there is nothing to resume" in capsys.readouterr().err
        assert everything_in(run) == before

    def test_changed_texts_and_settings_are_refused(self, place, tmp_path, monkeypatch, capsys):
        run, corpus = tmp_path / "run", tmp_path / "corpus.txt"
        shutil.copy(place / "corpus.txt", corpus)
        with monkeypatch.context() as patch:
            killed_at(patch, 3)
            assert pretrain_tiny(place, run, "bert", "--corpus", corpus, "--max-steps", 5) == 130
        capsys.readouterr()
        assert unmask("pretrain", "--resume", "--output-dir", run, "--mlm-probability", 0.3) == 2
        assert "mlm_probability is 0.3, but the run in" in capsys.readouterr().err
        corpus.write_text(corpus.read_text() + "\nthese birds sing.\n")
        assert unmask("pretrain", "--resume", "--output-dir", run) == 3
        assert f"{run / 'data.json'}: the data are not those the run began with" in capsys.readouterr().err

    def test_each_command_keeps_to_its_own_runs(self, place, tmp_path, monkeypatch, capsys):
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            killed_at(patch, 0)
            assert pretrain_tiny(place, run, "bert", "--max-steps", 1) == 130
        capsys.readouterr()
        assert unmask("finetune", "--resume", "--output-dir", run) == 3
        assert "this run is one of unmask pretrain: resume it with that command" in capsys.readouterr().err
        train = write_rows(tmp_path / "train.tsv", sentences(9, seed=1))
        assert unmask("finetune", "--model", run, "--train", train, "--output-dir", tmp_path / "tuned") == 3
        message = f"this run has no model yet: unmask pretrain --resume --output-dir {run} takes it to its end"
        assert message in capsys.readouterr().err
        assert unmask("pretrain", "--model", run, "--corpus", train, "--output-dir", tmp_path / "more") == 3
        assert message in capsys.readouterr().err
        assert unmask("pretrain", "--resume", "--output-dir", run) == 0
        capsys.readouterr()
        assert unmask("predict", run, "this dog") == 3
        assert "this run pretrained a model and taught it no task" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_accumulated_gradients_end_in_the_same_weights(place, tmp_path, family):
    for name, micro in (("parts", 1), ("whole", 2)):
        assert pretrain_tiny(place, tmp_path / name, family, "--max-steps", 4, "--micro-batch-size", micro) == 0
    sequences = ("--batch-tokens", "None", "--global-batch-size", 12, "--max-steps", 4)
    assert pretrain_tiny(place, tmp_path / "sequences", family, *sequences) == 0
    assert pretrain_tiny(place, tmp_path / "fives", family, *sequences, "--micro-batch-size", 5) == 0
    for one, other in (("parts", "whole"), ("fives", "sequences")):
        assert weights_of(tmp_path / one) != weights_of(tmp_path / other)  # it did compute in parts
        expected = load_file(tmp_path / other / "model" / "model.safetensors")
        for key, tensor in load_file(tmp_path / one / "model" / "model.safetensors").items():
            torch.testing.assert_close(tensor, expected[key], rtol=0, atol=2e-5, msg=lambda text, key=key: key + text)
    assert [row["num_targets"] for row in rows_of(tmp_path / "parts", "step")] == [
        row["num_targets"] for row in rows_of(tmp_path / "whole", "step")
    ]


def test_the_function_is_the_command(place, tmp_path):
    assert pretrain_tiny(place, tmp_path / "typed", "bert", "--max-steps", 2, "--betas", 0.9, 0.95) == 0
    result = pretrain(
        family="bert",
        corpus=place / "corpus.txt",
        tokenizer=place / "bert",
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_seq_length=24,
        batch_tokens=480,
        micro_batch_tokens=240,
        learning_rate=4e-3,
        betas=[0.9, 0.95],
        device="cpu",
        dev_fraction=0.1,
        max_steps=2,
        output_dir=str(tmp_path / "called"),
    )
    assert result is not None
    assert weights_of(result.output_dir) == weights_of(tmp_path / "typed")
    [entry] = read_json(tmp_path / "typed" / "evaluation.json")
    assert (result.loss, result.dev, result.unigram_cross_entropy) == (
        entry["loss"],
        entry["metrics"],
        entry["unigram_cross_entropy"],
    )
    assert (result.model, result.generator) == (tmp_path / "called" / "model", None)


def test_a_dry_run_shows_and_writes_no_run(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert pretrain_tiny(place, None, "bert", "--dry-run", "--store", tmp_path / "store") == 0
    said = capsys.readouterr().out
    for part in ("mlm + nsp", "is not next", "to guess", "[MASK]", "nats each"):
        assert part in said
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_texts_are_tokenized_once(place, tmp_path, monkeypatch, capsys):
    built: list[Path] = []

    def build_store(folder: Path, *arguments: Any, **settings: Any) -> Any:
        from unmask.pretraining.building import build_store

        built.append(Path(folder))
        return build_store(folder, *arguments, **settings)

    monkeypatch.setattr("unmask.workflows.pretrain_data.build_store", build_store)
    corpus, dev = tmp_path / "corpus.txt", tmp_path / "dev.txt"
    shutil.copy(place / "corpus.txt", corpus)
    dev.write_text("\n\n".join(documents(20, seed=2)))
    for _ in range(2):
        assert pretrain_tiny(place, None, "bert", "--corpus", corpus, "--dev-corpus", dev, "--dry-run") == 0
    assert len(built) == len(set(built)) == 2  # the corpus, and the dev texts
    corpus.write_text("\n\n".join(documents(30, seed=3)))
    assert pretrain_tiny(place, None, "bert", "--corpus", corpus, "--dry-run") == 0
    assert pretrain_tiny(place, None, "bert", "--corpus", corpus, "--language", "none", "--dry-run") == 0
    assert len(set(built)) == 4
    given = tmp_path / "store"
    assert pretrain_tiny(place, None, "bert", "--store", given, "--dry-run") == 0
    capsys.readouterr()
    arguments = ("--tokenizer", place / "bert", *SIZES, *QUICK, "--store", given, "--dry-run")
    assert unmask("pretrain", "bert", *arguments) == 0  # no corpus: the store has all
    assert "mlm + nsp" in capsys.readouterr().out


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock for the measuring that goes on by a tenth of a second at each look, whoever else computes."""
    looks = itertools.count()
    monkeypatch.setattr("unmask.workflows.budget.time", SimpleNamespace(perf_counter=lambda: next(looks) / 10))
    return looks


class TestBudget:
    def test_it_plans_the_steps(self, place, tmp_path, capsys, monkeypatch, slow_clock):
        run, plans = tmp_path / "run", []

        def planned(*arguments, **named):
            plans.append(plan_steps(*arguments, **named))
            return plans[-1]

        monkeypatch.setattr("unmask.workflows.pretrain.plan_steps", planned)
        assert pretrain_tiny(place, run, "bert", "--budget", "4s") == 0
        [plan] = plans
        measuring = (next(slow_clock) - 1) / 10
        planned_for = plan.max_steps * plan.seconds_per_step + plan.num_evaluations * plan.evaluation_seconds
        assert 0 <= 4 * 0.97 - measuring - planned_for < plan.seconds_per_step
        config, evaluations = read_json(run / "config.json"), rows_of(run, "epoch")
        steps = config["max_steps"]
        assert config["budget"] == "4s"
        assert f"4s allow {steps:,} steps of" in capsys.readouterr().err
        assert len(rows_of(run, "step")) == steps
        assert rows_of(run, "step")[-1]["learning_rate"] < 4e-3 / 2
        assert len(evaluations) <= 10

    def test_a_run_that_goes_on_keeps_its_plan(self, place, tmp_path, monkeypatch, slow_clock):
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            killed_at(patch, 20)
            assert pretrain_tiny(place, run, "gpt", "--budget", "4s") == 130
        steps = read_json(run / "config.json")["max_steps"]
        assert steps > 1
        killed_at(monkeypatch, 10**5)
        monkeypatch.setattr("unmask.workflows.pretrain.plan_steps", None)
        assert unmask("pretrain", "--resume", "--output-dir", run) == 0
        assert len(rows_of(run, "step")) == steps

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--budget", "0.001s"), "budget is 0.001 seconds: a step takes"),
            (("--budget", "soon"), "budget is 'soon': it must be a time such as 90s, 30m or 2h"),
            (("--budget", "0m"), "budget is '0m': it must be a time"),
            (("--budget", "2h", "--max-steps", 3), "budget is '2h' and max_steps is 3: give one of the two"),
        ],
    )
    def test_what_it_cannot_be(self, place, tmp_path, capsys, arguments, message):
        assert pretrain_tiny(place, tmp_path / "run", "bert", *arguments) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_one_process_measures(self, place, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert pretrain_tiny(place, tmp_path / "run", "bert", "--budget", "4s") == 2
        assert "budget is measured by one process" in capsys.readouterr().err


class TestGoingOn:
    """From a checkpoint to another text."""

    def test_a_model_goes_on_with_its_own_tokenizer_and_sizes(self, place, tmp_path, capsys):
        first, second = tmp_path / "first", tmp_path / "second"
        assert pretrain_tiny(place, first, "bert", "--max-steps", 60) == 0
        arguments = ("--corpus", place / "corpus.txt", "--max-seq-length", 24, *QUICK, "--warmup-steps", 2)
        capsys.readouterr()
        assert unmask("pretrain", "--model", first, *arguments, "--max-steps", 2, "--output-dir", second) == 0
        assert f"tensors loaded from {first / 'model'}" in capsys.readouterr().err
        before, after = rows_of(first, "epoch"), rows_of(second, "epoch")
        assert after[0]["dev_loss"] == pytest.approx(before[-1]["dev_loss"], rel=0.1)
        assert after[0]["dev_loss"] < before[0]["dev_loss"] - 0.5
        assert load(second).config.hidden_size == 32
        assert (second / "model" / "tokenizer.json").read_bytes() == (first / "model" / "tokenizer.json").read_bytes()

    def test_a_generator_goes_on_beside_its_discriminator(self, place, tmp_path, capsys):
        first = tmp_path / "first"
        assert pretrain_tiny(place, first, "electra", "--max-steps", 3) == 0
        alone = tmp_path / "alone"
        shutil.copytree(first / "model", alone)
        arguments = ("--corpus", place / "corpus.txt", "--max-seq-length", 24, *QUICK, "--max-steps", 1)
        for model, said in ((first, f"tensors loaded from {first / 'generator'}"), (alone, "its generator: 2 layers")):
            capsys.readouterr()
            run = tmp_path / f"from-{model.name}"
            assert unmask("pretrain", "--model", model, *arguments, "--output-dir", run) == 0
            assert said in capsys.readouterr().err
            assert read_json(run / "config.json")["objective"] == ["rtd"]

    @pytest.mark.parametrize("family", ["bert", "electra", "gpt"])
    def test_new_tokens_begin_as_the_mean_of_their_pieces(self, place, tmp_path, family):
        first, second = tmp_path / "first", tmp_path / "second"
        assert pretrain_tiny(place, first, family, "--max-steps", 2) == 0
        words = tmp_path / "words.txt"
        words.write_text("dogsleep\n\nkingrun\n")
        corpus = tmp_path / "corpus.txt"
        corpus.write_text((place / "corpus.txt").read_text().replace("dogs sleep", "dogsleep"))
        arguments = ("--corpus", corpus, "--max-seq-length", 24, *QUICK, "--max-steps", 1, "--learning-rate", 1e-9)
        assert unmask(
            *("pretrain", "--model", first, *arguments, "--new-tokens", words, "tigersing", "--output-dir", second)
        ) == 0  # fmt: skip
        old, new = load(first), load(second)
        added = ["dogsleep", "kingrun", "tigersing"]
        assert read_json(second / "config.json")["new_tokens"] == added
        rows, grown = (encoder_of(p.model).embeddings.word.weight.detach() for p in (old, new))
        assert len(grown) == len(rows) + 3 == new.config.vocab_size == new.tokenizer.vocab_size
        torch.testing.assert_close(grown[: len(rows)], rows, rtol=0, atol=1e-6)
        for number, word in enumerate(added, start=len(rows)):
            pieces = old.tokenizer.encode(word, add_special_tokens=False).input_ids
            assert len(pieces) > 1
            assert new.tokenizer.encode(word, add_special_tokens=False).input_ids == [number]
            torch.testing.assert_close(grown[number], rows[pieces].mean(0), rtol=0, atol=1e-6)
        if family == "electra":
            assert len(load(second / "generator").model.masked_lm.bias) == len(grown)

    def test_spare_rows_of_a_checkpoint_are_used_first(self, place, tmp_path):
        assert pretrain_tiny(place, tmp_path / "run", "bert", "--max-steps", 1) == 0
        pretrained = load(tmp_path / "run")
        before, rows = pretrained.tokenizer, pretrained.model.encoder.embeddings.word.weight.detach()
        spare = torch.cat((rows, torch.full((5, 32), 9.0)))
        model = pretrained.model
        model.encoder.embeddings.word.weight = torch.nn.Parameter(spare)
        model.masked_lm.bias = torch.nn.Parameter(torch.zeros(len(spare)))
        model.config = model.encoder.config = dataclasses.replace(model.config, vocab_size=len(spare))
        grow_vocabulary(model, before, before.with_added_tokens(["dogsleep"]))
        grown = model.encoder.embeddings.word.weight
        assert len(grown) == len(spare) == model.config.vocab_size
        assert (grown[len(rows)] != 9).all()
        assert (grown[len(rows) + 1 :] == 9).all()

    @pytest.mark.parametrize(
        ("arguments", "message", "code"),
        [
            (("--tokenizer", "elsewhere"), "tokenizer is 'elsewhere', and model is", 2),
            (("--hidden-size", 64), "hidden_size is 64, and model is", 2),
            (("--objective", "clm"), "bert cannot learn clm: it learns mlm nsp", 2),
            (("--max-seq-length", 25), "max_seq_length is 25, and this model takes 24 tokens at most", 2),
            (("--new-tokens", "They"), "new_tokens: 'They' is in the vocabulary already: leave it out", 3),
            (("--new-tokens", "gone.txt"), "gone.txt: there is no such file of new tokens", 3),
        ],
    )
    def test_what_does_not_go_with_it(self, place, tmp_path, capsys, arguments, message, code):
        assert pretrain_tiny(place, tmp_path / "first", "bert", "--max-steps", 1) == 0
        capsys.readouterr()
        given = ("--model", tmp_path / "first", "--corpus", place / "corpus.txt", *QUICK)
        if "--max-seq-length" not in arguments:
            given += ("--max-seq-length", 24)
        assert unmask("pretrain", *given, "--output-dir", tmp_path / "run", *arguments) == code
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_fine_tuning_begins_where_pretraining_ends(self, place, tmp_path, capsys):
        assert pretrain_tiny(place, tmp_path / "run", "roberta", "--max-steps", 2) == 0
        train = write_rows(tmp_path / "train.tsv", sentences(40, seed=1))
        arguments = ("--train", train, "--max-steps", 3, "--device", "cpu", "--output-dir", tmp_path / "tuned")
        assert unmask("finetune", "--model", tmp_path / "run", *arguments) == 0
        assert "the layers classifier.dense, classifier.out_proj are new and must be trained" in capsys.readouterr().err


def test_the_generator_is_a_fraction_of_its_discriminator(place, tmp_path):
    """Clark et al. 2020, table 6; in families of one width, fewer layers."""
    sizes = ("--hidden-size", 64, "--num-hidden-layers", 4, "--num-attention-heads", 8, "--max-steps", 1)
    for family in ("electra", "bert"):
        assert pretrain_tiny(place, tmp_path / family, family, "--objective", "rtd", *sizes) == 0
        large, small = load(tmp_path / family).config, load(tmp_path / family / "generator").config
        expected = (16, 2, 64, 4) if family == "electra" else (64, 8, 256, 1)
        assert (
            small.hidden_size,
            small.num_attention_heads,
            small.intermediate_size,
            small.num_hidden_layers,
        ) == expected
        assert (large.hidden_size, large.num_attention_heads, large.intermediate_size) == (64, 8, 256)
        assert small.embedding_size == large.embedding_size == (32 if family == "electra" else 64)
        words = [
            encoder_of(load(tmp_path / family / name).model).embeddings.word.weight for name in ("model", "generator")
        ]
        assert torch.equal(*words)


class TestBadInput:
    """Each one sentence, exit code 3, and nothing begun."""

    def check(self, capsys: Any, code: int, run: Path, message: str) -> None:
        assert code == 3
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
        assert not run.exists()

    def test_an_empty_corpus(self, place, tmp_path, capsys):
        for text in ("", " \n\n \n"):
            (tmp_path / "empty.txt").write_text(text)
            code = pretrain_tiny(place, tmp_path / "run", "bert", "--corpus", tmp_path / "empty.txt")
            self.check(capsys, code, tmp_path / "run", "empty.txt")

    def test_one_document_has_no_negatives(self, place, tmp_path, capsys):
        (tmp_path / "one.txt").write_text("\n".join(documents(20, seed=1)))
        one = ("--corpus", tmp_path / "one.txt")
        code = pretrain_tiny(place, tmp_path / "run", "bert", *one)
        self.check(
            capsys, code, tmp_path / "run", "(nsp) takes its negatives from other documents, and there is only one"
        )
        assert pretrain_tiny(place, tmp_path / "sop", "bert", *one, "--objective", "mlm", "sop", "--max-steps", 1) == 0
        (tmp_path / "dev.txt").write_text("These dogs sleep. They wait.")
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--dev-corpus", tmp_path / "dev.txt")
        self.check(
            capsys, code, tmp_path / "run", "the dev texts are 1 of its documents, too few for this: raise dev_fraction"
        )

    def test_a_sentence_longer_than_a_sequence_is_cut_and_counted(self, place, tmp_path, capsys):
        (tmp_path / "long.txt").write_text("\n\n".join([*documents(20, seed=1), "they sleep " * 40 + "now."]))
        arguments = ("--corpus", tmp_path / "long.txt", "--objective", "mlm", "--max-steps", 1)
        assert pretrain_tiny(place, tmp_path / "run", "bert", *arguments) == 0
        assert "1 sentences are longer than a sequence, and are cut" in capsys.readouterr().err
        assert read_json(tmp_path / "run" / "data.json")["train"]["cut_sentences"] == 1

    @pytest.mark.parametrize("objective", ["mlm", "rtd"])
    def test_a_tokenizer_without_mask(self, place, tmp_path, capsys, objective):
        code = pretrain_tiny(place, tmp_path / "run", "electra", "--tokenizer", place / "gpt", "--objective", objective)
        self.check(capsys, code, tmp_path / "run", "the tokenizer has no ")
        folder = tmp_path / "without-mask"
        shutil.copytree(place / "roberta", folder)
        for file in folder.iterdir():
            file.write_text(file.read_text().replace("<mask>", "<mosk>").replace("mask_token", "mosk_token"))
        code = pretrain_tiny(place, tmp_path / "run", "electra", "--tokenizer", folder, "--objective", objective)
        self.check(capsys, code, tmp_path / "run", f"no [MASK] token, which the objective {objective}")

    def test_vocabulary_and_embeddings_that_disagree(self, place, tmp_path, capsys):
        assert pretrain_tiny(place, tmp_path / "first", "bert", "--max-steps", 1) == 0
        model = tmp_path / "first" / "model"
        load(model).tokenizer.with_added_tokens(["dogsleep", "kingrun"]).save(model)
        capsys.readouterr()
        size = load_file(model / "model.safetensors")["bert.embeddings.word_embeddings.weight"].shape[0]
        given = ("--model", tmp_path / "first", "--corpus", place / "corpus.txt", "--max-seq-length", 24)
        code = unmask("pretrain", *given, "--output-dir", tmp_path / "run")
        message = f"the tokenizer has {size + 2} words and the model {size} embeddings; they are not of the same model"
        self.check(capsys, code, tmp_path / "run", message)

    def test_a_store_of_another_tokenizer(self, place, tmp_path, capsys):
        store = ("--store", tmp_path / "store")
        assert pretrain_tiny(place, None, "bert", *store, "--dry-run") == 0
        for corpus in (("--corpus", place / "corpus.txt"), ()):
            given = (*corpus, "--tokenizer", place / "albert", *SIZES, *QUICK, *store)
            code = unmask("pretrain", "albert", *given, "--output-dir", tmp_path / "run")
            self.check(capsys, code, tmp_path / "run", "with another tokenizer")

    @pytest.mark.parametrize("damage", ["cut", "changed", "record", "missing"])
    def test_a_damaged_store(self, place, tmp_path, capsys, damage):
        store = tmp_path / "store"
        assert pretrain_tiny(place, None, "bert", "--store", store, "--dry-run") == 0
        tokens, record = store / "tokens.bin", store / "store.json"
        if damage == "cut":
            tokens.write_bytes(tokens.read_bytes()[:-2])
        elif damage == "changed":
            content = bytearray(tokens.read_bytes())
            content[7] ^= 255
            tokens.write_bytes(content)
        elif damage == "record":
            record.write_bytes(record.read_bytes()[:-40])
        else:
            tokens.unlink()
        message = {"cut": "cut short", "changed": "damaged", "record": "not the record of a store"}
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--store", store)
        self.check(capsys, code, tmp_path / "run", message.get(damage, "No such file"))

    def test_text_that_is_learnt_from_and_judged_by(self, place, tmp_path, capsys):
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--dev-corpus", place / "corpus.txt")
        self.check(capsys, code, tmp_path / "run", "corpus.txt: is in corpus and in dev_corpus")

    def test_a_store_that_came_to_nothing_leaves_no_folder(self, place, tmp_path, capsys):
        (tmp_path / "latin.txt").write_bytes("good\ncaf\u00e9\n".encode("latin-1"))
        store = tmp_path / "store"
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--corpus", tmp_path / "latin.txt", "--store", store)
        self.check(capsys, code, tmp_path / "run", "latin.txt, line 2")
        assert not store.exists()

    def test_no_such_texts_or_tokenizer(self, place, tmp_path, capsys):
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--corpus", "gone.txt")
        self.check(capsys, code, tmp_path / "run", "gone.txt: there is no such file")
        code = pretrain_tiny(place, tmp_path / "run", "bert", "--tokenizer", tmp_path)
        self.check(capsys, code, tmp_path / "run", "no tokenizer here: that is a folder with a tokenizer.json")
        assert unmask("pretrain", "--resume", "--output-dir", tmp_path / "run") == 3
        assert "there is no run here to resume" in capsys.readouterr().err
        code = pretrain_tiny(place, tmp_path / "run", "roberta", "--tokenizer", place / "gpt")
        self.check(capsys, code, tmp_path / "run", "the tokenizer has no padding token, which every roberta has")
        write_json(tmp_path / "used" / "notes.json", {})
        assert pretrain_tiny(place, tmp_path / "used", "bert") == 3
        assert "holds files that are no run's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dir": None}, "output_dir is missing: name the run folder"),
        ({"corpus": ()}, "corpus is missing: name the texts to learn from"),
        ({"tokenizer": None}, "tokenizer is missing: name the folder of one for a new model"),
        ({"family": "t5"}, "family is 't5': it must be one of bert, roberta, albert, electra, gpt"),
        ({"size": "huge"}, "size is 'huge': it must be one of tiny, mini"),
        ({"format": "lines"}, "format is 'lines': it must be one of segment-pair"),
        ({"objective": "mlm2"}, "objective 'mlm2' is unknown: there are mlm, nsp, sop, rtd, clm"),
        ({"objective": ("nsp",)}, "bert cannot learn nsp: it learns mlm nsp, or mlm sop, or mlm, or rtd"),
        ({"objective": "clm"}, "bert cannot learn clm: .*; clm is for gpt"),
        ({"family": "gpt", "objective": "mlm"}, "gpt cannot learn mlm: it learns clm; mlm is for bert, roberta"),
        ({"family": "electra", "objective": ("mlm", "nsp")}, "electra cannot learn mlm nsp: it learns rtd, or mlm"),
        ({"format": "blocks", "objective": ("mlm", "nsp")}, "nsp asks about pairs of texts, and the format blocks"),
        ({"family": "gpt", "objective": "clm", "format": "segment-pair"}, "clm guesses what follows, and the format"),
        ({"metric_for_best": "nsp_acc"}, "metric_for_best is 'nsp_acc': it must be one of loss, mlm_loss, perplexity"),
        ({"format": "blocks"}, "nsp asks about pairs of texts, and the format blocks"),
        ({"dev_fraction": 1.0}, r"dev_fraction is 1.0: it must be in \(0, 1\)"),
        ({"max_dev_sequences": 0}, "max_dev_sequences is 0: it must be 1 or more"),
        ({"mask_token_rate": 0.9, "random_token_rate": 0.2}, "add up to more than 1"),
        ({"generator_size": 0.0}, r"generator_size is 0.0: it must be in \(0, 1\]"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob is 1.0: it must be in \[0, 1\), or None"),
        ({"hidden_size": 33}, "hidden_size 33 is not a multiple of num_attention_heads 4"),
        ({"embedding_size": 16}, "embedding_size is 16, and in bert it is hidden_size: only albert and electra"),
        ({"max_position_embeddings": 20}, "max_seq_length is 24, and this model takes 20 tokens at most"),
        ({"global_batch_size": 64}, "global_batch_size is 64 sequences, and batch_tokens is 8192 tokens"),
        ({"batch_tokens": 16}, "makes packs of 16 tokens: they must hold a sequence, and max_seq_length is 24"),
        ({"filters": "shuffle"}, "there is no filter 'shuffle'"),
        ({"overwrite": True, "resume": True}, "overwrite and resume contradict one another"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_settings_are_checked_before_anything_is_written(place, tmp_path, changes, message):
    run = tmp_path / "run"
    given = {"corpus": place / "corpus.txt", "tokenizer": place / "bert", "output_dir": run, "max_seq_length": 24}
    with pytest.raises(SettingsError, match=message):
        pretrain(**given | changes)
    assert not run.exists()


def test_what_follows_from_a_family():
    """The papers' objectives, formats and masks, where nothing is said."""
    expected = {
        "bert": (("mlm", "nsp"), "segment-pair", "token", 0.8, 0.1),
        "roberta": (("mlm",), "full-sentences", "token", 0.8, 0.1),
        "albert": (("mlm", "sop"), "segment-pair", "ngram", 0.8, 0.1),
        "electra": (("rtd",), "full-sentences", "token", 1.0, 0.0),
        "gpt": (("clm",), "blocks", "token", 0.8, 0.1),
    }
    for family, values in expected.items():
        s = PretrainSettings().for_family(family, is_new=True)
        assert (s.objective, s.format, s.mask_unit, s.mask_token_rate, s.random_token_rate) == values
        assert s.for_family(family, is_new=True) == s
    planned = PretrainSettings(epochs=3).for_steps(steps_per_epoch=7)
    assert (planned.max_steps, planned.eval_steps) == (None, 3)
    packs = PretrainSettings(batch_tokens=10_000, micro_batch_tokens=4096)
    assert (packs.pack_tokens, packs.training.global_batch_size, packs.training.micro_batch_size) == (3333, 3, 1)


def test_the_unigram_loss_by_hand():
    """Train a b b, dev b c over the vocabulary a b c d: shares with one added are 2/7, 3/7, 1/7, 1/7."""
    assert unigram_cross_entropy(np.array([1, 2, 0, 0]), np.array([0, 1, 1, 0])) == pytest.approx(
        -(math.log(3 / 7) + math.log(1 / 7)) / 2
    )

    class Store:
        tokens = np.array([0, 1, 1, 2, 3, 1, 0, 2], np.uint16)
        sentence_starts = np.array([0, 2, 3, 5, 8])
        document_starts = np.array([0, 1, 3, 4])

    wanted = np.array([[0, 1], [1, 2], [3, 4]])  # sentences 0 and 1, side by side, and 3
    assert count_tokens(Store(), wanted, vocab_size=5).tolist() == [2, 3, 1, 0, 0]


def test_the_help_teaches(capsys):
    assert unmask("pretrain", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "unmask pretrain bert --corpus books.txt",
        "--batch-tokens",
        "real tokens an optimizer step",
        "mlm nsp",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("family", "given", "kept"),
    [("electra", "loss", "generator_loss"), ("electra", "rtd_accuracy", "rtd_accuracy"), ("bert", "loss", "loss")],
)
def test_rtd_is_judged_by_its_generator_as_its_own_task_gets_harder(family, given, kept):
    settings = PretrainSettings(metric_for_best=given).for_family(family, is_new=True)
    assert settings.metric_for_best == kept


def test_seeds_are_judged_by_the_same_text_and_masks(place, tmp_path):
    runs = [tmp_path / f"seed-{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        assert pretrain_tiny(place, run, "bert", "--max-steps", 1, "--seed", seed) == 0
    first, second = (read_json(run / "data.json") for run in runs)
    assert first["dev"] == second["dev"]
    assert first["train"]["sha256"] == second["train"]["sha256"]
