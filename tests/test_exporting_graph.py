"""Graphs of every family with every head: torch's numbers, at any batch size and length, and no weight twice.

Run: pytest tests/test_exporting_graph.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exported import OF_SEQUENCES
from unmask.errors import CheckpointError, SettingsError
from unmask.exporting import graph as graphs
from unmask.exporting.graph import check_installed, input_names, make_graph, output_names
from unmask.models.registry import FAMILIES, build_model, export_weights
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes.onnx import OnnxRuntime
from unmask.runtimes.pytorch import TorchRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto
    from torch import nn

VOCAB_SIZE, HIDDEN_SIZE, LONGEST = 61, 24, 37
DIFFERENCES: dict[str, dict[str, Any]] = {
    "roberta": {"type_vocab_size": 1, "max_position_embeddings": LONGEST + 2},
    "albert": {"embedding_size": 10},
    "electra": {"embedding_size": 10},
    "openai-gpt": {"intermediate_size": 4 * HIDDEN_SIZE},
}
CASES = [(name, head) for name, family in FAMILIES.items() for head in family.heads if head != "pre-training"]


def tiny_model(model_type: str, head: str) -> nn.Module:
    sizes = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 41,
        "max_position_embeddings": LONGEST,
        "id2label": dict(enumerate("OPQRS")),
        "initializer_range": 0.3,
    }
    config = FAMILIES[model_type].config(**sizes | DIFFERENCES.get(model_type, {}))
    return build_model(config, head, seed=5).eval()


def onnx_runtime(model: nn.Module, graph: ModelProto, folder: Path) -> OnnxRuntime:
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / "config.json").write_text(json.dumps(export_weights(model)[0]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": LONGEST}))
    return OnnxRuntime(folder, intra_op_threads=1)


def sequences(model: nn.Module, lengths: list[int]) -> tuple[Ragged, Ragged]:
    """Random words; two types where the family has them."""
    rng, offsets = np.random.default_rng(1), offsets_of(lengths)
    types = rng.integers(0, 2, offsets[-1]) * ("token_type_ids" in input_names(model))
    return Ragged(rng.integers(2, VOCAB_SIZE, offsets[-1]), offsets), Ragged(types, offsets)


def check_names(graph: ModelProto, model: nn.Module) -> None:
    """What it takes and gives has the names that are promised, and axes of any size."""
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert [value.name for value in graph.graph.input] == list(input_names(model))
    assert {value.name for value in graph.graph.output} == output_names(model).keys()
    for name in input_names(model):
        assert axes[name] == ["batch", "sequence"]
    for name, free in output_names(model).items():
        assert axes[name][: len(free)] == list(free)


@pytest.mark.parametrize(("model_type", "head"), CASES)
def test_a_graph_gives_what_torch_gives_in_batches_of_mixed_lengths(model_type: str, head: str, tmp_path: Path) -> None:
    model = tiny_model(model_type, head)
    graph = make_graph(model)
    check_names(graph, model)
    # No weight twice: not the word embeddings that a language model multiplies by, nor the block that ALBERT repeats.
    num_weights = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    assert num_weights < sum(parameter.numel() for parameter in model.parameters()) + VOCAB_SIZE + 20

    runtime = onnx_runtime(model, graph, tmp_path)
    ids, types = sequences(model, [5, 1, 13, LONGEST, 2, 7, 7, 19])
    original = TorchRuntime(model, max_seq_length=LONGEST).run(ids, types)
    width = {"encoder": HIDDEN_SIZE, "question-answering": 2, "next-sentence": 2, "replaced-token": 1}.get(
        head, VOCAB_SIZE if head in ("masked-lm", "causal-lm") else 5
    )
    assert original.values.shape == (8 if head in OF_SEQUENCES else 91, width)
    assert float(original.values.std()) > 0.05  # it says something else of each
    padded = runtime._compute(ids, types, None)  # in one rectangle
    alone = Ragged.concatenate([runtime.run(ids.take([one]), types.take([one])) for one in range(8)])
    for exported in (padded, alone):
        np.testing.assert_array_equal(exported.offsets, original.offsets)
        np.testing.assert_allclose(exported.values, original.values, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("model_type", "head", "inputs", "outputs"),
    [
        ("bert", "encoder", 3, {"last_hidden_state": 2, "pooler_output": 1}),
        ("electra", "encoder", 3, {"last_hidden_state": 2}),
        ("roberta", "token-classification", 2, {"logits": 2}),
        ("albert", "sequence-classification", 3, {"logits": 1}),
        ("electra", "replaced-token", 3, {"logits": 2}),
        ("gpt2", "causal-lm", 2, {"logits": 2}),
    ],
)
def test_inputs_and_outputs_by_family_and_head(
    model_type: str, head: str, inputs: int, outputs: dict[str, int]
) -> None:
    model = tiny_model(model_type, head)
    assert input_names(model) == ("input_ids", "attention_mask", "token_type_ids")[:inputs]
    assert {name: len(axes) for name, axes in output_names(model).items()} == outputs


def test_a_model_too_large_for_one_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_LARGEST", 1000)
    with pytest.raises(CheckpointError, match="one file of ONNX holds 2: export a smaller model"):
        make_graph(tiny_model("bert", "encoder"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_what_installs_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(SettingsError, match=rf'needs {package}, which is not installed: pip install "unmask\[onnx\]"'):
        check_installed()
