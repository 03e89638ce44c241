"""Graphs in 8 bits: which weights are, layers put back in float to the last bit, and the worst of them found.

Run: pytest tests/test_exporting_quantize.py
"""

from __future__ import annotations

import re
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from test_exporting_graph import HIDDEN_SIZE, VOCAB_SIZE, tiny_model
from unmask.exporting.graph import make_graph
from unmask.exporting.quantize import MixedGraph, float_layers_to_try, measure_layers, with_matrix_products
from unmask.exporting.smoothing import SmoothedGraph, inputs_of_products, smooth
from unmask.models.registry import FAMILIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADS = {
    "bert": "masked-lm",
    "roberta": "sequence-classification",
    "albert": "sequence-classification",
    "electra": "replaced-token",
    "gpt2": "causal-lm",
    "openai-gpt": "sequence-classification",
}


@cache
def graph_of(model_type: str, head: str) -> ModelProto:
    return make_graph(tiny_model(model_type, head))


def run(graph: ModelProto) -> NDArray[np.float32]:
    return compute(graph, None)[0]


def compute(graph: ModelProto, names: list[str] | None) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(2, VOCAB_SIZE, (5, 11))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return session.run(names, {taken.name: given[taken.name] for taken in session.get_inputs()})


def smoothed(graph: ModelProto) -> SmoothedGraph:
    """Smooth a graph on the ids that `run` gives it."""
    told, names = ModelProto(), inputs_of_products(graph)
    told.CopyFrom(graph)
    told.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    states = compute(told, names)
    return smooth(graph, {name: state.reshape(-1, state.shape[-1]) for name, state in zip(names, states, strict=True)})


def mixed_of(graph: ModelProto) -> MixedGraph:
    products = with_matrix_products(graph)
    return MixedGraph(products, smoothed(products))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_all_is_in_8_bits_or_any_of_it_in_float(model_type: str) -> None:
    graph = graph_of(model_type, HEADS[model_type])
    mixed = mixed_of(graph)
    blocks = 1 if model_type == "albert" else 2
    of_blocks = [layer for layer in mixed.layers if re.search(r"blocks\.\d", layer)]
    assert len(of_blocks) == 4 * blocks  # query, key and value; output; two of the feed-forward; ALBERT's are one
    assert mixed.tables == {"encoder.embeddings.word"}
    assert ("word_projection" in mixed.layers) == (HEADS[model_type] == "causal-lm")

    in_float, in_8_bits = run(mixed.mix(mixed.layers)), run(mixed.mix(()))
    np.testing.assert_allclose(in_float, run(graph), atol=1e-5)
    lost = np.abs(in_8_bits - in_float)
    assert 1e-4 < lost.max() < 0.5 * np.abs(in_float).max()
    one = run(mixed.mix([of_blocks[0]]))
    assert not np.array_equal(one, in_8_bits)
    assert not np.array_equal(one, in_float)
    # Each weight in a byte; what is left in float are biases, norms and positions, a scale for each column, and a few
    # channels.
    in_bytes = [
        int(np.prod(tensor.dims))
        for tensor in mixed.mix(()).graph.initializer
        if tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and len(tensor.dims) == 2
    ]
    assert sorted(in_bytes) == sorted(mixed.layers.values())


def test_weights_have_a_scale_for_each_column() -> None:
    mixed = mixed_of(graph_of("bert", "masked-lm"))
    scales = [
        tensor for tensor in mixed.mix(()).graph.initializer if tensor.name.endswith("_scale") and len(tensor.dims) == 1
    ]
    assert HIDDEN_SIZE in {tensor.dims[0] for tensor in scales}
    assert {tensor.dims[0] for tensor in scales} == {HIDDEN_SIZE, 3 * HIDDEN_SIZE, 41, VOCAB_SIZE}


def test_the_layer_that_loses_most_is_found() -> None:
    """Two rows of a matrix are made huge, whose sum is nothing: they take the bits of the others from them."""
    import torch

    model = tiny_model("bert", "sequence-classification")
    with torch.no_grad():
        for part in ("weight", "bias"):  # two channels that always are the same
            made = model.get_parameter(f"encoder.blocks.1.feed_forward.intermediate.{part}")
            made[8] = made[7]
        spoilt = model.get_parameter("encoder.blocks.1.feed_forward.output.weight")
        spoilt[:, 7] += 300
        spoilt[:, 8] -= 300
    mixed = mixed_of(make_graph(model))
    losses = measure_layers(mixed, run, seconds=60)
    assert losses.keys() == mixed.layers.keys()
    assert max(losses, key=losses.__getitem__) == "encoder.blocks.1.feed_forward.output"
    first, *_ = float_layers_to_try(mixed, losses)
    assert first == ("encoder.blocks.1.feed_forward.output",)
    original = run(mixed.mix(mixed.layers))
    left, none = (np.abs(run(mixed.mix(layers)) - original).max() for layers in (first, ()))
    assert left < none / 3


def test_measuring_stops_in_time_with_the_usual_worst_first() -> None:
    mixed = mixed_of(graph_of("bert", "masked-lm"))
    losses = measure_layers(mixed, run, seconds=0)
    assert len(losses) <= 1
    assert all("feed_forward.output" in layer for layer in losses)


def test_choices_stand_by_loss_for_weight_and_leave_a_third_in_8_bits() -> None:
    sizes = {"a": 100, "b": 100, "c": 400, "words": 5000, "d": 100, "e": 200}
    mixed: Any = SimpleNamespace(layers=sizes, tables={"words"})
    losses = {"a": 0.1, "b": 0.3, "c": 0.5, "words": 0.2, "d": 0.2}  # e was not measured
    # squares for each weight: b 9e-4, c 6.25e-4, d 4e-4, a 1e-4, words 8e-6; of 900 weights 600 may be in float,
    # which are b, c and d; a would be too many; the table is no product
    assert float_layers_to_try(mixed, losses) == [
        ("b",),
        ("b", "c"),
        ("b", "c", "d"),
        ("b", "c", "d", "words"),
    ]
