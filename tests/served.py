"""A server in this process, on a port of its own, and clients that ask it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn

from unmask.pipelines import open_model
from unmask.serving import ServeSettings, make_app
from unmask.serving.protocol import make_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastapi import FastAPI

    from unmask.pipelines import OpenModel


@dataclass
class Served:
    """A server that runs."""

    app: FastAPI
    port: int
    client: httpx2.Client = field(repr=False)

    def ask(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.client.post(path, json=body, **options)

    def send(self, content: bytes | Iterator[bytes], path: str = "/predict", **headers: str) -> httpx2.Response:
        """Send a body as it is."""
        return self.client.post(path, content=content, headers={"Content-Type": "application/json"} | headers)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextmanager
def serving(models: Mapping[str, Path | OpenModel], **settings: Any) -> Iterator[Served]:
    """Run a server."""
    opened = {name: open_model(model, device="cpu") if not hasattr(model, "runtime") else model
              for name, model in models.items()}  # fmt: skip
    app = make_app(opened, ServeSettings(**settings))
    protocol = make_protocol(app.state.settings.body_seconds)
    config = uvicorn.Config(app, log_level="critical", http=protocol, ws="none")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        port = listening.getsockname()[1]
        headers = {"Authorization": f"Bearer {settings['api_key']}"} if "api_key" in settings else {}
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            try:
                yield Served(app, port, client)
            finally:
                server.should_exit = True
                thread.join()


def wait_until(condition: Any, seconds: float = 20) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def error_of(response: httpx2.Response) -> tuple[int, str, str]:
    """Status, kind and message of a refusal, whose body has nothing else."""
    body = response.json()
    assert list(body) == ["error", "error_type"]
    return response.status_code, body["error_type"], body["error"]
