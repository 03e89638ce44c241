"""Turn a model into a folder that runs without torch, and hold it against the original first.

unmask export runs/mine --format onnx --int8
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError, DataError, GateError, SettingsError
from unmask.exporting.card import export_card
from unmask.exporting.gate import Agreement, Limits, compare, compute
from unmask.exporting.program import write_program
from unmask.files import new_folder, write_json, write_text
from unmask.runtimes.pytorch import TorchRuntime
from unmask.tasks import Columns
from unmask.workflows.export_probe import Source, find_probe
from unmask.workflows.loading import find_model, load
from unmask.workflows.run_folder import is_run
from unmask.workflows.trained import load_trained, remember_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from unmask.exporting.probes import Probe
    from unmask.ragged import Ragged
    from unmask.runtimes import Runtime

__all__ = ["FORMATS", "export"]

FORMATS = ("onnx", "safetensors-merged")

_MEASURE_TOKENS, _MEASURE_SECONDS = 1500, 180.0  # a layer's; all layers'
_TASK_HEADS = ("sequence-classification", "token-classification", "question-answering")
_OF_VECTORS = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")  # sentence-transformers' layout

_log = logging.getLogger(__name__)


def export(
    model: str,
    /,
    *,
    output_dir: Path | None = None,
    format: str = "onnx",
    int8: bool = False,
    head: str | None = None,
    data: str | None = None,
    texts: str | None = None,
    split: str | None = None,
    data_dir: Path | None = None,
    column_names: tuple[str, ...] | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    max_difference: float = 1e-3,
    min_agreement: float = 0.99,
    max_metric_drop: float = 0.01,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a folder with a model that runs without torch, once it agrees with the original.

    Both are asked the same texts: those of a labelled file, which also tells what the score loses; or others; or of a
    run its dev set; or some that are built in. Beyond a limit nothing is written.

    Args:
        model: a run folder, a model folder, a hub id or "minilm".
        output_dir: the new folder; None is onnx, or onnx-int8, in a run's folder, and NAME-onnx for any other model.
        format: "onnx"; or "safetensors-merged", the weights in one safetensors file for torch, LoRA adapters merged.
        int8: put the weights into 8 bits, but for the layers that lose most by it: these are found by measurement.
        head: the head the model is to have; None takes the one it was saved with, of a pretrained BERT masked-lm.
        data: a labelled file to be asked, or a data set's hub id.
        texts: a file of texts to be asked, without labels.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for; None is what the run had, or else the variable
            UNMASK_DATA_DIR.
        column_names: names for the columns of a file without a header; None is what the run had.
        text_column: the column of the text; None is what the run had.
        text_pair_column: the column of the second text of a pair; None is what the run had.
        label_column: the column of the label; None is what the run had.
        max_difference: the largest difference that any number of a float model may have from the original's.
        min_agreement: the least share of labels, tags, answers or words of a model in 8 bits that are the original's.
        max_metric_drop: how much lower the score may be.
        overwrite: take the place of a folder that is there.

    Returns:
        What `export.json` in the folder says, with "folder": format, precision, head, model_type, inputs, outputs,
        max_seq_length, bytes (of the weights and graph), float_layers, and under "gate" the texts and the figures.

    Raises:
        GateError: the model does not agree with the original within the limits.
        UnmaskError: the model or a file cannot be used, or a package is missing; the message says what to do.
    """
    limits = Limits(max_difference=max_difference, min_agreement=min_agreement, max_metric_drop=max_metric_drop)
    _check_settings(format, int8=int8, data=data, texts=texts)
    source = _load(model, head)
    folder = output_dir or _usual_folder(model, format, int8=int8)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise DataError("the folder exists already: choose another --output-dir, or say --overwrite", path=folder)
    columns = Columns(text=text_column, text_pair=text_pair_column, label=label_column)
    probe = find_probe(
        source, data=data, texts=texts, columns=columns, column_names=column_names, split=split, data_dir=data_dir
    )
    _log.info("asking the original: %d texts of %s", probe.num_texts, probe.source)
    original = compute(source.runtime, probe)
    with new_folder(folder, replace=overwrite) as partial:
        make = _make_onnx if format == "onnx" else _make_safetensors
        made = make(source, partial, probe, original, limits, int8=int8)
        report = _describe(source, probe, limits, made, format=format, int8=int8)
        write_json(partial / "export.json", report)
        card = export_card(report, task=source.task, pairs=source.reads_pairs, original=_card_of(source))
        write_text(partial / "README.md", card)
    return {"folder": str(folder), **report}


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What was made of it.

    Args:
        graph: what the folder holds, as a graph takes and gives it; empty for weights.
        weights: name of the file that holds the weights.
        figures: of each precision, how far it is from the original.
        float_layers: the layers of a graph in 8 bits that are in float.
        losses: of the layers that were measured, how far each alone moves what the model gives.
        num_bytes: of the file, in each precision.
    """

    graph: dict[str, Any]
    weights: str
    figures: dict[str, Agreement]
    num_bytes: dict[str, int]
    float_layers: tuple[str, ...] = ()
    losses: dict[str, float] | None = None


def _check_settings(format: str, *, int8: bool, data: str | None, texts: str | None) -> None:
    if format == "torchscript":
        raise SettingsError(
            "format is torchscript, which torch has deprecated and whose files hold a pickle; it must be one of "
            f"{', '.join(FORMATS)}"
        )
    if format not in FORMATS:
        raise SettingsError(f"format is {format!r}: it must be one of {', '.join(FORMATS)}")
    if int8 and format != "onnx":
        raise SettingsError(f"int8 goes with the format onnx, not with {format}: leave it out")
    if data is not None and texts is not None:
        raise SettingsError("give data, which has labels, or texts, which have none, not both")
    if format == "onnx":
        from unmask.exporting.graph import check_installed

        check_installed()


def _load(model: str, head: str | None) -> Source:
    from unmask.models.registry import read_model_config, saved_head

    folder = find_model(model)
    saved = saved_head(read_model_config(folder))
    wanted = head or ("masked-lm" if saved == "pre-training" else saved)
    if wanted == "pre-training":
        raise SettingsError("head is pre-training, which gives two things at once: choose masked-lm or next-sentence")
    if (folder / "model.onnx").is_file() and not any(folder.glob("*.safetensors*")):
        raise CheckpointError(f"{folder}: this is an exported model already: give the one it was made of")
    if wanted in _TASK_HEADS and head is None:
        trained = load_trained(model, device="cpu")
        assert trained.pretrained is not None
        remember_task(trained.pretrained.model, trained.task)
        return Source(name=str(model), pretrained=trained.pretrained, runtime=trained.runtime, trained=trained)
    pretrained = load(model, head=wanted)
    runtime = TorchRuntime(pretrained.model, max_seq_length=pretrained.max_seq_length)
    return Source(name=str(model), pretrained=pretrained, runtime=runtime, trained=None)


def _usual_folder(model: str, format: str, *, int8: bool) -> Path:
    name = format if not int8 else f"{format}-int8"
    return Path(model) / name if is_run(Path(model)) else Path(f"{Path(model).name}-{name}")


def _make_onnx(source: Source, folder: Path, probe: Probe, original: Ragged, limits: Limits, *, int8: bool) -> _Made:
    """Write the graph, its config and its tokenizer: in float, and then perhaps in 8 bits, each behind the gate."""
    from unmask.exporting.graph import OPSET, input_names, make_graph, output_names
    from unmask.models.registry import export_weights

    model = source.pretrained.model
    config, _ = export_weights(model)
    write_json(folder / "config.json", config)
    source.pretrained.tokenizer.save(folder, model_max_length=source.runtime.max_seq_length)
    for name in _OF_VECTORS if source.head == "encoder" else ():
        if (source.pretrained.folder / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source.pretrained.folder / name, folder / name)

    write_text(folder / "run.py", write_program(source.head))
    graph = make_graph(model)
    described = {
        "opset": OPSET,
        "inputs": list(input_names(model)),
        "outputs": {name: list(axes) for name, axes in output_names(model).items()},
    }
    _log.info("asking the graph in float")
    figures = {"float32": _judge(graph, folder, probe, original)}
    num_bytes = {"float32": graph.ByteSize()}
    if problems := figures["float32"].problems(limits, is_int8=False):
        raise _refusal(problems, source, "onnx")
    if not int8:
        return _Made(graph=described, weights="model.onnx", figures=figures, num_bytes=num_bytes)
    chosen, figures["int8"], losses, num_bytes["int8"] = _choose_int8(source, graph, folder, probe, original, limits)
    return _Made(
        graph=described,
        weights="model.onnx",
        figures=figures,
        num_bytes=num_bytes,
        float_layers=chosen,
        losses=losses,
    )


def _choose_int8(
    source: Source, graph: ModelProto, folder: Path, probe: Probe, original: Ragged, limits: Limits
) -> tuple[tuple[str, ...], Agreement, dict[str, float] | None, int]:
    """Leave one layer after the other in float, those that lose most first, until the graph passes the gate."""
    from unmask.exporting.quantize import MixedGraph, float_layers_to_try, measure_layers

    mixed = MixedGraph(graph)

    def judge(float_layers: tuple[str, ...]) -> tuple[Agreement, int]:
        made = mixed.mix(float_layers)
        found = _judge(made, folder, probe, original)
        _log.info("int8 with %d layers in float: %s agree to %.4f", len(float_layers), probe.counted, found.agreement)
        return found, made.ByteSize()

    figures, num_bytes = judge(())
    if not figures.problems(limits, is_int8=True):
        return (), figures, None, num_bytes
    some = probe.some(_MEASURE_TOKENS)

    def give(made: ModelProto) -> Any:
        return _open(made, folder).run_all(some.input_ids, some.token_type_ids, some.rows, tokens_at_once=512).values

    _log.info("measuring %d layers", len(mixed.layers))
    losses = measure_layers(mixed, give, seconds=_MEASURE_SECONDS)
    for float_layers in float_layers_to_try(mixed, losses):
        figures, num_bytes = judge(float_layers)
        if not figures.problems(limits, is_int8=True):
            return float_layers, figures, losses, num_bytes
    problems = figures.problems(limits, is_int8=True)
    raise _refusal(problems, source, "onnx in 8 bits, even with two thirds of its weights in float,")


def _make_safetensors(
    source: Source, folder: Path, probe: Probe, original: Ragged, limits: Limits, *, int8: bool
) -> _Made:
    """Write weights, config and tokenizer as `save_pretrained` does, and load them again."""
    from unmask.workflows.loading import save_pretrained

    model = folder / "model"
    save_pretrained(source.pretrained.model, source.pretrained.tokenizer, model)
    again = load(model, head=source.head)
    runtime = TorchRuntime(again.model, max_seq_length=again.max_seq_length)
    figures = compare(probe, original, compute(runtime, probe))
    if problems := figures.problems(limits, is_int8=False):
        raise _refusal(problems, source, "safetensors")
    for path in list(model.iterdir()):
        path.rename(folder / path.name)
    model.rmdir()
    weights = "model.safetensors"
    num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return _Made(graph={}, weights=weights, figures={"float32": figures}, num_bytes={"float32": num_bytes})


def _judge(graph: ModelProto, folder: Path, probe: Probe, original: Ragged) -> Agreement:
    return compare(probe, original, compute(_open(graph, folder), probe))


def _open(graph: ModelProto, folder: Path) -> Runtime:
    from unmask.runtimes.onnx import OnnxRuntime

    _write_graph(graph, folder)
    return OnnxRuntime(folder)


def _write_graph(graph: ModelProto, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(graph.SerializeToString())


def _refusal(problems: Sequence[str], source: Source, made: str) -> GateError:
    """Make the error of a model that does not keep to the limits."""
    return GateError(
        f"{source.name}: {made} is not what the original is: {'; '.join(problems)}. Nothing was written; raise the "
        "limit if that will do, or give more texts to judge by"
    )


def _describe(source: Source, probe: Probe, limits: Limits, made: _Made, *, format: str, int8: bool) -> dict[str, Any]:
    """Say all there is to say of an exported model, as `export.json` keeps it."""
    config = source.pretrained.config
    return {
        "unmask_version": version("unmask"),
        "source": source.name,
        "format": format,
        "precision": "int8" if int8 else "float32",
        "model_type": config.model_type,
        "head": source.head,
        "max_seq_length": source.runtime.max_seq_length,
        "weights": made.weights,
        **made.graph,
        "bytes": made.num_bytes,
        "float_layers": list(made.float_layers),
        "layer_losses": made.losses,
        "gate": {
            "texts": probe.source,
            "num_texts": probe.num_texts,
            "num_tokens": int(probe.samples.input_ids.offsets[-1]),
            "limits": dataclasses.asdict(limits),
            **{precision: figures.to_dict() for precision, figures in made.figures.items()},
        },
    }


def _card_of(source: Source) -> str:
    path = source.pretrained.folder / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
