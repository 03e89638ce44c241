"""Predictions of exported models: the same as torch's, by the same tasks, and with no torch at all.

Run: pytest tests/test_workflows_exported.py
"""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch

from exported import expected_rows, save_export
from tiny import NOUNS, save_tiny_bert, sentences, unmask, without_torch, write_rows
from unmask import evaluate, predict
from unmask.errors import CheckpointError, SettingsError
from unmask.packing import PaddedBatch
from unmask.workflows.loading import load
from unmask.workflows.trained import load_trained

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [text for text, _ in sentences(40, seed=9)]

# Each task by what its config.json remembers, its head, its outputs and a text.
TASKS: dict[str, tuple[str, int, dict[str, Any], list[str]]] = {
    "classification": ("sequence-classification", 3, {"temperature": 2.5}, ["these dogs sleep."]),
    "multi-label": ("sequence-classification", 4, {"labels": ["L0", "L1", "L2", "L3"]}, ["these dogs sleep."]),
    "regression": ("sequence-classification", 1, {}, ["these dogs sleep.", "--text-pair", "this cat runs."]),
    "tagging": ("token-classification", 3, {"text_unit": "word"}, ["these dogs sleep in the house."]),
    "question-answering": ("question-answering", 2, {}, ["who sleep?", "--text-pair", "the dogs sleep in the house."]),
}


class Padded(torch.nn.Module):
    """A model as a graph has it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        return self.model(PaddedBatch.of(input_ids, attention_mask, token_type_ids)).logits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with a temperature, whose weights are large enough that it says something else of each text."""
    memory = {"unmask_task": {"task": "classification", "temperature": 1.7}}
    labels = {0: "bad", 1: "good"}
    folder = tmp_path_factory.mktemp("place") / "model"
    return save_tiny_bert(folder, "sequence-classification", initializer_range=0.5, id2label=labels, extra=memory)


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a graph that torch itself wrote."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    ids = torch.randint(5, 20, (3, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    names = ["input_ids", "attention_mask", "token_type_ids"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Padded(load(model).model).eval(),
            (ids, mask, torch.zeros_like(ids)),
            folder / "model.onnx",
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "B", 1: "S"} for name in names},
            dynamo=False,  # the tracer of old, which takes a tenth of the time
        )
    return folder


# The same answers


