"""A model of ours as an ONNX graph, by `torch.onnx` and straight from our modules.

The graph computes on padding (`PaddedBatch`): a rectangle is what other programs have. It takes `input_ids`,
`attention_mask` and, where the family tells two texts apart, `token_type_ids`, int64 (B, S), for any B and any S up to
what the model takes. What it gives is told by `output_names`.

Of torch's two exporters this is the one that traces. The other, built on `torch.export`, makes an equal graph in twenty
times the time: it prepares its own library of operators for each export. What tracing may get wrong, a size taken for a
constant, the gate would find: it computes batches of many shapes, and the example here has sizes of no other meaning.

Axes: B sequences, S padded length, D hidden, V vocabulary, K labels.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.errors import CheckpointError, SettingsError
from unmask.exporting.joining import join_projections
from unmask.models.registry import encoder_of
from unmask.packing import PaddedBatch
from unmask.runtimes import SEQUENCE_HEADS
from unmask.runtimes.onnx import INSTALL

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

__all__ = ["OPSET", "check_installed", "input_names", "make_graph", "output_names"]

OPSET = 17  # the first with LayerNormalization; every ONNX Runtime since 1.12 reads it

_LARGEST = 2_000_000_000  # bytes of one file of protocol buffers, about
_EXAMPLE = (3, 7)  # B and S of what is traced


def check_installed() -> None:
    """Make sure that the packages of the extra are there.

    Raises:
        SettingsError: one is not.
    """
    for name in ("onnx", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            raise SettingsError(f"exporting to onnx needs {name}, which is not installed: {INSTALL}") from error


def input_names(model: nn.Module) -> tuple[str, ...]:
    """Name what a model's graph takes."""
    token_type = encoder_of(model).embeddings.token_type
    has_types = token_type is not None and token_type.num_embeddings > 1
    return ("input_ids", "attention_mask", *(["token_type_ids"] if has_types else []))


def output_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Name what a model's graph gives, each with its axes.

    "logits" is (B, K) of a head that speaks of whole sequences, and of others (B, S, K), (B, S, V), (B, S, 2) for the
    start and the end of an answer, or (B, S) for ELECTRA's verdict. An encoder gives "last_hidden_state" (B, S, D) and,
    where it has a pooler, "pooler_output" (B, D).
    """
    if model.head == "encoder":
        pooled = {"pooler_output": ("batch",)} if encoder_of(model).pooler is not None else {}
        return {"last_hidden_state": ("batch", "sequence"), **pooled}
    return {"logits": ("batch",) if model.head in SEQUENCE_HEADS else ("batch", "sequence")}


def make_graph(model: nn.Module) -> ModelProto:
    """Trace a model.

    Args:
        model: an encoder, or one with a head of one output, in eval mode, in float32, on the CPU.

    Raises:
        CheckpointError: it is larger than a graph in one file can be.
    """
    import onnx

    num_bytes = sum(parameter.nbytes for parameter in model.parameters())
    if num_bytes > _LARGEST:
        raise CheckpointError(
            f"the model has {num_bytes / 1e9:.1f} GB of weights, and one file of ONNX holds 2: export a smaller model"
        )
    inputs, outputs = input_names(model), output_names(model)
    batch_size, length = _EXAMPLE
    example = torch.arange(batch_size * length).view(_EXAMPLE) % 2
    axes = dict.fromkeys(inputs, ("batch", "sequence")) | outputs
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of its deprecation, and of every size of the example that Python sees
        torch.onnx.export(
            _Padded(join_projections(model)).eval(),
            (example, torch.ones_like(example), torch.zeros_like(example))[: len(inputs)],
            file,  # type: ignore[arg-type]  # a path or a file, as its documentation has it
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(enumerate(names)) for name, names in axes.items()},
        )
    graph = onnx.load_from_string(file.getvalue())
    graph.producer_name, graph.producer_version = "unmask", ""
    _share_turned(graph)
    return graph


def _share_turned(graph: ModelProto) -> None:
    """Have products read one matrix that torch wrote down twice, as it is and turned.

    That is ALBERT's block, whose last turn may compute some tokens alone, as rows (N, D): torch writes a Gemm there,
    and a MatMul of the turned matrix elsewhere.
    """
    from onnx import helper, numpy_helper

    matrices = {tensor.name: tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    multiplied = {node.input[1] for node in graph.graph.node if node.op_type == "MatMul"} & matrices.keys()
    by_content = {_digest(numpy_helper.to_array(matrices[name])): name for name in multiplied}
    for node in graph.graph.node:
        turns = next((attribute for attribute in node.attribute if attribute.name == "transB"), None)
        if node.op_type != "Gemm" or turns is None or node.input[1] not in matrices:
            continue
        turned = by_content.get(_digest(numpy_helper.to_array(matrices[node.input[1]]).T))
        if helper.get_attribute_value(turns) == 1 and turned is not None:
            node.input[1] = turned
            node.attribute.remove(turns)
    used = {name for node in graph.graph.node for name in node.input}
    for place in reversed(range(len(graph.graph.initializer))):
        if graph.graph.initializer[place].name not in used:
            del graph.graph.initializer[place]


def _digest(matrix: NDArray[Any]) -> tuple[Any, ...]:
    return (*matrix.shape, hashlib.sha256(matrix.tobytes()).digest())


class _Padded(nn.Module):
    """A model of ours with tensors for input and output, as tracing wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        batch = PaddedBatch.of(input_ids, attention_mask, token_type_ids)
        if self.model.head == "encoder":
            encoded = self.model(batch)
            has_pooler = encoded.pooler_output is not None
            return (encoded.last_hidden_state, encoded.pooler_output) if has_pooler else encoded.last_hidden_state
        if self.model.head not in ("masked-lm", "causal-lm"):
            return self.model(batch).logits
        # As rows (B * S, D), and with a bias, the product with the word embeddings is one Gemm on the very matrix that
        # they are read from: else torch would write it down a second time, turned.
        every_row = torch.arange(input_ids.shape[0] * input_ids.shape[1])
        table = encoder_of(self.model).embeddings.word.table
        if self.model.head == "causal-lm":
            encoded = encoder_of(self.model)(batch, rows=every_row)
            logits = F.linear(encoded.last_hidden_state, table, table.new_zeros(len(table)))
        else:
            logits = self.model(batch, rows=every_row).logits
        return logits.view(*input_ids.shape, len(table))
