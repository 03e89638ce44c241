"""The command as a process: quick to answer, killed and resumed, spread over two.

Run: pytest tests/test_cli_processes.py.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from tiny import QUICK, finetune_tiny, make_workplace, weights_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
HEAVY = ("torch", "numpy", "transformers", "datasets", "matplotlib", "sklearn", "tokenizers", "huggingface_hub")
TIMINGS = ("seconds", "train_seconds", "eval_seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the processes have it: sums over several threads may differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")


def rows_of(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without times; a last line that is still being written is left out."""
    lines = (run / "metrics.jsonl").read_text().split("\n")[:-1] if (run / "metrics.jsonl").exists() else []
    return [{name: value for name, value in json.loads(line).items() if name not in TIMINGS} for line in lines]


@pytest.mark.parametrize(
    "statements",
    [
        "import unmask; dir(unmask)",
        "from unmask.cli.main import main; assert main(['--help']) == 0",
        "from unmask.cli.main import main; assert main(['nonsense']) == 2",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statements):
    heavy = f"import sys; {statements}; print('LOADED', sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("LOADED []\n")


def test_help_answers_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "unmask.cli.main", "--help"], capture_output=True, text=True, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert "start here:" in done.stdout
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.3


@pytest.mark.usefixtures("one_thread", "no_report")
def test_kills_and_a_stop_change_nothing(place, tmp_path):
    """Three times kill -9 and once SIGTERM, each at a random moment after the run has come further."""
    settings = ("--epochs", "14", "--save-steps", "2", "--eval-steps", "23", "--warmup-ratio", "0.1")
    assert finetune_tiny(place, tmp_path / "whole", *settings) == 0

    run = tmp_path / "run"
    files = ("--model", place / "bert", "--train", place / "train.tsv", "--dev", place / "dev.tsv")
    first = ("finetune", *files, *QUICK, *settings, "--output-dir", run)
    resume = ("finetune", "--resume", "--output-dir", run)
    rng = random.Random(1)
    for number, signal_number in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)):
        command = [sys.executable, "-m", "unmask.cli.main", *map(str, first if number == 0 else resume)]
        goal = len(rows_of(run)) + rng.randrange(1, 10)
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as program:
            while program.poll() is None and len(rows_of(run)) < goal:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            program.send_signal(signal_number)
            _, errors = program.communicate(timeout=60)
        assert not (run / "model").exists(), "the run ended before it was stopped"
        assert program.returncode == (130 if signal_number == signal.SIGTERM else -signal.SIGKILL), errors
    assert (
        f"which is saved in {run}: resume it to go on from there: unmask finetune --resume --output-dir {run}" in errors
    )
    assert "Traceback" not in errors

    assert finetune_tiny(place, run, "--resume", *settings) == 0
    assert weights_of(run) == weights_of(tmp_path / "whole")
    assert rows_of(run) == rows_of(tmp_path / "whole")
    assert (run / "predictions_dev.jsonl").read_bytes() == (tmp_path / "whole" / "predictions_dev.jsonl").read_bytes()
    names = {path.name for path in run.rglob("*")}
    assert names == {path.name for path in (tmp_path / "whole").rglob("*")}


@pytest.mark.usefixtures("one_thread", "no_report")
def test_two_processes_end_in_the_weights_of_one_with_dropout(place, tmp_path):
    """The last batch of an epoch has 5 samples: 3 for one process, 2 for the other."""
    assert json.loads((place / "bert" / "config.json").read_text())["hidden_dropout_prob"] == 0.1
    assert finetune_tiny(place, tmp_path / "one") == 0
    files = ("--model", place / "bert", "--train", place / "train.tsv", "--dev", place / "dev.tsv")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "unmask.cli.main")
    command = [sys.executable, *launcher, "finetune", *files, "--output-dir", tmp_path / "two", *QUICK]
    done = subprocess.run(list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert weights_of(tmp_path / "one") != weights_of(tmp_path / "two")  # it did compute in two parts
    for ours, theirs in zip(rows_of(tmp_path / "two"), rows_of(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert done.stdout.count("report  ") == 1  # one of them speaks
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["processes"] == 2
