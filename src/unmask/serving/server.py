"""A server from its start to its end: models loaded, port bound, requests answered, door closed, port released."""

from __future__ import annotations

import gc
import logging
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.serving.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import FrameType

    from unmask.runtimes import RuntimeName

__all__ = ["serve"]

_SWITCH_SECONDS = 0.0005  # Python's 5 ms keep a thread that computes waiting after each product of matrices

# uvloop accepts one connection of a socket a turn. Where a turn takes long, because many ask, others would not get in.
_ACCEPTED_AT_ONCE = 32

_INSTALL = 'pip install "unmask[serve]"'

try:
    import uvicorn

    from unmask.serving.app import make_app
    from unmask.serving.errors import Refusal
    from unmask.serving.models import named_models, open_models
    from unmask.serving.protocol import make_protocol
except ImportError as error:
    raise SettingsError(f"the server needs packages that are not installed ({error}): {_INSTALL}") from error

if TYPE_CHECKING:
    from unmask.serving.guard import Lifecycle
    from unmask.serving.models import Models


def serve(
    models: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    *,
    runtime: RuntimeName = "torch",
    device: str | None = None,
    **settings: Any,
) -> None:
    """Answer requests over HTTP until SIGTERM or SIGINT; see docs/serving.md.

    Then /health says 503, nothing new is taken, and what was taken is answered before this returns. A second signal
    does not wait: what is not answered by then is answered 503.

    Args:
        models: run folders, model folders, hub ids or "minilm"; exported folders for the runtime "onnx". Each is called
            like its folder, or NAME in "NAME=MODEL"; or all by the keys of a mapping.
        runtime: what computes them: "torch" or "onnx".
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        settings: see `ServeSettings`.

    Raises:
        CheckpointError: a model cannot be loaded, or gives no numbers.
        KeyboardInterrupt: there was a second signal.
        SettingsError: a setting is none or outside its range, two models have one name, or the port is taken.
    """
    try:
        told = ServeSettings(**settings)
    except TypeError as error:
        raise SettingsError(f"serve: {str(error).rpartition('() ')[2]}") from error
    opened = open_models(named_models(models), runtime=runtime, device=device)
    app = make_app(opened, told)
    logging.getLogger("unmask.pipelines").setLevel(logging.ERROR)  # who says "truncate" knows what is cut
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # the models stay: no collection needs to look at them again
    listening = _bind(told)
    sockets = [listening, *(listening.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))]
    host, port = listening.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"unmask serves {', '.join(opened)} at {place} ({place}/docs)", file=sys.stderr, flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=make_protocol(told.body_seconds),
        ws="none",
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, app.state.lifecycle, app.state.models, told)
    server.run(sockets=sockets)
    if server.is_cut_short:
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """A server that closes its door before it goes: uvicorn by itself would shut the port at once."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, models: Models, settings: ServeSettings) -> None:
        super().__init__(config)
        self._lifecycle, self._models, self._settings = lifecycle, models, settings
        self._closing_since = 0.0
        self.is_cut_short = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.is_cut_short = self._lifecycle.is_closing
        self._lifecycle.is_closing = True
        self._closing_since = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Leave when all that was taken is answered; called ten times a second."""
        if self._lifecycle.is_closing:
            seconds, settings = time.monotonic() - self._closing_since, self._settings
            if self.is_cut_short:
                self._models.abandon(Refusal(503, "Unhealthy", "the server was told to stop at once: ask another"))
                self.should_exit = True
            is_idle = self._lifecycle.num_in_flight == 0 and seconds >= settings.drain_seconds
            is_late = seconds > settings.deadline_seconds + settings.body_seconds + settings.drain_seconds
            self.should_exit |= is_idle or is_late
        return await super().on_tick(counter)


def _bind(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"cannot listen on {settings.host}, port {settings.port}: {error}") from error
