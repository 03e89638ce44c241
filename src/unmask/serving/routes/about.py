"""Routes that tell about the server itself."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from unmask.pipelines.vectors import choose_vectors, text_limit
from unmask.serving.errors import Refusal, json_response
from unmask.serving.schemas import Health, Info
from unmask.tasks.remembered import TASK_HEADS

if TYPE_CHECKING:
    from pathlib import Path

    from unmask.serving.models import ServedModel

__all__ = ["public", "router"]

public = APIRouter(tags=["about"])  # needs no key
router = APIRouter(tags=["about"])


@public.head("/health", include_in_schema=False)
@public.get("/health", response_model=Health)
async def health(request: Request) -> Response:
    """Tell whether the server takes requests: 200, or 503 when it is closing."""
    if request.app.state.lifecycle.is_closing:
        return Refusal(503, "Unhealthy", "the server is closing").response()
    return json_response({"status": "ok"})


@router.head("/info", include_in_schema=False)
@router.get("/info", response_model=Info)
async def info(request: Request) -> Response:
    """Tell what the models are, and what they take."""
    state = request.app.state
    models = {name: _describe(served) for name, served in state.models.by_name.items()}
    return json_response(
        next(iter(models.values()))
        | {
            "max_concurrent_requests": state.settings.max_queue_requests,
            "max_batch_tokens": state.settings.max_batch_tokens,
            "max_client_batch_size": state.settings.max_texts,
            "auto_truncate": False,
            "version": version("unmask"),
            "models": models,
        }
    )


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Give the counters in Prometheus' format."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/")
async def root(request: Request) -> dict[str, Any]:
    """Tell where to go on."""
    models = request.app.state.models.by_name
    routes = ["/docs", "/openapi.json", "/info", "/health", "/metrics"]
    return {"server": f"unmask {version('unmask')}", "models": list(models), "see": routes}


def _describe(served: ServedModel) -> dict[str, Any]:
    model = served.model
    snapshot = model.folder if model.folder.parent.name == "snapshots" else None  # of the hub's cache
    return {
        "model_id": served.name,
        "model_sha": None if snapshot is None else snapshot.name,
        "model_dtype": "float32" if model.pretrained is not None else _precision_of(model.folder),
        "model_type": _type_of(served),
        "max_input_length": _max_input_length(served),
        "tasks": list(served.pipelines),
    }


def _max_input_length(served: ServedModel) -> int:
    """Tokens of the longest text that is not cut; where texts are read through windows, of a window."""
    model = served.model
    if model.runtime.head == "encoder":
        return text_limit(model, None, is_pooled=True)[0]
    return model.max_trained_length if model.runtime.head in TASK_HEADS else model.runtime.max_seq_length


def _type_of(served: ServedModel) -> dict[str, Any]:
    """What kind of model it is, as text-embeddings-inference says it, or in its style."""
    model, head = served.model, served.model.runtime.head
    if head == "encoder":
        return {"embedding": {"pooling": choose_vectors(model, None, True)[0]}}
    if head in ("sequence-classification", "token-classification"):
        labels = {str(number): label for number, label in enumerate(model.labels)}
        kind = "classifier" if head == "sequence-classification" else "tagger"
        return {kind: {"id2label": labels, "label2id": {label: int(number) for number, label in labels.items()}}}
    return {next(iter(served.pipelines)): {}}


def _precision_of(folder: Path) -> str:
    """Tell what an exported model's weights are in; it was not made by unmask where nothing says so."""
    path = folder / "export.json"
    return str(json.loads(path.read_bytes()).get("precision", "onnx")) if path.is_file() else "onnx"
