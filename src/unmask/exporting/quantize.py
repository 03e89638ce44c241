"""A graph with 8-bit weights, and some of its layers left in float: which, is measured.

Weights are rounded with one scale a column (a channel), what is multiplied by them with one scale for all texts
("static"), as `smoothing` chose it. The product is an operation of ONNX Runtime's own: of products in the standard's
layout, floats between two roundings, it recognises some, and turns the weights of the others into floats at every call.
The word embeddings are rounded too, one scale a word; that saves size and no time.

Everything is put into 8 bits once. Which layers are taken from that, and which from the float graph, is decided then:
the two graphs call their tensors by the same names, so a mixed one is made by walking from the outputs back and
choosing of each tensor which graph makes it.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.rounding import round_columns, round_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from unmask.exporting.rounding import InputScale
    from unmask.exporting.smoothing import SmoothedGraph

__all__ = ["MixedGraph", "float_layers_to_try", "measure_layers", "with_matrix_products"]

_MOST_FLOAT = 2 / 3  # of the weights of products: with more of them in float there is little left of what was asked for
# Where the measuring of a large model does not come to its end, the layers that usually lose most have had their turn.
_USUALLY_WORST = ("feed_forward.output", "feed_forward.intermediate", "attention.output", "attention.query_key_value")


class MixedGraph:
    """A float graph and its quantized twin.

    Args:
        graph: as `with_matrix_products` makes it.
        smoothed: the same, whose products go into 8 bits.

    Attributes:
        layers: number of weights of each layer that can be in 8 bits, in the order of the graph. A weight that several
            layers share (ALBERT) is one.
        tables: those of them that are read and not multiplied by: the word embeddings.
    """

    def __init__(self, graph: ModelProto, smoothed: SmoothedGraph) -> None:
        self._float = graph
        self._int8 = _quantize(smoothed)
        self._makers = _makers(self._float), _makers(self._int8)
        sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in self._float.graph.initializer}
        owners: dict[str, str] = {}  # of each weight its layer
        self.layers: dict[str, int] = {}
        self.tables: set[str] = set()
        self._outputs: defaultdict[str, set[str]] = defaultdict(set)
        for node in self._float.graph.node:
            [output, *_] = node.output
            made = self._makers[1].get(output)
            if node.op_type not in ("MatMul", "Gather") or made is None or made.input == node.input:
                continue
            weight = next(name for name in node.input if name in sizes)
            layer = owners.setdefault(weight, _layer_name(node))
            self.layers[layer] = sizes[weight]
            self.tables |= {layer} if node.op_type == "Gather" else set()
            self._outputs[layer].add(output)
        owner_of = {output: layer for layer, outputs in self._outputs.items() for output in outputs}
        for node in self._float.graph.node:  # sums with a bias that is another in 8 bits
            [output, *_] = node.output
            layer_of_input = next((owner_of[name] for name in node.input if name in owner_of), None)
            if layer_of_input is not None and self._makers[1][output].input != node.input:
                self._outputs[layer_of_input].add(output)

    def mix(self, float_layers: Collection[str]) -> ModelProto:
        """Make the graph in which these layers are in float, and all others in 8 bits."""
        from onnx import ModelProto

        float_makers, int8_makers = self._makers
        of_float = {output for layer in float_layers for output in self._outputs[layer]}
        of_int8 = {output for outputs in self._outputs.values() for output in outputs} - of_float
        weights = {tensor.name: tensor for graph in (self._float, self._int8) for tensor in graph.graph.initializer}

        mixed = ModelProto()
        mixed.CopyFrom(self._int8)
        for field in ("node", "initializer", "value_info"):
            mixed.graph.ClearField(field)
        done: set[str] = {given.name for given in self._float.graph.input} | {""}
        waiting = [output.name for output in reversed(self._float.graph.output)]
        while waiting:
            tensor = waiting[-1]
            if tensor in done:
                waiting.pop()
                continue
            if tensor in weights:
                mixed.graph.initializer.append(weights[tensor])
                done.add(tensor)
                continue
            is_float = tensor in float_makers and tensor not in of_int8
            node = (float_makers if is_float else int8_makers)[tensor]
            if missing := [name for name in node.input if name not in done]:
                waiting += reversed(missing)
                continue
            mixed.graph.node.append(node)
            done.update(node.output)
        return mixed


def measure_layers(
    mixed: MixedGraph, compute: Callable[[ModelProto], NDArray[np.float32]], *, seconds: float
) -> dict[str, float]:
    """Measure what each layer loses: how far its 8 bits alone move the outputs, as the root of the mean square.

    Args:
        mixed: the layers.
        compute: what a graph gives, always for the same texts.
        seconds: no layer is begun after so many; those left out are those that usually lose least.
    """
    layers = sorted(mixed.layers, key=_usual_place)
    original = compute(mixed.mix(layers))
    begun = time.monotonic()
    losses: dict[str, float] = {}
    for layer in layers:
        if time.monotonic() - begun > seconds:
            break
        moved = compute(mixed.mix([other for other in layers if other != layer])) - original
        losses[layer] = float(np.sqrt(np.mean(np.square(moved, dtype=np.float64))))
    return losses


def float_layers_to_try(mixed: MixedGraph, losses: Mapping[str, float]) -> list[tuple[str, ...]]:
    """List which layers to leave in float, one choice after the other: the first 1, 2, ..., 8, 10, ... of a ranking.

    The errors of layers add up like those of independent measurements, by their squares, and what a layer in float
    costs is its weights, in time and size: so layers stand by the square of what they lose for each weight. A
    third of the weights that are multiplied by stay in 8 bits; a layer that would take more is passed over.

    Args:
        mixed: the layers.
        losses: of those that were measured.
    """
    sizes = mixed.layers
    allowed = _MOST_FLOAT * sum(size for layer, size in sizes.items() if layer not in mixed.tables)
    ranked: list[str] = []
    for layer in sorted(losses, key=lambda layer: -(losses[layer] ** 2) / sizes[layer]):
        cost = 0 if layer in mixed.tables else sizes[layer]
        if cost <= allowed:
            allowed -= cost
            ranked.append(layer)
    counts = {*range(1, 8)} | {number * 2**power for number in (4, 5, 6, 7) for power in range(1, 14)}
    return [tuple(ranked[:count]) for count in sorted({min(count, len(ranked)) for count in counts}) if count]


def _quantize(smoothed: SmoothedGraph) -> ModelProto:
    """Put all weights of products, and the word embeddings, into 8 bits."""
    from onnx import ModelProto, helper

    graph = smoothed.graph
    made = ModelProto()
    made.CopyFrom(graph)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    made.graph.ClearField("node")
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    done: set[str] = set()  # weights
    for node in graph.graph.node:
        if node.output[0] in smoothed.scales:
            weight = weights[node.input[1]]
            if weight.name not in done:
                _add_weight(made, weight)
                done.add(weight.name)
            _add_product(made, node, smoothed.scales[node.output[0]])
        elif node.op_type == "Gather" and node.input[0] in weights and "/word/" in node.name:
            _add_table(made, node, weights[node.input[0]])
        else:
            made.graph.node.append(node)
    return made


def _add_weight(made: ModelProto, weight: TensorProto) -> None:
    from onnx import numpy_helper

    values, scales = round_columns(numpy_helper.to_array(weight))
    parts: tuple[tuple[str, NDArray[Any]], ...] = (
        ("quantized", values),
        ("scale", scales),
        ("zero_point", np.zeros(len(scales), np.int8)),
    )
    made.graph.initializer.extend(numpy_helper.from_array(part, f"{weight.name}_{what}") for what, part in parts)


def _add_product(made: ModelProto, node: NodeProto, scale: InputScale) -> None:
    """Add a product of rounded numbers, which is a float again."""
    from onnx import helper, numpy_helper

    states, weight, [output] = node.input[0], node.input[1], node.output
    rounded, step, zero_point = f"{output}_rounded", f"{output}_step", f"{output}_zero_point"
    for name, value in ((step, scale.step), (zero_point, scale.zero_point)):
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    given = [rounded, f"{weight}_quantized", step, f"{weight}_scale", zero_point, f"{weight}_zero_point"]
    made.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [states, step, zero_point], [rounded], name=f"{node.name}/Round"),
            helper.make_node("MatMulIntegerToFloat", given, [output], name=node.name, domain="com.microsoft"),
        ]
    )


def _add_table(made: ModelProto, node: NodeProto, table: TensorProto) -> None:
    """Add the reading of a table that has one scale a row."""
    from onnx import TensorProto, helper, numpy_helper

    name, [output] = table.name, node.output
    values, scales = round_rows(numpy_helper.to_array(table))
    for what, part in (("quantized", values), ("scale", scales)):
        made.graph.initializer.append(numpy_helper.from_array(part, f"{name}_{what}"))
        read = [f"{name}_{what}", node.input[1]]
        made.graph.node.append(helper.make_node("Gather", read, [f"{output}_{what}"], name=f"{node.name}_{what}"))
    as_float = f"{output}_float"
    made.graph.node.extend(
        [
            helper.make_node("Cast", [f"{output}_quantized"], [as_float], to=TensorProto.FLOAT),
            helper.make_node("Mul", [as_float, f"{output}_scale"], [output], name=node.name),
        ]
    )


def with_matrix_products(graph: ModelProto) -> ModelProto:
    """Write each Gemm as a product and a sum; where it turns its matrix, with one that is turned.

    Quantizing does so as well, and in place: that would turn the word embeddings which a head's Gemm reads too.
    """
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    nodes: list[NodeProto] = []
    for node in made.graph.node:
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        matrix = weights.get(node.input[1]) if node.op_type == "Gemm" else None
        is_plain = given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0 and not given.get("transA")
        if matrix is None or not is_plain or len(node.input) < 3:
            nodes.append(node)
            continue
        own_name = matrix.name
        if given.get("transB"):
            own_name = f"{matrix.name}_turned"
            if own_name not in weights:
                turned = np.ascontiguousarray(numpy_helper.to_array(matrix).T)
                weights[own_name] = numpy_helper.from_array(turned, own_name)
        product = f"{node.output[0]}_product"
        nodes += [
            helper.make_node("MatMul", [node.input[0], own_name], [product], name=f"{node.name}/MatMul"),
            helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}/Add"),
        ]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name in used]
    for field, entries in (("node", nodes), ("initializer", kept)):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
        made.graph.ClearField(field)
        getattr(made.graph, field).extend(copies)
    return made


def _makers(graph: ModelProto) -> dict[str, NodeProto]:
    """Find of each tensor the node that makes it."""
    return {output: node for node in graph.graph.node for output in node.output}


def _layer_name(node: NodeProto) -> str:
    """Name a layer as the model does, by the scope that torch leaves in the node's name."""
    scope = re.fullmatch(r"/(?:model/)?(?!Gemm)(.+?)(/(MatMul|Gather|Gemm)(_\d+)?)+", node.name)
    return "word_projection" if scope is None else scope[1].replace("/", ".")  # a GPT's has no module of its own


def _usual_place(layer: str) -> int:
    ranks = [rank for rank, part in enumerate(_USUALLY_WORST) if part in layer]
    return min(ranks, default=len(_USUALLY_WORST))
