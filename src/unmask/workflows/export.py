"""Turn a model into a folder that runs without torch, and hold it against the original first.

unmask export runs/mine --format onnx --int8
"""

from __future__ import annotations

import dataclasses
import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.data.findings import count_of
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.exporting.card import export_card
from unmask.exporting.gate import Limits, compare, compute
from unmask.files import new_folder, write_json, write_text
from unmask.tasks import Columns
from unmask.workflows.run_folder import is_run

if TYPE_CHECKING:
    from unmask.exporting.probes import Probe
    from unmask.ragged import Ragged
    from unmask.workflows.export_graph import Made
    from unmask.workflows.export_probe import Source

__all__ = ["FORMATS", "export"]

FORMATS = ("onnx", "safetensors-merged")

_FEW_TEXTS = 30
_REPORT = "export.json"

_log = logging.getLogger(__name__)


def export(
    model: str | Path,
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
        format: "onnx"; or "safetensors-merged" ("safetensors" for short), the weights in one file for torch, LoRA
            adapters merged.
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
        min_agreement: the least share of labels, tags, answers or words that must be the original's.
        max_metric_drop: how much lower the score may be.
        overwrite: take the place of an exported model that is there.

    Returns:
        What `export.json` in the folder says, with "folder": format, precision, head, model_type, inputs, outputs,
        max_seq_length, bytes (of the weights and graph), float_layers, layer_losses, and under "gate" the texts and the
        figures.

    Raises:
        GateError: the model does not agree with the original within the limits.
        UnmaskError: the model or a file cannot be used, or a package is missing; the message says what to do.
    """
    limits = Limits(max_difference=max_difference, min_agreement=min_agreement, max_metric_drop=max_metric_drop)
    format = _check_settings(format, int8=int8, data=data, texts=texts)
    from unmask.workflows.export_probe import find_probe, load_source  # torch comes with it, which help need not await

    source = load_source(model, head)
    folder = output_dir or _usual_folder(model, format, int8=int8)
    _check_place(folder, overwrite=overwrite)
    columns = Columns(text=text_column, text_pair=text_pair_column, label=label_column)
    probe = find_probe(
        source, data=data, texts=texts, columns=columns, column_names=column_names, split=split, data_dir=data_dir
    )
    _log.info("asking the original: %s of %s", count_of(probe.num_texts, "text"), probe.source)
    if probe.num_texts < _FEW_TEXTS:
        _log.warning("so few texts tell little of how alike two models are: give some hundred, with --texts or --data")
    original = compute(source.runtime, probe)
    if not np.isfinite(original.values).all():
        raise CheckpointError(f"{source.name}: it gives numbers that are not finite: its weights are broken")
    with new_folder(folder, replace=overwrite) as partial:
        if format == "onnx":
            from unmask.workflows.export_graph import make_graph_folder

            made = make_graph_folder(source, partial, probe, original, limits, int8=int8)
        else:
            made = _make_weights_folder(source, partial, probe, original, limits)
        report = _describe(source, probe, limits, made, format=format, int8=int8)
        write_json(partial / _REPORT, report)
        card = export_card(report, task=source.task, pairs=source.reads_pairs, original=_card_of(source))
        write_text(partial / "README.md", card)
    return {"folder": str(folder), **report}


def _check_settings(format: str, *, int8: bool, data: str | None, texts: str | None) -> str:
    """Refuse what contradicts itself or cannot be done; gives the format under its full name."""
    full = "safetensors-merged" if format == "safetensors" else format
    if format == "torchscript":
        raise SettingsError(
            "format is torchscript, which torch has deprecated and whose files hold a pickle; it must be one of "
            f"{', '.join(FORMATS)}"
        )
    if full not in FORMATS:
        raise SettingsError(f"format is {format!r}: it must be one of {', '.join(FORMATS)}")
    if int8 and full != "onnx":
        raise SettingsError(f"int8 goes with the format onnx, not with {format}: leave it out")
    if data is not None and texts is not None:
        raise SettingsError("give data, which has labels, or texts, which have none, not both")
    if full == "onnx":
        from unmask.exporting.graph import check_installed

        check_installed()
    return full


def _usual_folder(model: str | Path, format: str, *, int8: bool) -> Path:
    name = format if not int8 else f"{format}-int8"
    return Path(model) / name if is_run(Path(model)) else Path(f"{Path(model).name}-{name}")


def _check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder with something in it, but for an exported model that may be replaced."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise DataError("the folder exists already: choose another --output-dir, or say --overwrite", path=folder)
    if not (folder / _REPORT).is_file():
        raise DataError(
            f"the folder has no {_REPORT}, so it is no exported model, and is not overwritten: choose another "
            "--output-dir, or remove it",
            path=folder,
        )


def _make_weights_folder(source: Source, folder: Path, probe: Probe, original: Ragged, limits: Limits) -> Made:
    """Write weights, config and tokenizer as `save_pretrained` does, load them again, and hold them to the gate."""
    from unmask.runtimes.pytorch import TorchRuntime
    from unmask.workflows.export_graph import Made, refusal
    from unmask.workflows.loading import load, save_pretrained

    save_pretrained(source.model, source.tokenizer, folder)
    again = load(folder, head=source.head)
    runtime = TorchRuntime(again.model, max_seq_length=again.max_seq_length)
    figures = compare(probe, original, compute(runtime, probe))
    if problems := figures.problems(limits, is_int8=False):
        raise refusal(problems, source, "safetensors")
    num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Made(weights="model.safetensors", figures={"float32": figures}, num_bytes={"float32": num_bytes})


def _describe(source: Source, probe: Probe, limits: Limits, made: Made, *, format: str, int8: bool) -> dict[str, Any]:
    """Say all there is to say of an exported model, as `export.json` keeps it."""
    return {
        "unmask_version": version("unmask"),
        "source": source.name,
        "format": format,
        "precision": "int8" if int8 else "float32",
        "model_type": source.model_type,
        "head": source.head,
        "max_seq_length": source.runtime.max_seq_length,
        "weights": made.weights,
        **made.graph,
        "bytes": made.num_bytes,
        "float_layers": list(made.float_layers),
        "layer_losses": made.layer_losses,
        "gate": {
            "texts": probe.source,
            "num_texts": probe.num_texts,
            "num_tokens": int(probe.samples.input_ids.offsets[-1]),
            "limits": dataclasses.asdict(limits),
            **{precision: figures.to_dict() for precision, figures in made.figures.items()},
        },
    }


def _card_of(source: Source) -> str:
    path = source.folder / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
