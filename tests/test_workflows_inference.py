"""Evaluating, predicting and filling masks. Run: pytest tests/test_workflows_inference.py."""

from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tiny import SIZES, everything_in, finetune_tiny, make_workplace, save_tiny_bert, unmask, write_rows
from unmask import evaluate, fill, load, pack, params, predict, read_table, save_pretrained
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.packing import PackedBatch
from unmask.workflows.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A workplace with a run, which has learnt whether a sentence is of one or of many."""
    place = make_workplace(tmp_path_factory.mktemp("place"))
    for name in ("train", "dev", "test"):
        texts = read_table(place / f"{name}.tsv").column("sentence")
        write_rows(place / f"{name}.tsv", [(text, "one" if text[2] in "ia" else "many") for text in texts])
    arguments = ("--learning-rate", 5e-3, "--epochs", 6, "--test", place / "test.tsv")
    assert finetune_tiny(place, place / "run", *arguments) == 0
    return place


@pytest.fixture
def said(capsys) -> Callable[[], Any]:
    """What the last command printed, read as JSON."""
    return lambda: json.loads(capsys.readouterr().out)


@pytest.fixture
def no_report(monkeypatch):
    """Drawing the plots takes longer than these runs."""
    for module in ("finetune", "evaluate"):
        monkeypatch.setattr(f"unmask.workflows.{module}.write_report", lambda folder: folder / "report.html")


@pytest.fixture
def wide(monkeypatch):
    """A terminal wide enough for any table."""
    monkeypatch.setenv("COLUMNS", "200")


class TestEvaluate:
    @pytest.mark.usefixtures("no_report")
    def test_it_gives_what_the_run_gave(self, place, said):
        [kept] = json.loads((place / "run" / "evaluation.json").read_text())
        assert unmask("evaluate", place / "run", "--data", place / "test.tsv", "--json") == 0
        entry = said()
        assert entry == kept
        assert entry["num_examples"] == 17
        assert entry["metrics"]["mcc"] > 0.8
        assert evaluate(place / "run", data=place / "test.tsv") == entry
        assert evaluate(str(place / "run" / "model"), data=str(place / "test.tsv")) == entry

    @pytest.mark.usefixtures("no_report")
    def test_the_scores_are_those_of_the_predictions(self, place):
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        entry = evaluate(place / "run", data=place / "test.tsv")
        labels = read_table(place / "test.tsv").column("label")
        predicted = [p.label for p in predict(place / "run", read_table(place / "test.tsv").column("sentence"))]
        assert entry["metrics"] == pytest.approx(
            {
                "accuracy": accuracy_score(labels, predicted),
                "mcc": matthews_corrcoef(labels, predicted),
                "f1": f1_score(labels, predicted, pos_label="one"),
            }
        )
        assert sum(map(sum, entry["confusion_matrix"])) == 17

    def test_a_run_remembers_each_file_once_and_shows_it(self, place, tmp_path):
        file = write_rows(tmp_path / "later.tsv", [("this dog", "one"), ("those dogs", "many"), ("this cat", "many")])
        for _ in range(2):
            evaluate(place / "run", data=file)
        entries = json.loads((place / "run" / "evaluation.json").read_text())
        assert [entry["data"] for entry in entries].count(str(file)) == 1
        assert entries[0]["data"] == str(place / "test.tsv")
        assert "later.tsv" in (place / "run" / "report.html").read_text()

    def test_a_model_folder_is_not_touched(self, place):
        before = everything_in(place / "run" / "model")
        evaluate(place / "run" / "model", data=place / "test.tsv")
        assert everything_in(place / "run" / "model") == before

    @pytest.mark.usefixtures("wide")
    def test_the_table(self, place, capsys):
        assert unmask("evaluate", place / "run" / "model", "--data", place / "test.tsv") == 0
        out = capsys.readouterr().out
        for word in ("test.tsv", "accuracy", "mcc", "f1", "precision", "recall", "support", "one", "many"):
            assert word in out

    @pytest.mark.usefixtures("no_report")
    def test_columns_are_the_runs_own_unless_named(self, place, tmp_path):
        """A run on a file without a header still reads files that have one, and files that name their columns."""
        rows = list(zip(*(read_table(place / "train.tsv").column(name) for name in ("sentence", "label")), strict=True))
        bare = write_rows(tmp_path / "bare.tsv", rows, header=None)
        names = ("--column-names", "words", "verdict", "--text-column", "words", "--label-column", "verdict")
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--train", bare, "--dev", bare, *names, "--max-steps", 1) == 0
        expected = evaluate(run, data=bare)
        assert expected["num_examples"] == 61
        for file in ("named.jsonl", "named.parquet"):
            written = write_rows(tmp_path / file, rows, header=("words", "verdict"))
            assert evaluate(run, data=written) == expected | {"data": str(written)}
        written = write_rows(tmp_path / "named.tsv", rows, header=("sentence", "label"))
        columns = {"text_column": "sentence", "label_column": "label"}
        assert evaluate(run, data=written, column_names=(), **columns) == expected | {"data": str(written)}

    @pytest.mark.usefixtures("no_report")
    @pytest.mark.usefixtures("no_report")
    def test_names_of_columns_serve_a_file_whatever_the_case_of_its_suffix(self, place, tmp_path):
        rows = list(zip(*(read_table(place / "train.tsv").column(name) for name in ("sentence", "label")), strict=True))
        bare = write_rows(tmp_path / "bare.tsv", rows, header=None)
        names = ("--column-names", "words", "verdict", "--text-column", "words", "--label-column", "verdict")
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--train", bare, "--dev", bare, *names, "--max-steps", 1) == 0
        loud = bare.rename(tmp_path / "BARE.TSV")
        assert evaluate(run, data=loud)["num_examples"] == 61
        packed = tmp_path / "BARE.TSV.GZ"
        packed.write_bytes(gzip.compress(loud.read_bytes()))
        assert evaluate(run, data=packed)["num_examples"] == 61

    def test_values_and_names_of_labels_are_both_read(self, place, tmp_path):
        files = {
            kind: write_rows(tmp_path / f"{kind}.tsv", [("this dog", one), ("those dogs", many)] * 4)
            for kind, (one, many) in {"values": ("1", "2"), "names": ("one", "many")}.items()
        }
        labels = ("--labels", "1=one", "2=many", "--max-steps", 1)
        arguments = ("--train", files["values"], "--dev", files["values"], *labels)
        assert finetune_tiny(place, tmp_path / "run", *arguments) == 0
        by_value, by_name = (evaluate(tmp_path / "run", data=files[kind]) for kind in ("values", "names"))
        assert by_value == by_name | {"data": str(files["values"])}
        assert [label["name"] for label in by_value["classes"]] == ["one", "many"]


class TestPredict:
    TEXTS = ("this dog sleep.", 'those "cats" | run', "-5 [bold]not markup[/bold]")

    def test_every_way_in_gives_the_same(self, place, tmp_path, capsys, monkeypatch):
        run, expected = place / "run", [p.to_dict() for p in predict(place / "run", self.TEXTS)]
        assert unmask("predict", run, "--json", *self.TEXTS) == 0
        typed = capsys.readouterr().out

        file = write_rows(tmp_path / "texts.tsv", [(text, "anything") for text in self.TEXTS])
        assert unmask("predict", run, "--data", file, "--json") == 0
        read = capsys.readouterr().out

        piped_text = "\n".join(["", self.TEXTS[0], "  ", *self.TEXTS[1:], ""]).encode()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(piped_text), isatty=lambda: False))
        assert unmask("predict", run, "--json") == 0
        piped = capsys.readouterr().out

        output = tmp_path / "new" / "labelled.jsonl"
        assert unmask("predict", run, "--output", output, *self.TEXTS) == 0
        assert capsys.readouterr().err == f"3 predictions written to {output}\n"
        for lines in (typed, read, piped, output.read_text()):
            found = [json.loads(line) for line in lines.splitlines()]
            assert [line["text"] for line in found] == list(self.TEXTS)
            for ours, theirs in zip(found, expected, strict=True):
                assert ours["label"] == theirs["label"]
                assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-6)

    @pytest.mark.usefixtures("wide")
    def test_the_table_shows_texts_as_they_are(self, place, capsys):
        assert unmask("predict", place / "run", *self.TEXTS) == 0
        out = capsys.readouterr().out
        assert all(text in out for text in self.TEXTS)
        assert "one" in out
        assert "many" in out

    def test_probabilities(self, place):
        prediction, other = predict(place / "run", ["this dog sleep.", "those dogs sleep."])
        assert (prediction.label, other.label) == ("one", "many")
        assert prediction.probability == prediction.probabilities["one"] > 0.5
        assert sum(prediction.probabilities.values()) == pytest.approx(1)

    def test_standard_input_that_is_not_text(self, place, capsys, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"this\xff"), isatty=lambda: False))
        assert unmask("predict", place / "run") == 3
        assert "standard input, line 1: byte 5 (0xff) is not UTF-8" in capsys.readouterr().err

    def test_nothing_on_standard_input_is_no_prediction(self, place, capsys, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b""), isatty=lambda: False))
        assert unmask("predict", place / "run", "--json") == 0
        assert capsys.readouterr().out == ""

    def test_texts_and_a_file_at_once(self, place, capsys):
        assert unmask("predict", place / "run", "this dog", "--data", "x.tsv") == 2
        assert "give texts or --data, not both" in capsys.readouterr().err

    def test_texts_and_pairs_that_differ_in_number(self, place):
        with pytest.raises(ValueError, match="shorter"):
            predict(place / "run", ["a", "b"], ["c"])


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory) -> Path:
    """A masked language model that has learnt one sentence by heart, 60 steps of guessing one of its words."""
    folder = tmp_path_factory.mktemp("mlm")
    pretrained = load(save_tiny_bert(folder / "random", "masked-lm"))
    model, tokenizer = pretrained.model, pretrained.tokenizer
    ids = tokenizer.encode("The tiger slept near the garden, often.".replace("slept", "sleep")).input_ids
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(60):
        place = 1 + step % (len(ids) - 2)
        masked = [tokenizer.mask_token_id if i == place else token for i, token in enumerate(ids)]
        logits = model(pack([masked]), torch.tensor([place])).logits
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor([ids[place]])).backward()
        optimizer.step()
    save_pretrained(model, tokenizer, folder / "trained")
    return folder / "trained"


class TestDevice:
    @pytest.mark.usefixtures("no_report")
    def test_it_can_be_named(self, place, said):
        assert evaluate(place / "run", data=place / "test.tsv", device="cpu")["num_examples"] == 17
        assert unmask("evaluate", place / "run", "--data", place / "test.tsv", "--device", "cpu", "--json") == 0
        assert said()["num_examples"] == 17
        assert [one.label for one in predict(place / "run", ["this dog sleep."], device="cpu")] == ["one"]
        assert unmask("predict", place / "run", "this dog sleep.", "--device", "cpu", "--json") == 0
        assert said()["label"] == "one"

    def test_the_model_and_what_it_is_asked_go_there(self, place, monkeypatch):
        """The meta device computes nothing: that a batch comes to it shows in the error of what it cannot tell."""
        monkeypatch.setattr("unmask.training.training_device", lambda settings: torch.device("meta"))
        trained = load_trained(place / "run")
        assert {parameter.device.type for parameter in trained.pretrained.model.parameters()} == {"meta"}
        moved = []
        move = PackedBatch.to
        monkeypatch.setattr(PackedBatch, "to", lambda batch, device: moved.append(device.type) or move(batch, device))
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
            predict(place / "run", ["this dog sleep."])
        assert moved == ["meta"]

    @pytest.mark.parametrize(
        ("device", "problem"),
        [
            ("tpu9", "device is 'tpu9': it must be like cpu, cuda or cuda:1"),
            pytest.param(
                "cuda",
                "device is 'cuda': torch finds no CUDA device here; use cpu",
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here"),
            ),
        ],
    )
    def test_one_that_is_not_there_is_one_clear_error(self, place, capsys, device, problem):
        for command in (("evaluate", place / "run", "--data", place / "test.tsv"), ("predict", place / "run", "a dog")):
            assert unmask(*command, "--device", device) == 2
            assert problem in " ".join(capsys.readouterr().err.split())

    @pytest.mark.usefixtures("no_report")
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
    def test_cuda_is_taken_where_there_is_one(self, place):
        assert next(load_trained(place / "run").pretrained.model.parameters()).device.type == "cuda"
        texts = read_table(place / "test.tsv").column("sentence")
        here, there = (predict(place / "run", texts, device=device) for device in ("cpu", None))
        assert [one.label for one in here] == [one.label for one in there]


class TestFill:
    def test_the_word_it_has_learnt_comes_first(self, masked_lm):
        [guesses] = fill("The [MASK] sleep near the garden, often.", model=masked_lm, top_k=3)
        assert [len(guesses), guesses[0].token] == [3, "tiger"]
        assert guesses[0].text == "The tiger sleep near the garden, often."
        assert guesses[0].probability > guesses[1].probability > guesses[2].probability > 0

    def test_several_masks_at_once(self, masked_lm, said):
        text = "THE  [MASK] sleep near the [MASK], often."
        assert unmask("fill", text, "--model", masked_lm, "--top-k", 2, "--json") == 0
        masks = said()
        assert [guesses[0]["token"] for guesses in masks] == ["tiger", "garden"]
        assert masks[0][0]["text"] == "THE  tiger sleep near the [MASK], often."
        assert masks[1][0]["text"] == "THE  [MASK] sleep near the garden, often."
        assert masks == [[asdict(guess) for guess in guesses] for guesses in fill(text, model=str(masked_lm), top_k=2)]

    def test_a_mask_behind_letters_that_normalisation_changes(self, masked_lm):
        [[guess]] = fill("Ünïcödé é [MASK]!", model=masked_lm, top_k=1)
        assert guess.text == f"Ünïcödé é {guess.token}!"

    def test_it_equals_transformers(self, masked_lm):
        import transformers

        pipeline = transformers.pipeline("fill-mask", model=str(masked_lm), device="cpu")
        theirs = pipeline("this [MASK] sleep.", top_k=5)
        [ours] = fill("this [MASK] sleep.", model=masked_lm)
        assert [guess.token for guess in ours] == [guess["token_str"] for guess in theirs]
        assert [guess.probability for guess in ours] == pytest.approx([guess["score"] for guess in theirs], abs=1e-5)

    @pytest.mark.usefixtures("wide")
    def test_the_table(self, masked_lm, capsys):
        assert unmask("fill", "The [MASK] sleep [MASK].", "--model", masked_lm) == 0
        out = capsys.readouterr().out
        assert "mask 1 of 2" in out
        assert "mask 2 of 2" in out
        assert "The tiger sleep [MASK]." in out

    def test_a_head_of_both_objectives_will_do(self, tmp_path):
        [guesses] = fill("this [MASK]", model=save_tiny_bert(tmp_path / "both", "pre-training"))
        assert len(guesses) == 5

    def test_what_cannot_be_filled(self, masked_lm, place):
        for text, model, error, message in [
            ("this dog", masked_lm, DataError, r"the text has no \[MASK\]: put it where a word is to be guessed"),
            ("[MASK] " * 50, masked_lm, DataError, "the text has 52 tokens, the model takes 40: shorten it"),
            ("[MASK]", place / "bert", CheckpointError, r"this checkpoint \(BertModel\) has no masked LM head"),
            ("[MASK]", place / "run", CheckpointError, r"\(BertForSequenceClassification\) has no masked LM head"),
        ]:
            with pytest.raises(error, match=message):
                fill(text, model=model)
        for top_k in (0, SIZES["vocab_size"] + 1):
            with pytest.raises(SettingsError, match=rf"top_k is {top_k}: it must lie between 1 and the \d+ words"):
                fill("[MASK]", model=masked_lm, top_k=top_k)
        assert unmask("fill", "[MASK]", "--model", place / "bert") == 3
        assert unmask("fill", "[MASK]", "--model", masked_lm, "--top-k", 0) == 2


def test_minilm_by_its_name(minilm, tmp_path):
    pretrained = load("minilm")
    assert pretrained.folder == minilm
    assert (pretrained.config.hidden_size, pretrained.max_seq_length) == (384, 512)
    [size] = params("minilm")
    assert size.total == 22_713_216
    save_pretrained(pretrained.model, pretrained.tokenizer, tmp_path / "copy")
    with pytest.raises(DataError, match="the folder exists already"):
        save_pretrained(pretrained.model, pretrained.tokenizer, tmp_path / "copy")
    import transformers

    theirs = transformers.AutoModel.from_pretrained(tmp_path / "copy")
    ids = pretrained.tokenizer.encode("During the hackathon we slept").input_ids
    with torch.inference_mode():
        ours = pretrained.model(pack([ids])).last_hidden_state
        torch.testing.assert_close(ours, theirs(torch.tensor([ids])).last_hidden_state[0], rtol=0, atol=1e-5)
