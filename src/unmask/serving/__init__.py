"""Models over HTTP: `serve` runs a server, `make_app` makes its application.

It drives the same pipelines as `unmask.pipelines.pipeline`, and computes what many clients ask together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.serving.app import make_app
    from unmask.serving.server import serve
    from unmask.serving.settings import ServeSettings

__all__ = ["ServeSettings", "make_app", "serve"]

_HOMES = {"ServeSettings": "settings", "make_app": "app", "serve": "server"}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"unmask.serving.{_HOMES[name]}"), name)
