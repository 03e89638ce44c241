"""From a model to an exported folder: the gate decides whether there is one, and the folder says what it found.

Run: pytest tests/test_workflows_export.py
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from tiny import everything_in, finetune_tiny, save_tiny_bert, sentences, write_rows
from tiny_families import TAGS, numbered, save_tiny
from unmask import export, pipeline, predict
from unmask.errors import CheckpointError, DataError, GateError, SettingsError
from unmask.exporting.graph import make_graph
from unmask.models.registry import load_model
from unmask.tokenization import Tokenizer
from unmask.workflows import export_graph
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

FILES = {
    *("README.md", "config.json", "export.json", "model.onnx", "run.py", "special_tokens_map.json", "tokenizer.json"),
    *("tokenizer_config.json", "vocab.txt"),
}
TEXTS = [text for text, _ in sentences(12, seed=9)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, a fine-tuned run, and one with adapters."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert", initializer_range=0.3)
    for seed, name in enumerate(("train", "dev", "test")):
        write_rows(place / f"{name}.tsv", sentences(61 - 11 * seed, seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        assert finetune_tiny(place, place / "run") == 0
        assert finetune_tiny(place, place / "lora", "--tune", "lora", "--epochs", 1, "--learning-rate", "1e-2") == 0
    return place


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder one of whose layers cannot be put into 8 bits: two large weights a column take the others' bits."""
    folder = save_tiny_bert(tmp_path_factory.mktemp("spoilt") / "plain", initializer_range=0.3)
    model, _ = load_model(folder)
    with torch.no_grad():
        for part in ("weight", "bias"):  # of two channels that always are the same
            made = model.get_parameter(f"blocks.1.feed_forward.intermediate.{part}")
            made[8] = made[7]
        spoilt = model.get_parameter("blocks.1.feed_forward.output.weight")
        spoilt[:, 7] += 300
        spoilt[:, 8] -= 300
    save_pretrained(model, Tokenizer.from_folder(folder), folder.with_name("spoilt"))
    return folder.with_name("spoilt")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of few texts, where a model is exported again and again."""
    path = tmp_path_factory.mktemp("texts") / "few.txt"
    path.write_text("\n".join(text for text, _ in sentences(30, seed=2)))
    return str(path)


def spoilt_graph(model: torch.nn.Module) -> ModelProto:
    """The graph, with one bias that is off by a little."""
    graph = make_graph(model)
    bias = next(one for one in graph.graph.initializer if one.name.endswith("feed_forward.output.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[3] += 0.1
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return graph


# A folder


def test_a_run_becomes_a_folder_that_answers_alike_and_says_how_far_it_is_off(place: Path, tmp_path: Path) -> None:
    report = export(place / "run", output_dir=tmp_path / "onnx", data_dir=place)
    folder = tmp_path / "onnx"
    assert set(everything_in(folder)) == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["onnx"]
    assert report == {"folder": str(folder)} | json.loads((folder / "export.json").read_text())
    assert (report["format"], report["precision"], report["head"]) == ("onnx", "float32", "sequence-classification")
    assert report["outputs"] == {"logits": ["batch"]}
    assert report["bytes"] == {"float32": (folder / "model.onnx").stat().st_size}

    gate, figures = report["gate"], report["gate"]["float32"]
    assert gate["texts"] == f"{place / 'dev.tsv'}, the run's dev set"
    assert (gate["num_texts"], figures["num_counted"]) == (50, 50)
    assert 0 < figures["max_difference"] < 1e-5
    assert figures["agreement"] == 1.0
    # The score is the one that the run itself found on dev.
    dev = json.loads((place / "run" / "evaluation_dev.json").read_text())
    assert figures["original_score"] == figures["exported_score"] == pytest.approx(dev["metrics"]["mcc"])

    card = (folder / "README.md").read_text()
    assert "# run as ONNX" in card
    assert f"| float32 | {report['bytes']['float32'] / 1e6:.1f} MB | {figures['max_difference']:.2g} |" in card
    assert "on 50 texts" in card
    assert "python run.py" in card
    assert "## Scores of the original" in card

    ours, theirs = predict(place / "run", TEXTS, device="cpu"), predict(folder, TEXTS, runtime="onnx")
    for one, other in zip(ours, theirs, strict=True):
        assert one.label == other.label
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
    answers = pipeline("text-classification", folder, runtime="onnx")(TEXTS)
    assert [answer["label"] for answer in answers] == [one.label for one in ours]


def test_the_usual_folder_is_in_the_run_or_named_after_the_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(place / "bert")["folder"] == "bert-onnx"
    assert export(place / "run", format="safetensors")["folder"] == str(place / "run" / "safetensors-merged")
    assert (tmp_path / "bert-onnx" / "model.onnx").is_file()
    assert predict(place / "run", TEXTS[:1], device="cpu")  # it is a run still


def test_adapters_are_merged_into_one_file_that_transformers_loads(place: Path, tmp_path: Path) -> None:
    import transformers

    assert (place / "lora" / "adapter").is_dir()
    report = export(place / "lora", format="safetensors-merged", output_dir=tmp_path / "merged", data_dir=place)
    assert report["gate"]["float32"]["max_difference"] == 0
    assert report["bytes"]["float32"] == (tmp_path / "merged" / "model.safetensors").stat().st_size
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    with torch.inference_mode():
        logits = theirs(**tokenizer(TEXTS[0], return_tensors="pt")).logits
    [ours] = predict(place / "lora", TEXTS[:1], device="cpu")
    temperature = json.loads((tmp_path / "merged" / "config.json").read_text())["unmask_task"].get("temperature") or 1
    assert (logits / temperature).softmax(-1)[0].tolist() == pytest.approx(list(ours.probabilities.values()), abs=1e-5)


# The gate


def test_a_spoilt_graph_is_refused_and_nothing_is_left(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_graph, "make_graph", spoilt_graph)
    message = r"the largest difference is 0\.\d+, above --max-difference 0.001.* Nothing was written"
    with pytest.raises(GateError, match=message) as refused:
        export(place / "run", output_dir=tmp_path / "onnx")
    assert refused.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []
    assert export(place / "run", output_dir=tmp_path / "onnx", max_difference=1.0)["folder"]


def test_a_refused_graph_leaves_the_one_before_it(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(place / "run", output_dir=tmp_path / "onnx")
    before = everything_in(tmp_path)
    with pytest.raises(DataError, match="the folder exists already: choose another --output-dir, or say --overwrite"):
        export(place / "run", output_dir=tmp_path / "onnx")
    with monkeypatch.context() as patch:
        patch.setattr(export_graph, "make_graph", spoilt_graph)
        with pytest.raises(GateError):
            export(place / "run", output_dir=tmp_path / "onnx", overwrite=True)
    assert everything_in(tmp_path) == before
    report = export(place / "run", output_dir=tmp_path / "onnx", overwrite=True, format="safetensors")
    assert not (tmp_path / "onnx" / "model.onnx").exists()
    assert report["weights"] == "model.safetensors"


def test_only_an_exported_model_is_overwritten(place: Path) -> None:
    before = everything_in(place)
    for folder in (place / "run", place, place / "bert"):
        with pytest.raises(DataError, match=r"no export.json, so it is no exported model, and is not overwritten"):
            export(place / "run", output_dir=folder, overwrite=True)
    assert everything_in(place) == before


def test_an_interrupt_leaves_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(model: torch.nn.Module) -> ModelProto:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_graph, "make_graph", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(place / "run", output_dir=tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


# 8 bits


def test_8_bits_within_the_limits(tmp_path: Path) -> None:
    labels = numbered(TAGS)
    model = save_tiny_bert(tmp_path / "model", "token-classification", initializer_range=0.3, id2label=labels)
    report = export(model, output_dir=tmp_path / "int8", int8=True, min_agreement=0.8)
    figures = report["gate"]
    assert (report["precision"], report["float_layers"], report["layer_losses"]) == ("int8", [], None)
    assert 0.8 <= figures["int8"]["agreement"] < figures["float32"]["agreement"] == 1
    assert figures["int8"]["max_difference"] > 1e-3
    assert report["bytes"]["int8"] == (tmp_path / "int8" / "model.onnx").stat().st_size
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "as ONNX, in 8 bits" in card
    assert "No layer had to be left in float." in card
    tags = [answer.tags for answer in predict(tmp_path / "int8", TEXTS, runtime="onnx")]
    assert np.mean([ours == theirs for ours, theirs in zip(tags, _tags(model), strict=True)]) > 0.5


def _tags(model: Path) -> list[Any]:
    return [answer.tags for answer in predict(model, TEXTS, device="cpu")]


def test_layers_that_lose_most_are_left_in_float(encoder: Path, few: str, tmp_path: Path) -> None:
    whole = export(encoder, texts=few, output_dir=tmp_path / "whole", int8=True, min_agreement=0)
    assert whole["float_layers"] == []
    lowest = whole["gate"]["int8"]["agreement"]
    report = export(
        encoder, texts=few, output_dir=tmp_path / "some", int8=True, min_agreement=lowest + (1 - lowest) / 2
    )
    assert report["float_layers"][0] == "blocks.1.feed_forward.output"
    assert max(report["layer_losses"], key=report["layer_losses"].__getitem__) == "blocks.1.feed_forward.output"
    assert report["gate"]["int8"]["agreement"] > lowest + (1 - lowest) / 2
    assert whole["bytes"]["int8"] < report["bytes"]["int8"]
    assert (
        "Left in float, as they lose most: `blocks.1.feed_forward.output`"
        in (tmp_path / "some" / "README.md").read_text()
    )
    with pytest.raises(GateError, match="onnx in 8 bits, even with two thirds of its weights in float, is not"):
        export(encoder, texts=few, output_dir=tmp_path / "none", int8=True, min_agreement=0.9999999)
    assert {entry.name for entry in tmp_path.iterdir()} == {"whole", "some"}


def test_in_8_bits_a_text_gives_the_same_alone_and_in_any_batch(encoder: Path, few: str, tmp_path: Path) -> None:
    export(encoder, texts=few, output_dir=tmp_path / "int8", int8=True, min_agreement=0)
    vectors = pipeline("feature-extraction", tmp_path / "int8", runtime="onnx", pooling="mean", return_arrays=True)
    together = vectors(TEXTS * 9)
    for text, vector in zip(TEXTS, together, strict=False):
        np.testing.assert_allclose(vectors(text), vector, atol=1e-5)


@pytest.mark.parametrize(("model_type", "head"), [("albert", "masked-lm"), ("gpt2", "causal-lm")])
def test_shared_words_and_blocks_in_8_bits(model_type: str, head: str, tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model", model_type, head)
    report = export(model, output_dir=tmp_path / "int8", int8=True, min_agreement=0.5)
    assert report["gate"]["int8"]["counted"] == "most probable words"
    assert report["gate"]["int8"]["agreement"] >= 0.5


# Heads


@pytest.mark.parametrize(
    ("saved", "asked", "expected", "graph_output"),
    [
        ("pre-training", None, "masked-lm", "logits"),
        ("pre-training", "next-sentence", "next-sentence", "logits"),
        ("masked-lm", "encoder", "encoder", "last_hidden_state"),
        ("sequence-classification", "encoder", "encoder", "last_hidden_state"),
        ("token-classification", "token-classification", "token-classification", "logits"),
    ],
)
def test_heads(saved: str, asked: str | None, expected: str, graph_output: str, tmp_path: Path) -> None:
    memory = {"unmask_task": {"task": "classification", "max_seq_length": 9}} if "sequence" in saved else {}
    model = save_tiny_bert(tmp_path / "model", saved, initializer_range=0.3, extra=memory)
    report = export(model, output_dir=tmp_path / "onnx", head=asked)
    assert report["head"] == expected
    assert graph_output in report["outputs"]
    assert "unmask_task" not in json.loads((tmp_path / "onnx" / "config.json").read_text()) or "token" in saved
    assert pipeline(None, tmp_path / "onnx", runtime="onnx").model.runtime.head == expected


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        ("pre-training", SettingsError, "head is 'pre-training': it must be one of encoder, sequence-class"),
        ("mlm", SettingsError, "head is 'mlm': it must be one of encoder"),
        ("question-answering", CheckpointError, "has no question-answering head, .* fine-tune it"),
        ("causal-lm", CheckpointError, "has no causal-lm head"),
    ],
)
def test_heads_there_are_not(head: str, error: type[Exception], message: str, place: Path, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        export(place / "run", output_dir=tmp_path / "onnx", head=head)
    assert list(tmp_path.iterdir()) == []


# What is asked


def test_the_gate_asks_given_texts_or_labelled_ones(place: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS))
    report = export(place / "run", output_dir=tmp_path / "a", texts="texts.txt", data_dir=tmp_path)
    assert (report["gate"]["texts"], report["gate"]["num_texts"]) == ("texts.txt", 12)
    assert report["gate"]["float32"]["metric"] is None
    report = export(place / "run", output_dir=tmp_path / "b", data=str(place / "test.tsv"))
    assert (report["gate"]["texts"], report["gate"]["float32"]["metric"]) == (str(place / "test.tsv"), "mcc")
    report = export(place / "bert", output_dir=tmp_path / "c", texts=str(tmp_path / "texts.txt"))
    assert report["gate"]["float32"]["counted"] == "mean vectors (their mean cosine)"
    lines = [{"q": one, "p": "the dog sleeps in the house."} for one in TEXTS]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = save_tiny_bert(tmp_path / "model", "question-answering", initializer_range=0.3)
    columns = {"text_column": "q", "text_pair_column": "p"}
    report = export(model, output_dir=tmp_path / "d", texts=str(tmp_path / "asked.jsonl"), **columns)
    assert (report["gate"]["num_texts"], report["gate"]["float32"]["counted"]) == (12, "answers")


def run_with_dev(place: Path, run: Path, *files: str) -> Path:
    """The run of `place`, as if it had had these files for dev."""
    settings = json.loads((place / "run" / "config.json").read_text())
    run.mkdir()
    (run / "model").symlink_to(place / "run" / "model")
    (run / "config.json").write_text(json.dumps(settings | {"dev": list(files)}))
    return run


def test_all_files_of_a_dev_set_are_asked_and_of_a_large_one_texts_from_all_over_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = str(place / "dev.tsv")
    other = shutil.copyfile(one, tmp_path / "other.tsv")
    run = run_with_dev(place, tmp_path / "run", one, str(other))
    gate = export(run, output_dir=tmp_path / "all")["gate"]
    assert (gate["texts"], gate["num_texts"]) == (f"{one}, {other}, the run's dev set", 100)
    monkeypatch.setattr("unmask.workflows.export_probe._DEV_TEXTS", 75)
    gate = export(run, output_dir=tmp_path / "some")["gate"]
    assert (gate["texts"], gate["num_texts"]) == (f"{one}, {other}, 75 texts of 100 of the run's dev set", 75)


def test_few_texts_are_told(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "one.txt").write_text("the dog sleeps\n")
    export(place / "run", output_dir=tmp_path / "onnx", texts=str(tmp_path / "one.txt"))
    assert any("so few texts tell little" in message for message in caplog.messages)


def test_a_dev_set_that_has_gone_is_told_and_built_in_texts_are_asked(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_with_dev(place, tmp_path / "run", "gone.tsv")
    report = export(run, output_dir=tmp_path / "onnx")
    assert report["gate"]["texts"] == "built-in texts"
    assert report["gate"]["num_texts"] > 100
    assert any("the run's dev set cannot be asked" in message and "gone.tsv" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"data": "unlabelled.tsv"}, DataError, "no column is named label|has no column"),
        ({"data": "strange.tsv"}, DataError, "strange.tsv, line 2.*'odd'"),
        ({"data": "gone.tsv"}, DataError, "gone.tsv"),
        ({"texts": "empty.txt"}, DataError, "empty.txt: there is no text in it"),
        ({"texts": "numbers.jsonl"}, DataError, "numbers.jsonl, line 1: the text is a number"),
        ({"texts": "empty.txt", "data": "strange.tsv"}, SettingsError, "not both"),
        ({"format": "safetensors", "int8": True}, SettingsError, "int8 goes with the format onnx"),
        ({"format": "torchscript"}, SettingsError, "deprecated.*must be one of onnx, safetensors-merged"),
        ({"format": "tflite"}, SettingsError, "format is 'tflite': it must be one of onnx, safetensors-merged"),
        ({"min_agreement": 99.0}, SettingsError, r"min_agreement is 99.0: it must be in \[0, 1\]"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    settings: dict[str, Any], error: type[Exception], message: str, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "unlabelled.tsv").write_text("sentence\nthe dog runs.\n")
    write_rows(tmp_path / "strange.tsv", [("the dog runs.", "odd")])
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "numbers.jsonl").write_text('{"text": 5}\n')
    before = everything_in(tmp_path)
    with pytest.raises(error, match=message):
        export(place / "run", output_dir=tmp_path / "onnx", data_dir=tmp_path, **settings)
    assert everything_in(tmp_path) == before
    assert not (tmp_path / "onnx").exists()


def test_models_that_cannot_be_exported(place: Path, tmp_path: Path) -> None:
    export(place / "bert", output_dir=tmp_path / "onnx")
    with pytest.raises(CheckpointError, match="this is an exported model already: give the one it was made of"):
        export(tmp_path / "onnx", output_dir=tmp_path / "again")
    with pytest.raises(CheckpointError, match="no such folder"):
        export(tmp_path / "gone", output_dir=tmp_path / "again")
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    with pytest.raises(SettingsError, match="data has labels, and a model with the head encoder has no use for them"):
        export(place / "bert", output_dir=tmp_path / "again", data=str(place / "dev.tsv"))

    model, _ = load_model(place / "bert")
    with torch.no_grad():
        model.get_parameter("blocks.0.attention.query.weight")[0, 0] = float("nan")
    save_pretrained(model, Tokenizer.from_folder(place / "bert"), tmp_path / "nan")
    with pytest.raises(CheckpointError, match="it gives numbers that are not finite: its weights are broken"):
        export(tmp_path / "nan", output_dir=tmp_path / "again")

    weights = place / "run" / "model" / "model.safetensors"
    (tmp_path / "cut").mkdir()
    for path in weights.parent.iterdir():
        content = path.read_bytes()
        (tmp_path / "cut" / path.name).write_bytes(content[: len(content) // 2] if path == weights else content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        export(tmp_path / "cut", output_dir=tmp_path / "again")
    assert not (tmp_path / "again").exists()
