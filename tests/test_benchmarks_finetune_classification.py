"""The older benchmarks of training: both sides learn the same from the same, and missing data is one line.

Run: .venv/bin/python -m pytest tests/test_benchmarks_finetune_classification.py
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import save_tiny_bert, sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def load_program() -> Iterator[Callable[[str], Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))

        def load(name: str) -> Any:
            spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, f"benchmark_{name}", module)
            spec.loader.exec_module(module)
            return module

        yield load


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    save_tiny_bert(folder / "bert", max_position_embeddings=128)
    rows = [f"gj04\t{int(label == 'good')}\t\t{text}" for text, label in sentences(80, seed=1)]
    (folder / "cola").mkdir()
    (folder / "cola/in_domain_train.tsv").write_text("\n".join([*rows, ""]))
    return folder


def test_all_learn_the_same_and_what_it_prints_adds_up(
    load_program: Callable[[str], Any],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = load_program("finetune_classification")
    monkeypatch.setattr(program, "matrix_product_rate", lambda *, rounds: 1e9)
    program.main(["--data-dir", str(place), "--model", str(place / "bert"), "--rounds", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert set(result["ratios"]) == {"padded_128", "padded_64", "dynamic"}
    assert result["largest_logit_difference"] < 1e-5
    assert result["peer_optimizer"] == "adamw_torch_fused"
    for name, ratio in result["ratios"].items():
        rates = result["sentences_per_second"]
        assert rates["unmask"] / rates[name] == pytest.approx(ratio, rel=0.05, abs=0.02)
    shown = program.as_text(result).splitlines()
    assert shown[0].split() == ["sentences/s", "real", "tokens/s", "unmask", "is"]
    assert [line.split()[0] for line in shown[1:5]] == ["padded_128", "padded_64", "dynamic", "unmask"]


def test_batches_are_padded_to_a_length_or_to_their_longest(load_program: Callable[[str], Any], place: Path) -> None:
    program = load_program("finetune_classification")
    samples = program.read_cola(place, str(place / "bert"))
    chosen = np.array([7, 0, 31])
    ids = [samples.input_ids[i].tolist() for i in chosen]
    longest = max(map(len, ids))
    for length, width in ((64, 64), (None, longest)):
        batch = program.pad_batch(samples, chosen, length=length)
        assert batch["input_ids"].tolist() == [each + [0] * (width - len(each)) for each in ids]
        assert batch["attention_mask"].tolist() == [[1] * len(each) + [0] * (width - len(each)) for each in ids]
        assert torch.equal(batch["labels"], torch.tensor([samples.targets[i][0] for i in chosen]))


@pytest.mark.parametrize("name", ["finetune_classification", "pretrain_mlm"])
def test_missing_data_is_one_line_and_exit_code_3(
    load_program: Callable[[str], Any], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load_program(name)
    with pytest.raises(SystemExit) as ended:
        program.main(["--data-dir", str(tmp_path)])
    assert ended.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}.py: ")
    assert "there is no such file" in line
    assert str(tmp_path) in line
