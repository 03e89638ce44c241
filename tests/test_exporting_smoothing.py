"""Numbers in 8 bits, and what is done to a graph so that little is lost by them.

Run: pytest tests/test_exporting_smoothing.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from test_exporting_graph import tiny_model
from unmask.exporting.joining import join_projections
from unmask.exporting.rounding import InputScale, round_columns, round_rows
from unmask.exporting.smoothing import inputs_of_products, smooth
from unmask.models.registry import FAMILIES
from unmask.packing import PaddedBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto


def product_graph(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> ModelProto:
    """X W + b, for X (2, rows, K)."""
    sizes = {"weight": weight, "bias": bias}
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["states", "weight"], ["product"], name="/layer/MatMul"),
                helper.make_node("Add", ["bias", "product"], ["out"], name="/layer/Add"),
            ],
            "product",
            [helper.make_tensor_value_info("states", TensorProto.FLOAT, [2, "rows", len(weight)])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            initializer=[numpy_helper.from_array(values, name) for name, values in sizes.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


def run(graph: ModelProto, states: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"states": states})[0]


@pytest.mark.parametrize("kind", ["normal", "equal", "of one sign", "signs by turns", "odd number"])
def test_no_input_makes_16_bits_overflow(kind: str) -> None:
    """The worst inputs, on whatever CPU this is: the product of 8-bit numbers is that of integers."""
    weight = np.random.default_rng(0).standard_normal((63 if kind == "odd number" else 64, 24)).astype(np.float32)
    if kind == "equal":
        weight = np.ones_like(weight)
    if kind == "of one sign":
        weight = np.abs(weight)
    if kind == "signs by turns":
        weight = np.abs(weight) * np.where(np.arange(64) // 2 % 2, -1, 1).astype(np.float32)[:, None]
    rounded, scales = round_columns(weight)
    even = rounded[: len(rounded) // 2 * 2].astype(int)
    assert np.abs(even[0::2] + even[1::2]).max() <= 128
    assert np.abs(rounded * scales - weight).max() <= scales.max() / 2 + 1e-6
    if kind == "normal":
        assert np.mean(scales * 63 / np.abs(weight).max(axis=0)) < 0.75  # finer than 7 bits would be

    inputs = np.full((5, len(weight)), 255, np.uint8)
    inputs[1:] = np.random.default_rng(1).integers(0, 256, (4, len(weight)))
    graph = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMulInteger", ["inputs", "weight"], ["out"])],
            "product",
            [helper.make_tensor_value_info("inputs", TensorProto.UINT8, list(inputs.shape))],
            [helper.make_tensor_value_info("out", TensorProto.INT32, None)],
            initializer=[numpy_helper.from_array(rounded, "weight")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"inputs": inputs})[0], inputs.astype(int) @ rounded.astype(int))


def test_weights_of_nothing() -> None:
    rounded, scales = round_columns(np.zeros((4, 3), np.float32))
    assert not rounded.any()
    assert np.isfinite(1 / scales).all()
    assert round_columns(np.zeros((1, 3), np.float32))[0].shape == (1, 3)


def test_each_row_of_a_table_has_its_scale() -> None:
    table = np.array([[1, -2, 0.5], [100, 7, -200], [0, 0, 0]], np.float32)
    rounded, scales = round_rows(table)
    np.testing.assert_allclose(np.abs(rounded).max(axis=1), [127, 127, 0])
    np.testing.assert_allclose(rounded * scales, table, atol=200 / 127 / 2)
    np.testing.assert_allclose((rounded * scales)[0], table[0], atol=2 / 127 / 2)


def test_inputs_are_rounded_as_onnx_runtime_rounds_them() -> None:
    scale = InputScale.between(-1.3, 2.1)
    states = np.linspace(-3, 3, 1001, dtype=np.float32)
    graph = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("QuantizeLinear", ["states", "step", "zero"], ["rounded"]),
                helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], ["out"]),
            ],
            "rounding",
            [helper.make_tensor_value_info("states", TensorProto.FLOAT, [1001])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1001])],
            initializer=[
                numpy_helper.from_array(np.asarray(value), name)
                for name, value in (("step", scale.step), ("zero", scale.zero_point))
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    np.testing.assert_allclose(run(graph, states), scale.round(states), atol=1e-6)
    inside = states[(states > -1.3) & (states < 2.1)]
    assert np.abs(scale.round(inside) - inside).max() <= scale.step * 0.51
    assert InputScale.between(0, 0).round(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


def spiky(num_rows: int, *, channels: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """States of which one channel is fifty times, and a few some times as large as the others."""
    states = np.random.default_rng(seed).standard_normal((num_rows, channels)).astype(np.float32)
    states[:, 5] = 50 + states[:, 5]
    states[:, 11:15] *= 6
    return states


def test_a_smoothed_product_loses_less_and_is_the_same_in_float() -> None:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((64, 32)).astype(np.float32)
    bias = generator.standard_normal(32).astype(np.float32)
    graph = product_graph(weight, bias)
    assert inputs_of_products(graph) == ["states"]
    smoothed = smooth(graph, {"states": spiky(400)})
    [scale] = smoothed.scales.values()
    assert scale.step < 60 / 255 / 4  # in place of 50 and more for one channel

    states = spiky(80, seed=9).reshape(2, 40, 64)
    exact, found = states @ weight + bias, run(smoothed.graph, states)
    offset = (found - exact).mean((0, 1))  # the bias is corrected by what rounding will do
    np.testing.assert_allclose(found - offset, exact, atol=2e-4)
    types = [node.op_type for node in smoothed.graph.graph.node]
    assert types == ["Mul", "MatMul", "Gather", "MatMul", "Add", "Add"]  # the large channel goes its own way
    [channels] = [one for one in smoothed.graph.graph.initializer if one.name.endswith("_channels")]
    assert 5 in numpy_helper.to_array(channels)


def test_what_gains_nothing_is_left_as_it_is() -> None:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((64, 32)).astype(np.float32)
    graph = product_graph(weight, np.zeros(32, np.float32))
    smoothed = smooth(graph, {"states": generator.standard_normal((400, 64)).astype(np.float32)})
    assert [node.op_type for node in smoothed.graph.graph.node] == ["MatMul", "Add"]
    assert smoothed.scales.keys() == {"product"}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_joined_projections_compute_the_same(model_type: str) -> None:
    model = tiny_model(model_type, "encoder")
    twin = join_projections(model)
    ids = torch.randint(2, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    batch = PaddedBatch.of(ids, mask.long())
    with torch.no_grad():
        ours, theirs = (one.eval()(batch).last_hidden_state for one in (model, twin))
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-6, rtol=1e-5)
    kept, joined = dict(model.named_parameters()), dict(twin.named_parameters())
    assert all(joined[name] is weight for name, weight in kept.items() if name in joined)
    assert not any(name.endswith("attention.query.weight") for name in joined)
