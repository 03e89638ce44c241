"""Fine-tuning from files to a model folder, on a tiny random BERT. Run: pytest tests/test_workflows_finetune.py."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tiny import (
    QUICK,
    finetune_tiny,
    make_workplace,
    save_tiny_bert,
    sentences,
    unmask,
    weights_of,
    write_rows,
)
from unmask import FinetuneSettings, finetune, load, pack, predict, read_table
from unmask.data import split_indices
from unmask.errors import SettingsError
from unmask.training import learning_rate_factor, parameter_groups
from unmask.training.order import step_samples
from unmask.workflows.run_folder import is_complete

if TYPE_CHECKING:
    from pathlib import Path

QUOTED = ('this dog, "not now", sleep.', "good")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def rows_of(run: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def assert_weights_close(run: Path, expected: dict[str, torch.Tensor], *, atol: float) -> None:
    weights = load_file(run / "model" / "model.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            weights[name], tensor, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.usefixtures("no_report")
def test_every_format_gives_the_same_weights(place, tmp_path):
    train, dev = [*sentences(19, seed=1), QUOTED], [*sentences(5, seed=2), QUOTED]
    for suffix in ("tsv", "csv", "jsonl", "parquet"):
        files = [write_rows(tmp_path / f"{name}.{suffix}", rows) for name, rows in (("train", train), ("dev", dev))]
        assert finetune_tiny(place, tmp_path / suffix, "--train", files[0], "--dev", files[1]) == 0
    bare = [
        write_rows(tmp_path / "bare" / f"{name}.csv", rows, header=None)
        for name, rows in (("train", train), ("dev", dev))
    ]
    names = ("--column-names", "words", "verdict", "--text-column", "words", "--label-column", "verdict")
    assert finetune_tiny(place, tmp_path / "headerless", "--train", bare[0], "--dev", bare[1], *names) == 0
    expected = weights_of(tmp_path / "tsv")
    for other in ("csv", "jsonl", "parquet", "headerless"):
        assert weights_of(tmp_path / other) == expected, other


@pytest.mark.usefixtures("no_report")
def test_a_data_set_is_read_by_its_parts(place, tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    parts, files = datasets.DatasetDict(), {}
    for part, count in (("train", 20), ("validation", 6), ("test", 8)):
        rows = sentences(count, seed=count)
        columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
        parts[part] = datasets.Dataset.from_dict(columns, features=features)
        files[part] = write_rows(tmp_path / f"{part}.tsv", rows)
    parts.save_to_disk(tmp_path / "agreement")
    whole = str(tmp_path / "agreement")
    assert finetune_tiny(place, tmp_path / "a", "--train", whole, "--dev", whole, "--test", whole) == 0
    assert finetune_tiny(place, tmp_path / "b", "--train", files["train"], "--dev", files["validation"]) == 0
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert read_json(tmp_path / "a" / "evaluation.json")[0]["num_examples"] == 8


@pytest.mark.usefixtures("no_report")
def test_pairs_reach_the_model_as_pairs(place, tmp_path):
    rows = ["first\tsecond\tlabel", *(f"{text}\tthe dog sleep\t{label}" for text, label in sentences(12, seed=1))]
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(rows))
    columns = ("--text-column", "first", "--text-pair-column", "second")
    assert finetune_tiny(place, tmp_path / "run", "--train", file, "--dev", file, *columns) == 0
    line = json.loads((tmp_path / "run" / "predictions_dev.jsonl").read_text().splitlines()[0])
    assert line["text_pair"] == "the dog sleep"
    [prediction] = predict(tmp_path / "run", [line["text"]], [line["text_pair"]])
    assert prediction.probability == pytest.approx(line["probability"], abs=1e-5)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("given", "file_labels", "names"),
    [
        ((), ("bad", "good"), ["bad", "good"]),
        ((), ("10", "9"), ["9", "10"]),  # numbers by size
        (("--labels", "good", "bad"), ("bad", "good"), ["good", "bad"]),
        (("--labels", "0=unacceptable", "1=acceptable"), ("0", "1"), ["unacceptable", "acceptable"]),
        (("--labels", "bad", "good", "neutral"), ("bad", "good"), ["bad", "good", "neutral"]),
    ],
)
def test_label_names_are_kept(place, tmp_path, given, file_labels, names):
    rows = [(text, file_labels[label == "good"]) for text, label in sentences(8, seed=1)]
    file = write_rows(tmp_path / "train.tsv", rows)
    arguments = ("--train", file, "--dev", file, "--max-steps", 1, *given)
    assert finetune_tiny(place, tmp_path / "run", *arguments) == 0
    config = read_json(tmp_path / "run" / "model" / "config.json")
    assert config["id2label"] == {str(i): name for i, name in enumerate(names)}
    assert config["label2id"] == {name: i for i, name in enumerate(names)}
    assert predict(tmp_path / "run", ["this dog sleep."])[0].probabilities.keys() == set(names)


@pytest.mark.usefixtures("no_report")
def test_a_part_of_train_is_held_back_by_fraction_and_seed(place, tmp_path):
    file = write_rows(tmp_path / "train.tsv", sentences(61, seed=1))
    texts = read_table(file).column("sentence")
    for seed in (0, 7):
        run = tmp_path / f"run-{seed}"
        assert unmask(
            *("finetune", "--model", place / "bert", "--train", file, "--output-dir", run, *QUICK),
            *("--dev-fraction", 0.2, "--seed", seed, "--max-steps", 1),
        ) == 0  # fmt: skip
        data = read_json(run / "data.json")
        assert (data["train"]["rows"], data["dev"]["rows"]) == (48, 13)  # 12.2 rounded up
        _, held_back = split_indices(61, dev_fraction=0.2, seed=seed)
        lines = (run / "predictions_dev.jsonl").read_text().splitlines()
        assert [json.loads(line)["text"] for line in lines] == [texts[i] for i in held_back]


@pytest.mark.usefixtures("no_report")
def test_dev_files_are_scored_together_and_apart_and_test_files_after_them(place, tmp_path):
    one, other = (write_rows(tmp_path / f"{n}.tsv", sentences(n, seed=n)) for n in (5, 9))
    arguments = ("--dev", one, other, "--test", place / "test.tsv")
    assert finetune_tiny(place, tmp_path / "run", *arguments) == 0
    entries = read_json(tmp_path / "run" / "evaluation.json")
    assert [(entry["data"], entry["num_examples"]) for entry in entries] == [
        (str(one), 5),
        (str(other), 9),
        (str(place / "test.tsv"), 17),
    ]
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions_dev.jsonl").read_text().splitlines()]
    right = [line["label"] == line["predicted"] for line in lines]
    assert len(right) == 14
    best = max(rows_of(tmp_path / "run", "epoch"), key=lambda row: row["dev_mcc"])
    assert best["dev_accuracy"] == pytest.approx(sum(right) / 14)
    assert sum(entry["metrics"]["accuracy"] * entry["num_examples"] for entry in entries[:2]) == pytest.approx(
        sum(right)
    )


@pytest.mark.usefixtures("no_report")
def test_a_run_that_does_not_improve_stops_early(place, tmp_path):
    arguments = ("--epochs", 9, "--early-stopping-patience", 2, "--learning-rate", 1e-12)
    assert finetune_tiny(place, tmp_path / "run", *arguments) == 0
    assert len(rows_of(tmp_path / "run", "epoch")) == 3


@pytest.mark.usefixtures("no_report")
def test_it_learns_what_can_be_learnt(place, tmp_path):
    rows = [(text, "one" if text.startswith("th") and text[2] == "i" else "many") for text, _ in sentences(120, seed=5)]
    train, test = write_rows(tmp_path / "train.tsv", rows[:90]), write_rows(tmp_path / "test.tsv", rows[90:])
    settings = ("--learning-rate", 3e-3, "--epochs", 6)
    assert finetune_tiny(place, tmp_path / "run", "--train", train, "--dev", test, "--test", test, *settings) == 0
    [entry] = read_json(tmp_path / "run" / "evaluation.json")
    assert entry["metrics"]["mcc"] > 0.9
    losses = [row["loss"] for row in rows_of(tmp_path / "run", "step")]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.usefixtures("no_report")
def test_transformers_loads_the_model_to_the_same_logits(place, tmp_path):
    import transformers

    assert finetune_tiny(place, tmp_path / "run", "--temperature", 1) == 0
    folder = tmp_path / "run" / "model"
    texts = read_table(place / "dev.tsv").column("sentence")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    ours = predict(tmp_path / "run", texts)
    log_probabilities = torch.tensor([list(prediction.probabilities.values()) for prediction in ours]).log()
    torch.testing.assert_close(log_probabilities, logits.log_softmax(-1), rtol=0, atol=1e-5)
    assert [prediction.label for prediction in ours] == [model.config.id2label[i] for i in logits.argmax(-1).tolist()]

    pretrained = load(folder)
    encoded = pretrained.tokenizer.encode_batch(texts)
    with torch.inference_mode():
        own_logits = pretrained.model(pack(encoded.input_ids)).logits
    torch.testing.assert_close(own_logits, logits, rtol=0, atol=1e-5)
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: transformers\n")


@pytest.mark.usefixtures("no_report")
def test_what_transformers_saves_is_the_same_start(tmp_path):
    """The other direction: a folder written by transformers trains to the weights of ours."""
    import transformers

    place = make_workplace(tmp_path)
    theirs = tmp_path / "theirs"
    transformers.AutoModel.from_pretrained(place / "bert").save_pretrained(theirs)
    transformers.AutoTokenizer.from_pretrained(place / "bert").save_pretrained(theirs)
    assert finetune_tiny(place, tmp_path / "a", "--max-steps", 3) == 0
    assert finetune_tiny(place, tmp_path / "b", "--max-steps", 3, "--model", theirs) == 0
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_accumulated_gradients_end_in_the_same_weights_with_dropout(place, tmp_path, micro_batch_size):
    assert finetune_tiny(place, tmp_path / "whole") == 0
    assert finetune_tiny(place, tmp_path / "parts", "--micro-batch-size", micro_batch_size) == 0
    assert_weights_close(tmp_path / "parts", load_file(tmp_path / "whole" / "model" / "model.safetensors"), atol=1e-6)
    assert weights_of(tmp_path / "parts") != weights_of(tmp_path / "whole")  # it did compute in parts


@pytest.mark.usefixtures("no_report")
def test_training_a_part_of_the_word_embeddings_is_exact(tmp_path):
    """Against a plain loop over the whole model: every word decays, also those that dev alone has."""
    place = make_workplace(tmp_path)
    bert = save_tiny_bert(tmp_path / "plain-bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    settings = FinetuneSettings(
        model=str(bert),
        train=str(place / "train.tsv"),
        dev=(str(place / "dev.tsv"),),
        output_dir=tmp_path / "run",
        global_batch_size=8,
        max_steps=20,
        eval_steps=20,
        learning_rate=3e-3,
        weight_decay=0.1,
        warmup_steps=3,
        max_grad_norm=0.7,
        device="cpu",
    )
    result = finetune(settings)
    assert result is not None

    names = {0: "bad", 1: "good"}
    pretrained = load(bert, head="sequence-classification", id2label=names, allow_new_head=True, seed=settings.seed)
    model, table = pretrained.model.train(), read_table(place / "train.tsv")
    texts, labels = table.column("sentence"), table.column("label")
    ids = pretrained.tokenizer.encode_batch(texts).input_ids
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=settings.weight_decay))
    for step in range(20):
        batch = step_samples(step, num_samples=len(texts), global_batch_size=8, seed=settings.seed)
        logits = model(pack([ids[i] for i in batch])).logits
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([int(labels[i] == "good") for i in batch]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.7)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * learning_rate_factor("linear", step, warmup_steps=3, total_steps=20)
        optimizer.step()
        assert rows_of(result.output_dir, "step")[step]["loss"] == pytest.approx(loss.item(), abs=1e-6)

    from unmask.models.registry import export_weights

    assert_weights_close(result.output_dir, export_weights(model)[1], atol=1e-6)
    model.eval()
    unseen = read_table(place / "dev.tsv").column("sentence")
    assert any("dragon" in text for text in unseen)
    with torch.inference_mode():
        logits = model(pack(pretrained.tokenizer.encode_batch(unseen).input_ids)).logits
    lines = [json.loads(line) for line in (result.output_dir / "predictions_dev.jsonl").read_text().splitlines()]
    assert [line["probabilities"]["good"] for line in lines] == pytest.approx(
        logits.softmax(1)[:, 1].tolist(), abs=1e-6
    )


def test_the_run_folder_and_its_report(place, tmp_path, capsys):
    """Token counts by hand: [CLS] this dog ##s sleep . [SEP] is 7 tokens."""
    train = [
        ("this dog sleep.", "bad"),  # 6
        ("this dogs sleep.", "good"),  # 7
        ("the cat run in the garden today.", "good"),  # 10, cut to 9
        ("a cat.", "bad"),  # 5
        ("birds", "bad"),  # 4
    ]
    dev = [("this dog", "good"), ("cat", "bad"), ("that girl laugh", "bad")]  # 4, 3 and 5
    files = [write_rows(tmp_path / f"{name}.tsv", rows) for name, rows in (("train", train), ("dev", dev))]
    run = tmp_path / "runs" / "mine"
    sizes = ("--global-batch-size", 2, "--epochs", 2, "--max-seq-length", 9)
    assert finetune_tiny(place, run, "--train", files[0], "--dev", files[1], *sizes) == 0
    described = read_json(run / "data.json")
    fingerprints = {described[name].pop("sha256") for name in described}
    assert len(fingerprints) == 2
    assert all(len(fingerprint) == 64 for fingerprint in fingerprints)
    assert described == {
        "train": {
            "rows": 5,
            "labels": {"bad": 3, "good": 2},
            "tokens": 6 + 7 + 9 + 5 + 4,
            "padded_tokens_longest": 2 * 7 + 2 * 9 + 4,
            "padded_tokens_64": 5 * 64,
            "padded_tokens_128": 5 * 128,
            "length_histogram": [[4, 1], [5, 1], [6, 1], [7, 1], [9, 1]],
            "truncated_texts": 1,
        },
        "dev": {
            "rows": 3,
            "labels": {"bad": 2, "good": 1},
            "tokens": 4 + 3 + 5,
            "padded_tokens_longest": 2 * 4 + 5,
            "padded_tokens_64": 3 * 64,
            "padded_tokens_128": 3 * 128,
            "length_histogram": [[3, 1], [4, 1], [5, 1]],
            "truncated_texts": 0,
        },
    }
    said = capsys.readouterr()
    assert "the layer classifier is new and must be trained" in said.err
    assert "train: 5 texts, 31 tokens; 1 text was cut to 9 tokens, 1 token in all" in said.err
    assert f"report  {run / 'report.html'}" in said.out

    steps, epochs = rows_of(run, "step"), rows_of(run, "epoch")
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert sum(row["num_tokens"] for row in steps) == 2 * 31
    assert [row["num_targets"] for row in steps] == [2, 2, 1, 2, 2, 1]
    assert [(row["epoch"], row["step"]) for row in epochs] == [(1, 3), (2, 6)]
    assert epochs[0]["train_loss"] == pytest.approx(
        sum(row["loss"] * row["num_targets"] for row in steps[:3]) / 5, rel=1e-6
    )
    assert epochs[0].keys() >= {"dev_loss", "dev_accuracy", "dev_mcc", "dev_f1", "train_seconds", "tokens_per_second"}

    config, environment = read_json(run / "config.json"), read_json(run / "environment.json")
    assert (config["labels"], config["max_seq_length"], config["epochs"]) == (["bad", "good"], 9, 2)
    assert environment["torch"] == torch.__version__
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "environment.json", "command.txt", "data.json", "metrics.jsonl", "predictions_dev.jsonl"),
        *("evaluation_dev.json", "evaluation.json", "model", "plots", "report.html"),
    }
    page = (run / "report.html").read_text()
    for said_in_report in ("this dog", "mcc", str(files[0].name), "31"):
        assert said_in_report in page
    links = re.findall(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]*)|url\(["']?([^)]*)""", page)
    assert links
    assert all("".join(link).startswith(("data:", "#")) for link in links)
    assert "@import" not in page
    assert len(list((run / "plots").glob("*.png"))) >= 5


@pytest.mark.usefixtures("no_report")
def test_the_function_is_the_command(place, tmp_path):
    """Paths, lists and numbers as a program would give them."""
    assert finetune_tiny(place, tmp_path / "typed", "--test", place / "test.tsv", "--labels", "good", "bad") == 0
    result = finetune(
        model=place / "bert",
        train=place / "train.tsv",
        dev=place / "dev.tsv",
        test=[place / "test.tsv"],
        labels=["good", "bad"],
        output_dir=str(tmp_path / "called"),
        epochs=2,
        global_batch_size=8,
        learning_rate=1e-3,
        device="cpu",
    )
    assert result is not None
    assert weights_of(result.output_dir) == weights_of(tmp_path / "typed")
    assert result.evaluations == read_json(tmp_path / "typed" / "evaluation.json")
    assert result.model == tmp_path / "called" / "model"
    differing = {
        name
        for name, value in read_json(tmp_path / "typed" / "config.json").items()
        if value != read_json(tmp_path / "called" / "config.json")[name]
    }
    assert differing == {"output_dir"}


def test_settings_are_checked_before_anything_is_written(place, tmp_path):
    run = tmp_path / "run"
    for changes, message in [
        ({"output_dir": None}, "output_dir is missing: name the run folder"),
        ({"train": None}, "train is missing: name the labelled file"),
        ({"task": "parsing"}, "task is 'parsing': it must be one of classification"),
        ({"dev_fraction": 1.0}, r"dev_fraction is 1.0: it must be in \(0, 1\)"),
        ({"max_seq_length": 2}, "max_seq_length is 2: it must be 3 or more"),
        ({"metric_for_best": "bleu"}, "metric_for_best is 'bleu': it must be one of loss, accuracy, mcc, f1"),
        ({"resume": True, "overwrite": True}, "overwrite and resume contradict one another"),
        ({"labels": ["good", "good"]}, "labels good good: each value and each name may stand once"),
        ({"labels": ["good=A", "bad=A"]}, "labels good=A bad=A: each value and each name may stand once"),
    ]:
        given = {"model": place / "bert", "train": place / "train.tsv", "output_dir": run} | changes
        with pytest.raises(SettingsError, match=message):
            finetune(**given)
        assert not run.exists()


@pytest.mark.usefixtures("no_report")
class TestUsedFolders:
    def test_a_run_is_kept_unless_it_may_be_replaced(self, place, tmp_path, capsys):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--max-steps", 1) == 0
        before = weights_of(run)
        assert finetune_tiny(place, run) == 3
        assert (
            "the folder holds a run already: go on with it (--resume), replace it (--overwrite)"
            in capsys.readouterr().err
        )
        assert weights_of(run) == before
        assert finetune_tiny(place, run, "--overwrite") == 0
        assert weights_of(run) != before

    @pytest.mark.parametrize("flag", ["--overwrite", "--resume", None])
    def test_foreign_files_are_never_removed(self, place, tmp_path, capsys, flag):
        """A model folder has a config.json too."""
        flags = () if flag is None else (flag,)
        for name in ("notes", "bert"):
            folder = tmp_path / name
            if name == "notes":
                folder.mkdir()
                (folder / "notes.txt").write_text("mine")
            else:
                save_tiny_bert(folder)
            names = sorted(path.name for path in folder.iterdir())
            assert finetune_tiny(place, folder, *flags) == 3
            assert f"{folder}: the folder holds files that are no run's" in capsys.readouterr().err
            assert sorted(path.name for path in folder.iterdir()) == names

    def test_a_file_kept_in_a_run_is_not_removed_with_it(self, place, tmp_path, capsys):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--max-steps", 1) == 0
        (run / "notes.txt").write_text("mine")
        before = weights_of(run)
        assert finetune_tiny(place, run, "--overwrite") == 3
        assert "holds files that are no run's (notes.txt): move them away" in capsys.readouterr().err
        assert (run / "notes.txt").read_text() == "mine"
        assert weights_of(run) == before

    def test_a_file_in_the_place_of_the_folder(self, place, tmp_path, capsys):
        (tmp_path / "run").write_text("mine")
        assert finetune_tiny(place, tmp_path / "run", "--overwrite") == 3
        assert "a file of this name is in the way" in capsys.readouterr().err
        assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.usefixtures("no_report")
class TestResume:
    def test_a_complete_run_is_left_as_it_is(self, place, tmp_path, capsys):
        assert finetune_tiny(place, tmp_path / "run", "--max-steps", 2) == 0
        before = weights_of(tmp_path / "run")
        assert unmask("finetune", "--resume", "--output-dir", tmp_path / "run") == 0
        assert "is complete: there is nothing to resume" in capsys.readouterr().err
        assert weights_of(tmp_path / "run") == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--epochs", 7), "epochs is 7, but the run in RUN has 2: leave it out to resume"),
            (("--train", "other.tsv"), "train is 'other.tsv', but the run in RUN has"),
            (("--labels", "good", "bad"), "labels is ('good', 'bad'), but the run in RUN has ('bad', 'good')"),
        ],
    )
    def test_another_setting_is_refused_by_name(self, place, tmp_path, capsys, arguments, message):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--max-steps", 1) == 0
        assert unmask("finetune", "--resume", "--output-dir", run, *arguments) == 2
        assert message.replace("RUN", str(run)) in capsys.readouterr().err

    def test_it_begins_where_nothing_was_begun(self, place, tmp_path):
        assert finetune_tiny(place, tmp_path / "resumed", "--resume") == 0
        assert finetune_tiny(place, tmp_path / "begun") == 0
        assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "begun")

    def test_a_kill_while_the_checkpoints_are_removed_leaves_a_complete_run(self, place, tmp_path, monkeypatch, capsys):
        rmtree, run = shutil.rmtree, tmp_path / "run"

        def killed(folder: Path, **how: bool) -> None:
            if folder.parent == run and "checkpoints" in folder.name:
                raise KeyboardInterrupt
            rmtree(folder, **how)

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed)
            assert finetune_tiny(place, run, "--max-steps", 1) == 130
        assert unmask("finetune", "--resume", "--output-dir", run) == 0
        assert "is complete: there is nothing to resume" in capsys.readouterr().err
        assert finetune_tiny(place, run, "--overwrite", "--max-steps", 1) == 0
        assert not list(run.glob(".*"))

    def test_a_complete_run_of_a_version_that_kept_its_answers_alone(self, place, tmp_path, capsys):
        """Its scores are those of the answers; a run that has not even those says what to do."""
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--max-steps", 2) == 0
        scores = json.loads((run / "evaluation_dev.json").read_text())["metrics"]
        (run / "evaluation_dev.json").unlink()
        result = finetune(output_dir=run, resume=True, console=Console(quiet=True))
        assert result.dev == pytest.approx(scores)
        assert unmask("finetune", "--resume", "--output-dir", run) == 0
        (run / "predictions_dev.jsonl").unlink()
        capsys.readouterr()
        assert unmask("finetune", "--resume", "--output-dir", run) == 3
        assert "the run is complete and has a model, but no scores on its dev set" in capsys.readouterr().err

    def test_a_report_that_fails_costs_nothing_else(self, place, tmp_path, monkeypatch, capsys):
        def fail(folder: Path) -> Path:
            raise ZeroDivisionError("no such plot")

        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr("unmask.workflows.finetune.write_report", fail)
            assert finetune_tiny(place, run, "--max-steps", 2) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "the report could not be made (ZeroDivisionError: no such plot); the run is whole without it" in said
        assert f"unmask report {run}" in said
        assert is_complete(run)
        assert unmask("finetune", "--resume", "--output-dir", run) == 0

    def test_settings_of_another_version(self, place, tmp_path, capsys):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--max-steps", 1) == 0
        config = read_json(run / "config.json")
        for text in (json.dumps(config | {"momentum": 0.9}), "{"):
            (run / "config.json").write_text(text)
            assert unmask("finetune", "--resume", "--output-dir", run) == 3
            assert f"{run / 'config.json'}: no settings that this version can resume" in capsys.readouterr().err

    def test_an_unfinished_run_says_so(self, place, tmp_path, capsys, monkeypatch):
        def stop(*_arguments: object, **_settings: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("unmask.workflows.finetune.train", stop)
        run = tmp_path / "run"
        assert finetune_tiny(place, run) == 130
        capsys.readouterr()
        for command in (("predict", run, "this dog"), ("evaluate", run, "--data", place / "dev.tsv")):
            assert unmask(*command) == 3
            message = (
                f"{run}: this run has no model yet: unmask finetune --resume --output-dir {run} takes it to its end"
            )
            assert message in capsys.readouterr().err
