"""The server as an ASGI application: its models, its limits, its routes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from unmask.serving.errors import Refusal
from unmask.serving.guard import Guard, Lifecycle
from unmask.serving.metrics import Metrics
from unmask.serving.models import Models
from unmask.serving.reading import JsonRoute
from unmask.serving.routes import about, answers, tokens
from unmask.serving.schemas import ErrorBody
from unmask.serving.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastapi import Request, Response

    from unmask.pipelines import OpenModel

__all__ = ["make_app"]

_TEXT_HEADER = {"schema": {"type": "string"}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is no JSON, or there is nothing to answer."},
    401: {"description": "The key is missing or wrong.", "headers": {"WWW-Authenticate": _TEXT_HEADER}},
    404: {"description": "There is no such model."},
    408: {"description": "The body did not arrive in time."},
    413: {"description": "The body, the number of texts or a text is too long."},
    415: {"description": "The body is not said to be JSON."},
    422: {"description": "The body cannot be asked."},
    424: {"description": "The model could not compute it."},
    429: {
        "description": "Too much is waiting; Retry-After says when to come again.",
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    },
    503: {"description": "The server is closing."},
    504: {"description": "There was no answer before the deadline."},
}


def make_app(models: Mapping[str, OpenModel], settings: ServeSettings | None = None) -> FastAPI:
    """Make the application.

    Args:
        models: each by its name, one at least; the first is asked where a request names none.
        settings: the limits; None takes the defaults.

    Returns:
        An application whose `state` has `models`, `settings`, `metrics` and `lifecycle`. Models compute between its
        startup and its shutdown.

    Raises:
        CheckpointError: a model cannot do what its head is for.
    """
    settings, metrics, lifecycle = settings or ServeSettings(), Metrics(), Lifecycle()
    served = Models(models, settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for model in served.by_name.values():
            model.batcher.start()
        yield
        for model in served.by_name.values():
            model.batcher.close()

    app = FastAPI(
        title="unmask",
        summary="Models of the BERT family, asked over HTTP.",
        description=f"At most {settings.max_texts:,} texts and {settings.max_body_bytes:,} bytes a request.",
        version=version("unmask"),
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.models, app.state.settings, app.state.metrics, app.state.lifecycle = served, settings, metrics, lifecycle
    errors = {status: error | {"model": ErrorBody} for status, error in _ERRORS.items()}
    key = [] if settings.api_key is None else [Depends(HTTPBearer(auto_error=False))]  # for the document: Guard asks
    app.include_router(answers.router, responses=errors, dependencies=key)
    app.include_router(tokens.router, responses=errors, dependencies=key)
    app.include_router(about.router, responses={status: errors[status] for status in (401, 503)}, dependencies=key)
    app.include_router(about.public, responses={503: errors[503]})
    app.add_exception_handler(HTTPException, _tell)
    app.add_exception_handler(Exception, _tell_mistake)
    routes = {
        route.path: route for route in (*answers.router.routes, *tokens.router.routes) if isinstance(route, JsonRoute)
    }
    app.add_middleware(Guard, routes=routes, lifecycle=lifecycle, metrics=metrics, api_key=settings.api_key)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    return app


async def _tell(request: Request, error: Exception) -> Response:
    """Say in our words that there is no such route, or not by this method."""
    assert isinstance(error, HTTPException)
    kinds = {404: ("NotFound", "there is no such route: /docs lists them"),
             405: ("MethodNotAllowed", "this route is not asked by this method: /docs lists them")}  # fmt: skip
    kind, message = kinds.get(error.status_code, ("Validation", str(error.detail)))
    return Refusal(error.status_code, kind, message, error.headers).response()


async def _tell_mistake(request: Request, error: Exception) -> Response:
    return Refusal(500, "Backend", "a mistake of the server; its log says which").response()
