"""The folder of a graph: in float, and then perhaps in 8 bits, each of them behind the gate."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unmask.errors import GateError
from unmask.exporting.gate import Agreement, Limits, compare, compute
from unmask.exporting.graph import OPSET, input_names, make_graph, output_names
from unmask.exporting.program import write_program
from unmask.exporting.quantize import MixedGraph, float_layers_to_try, measure_layers, with_matrix_products
from unmask.exporting.smoothing import inputs_of_products, smooth
from unmask.files import write_json, write_text
from unmask.models.registry import export_weights
from unmask.runtimes.onnx import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from unmask.exporting.probes import Probe
    from unmask.ragged import Ragged
    from unmask.workflows.export_probe import Source

__all__ = ["Made", "make_graph_folder", "refusal"]

_SMOOTHED_TOKENS = 2500  # whose hidden states the inputs of products are known by
_MEASURE_TOKENS, _MEASURE_SECONDS = 1500, 180.0  # a layer's; all layers'
_OF_VECTORS = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")  # sentence-transformers' layout

_log = logging.getLogger("unmask.workflows.export")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was made of a model.

    Args:
        weights: name of the file that holds them.
        figures: of each precision, how far it is from the original.
        num_bytes: of that file, in each precision.
        graph: what it takes and gives, if it is a graph.
        float_layers: the layers of a graph in 8 bits that are in float.
        layer_losses: of the layers that were measured, how far each alone moves what the model gives.
    """

    weights: str
    figures: dict[str, Agreement]
    num_bytes: dict[str, int]
    graph: dict[str, Any] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()
    layer_losses: dict[str, float] | None = None


def make_graph_folder(
    source: Source, folder: Path, probe: Probe, original: Ragged, limits: Limits, *, int8: bool
) -> Made:
    """Write the graph, its config, its tokenizer and the program that asks it.

    Args:
        source: the model.
        folder: is there, and empty.
        probe: what it is asked.
        original: what the original gives.
        limits: what is let through.
        int8: whether to go on to 8 bits.

    Raises:
        GateError: beyond a limit.
    """
    _write_surroundings(source, folder)
    graph = make_graph(source.model)
    _log.info("asking the graph in float")
    in_float = compare(probe, original, compute(_open(graph, folder), probe))
    if problems := in_float.problems(limits, is_int8=False):
        raise refusal(problems, source, "onnx")
    described = {
        "opset": OPSET,
        "inputs": list(input_names(source.model)),
        "outputs": {name: list(axes) for name, axes in output_names(source.model).items()},
    }
    made = Made(
        weights="model.onnx",
        figures={"float32": in_float},
        num_bytes={"float32": graph.ByteSize()},
        graph=described,
    )
    return _in_8_bits(made, source, graph, folder, probe, original, limits) if int8 else made


def refusal(problems: Sequence[str], source: Source, made: str) -> GateError:
    """Make the error of a model that does not keep to the limits."""
    return GateError(
        f"{source.name}: {made} is not what the original is: {'; '.join(problems)}. Nothing was written; raise the "
        "limit if that will do, or give more texts to judge by"
    )


def _write_surroundings(source: Source, folder: Path) -> None:
    config, _ = export_weights(source.model)
    if source.trained is None:  # what it remembers of a task went with the head it was fine-tuned with
        config.pop("unmask_task", None)
    if source.vectors is not None and source.vectors.obstacle is None:
        config["unmask_vectors"] = {
            name: getattr(source.vectors, name) for name in ("pooling", "normalize", "max_seq_length")
        }
    write_json(folder / "config.json", config)
    source.tokenizer.save(folder, model_max_length=source.runtime.max_seq_length)
    for name in _OF_VECTORS if source.vectors is not None else ():
        if (source.folder / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source.folder / name, folder / name)
    write_text(folder / "run.py", write_program(source.head))


def _in_8_bits(
    made: Made,
    source: Source,
    graph: ModelProto,
    folder: Path,
    probe: Probe,
    original: Ragged,
    limits: Limits,
) -> Made:
    """Leave one layer after the other in float, those that lose most first, until the graph passes the gate."""
    products = with_matrix_products(graph)
    mixed = MixedGraph(products, smooth(products, _inputs_inside(products, probe, folder)))
    losses: dict[str, float] | None = None
    choices: list[tuple[str, ...]] = [()]
    while choices:
        float_layers = choices.pop(0)
        tried = mixed.mix(float_layers)
        found = compare(probe, original, compute(_open(tried, folder), probe))
        problems = found.problems(limits, is_int8=True)
        said = "; ".join(problems) or f"{found.counted} agree to {found.agreement:.4f}"
        _log.info("in 8 bits, %d layers in float: %s", len(float_layers), said)
        if not problems:
            if tried.ByteSize() >= graph.ByteSize():
                sizes = f"{tried.ByteSize() / 1e6:.1f} MB, and in float {graph.ByteSize() / 1e6:.1f}"
                _log.warning("in 8 bits it has %s: too much of it had to stay in float; leave --int8 out", sizes)
            return replace(
                made,
                figures={**made.figures, "int8": found},
                num_bytes={**made.num_bytes, "int8": tried.ByteSize()},
                float_layers=float_layers,
                layer_losses=losses,
            )
        if losses is None:
            _log.info("measuring %d layers", len(mixed.layers))
            losses = _measure(mixed, probe, folder)
            choices = float_layers_to_try(mixed, losses)
    raise refusal(problems, source, "onnx in 8 bits, even with two thirds of its weights in float,")


def _inputs_inside(graph: ModelProto, probe: Probe, folder: Path) -> dict[str, NDArray[np.float32]]:
    """What some texts make of the inputs of each product with weights."""
    from onnx import ModelProto, helper

    some, names = probe.some(_SMOOTHED_TOKENS), inputs_of_products(graph)
    told = ModelProto()
    told.CopyFrom(graph)
    told.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return _open(told, folder).run_inside(names, some.input_ids, some.token_type_ids)


def _measure(mixed: MixedGraph, probe: Probe, folder: Path) -> dict[str, float]:
    some = probe.some(_MEASURE_TOKENS)

    def compute_some(graph: ModelProto) -> NDArray[np.float32]:
        outputs = _open(graph, folder).run_all(some.input_ids, some.token_type_ids, some.rows, tokens_at_once=512)
        return outputs.values

    return measure_layers(mixed, compute_some, seconds=_MEASURE_SECONDS)


def _open(graph: ModelProto, folder: Path) -> OnnxRuntime:
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return OnnxRuntime(folder)
