"""Exported models on ONNX Runtime: padded batches, numpy and nothing of torch.

An exported folder holds `model.onnx`, the `config.json` of the model it was made of, and the files of its tokenizer.
The graph takes `input_ids`, `attention_mask` and, in families that know two texts, `token_type_ids`, int64 (B, S). It
gives `logits`, (B, K) of a head that speaks of whole sequences and (B, S, K) or (B, S) of others, or, where there is no
head, `last_hidden_state`, (B, S, D).

Axes: B sequences, S padded length, K numbers a row.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import CheckpointError
from unmask.hub import read_config
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes.runtime import SEQUENCE_HEADS, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


__all__ = ["INSTALL", "OnnxRuntime", "is_graph_alone"]

_MODEL = "model.onnx"
INSTALL = 'pip install "unmask[onnx]"'
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_TOKENS_OF_A_CALL = 16  # as many could be computed in the time that a call takes beside its tokens, about

# How class names in config.json end, and the heads they are of (`unmask.models.registry` needs torch to tell).
_HEADS = {
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "masked-lm",
    "ForNextSentencePrediction": "next-sentence",
    "ForReplacedTokenDetection": "replaced-token",
    "ElectraForPreTraining": "replaced-token",
    "LMHeadModel": "causal-lm",
    "Model": "encoder",
}


def is_graph_alone(folder: Path) -> bool:
    """Tell whether a folder holds an exported graph, and no weights for torch."""
    return (folder / _MODEL).is_file() and not any(folder.glob("*.safetensors*"))


class OnnxRuntime(Runtime):
    """An exported model on the CPU.

    Sequences of like length are padded to one another: of all ways to part them into batches, the one that computes
    least, padding and the calls themselves counted.

    Args:
        folder: what `unmask export` wrote.
        intra_op_threads: threads of a pass that is computed alone, and passes that are computed side by side, a thread
            each; None is one for each core.

    Attributes:
        config: what `config.json` says.

    Raises:
        CheckpointError: onnxruntime is not installed, or the folder is no export, or broken.
    """

    tokens_at_once = 512

    def __init__(self, folder: str | Path, *, intra_op_threads: int | None = None) -> None:
        folder = Path(folder)
        self._path = path = folder / _MODEL
        if not path.is_file():
            what = f"no {_MODEL} here" if folder.is_dir() else f"no such folder (looked from {Path.cwd()})"
            advice = "unmask export RUN --format onnx writes a folder that has one"
            if inside := sorted(str(found.parent) for found in folder.glob(f"*/{_MODEL}")):
                advice = f"give {' or '.join(inside)}"
            raise CheckpointError(f"{folder}: {what}: {advice}")
        self.config = read_config(folder)
        self.head = _head_of(self.config, folder)
        self.max_seq_length = _max_seq_length(folder)
        self._pad_id = self.config.get("pad_token_id") or 0  # any will do: no token attends to padding
        self._num_threads = intra_op_threads or len(os.sched_getaffinity(0))
        session = _open(path, intra_op_threads)
        self._sessions = {self._num_threads: session}  # by their threads; others are opened when they are needed
        self._opening = threading.Lock()
        self._chosen = threading.local()
        self._inputs = {given.name for given in session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs.issubset(_INPUTS):
            raise CheckpointError(
                f"{path}: it takes {', '.join(sorted(self._inputs))}, and only {', '.join(_INPUTS)} can be given: "
                "export the model again"
            )
        self._output = "last_hidden_state" if self.head == "encoder" else "logits"
        outputs = {output.name: len(output.shape) for output in session.get_outputs()}
        axes = (2,) if self.head in SEQUENCE_HEADS else (2, 3) if self.head == "replaced-token" else (3,)
        if outputs.get(self._output) not in axes:
            found = ", ".join(f"{name} of {count} axes" for name, count in outputs.items())
            wanted = f"{self._output} of {' or '.join(map(str, axes))}"
            raise CheckpointError(
                f"{path}: it gives {found}, and not {wanted}, as {self.head} does: export the model again"
            )

    @property
    def num_threads(self) -> int:
        count: int = getattr(self._chosen, "num_threads", self._num_threads)
        return count

    def set_num_threads(self, count: int) -> None:
        self._chosen.num_threads = count
        with self._opening:
            if count not in self._sessions:
                self._sessions[count] = _open(self._path, count)

    def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
        batches = list(_like_lengths(input_ids.lengths))
        if len(batches) == 1:
            return self._compute(input_ids, token_type_ids, rows)
        outputs = [
            self._compute(
                input_ids.take(chosen), token_type_ids.take(chosen), None if rows is None else rows.take(chosen)
            )
            for chosen in batches
        ]
        return Ragged.concatenate(outputs).take(np.argsort(np.concatenate(batches)))

    def run_inside(
        self, names: Sequence[str], input_ids: Ragged, token_type_ids: Ragged
    ) -> dict[str, NDArray[np.float32]]:
        """Compute tensors inside the graph, which has to name them among its outputs: each as rows, (rows, K)."""
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
        for chosen in _like_lengths(input_ids.lengths):
            is_real, given = self._padded(input_ids.take(chosen), token_type_ids.take(chosen))
            for name, values in zip(names, self._session.run(list(names), given), strict=True):
                found[name].append(values[is_real] if values.ndim == 3 else values)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _compute(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None) -> Ragged:
        """Run the graph on sequences as rows of one rectangle, and take what is real out of what it gives."""
        is_real, given = self._padded(input_ids, token_type_ids)
        [output] = self._session.run([self._output], given)
        output = output.astype(np.float32, copy=False)
        if self.head in SEQUENCE_HEADS:
            return Ragged.of_rows(output)
        if output.ndim == 2:  # one number a token
            output = output[..., None]
        if rows is None:
            return Ragged(output[is_real], input_ids.offsets)
        owners = np.repeat(np.arange(len(rows)), rows.lengths)
        return Ragged(output[owners, rows.values], rows.offsets)

    @property
    def _session(self) -> Any:
        return self._sessions[self.num_threads]

    def _padded(self, input_ids: Ragged, token_type_ids: Ragged) -> tuple[NDArray[np.bool_], dict[str, Any]]:
        """Lay sequences out as rows of one rectangle: which of it is real, (B, S), and what the graph takes."""
        lengths = input_ids.lengths
        is_real = np.arange(lengths.max()) < lengths[:, None]
        given = {"attention_mask": is_real.astype(np.int64)}
        for name, values, padding in (("input_ids", input_ids, self._pad_id), ("token_type_ids", token_type_ids, 0)):
            given[name] = np.full(is_real.shape, padding, np.int64)
            given[name][is_real] = values.values
        return is_real, {name: given[name] for name in self._inputs}


def _open(path: Path, intra_op_threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(f"{path}: onnxruntime, which computes it, is not installed: {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised too
    options.enable_mem_pattern = False  # it keeps a plan for each shape it has met, and there is no end of them
    if intra_op_threads is not None:
        options.intra_op_num_threads = intra_op_threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever its C++ raises: a damaged file shows in many ways
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: not a graph that onnxruntime {onnxruntime.__version__} can run ({reason}): copy or export it "
            "again"
        ) from error


def _head_of(config: Mapping[str, Any], folder: Path) -> str:
    architectures = config.get("architectures") or []
    for architecture, ending in itertools.product(architectures, _HEADS):
        if str(architecture).endswith(ending):
            return _HEADS[ending]
    raise CheckpointError(
        f"{folder / 'config.json'}: architectures is {architectures}, which does not tell what the model gives: copy "
        "or export the folder again"
    )


def _max_seq_length(folder: Path) -> int:
    path = folder / "tokenizer_config.json"
    try:
        length = json.loads(path.read_bytes())["model_max_length"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: it does not say model_max_length: copy or export the folder again") from error
    if not isinstance(length, int) or length < 1:
        raise CheckpointError(f"{path}: model_max_length is {length!r}: it must be a number of tokens")
    return length


def _like_lengths(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Part sequences into batches of like length, the parting that costs least.

    A batch costs its tokens, padding counted, and a call. In an order by length the best batches are runs, and those
    up to some length do not depend on what follows: `cost[j]` is the least for the sequences of the j smallest lengths.

    Args:
        lengths: int64, (B,), none of them 0.

    Yields:
        Indices of each batch.

    Raises:
        ValueError: if there is no sequence, or one is empty.
    """
    if not len(lengths) or not lengths.all():
        raise ValueError(f"every sequence needs at least one token, got lengths {lengths.tolist()}")
    sizes, counts = np.unique(lengths, return_counts=True)
    below = offsets_of(counts)  # sequences shorter than each size
    cost = np.zeros(len(sizes) + 1)
    start = np.zeros(len(sizes) + 1, np.int64)  # where the last batch of these starts
    for j, size in enumerate(sizes.tolist(), start=1):
        costs = cost[:j] + _TOKENS_OF_A_CALL + size * (below[j] - below[:j])
        start[j] = costs.argmin()
        cost[j] = costs[start[j]]
    by_length = np.argsort(lengths, kind="stable")
    end = len(sizes)
    while end:
        yield by_length[below[start[end]] : below[end]]
        end = int(start[end])
