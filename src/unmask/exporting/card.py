"""The README.md of an exported folder: what it is, how far it is from the original, how to ask it."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml

from unmask.tasks.remembered import TASK_HEADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unmask.tasks import Task

__all__ = ["export_card"]

_PIPELINES = {
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "encoder": "feature-extraction",
}
_ASKED = {
    "question-answering": '"a question?" --pair "the text that is to answer it"',
    "masked-lm": '"Once upon a [MASK]."',
    "next-sentence": '"a text" --pair "another"',
    "causal-lm": '"Once upon a"',
}
_KEPT = ("Scores", "Training")  # sections of the original's card


def export_card(report: Mapping[str, Any], *, task: Task[Any] | None, pairs: bool, original: str) -> str:
    """Write the card.

    Args:
        report: as `export.json` has it.
        task: what the model was fine-tuned for, if by unmask.
        pairs: whether it reads pairs of texts.
        original: the card of the model it was made of; empty if there is none.
    """
    form = {"onnx": "ONNX", "safetensors-merged": "safetensors"}[report["format"]]
    bits = ", in 8 bits" if report["precision"] == "int8" else ""
    front = {
        "library_name": "onnx" if form == "ONNX" else "transformers",
        "pipeline_tag": task.pipeline_tag if task is not None else _PIPELINES.get(report["head"]),
        "tags": ["unmask", report["model_type"], form.lower()],
    }
    front = {name: value for name, value in front.items() if value is not None}
    plain = f"A {report['model_type']} with the head {report['head']}."
    summary = plain if task is None else task.summary(pairs=pairs)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False).strip()}\n---",
        f"# {PurePath(report['source']).name} as {form}{bits}",
        summary,
        _use(report, pairs=pairs) if form == "ONNX" else "It loads in `unmask` and `transformers`.",
        "## The gate",
        _gate(report),
        *(f"## {title} of the original\n\n{text}" for title, text in _sections(original)),
    ]
    return "\n\n".join(parts) + "\n"


def _use(report: Mapping[str, Any], *, pairs: bool) -> str:
    asked = _ASKED.get(report["head"], _ASKED["next-sentence"] if pairs else '"a text"')
    typed = asked.replace("--pair", "--text-pair")
    commands = [f"python run.py {asked}"]
    if report["head"] in TASK_HEADS:
        commands.append(f"unmask predict FOLDER {typed} --runtime onnx")
    names = ", ".join(f"`{name}`" for name in report["inputs"])
    outputs = ", ".join(f"`{name}`" for name in report["outputs"])
    return (
        "## Use\n\n```\n" + "\n".join(commands) + "\n```\n\n"
        "`run.py` needs onnxruntime, tokenizers and numpy, and nothing else; `python run.py --help` tells more. The "
        f"graph `model.onnx` takes {names}, int64 (batch, sequence), up to {report['max_seq_length']} tokens, and "
        f"gives {outputs}. `config.json` has the labels and what the model remembers of its task."
    )


def _gate(report: Mapping[str, Any]) -> str:
    gate = report["gate"]
    limits = gate["limits"]
    rows = [["", "size", "largest difference", "mean difference", "agreement", "score", "score of the original"]]
    for precision, num_bytes in report["bytes"].items():
        figures = gate[precision]
        scores = (figures["exported_score"], figures["original_score"])
        rows.append(
            [
                precision,
                f"{num_bytes / 1e6:.1f} MB",
                f"{figures['max_difference']:.2g}",
                f"{figures['mean_difference']:.2g}",
                f"{figures['agreement']:.4f}",
                *("" if score is None else f"{score:.4f}" for score in scores),
            ]
        )
    figures = gate[report["precision"]]
    counted = (
        figures["counted"] if figures["num_counted"] is None else f"{figures['num_counted']:,} {figures['counted']}"
    )
    metric = f" The score is {figures['metric']}." if figures["metric"] else ""
    said = (
        "Before it was written, what it gives was compared with what the original gives, on "
        f"{gate['num_texts']:,} texts, {gate['num_tokens']:,} tokens ({gate['texts']}). Agreement is that of "
        f"{counted}.{metric} Let through were an agreement from {limits['min_agreement']:g}, a score lower by "
        f"{limits['max_metric_drop']:g} at most, and in float a difference up to {limits['max_difference']:g}."
    )
    if report["precision"] == "int8":
        layers = ", ".join(f"`{layer}`" for layer in report["float_layers"])
        said += (
            f"\n\nLeft in float, as they lose most: {layers}." if layers else "\n\nNo layer had to be left in float."
        )
    return _table(rows) + "\n\n" + said


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def _sections(card: str) -> list[tuple[str, str]]:
    """What the original's card says under the headings that hold of an exported model too."""
    parts = re.split(r"^## (.+)$", card, flags=re.MULTILINE)[1:]
    return [
        (title, text.strip())
        for title, text in zip(parts[::2], parts[1::2], strict=True)
        if title in _KEPT and text.strip()
    ]
