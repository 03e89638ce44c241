"""A graph with 8-bit weights, and some of its layers left in float: which, is measured.

ONNX Runtime quantizes: weights when the graph is made, one scale a column (a channel), activations when it is computed,
one scale a batch ("dynamic"). Weights get 7 bits: on a CPU without VNNI the sum of two products of 8 bits overflows its
16, so with 8 the answers would depend on the machine, and the gate would vouch for this one alone. The word embeddings
are quantized too, with one scale for the table; that saves size and no time.

It quantizes everything once. Which layers are taken from that, and which from the float graph, is decided here: the
two graphs call their tensors by the same names, so a mixed one is made by walking from the outputs back and choosing of
each tensor which graph makes it.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

__all__ = ["MixedGraph", "float_layers_to_try", "measure_layers"]

_MOST_FLOAT = 2 / 3  # of the weights of products: with more of them in float there is little left of what was asked for
# Where the measuring of a large model does not come to its end, the layers that usually lose most have had their turn.
_USUALLY_WORST = ("feed_forward.output", "feed_forward.intermediate", "attention.output", "attention.value")


class MixedGraph:
    """A float graph and its quantized twin.

    Args:
        graph: as `make_graph` makes it.

    Attributes:
        layers: number of weights of each layer that can be in 8 bits, in the order of the graph. A weight that several
            layers share (ALBERT) is one.
        tables: those of them that are read and not multiplied by: the word embeddings.
    """

    def __init__(self, graph: ModelProto) -> None:
        self._float = _with_matrix_products(graph)
        self._int8 = _quantize(self._float)
        self._makers = _makers(self._float), _makers(self._int8)
        sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in self._float.graph.initializer}
        owners: dict[str, str] = {}  # of each weight its layer
        self.layers: dict[str, int] = {}
        self.tables: set[str] = set()
        self._outputs: defaultdict[str, set[str]] = defaultdict(set)
        for node in self._float.graph.node:
            [output, *_] = node.output
            made = self._makers[1].get(output)
            if node.op_type not in ("MatMul", "Gather") or made is None or made.op_type == node.op_type:
                continue
            weight = next(name for name in node.input if name in sizes)
            layer = owners.setdefault(weight, _layer_name(node))
            self.layers[layer] = sizes[weight]
            self.tables |= {layer} if node.op_type == "Gather" else set()
            self._outputs[layer].add(output)

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
    """List which layers to leave in float, one choice after the other: the first 1, 2, 3, 4, 6, 8, ... of a ranking.

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
    counts = {1, 3} | {number * 2**power for number in (2, 3) for power in range(16)}
    return [tuple(ranked[:count]) for count in sorted({min(count, len(ranked)) for count in counts}) if count]


def _quantize(graph: ModelProto) -> ModelProto:
    """Put all weights of products and of embeddings into 8 bits."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root.setLevel(logging.ERROR)  # it advises on preparations, at the root logger, that change nothing here
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            quantize_dynamic(
                graph,
                path,
                op_types_to_quantize=["MatMul", "Gather"],
                nodes_to_exclude=[
                    node.name for node in graph.graph.node if node.op_type == "Gather" and "/word/" not in node.name
                ],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
            return onnx.load(path)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers  # it adds one, by which all that anyone logs would be said twice


def _with_matrix_products(graph: ModelProto) -> ModelProto:
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