def test_an_exported_model_says_what_torch_says(model: Path, exported: Path) -> None:
    ours, theirs = predict(model, TEXTS, device="cpu"), predict(exported, TEXTS, runtime="onnx")
    assert [one.label for one in theirs] == [one.label for one in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert one.text == other.text
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    [alone] = predict(exported, TEXTS[7:8], runtime="onnx")
    assert alone.probabilities == pytest.approx(theirs[7].probabilities, abs=1e-5)
    assert len({round(one.probability, 4) for one in theirs}) > 5  # it does not say the same of everything


def test_the_command_decodes_files_and_abstains_alike(
    model: Path, exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    test = write_rows(tmp_path / "test.tsv", sentences(17, seed=4))
    probabilities = sorted(one.probability for one in predict(model, [text for text, _ in sentences(17, seed=4)]))
    below = (probabilities[8] + probabilities[9]) / 2
    lines = {}
    for folder, runtime in ((model, "torch"), (exported, "onnx")):
        output = tmp_path / f"{runtime}.jsonl"
        asked = ("--data", test, "--runtime", runtime, "--output", output, "--abstain-below", below)
        assert unmask("predict", folder, *asked) == 0
        assert "9 of 17 texts left without a label" in capsys.readouterr().err
        lines[runtime] = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines["onnx"]) == 17
    for one, other in zip(lines["onnx"], lines["torch"], strict=True):
        assert (one["text"], one["label"]) == (other["text"], other["label"])
    assert sum(one["label"] is None for one in lines["onnx"]) == 9


def test_an_exported_model_is_scored_as_torchs_is(
    model: Path, exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [(text, "bad" if number % 3 else "good") for number, (text, _) in enumerate(sentences(37, seed=4))]
    test = write_rows(tmp_path / "test.tsv", rows)
    ours = evaluate(str(model), data=str(test))
    assert unmask("evaluate", exported, "--data", test, "--runtime", "onnx", "--json") == 0
    theirs = json.loads(capsys.readouterr().out)
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    for key in ("data", "kind", "num_examples", "confusion_matrix"):
        assert theirs[key] == ours[key]
    assert theirs["metrics"] == pytest.approx(ours["metrics"], abs=1e-5)
    assert 0 < ours["metrics"]["accuracy"] < 1
    assert unmask("evaluate", exported, "--data", test) == 3
    assert "an exported graph, without weights for torch: --runtime onnx computes it" in capsys.readouterr().err


def test_the_scores_of_a_graph_are_those_of_its_numbers(tmp_path: Path) -> None:
    """A graph whose answers a line of numpy gives: every example is told by the larger of two means."""
    folder = save_export(tmp_path / "model", "sequence-classification", unmask_task={"task": "classification"})
    texts = [text for text, _ in sentences(23, seed=4)]
    trained = load_trained(folder, runtime="onnx")
    samples = trained.encode([trained.task.from_text(text, source="x", line=1) for text in texts], with_targets=False)
    [*means] = expected_rows("sequence-classification", samples.input_ids, samples.token_type_ids, 2)
    right = [f"L{mean.argmax()}" for mean in means]
    assert len({*right}) == 2
    given = [*right[:16], *("L1" if label == "L0" else "L0" for label in right[16:])]
    entry = evaluate(
        str(folder), data=str(write_rows(tmp_path / "x.tsv", list(zip(texts, given, strict=True)))), runtime="onnx"
    )
    assert entry["metrics"]["accuracy"] == pytest.approx(16 / 23)


# Without torch


def test_no_torch_is_imported_by_what_an_exported_model_needs() -> None:
    modules = (
        *("unmask.tasks", "unmask.tokenization", "unmask.data", "unmask.metrics", "unmask.runtimes.onnx"),
        *("unmask.workflows.trained", "unmask.workflows.predict", "unmask.cli.predict"),
    )
    done = without_torch(f"import {', '.join(modules)}\nassert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr
    refused = without_torch("import unmask.tasks.finetuning")
    assert "torch is not to be imported" in refused.stderr  # so the hook does refuse


@pytest.mark.parametrize("task", TASKS)
def test_every_task_answers_without_torch(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, num_outputs, options, asked = TASKS[task]
    kind = {"multi-label": "multi_label_classification", "regression": "regression"}.get(task)
    folder = save_export(
        tmp_path / "model",
        head,
        num_outputs=num_outputs,
        unmask_task={"task": task, **options},
        **({"problem_type": kind} if kind else {}),
    )
    program = "from unmask.cli.main import main\ncode = main()\nassert 'torch' not in sys.modules\nsys.exit(code)"
    done = without_torch(program, "predict", folder, *asked, "--runtime", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert unmask("predict", folder, *asked, "--runtime", "onnx", "--json") == 0
    assert json.loads(done.stdout) == json.loads(capsys.readouterr().out)
    # Without what unmask remembers, the head and Hugging Face's problem_type tell the same.
    config = json.loads((folder / "config.json").read_text())
    del config["unmask_task"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_trained(folder, runtime="onnx").task.name == task


def test_an_exported_model_is_pooled_over_windows(tmp_path: Path) -> None:
    """The mean of the windows' logits, and each window's are the mean of its tokens' rows."""
    memory = {"task": "regression", "long_texts": "windows", "max_seq_length": 7, "doc_stride": 5}
    folder = save_export(
        tmp_path / "m", "sequence-classification", num_outputs=1, problem_type="regression", unmask_task=memory
    )
    trained = load_trained(folder, runtime="onnx")
    [whole] = predict(folder, [" ".join(NOUNS[:10])], runtime="onnx")
    halves = predict(folder, [" ".join(NOUNS[:5]), " ".join(NOUNS[5:10])], runtime="onnx")
    assert trained.task.options.long_texts == "windows"
    assert whole.score == pytest.approx(sum(half.score for half in halves) / 2, abs=1e-5)


# What cannot be


def test_a_model_is_no_export_and_an_export_has_no_weights(
    model: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unmask("predict", model, "a dog", "--runtime", "onnx") == 3
    assert "no model.onnx here: unmask export RUN --format onnx writes a folder" in capsys.readouterr().err
    assert unmask("predict", exported, "a dog") == 3
    assert "an exported graph, without weights for torch: --runtime onnx computes it" in capsys.readouterr().err
    assert unmask("predict", exported, "a dog", "--runtime", "onnx", "--device", "cuda") == 2
    assert "device is 'cuda', and an exported model runs on the CPU: leave it out" in capsys.readouterr().err


def test_there_are_two_runtimes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="runtime is 'tensorrt': it must be torch or onnx"):
        predict(model, ["a dog"], runtime="tensorrt")  # type: ignore[arg-type]
    assert unmask("predict", model, "a dog", "--runtime", "tensorrt") == 2
    assert "--runtime" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, r"json is {'0': 'a', '2': 'b'}, which does not number labels 0, 1"),
        ({"id2label": {"one": "a"}}, r"id2label in its config.json is {'one': 'a'}, which does not number labels"),
        ({"id2label": ["a", "b"]}, r"id2label in its config.json is \['a', 'b'\], which does not number labels"),
        ({"unmask_task": {"task": "juggling"}}, r"it was trained for juggling, which this version of unmask does not"),
        ({"unmask_task": {"task": "tagging"}}, r"its head is sequence-classification, and tagging needs token-cla"),
        ({"vocab_size": 5}, r"the tokenizer has \d+ words and the model 5 embeddings; they are not of the same model"),
    ],
)
def test_a_folder_whose_files_contradict_one_another(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "sequence-classification", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_trained(folder, runtime="onnx")


def test_a_model_of_no_task_cannot_be_asked(tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "masked-lm", num_outputs=7)
    with pytest.raises(CheckpointError, match="its head is masked-lm, and classification needs sequence-classific"):
        predict(folder, ["a dog"], runtime="onnx")
