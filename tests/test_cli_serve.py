"""`unmask serve`: its arguments, its key, its exit codes.

Run: pytest tests/test_cli_serve.py
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tiny import unmask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `serve` was called with."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("unmask.serving.server.serve", lambda models, **told: calls.append({"models": models} | told))
    monkeypatch.delenv("UNMASK_API_KEY", raising=False)
    return calls


def test_arguments(served: list[dict[str, Any]]) -> None:
    options = ("--runtime", "onnx", "--max-texts", 5, "--host", "0.0.0.0", "--cors-origins", "https://a.org")
    assert unmask("serve", "runs/a", "b=runs/c", "--port", 9000, *options) == 0
    assert served[0]["models"] == ("runs/a", "b=runs/c")
    told = {"port": 9000, "runtime": "onnx", "max_texts": 5, "host": "0.0.0.0", "cors_origins": ("https://a.org",)}
    assert served[0].items() >= told.items()
    assert served[0]["api_key"] is None


def test_the_key_comes_from_a_file_or_the_environment(
    served: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMASK_API_KEY", "of the environment")
    assert unmask("serve", "minilm") == 0
    (tmp_path / "key").write_text("of-a-file\n")
    assert unmask("serve", "minilm", "--api-key-file", tmp_path / "key") == 0
    assert [call["api_key"] for call in served] == ["of the environment", "of-a-file"]
    (tmp_path / "key").write_text("\n")
    assert unmask("serve", "minilm", "--api-key-file", tmp_path / "key") == 2
    assert unmask("serve", "minilm", "--api-key-file", tmp_path / "nothing") == 3
    assert unmask("serve", "minilm", "--api-key", "typed") == 2  # where every user could read it
    assert len(served) == 2


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert unmask("serve", tmp_path / "nothing") == 3
    assert "nothing" in capsys.readouterr().err
    assert unmask("serve", "minilm", "--port", "70000") == 2
    assert unmask("serve") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == "unmask serve: no model is named: give a run folder, a model folder, a hub id or minilm"


def test_without_the_packages_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "unmask.serving.server", raising=False)
    assert unmask("serve", "minilm") == 2
    message = capsys.readouterr().err
    assert message.startswith("unmask serve: the server needs packages that are not installed (")
    assert message.endswith('pip install "unmask[serve]"\n')


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert unmask("serve", "--help") == 0
    text = capsys.readouterr().out
    assert "--api-key-file" in text
    assert "--api-key " not in text
