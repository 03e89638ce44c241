"""`unmask serve`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, Suppress

from unmask.cli.arguments import parse
from unmask.errors import SettingsError
from unmask.runtimes import RuntimeName  # noqa: TC001 - likewise
from unmask.serving.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEY = "UNMASK_API_KEY"
_HELP = f"""\
The key of the server, if it has one, comes from --api-key-file or the variable {_KEY}: never from the command line,
which every user of the machine can read.

  unmask serve runs/cola --port 8000
  unmask serve sentiment=runs/full/seed-0 runs/wnut17 minilm
  unmask serve runs/cola/onnx-int8 --runtime onnx
  curl localhost:8000/predict -H 'Content-Type: application/json' -d '{{"inputs": "They drank the pub."}}'"""


@dataclass(frozen=True, kw_only=True)
class _Arguments(ServeSettings):
    """Answer requests over HTTP until SIGTERM or ctrl-C.

    Args:
        models: run folders, model folders, hub ids or minilm, for --runtime onnx exported folders; NAME=MODEL gives one
            a name, else it is called like its folder.
        runtime: what computes them: "torch", or "onnx".
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        api_key_file: a file whose first line is the key that clients must send.
    """

    models: Positional[tuple[str, ...]]
    runtime: RuntimeName = "torch"
    device: str | None = None
    api_key_file: Path | None = None
    api_key: Annotated[str | None, Suppress] = None


def run(arguments: Sequence[str]) -> None:
    """Parse, find the key, serve."""
    typed = parse(_Arguments, arguments, command="serve", more_help=_HELP)
    from unmask.serving.server import serve

    settings = {field.name: getattr(typed, field.name) for field in dataclasses.fields(ServeSettings)}
    settings["api_key"] = _read_key(typed.api_key_file)
    serve(typed.models, runtime=typed.runtime, device=typed.device, **settings)


def _read_key(path: Path | None) -> str | None:
    if path is None:
        if (key := os.environ.get(_KEY)) == "":
            raise SettingsError(f"{_KEY} is empty: put the key into it, or unset it to serve without one")
        return key
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].strip():
        raise SettingsError(f"{path}: its first line should be the key, and is empty")
    return lines[0].strip()
