"""Models that answer, task by task, under Hugging Face's names: `pipeline(task, model)` makes one.

One file a task; a new one adds its file and one line here. Each is imported when it is first asked for, and none needs
torch unless torch computes the model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.lookup import look_up

if TYPE_CHECKING:
    from pathlib import Path

    from unmask.pipelines.base import Pipeline, PipelineOptions, TooLongError
    from unmask.pipelines.inputs import InputRow, read_inputs
    from unmask.pipelines.opening import OpenModel, open_model
    from unmask.runtimes import RuntimeName

__all__ = [
    "PIPELINES",
    "TASKS_OF_HEAD",
    "InputRow",
    "OpenModel",
    "Pipeline",
    "PipelineOptions",
    "TooLongError",
    "open_model",
    "pipeline",
    "pipeline_class",
    "pipeline_of",
    "read_inputs",
]

PIPELINES = {
    "text-classification": "TextClassification",
    "token-classification": "TokenClassification",
    "fill-mask": "FillMask",
    "question-answering": "QuestionAnsweringPipeline",
    "feature-extraction": "FeatureExtraction",
    "sentence-similarity": "SentenceSimilarity",
    "text-generation": "TextGeneration",
    "replaced-token-detection": "ReplacedTokenDetection",
    "next-sentence-prediction": "NextSentencePrediction",
}
"""Each task, and its class in the module of the same name."""

_ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}  # as in transformers

TASKS_OF_HEAD = {
    "sequence-classification": ("text-classification",),
    "token-classification": ("token-classification",),
    "question-answering": ("question-answering",),
    "masked-lm": ("fill-mask",),
    "next-sentence": ("next-sentence-prediction",),
    "replaced-token": ("replaced-token-detection",),
    "causal-lm": ("text-generation",),
    "encoder": ("feature-extraction", "sentence-similarity"),
}
"""What a model can be asked, by its head; first what it is asked where nobody says."""

_HOMES = {
    "InputRow": "inputs",
    "OpenModel": "opening",
    "Pipeline": "base",
    "PipelineOptions": "base",
    "TooLongError": "base",
    "open_model": "opening",
    "read_inputs": "inputs",
}

__getattr__ = look_up(__name__, _HOMES)


def pipeline(
    task: str | None = None,
    model: str | Path | None = None,
    *,
    device: str | None = None,
    runtime: RuntimeName = "torch",
    **options: Any,
) -> Pipeline[Any, Any, Any]:
    """Load a model and make of it something to call.

    Args:
        task: one of `PIPELINES`; "sentiment-analysis" and "ner" are known too. None takes what the model is for.
        model: a run folder, a model folder, a hub id or "minilm"; with `runtime` "onnx" an exported folder. None is
            "minilm" for feature-extraction and sentence-similarity.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: "torch", or "onnx".
        options: what each call is told unless it says otherwise, such as `top_k=None`.

    Raises:
        CheckpointError: nothing usable is found under that name, or the model has not the head that the task needs.
        SettingsError: there is no such task, device, runtime or option, or no model is named.
    """
    from unmask.pipelines.opening import open_model

    chosen = None if task is None else pipeline_class(task)
    if model is None:
        if chosen is None or chosen.head != "encoder":  # what the MiniLM of a pip package has
            raise SettingsError(f"no model is named: pipeline({task!r}, model=...) takes a folder or a hub id")
        model = "minilm"
    if chosen is None:
        return pipeline_of(open_model(model, device=device, runtime=runtime), **options)
    return chosen(open_model(model, head=chosen.head, device=device, runtime=runtime, asked_for=chosen.task), **options)


def pipeline_of(model: OpenModel, **options: Any) -> Pipeline[Any, Any, Any]:
    """Make the pipeline that an open model is for."""
    return pipeline_class(TASKS_OF_HEAD[model.runtime.head][0])(model, **options)


def pipeline_class(task: str) -> type[Pipeline[Any, Any, Any]]:
    """Find the class of a task's pipelines.

    Raises:
        SettingsError: there is no such task.
    """
    name = _ALIASES.get(task, task)
    if name not in PIPELINES:
        raise SettingsError(f"there is no task {task!r}; there are {', '.join(PIPELINES)}")
    made: type[Pipeline[Any, Any, Any]] = getattr(
        importlib.import_module(f"unmask.pipelines.{name.replace('-', '_')}"), PIPELINES[name]
    )
    return made
