"""What a fine-tuning run starts from. Run: pytest tests/test_workflows_finetune_data.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tiny import make_workplace
from unmask import FinetuneSettings
from unmask.errors import SettingsError
from unmask.workflows.finetune_data import read_examples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


def settings_of(place: Path, **named: tuple[str, ...]) -> FinetuneSettings:
    files: dict[str, Any] = {part: tuple(str(place / f"{name}.tsv") for name in names) for part, names in named.items()}
    return FinetuneSettings(train=str(place / "train.tsv"), **files)


@pytest.mark.parametrize(
    "named",
    [
        {"dev": ("dev", "dev")},
        {"dev": ("dev", "test"), "test": ("test",)},
        {"test": ("dev", "test", "dev")},
    ],
)
def test_a_set_named_twice_is_refused(place: Path, named: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(SettingsError, match=r"(dev|test)\.tsv' is named twice among dev and test"):
        read_examples(settings_of(place, **named))


def test_a_lone_dev_file_goes_by_dev_and_may_be_a_test_file_too(place: Path) -> None:
    """As of a data set, of which other rows are for dev than for test."""
    examples = read_examples(settings_of(place, dev=("dev",), test=("dev",)))
    assert list(examples) == ["train", "dev", str(place / "dev.tsv")]
    examples = read_examples(settings_of(place, dev=("dev", "test")))
    assert list(examples) == ["train", "dev", str(place / "dev.tsv"), str(place / "test.tsv")]
    assert len(examples["dev"]) == 34
