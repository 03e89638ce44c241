"""Smoothing: what makes the inputs of a product hard to put into 8 bits moves over to its weights.

In 8 bits the inputs of a product have one scale, which is fixed when the graph is made, so that a text gets the same
answer alone and among others. A few channels of the inputs are many times larger than the others, of whose bits they
take most. Each column of the weights has a scale of its own. So each channel k is divided by a factor s_k, and row k of
the weights multiplied by it, which changes nothing in float:

    X W = (X diag(s)^-1) (diag(s) W)        Xiao et al. 2023, "SmoothQuant" (arXiv:2211.10438), equation 3

with s_k = max |X_k|^a. A channel so large that its row of weights would then take the bits of the others is left out of
both, and multiplied in float beside them (Dettmers et al. 2022, "LLM.int8()", arXiv:2208.07339, section 3.2). How
many are, and a, is searched for each product on a sample of its inputs, as Lin et al. 2024 do ("AWQ", arXiv:2306.00978,
section 3.2). The division takes about a hundredth of the product's time: the norm before it could take it up, but its
output is also what the product is added to.

What is still lost is no noise alone: a GELU gives many numbers of nearly one size, which are rounded one way. The mean
of the error over the sample is taken off the bias (Nagel et al. 2019, arXiv:1906.04721, section 4.2).

Axes: M rows of the sample, K channels, N columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.rounding import InputScale, round_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

__all__ = ["SmoothedGraph", "inputs_of_products", "smooth"]

_FEW, _REST = "_few", "_rest"  # how names end of what is of the channels that are left out, and of the others

_EXPONENTS = (0.4, 0.5, 0.6, 0.7)
_MOST_LEFT_OUT = 8  # channels
_WORTH_IT = 0.6  # of the squared error: what is left must be less, or the work is saved
_COLUMNS = 256  # of the weights that the error is measured on


@dataclass(frozen=True, kw_only=True)
class _Smoothing:
    """What is done to the channels of a product.

    Args:
        divisors: float32, (K,); infinite for those that are left out.
        scale: of the inputs, once they are divided.
        error: the mean squared error that is left.
        offset: the mean error of each column, float32, (N,).
    """

    divisors: NDArray[np.float32]
    scale: InputScale
    error: float
    offset: NDArray[np.float32]

    @property
    def left_out(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.isinf(self.divisors))


@dataclass(frozen=True, kw_only=True)
class SmoothedGraph:
    """A graph whose products can go into 8 bits.

    Args:
        graph: in float.
        scales: of what goes into each product with weights, by the product's output.
    """

    graph: ModelProto
    scales: Mapping[str, InputScale]


def inputs_of_products(graph: ModelProto) -> list[str]:
    """Name the tensors that are multiplied by weights.

    Args:
        graph: as `with_matrix_products` makes it.
    """
    return list(dict.fromkeys(node.input[0] for nodes in _products(graph).values() for node in nodes))


def smooth(graph: ModelProto, states: Mapping[str, NDArray[np.float32]]) -> SmoothedGraph:
    """Divide and multiply where that loses less, correct biases by what is lost all the same, and choose scales.

    But for the biases the graph computes what it did.

    Args:
        graph: as `with_matrix_products` makes it.
        states: a sample of each of `inputs_of_products`, float32, (M, K).
    """
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    changed: dict[str, list[NodeProto]] = {}  # by the output of a node, what takes its place
    scales: dict[str, InputScale] = {}
    for name, nodes in _products(graph).items():
        weight = numpy_helper.to_array(weights[name])
        inputs = np.concatenate([states[node.input[0]] for node in nodes])
        found, is_smoothed = _search(inputs, weight)
        has_left_out = bool(len(found.left_out))
        if is_smoothed:
            own: dict[str, NDArray[Any]] = {
                f"{name}_inverse": 1 / found.divisors,
                f"{name}_smoothed": _multiplied(weight, found.divisors),
                f"{name}_channels": found.left_out,
                f"{name}{_FEW}": weight[found.left_out],
            }
            made.graph.initializer.extend(numpy_helper.from_array(values, own_name) for own_name, values in own.items())
            changed |= {node.output[0]: list(_smoothed_nodes(node, has_left_out=has_left_out)) for node in nodes}
        found = _measure(inputs, weight, found.divisors)
        scales |= {f"{node.output[0]}{_REST}" if has_left_out else node.output[0]: found.scale for node in nodes}
        for summed in _biases(graph, nodes):
            place = next(place for place, given in enumerate(summed.input) if given in weights)
            corrected = f"{summed.output[0]}_bias"
            bias = numpy_helper.to_array(weights[summed.input[place]]) - found.offset
            made.graph.initializer.append(numpy_helper.from_array(bias, corrected))
            new = type(summed).FromString(summed.SerializeToString())
            new.input[place] = corrected
            changed[summed.output[0]] = [new]
    made.graph.ClearField("node")
    made.graph.node.extend(new for node in graph.graph.node for new in changed.get(node.output[0], [node]))
    return SmoothedGraph(graph=made, scales=scales)


def _biases(graph: ModelProto, products: list[NodeProto]) -> list[NodeProto]:
    """Find the sums of products and a bias."""
    outputs = {node.output[0] for node in products}
    vectors = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 1}
    return [
        node
        for node in graph.graph.node
        if node.op_type == "Add" and outputs & {*node.input} and vectors & {*node.input}
    ]


def _smoothed_nodes(node: NodeProto, *, has_left_out: bool) -> Iterator[NodeProto]:
    from onnx import helper

    states, weight, [output] = node.input[0], node.input[1], node.output
    divided, rest, channels, few = f"{output}_divided", f"{output}{_REST}", f"{output}_channels", f"{output}{_FEW}"
    yield helper.make_node("Mul", [states, f"{weight}_inverse"], [divided], name=f"{node.name}/Divide")
    product = rest if has_left_out else output
    yield helper.make_node("MatMul", [divided, f"{weight}_smoothed"], [product], name=node.name)
    if has_left_out:
        yield helper.make_node("Gather", [states, f"{weight}_channels"], [channels], name=f"{node.name}/Few", axis=-1)
        yield helper.make_node("MatMul", [channels, f"{weight}{_FEW}"], [few], name=f"{node.name}/FewProduct")
        yield helper.make_node("Add", [rest, few], [output], name=f"{node.name}/Sum")


def _products(graph: ModelProto) -> dict[str, list[NodeProto]]:
    """Find of each weight the products with it."""
    matrices = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    found: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.graph.node:
        if node.op_type == "MatMul" and node.input[1] in matrices:
            found[node.input[1]].append(node)
    return dict(found)


def _search(states: NDArray[np.float32], weight: NDArray[np.float32]) -> tuple[_Smoothing, bool]:
    """Search what loses least, and tell whether it is anything: what gains little is not done."""
    columns = weight[:, :: -(-weight.shape[1] // _COLUMNS)]
    largest = np.maximum(np.abs(states).max(axis=0), np.float32(1e-5))
    nothing = best = _measure(states, columns, np.ones_like(largest))
    counts = [count for count in (0, 1, 2, 4, _MOST_LEFT_OUT) if 4 * count < len(largest)]
    for count in counts:
        outliers = np.argsort(-largest, kind="stable")[:count]
        tries = []
        for exponent in _EXPONENTS:
            divisors = largest**exponent
            divisors[outliers] = np.inf
            divisors /= np.exp(np.log(divisors[np.isfinite(divisors)]).mean())
            tries.append(_measure(states, columns, divisors))
        found = min(tries, key=lambda one: one.error)
        if found.error < _WORTH_IT * best.error:
            best = found
    return best, best is not nothing


def _multiplied(weight: NDArray[np.float32], divisors: NDArray[np.float32]) -> NDArray[np.float32]:
    return weight * np.where(np.isinf(divisors), np.float32(0), divisors)[:, None]


def _measure(states: NDArray[np.float32], weight: NDArray[np.float32], divisors: NDArray[np.float32]) -> _Smoothing:
    """Find how far the product is off when both sides are rounded to 8 bits."""
    divided, multiplied = states / divisors, _multiplied(weight, divisors)
    scale = InputScale.between(float(divided.min()), float(divided.max()))
    rounded, scales = round_columns(multiplied)
    errors = scale.round(divided) @ (rounded * scales) - divided @ multiplied
    error = float(np.square(errors).mean())
    return _Smoothing(divisors=divisors, scale=scale, error=error, offset=errors.mean(axis=0))
