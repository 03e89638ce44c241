"""Models over HTTP: `serve` runs a server, `make_app` makes its application.

It drives the same pipelines as `unmask.pipelines.pipeline`, and computes what many clients ask together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.lookup import look_up

if TYPE_CHECKING:
    from unmask.serving.app import make_app
    from unmask.serving.server import serve
    from unmask.serving.settings import ServeSettings

__all__ = ["ServeSettings", "make_app", "serve"]

__getattr__ = look_up(__name__, {"ServeSettings": "settings", "make_app": "app", "serve": "server"})
