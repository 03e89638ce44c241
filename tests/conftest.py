"""Fixtures every room shares. Run one file: `.venv/bin/python -m pytest tests/test_packing.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, or a skip that says how to point to it."""
    folder = Path(os.environ.get("UNMASK_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "cola").is_dir():
        pytest.skip(f"real data not found at {folder}: set UNMASK_DATA_DIR to the folder that holds cola/")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the pretrained MiniLM, which `make setup` installs."""
    from unmask import hub

    return hub.resolve("minilm")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the plots takes longer than these runs."""
    monkeypatch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
