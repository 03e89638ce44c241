"""A server from its start to its end, in a process of its own; and models it does not take.

Run: pytest tests/test_serving_server.py
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from exported import save_export
from served import error_of, serving, wait_until
from tiny import without_torch
from tiny_families import save_tiny
from unmask import hub, pipeline, serve
from unmask.cli.serve import run as run_command
from unmask.errors import CheckpointError, SettingsError
from unmask.pipelines import open_model
from unmask.serving.models import named_models, open_models

if TYPE_CHECKING:
    from pathlib import Path

# The command, with a model that takes its time.
SLOW = """
import sys, time
from unmask.runtimes.pytorch import TorchRuntime
run = TorchRuntime.run
def slow(self, input_ids, *others):
    time.sleep(1.5 if len(input_ids.values) > 10 else 0)
    return run(self, input_ids, *others)
from unmask.serving import models
open_models = models.open_models
def then_slow(*args, **options):
    opened = open_models(*args, **options)
    TorchRuntime.run = slow
    return opened
models.open_models = then_slow
from unmask.cli.main import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "bert", "bert", "sequence-classification")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "mini", "bert", "encoder")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_closes_its_door_finishes_its_work_and_goes(classifier: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", SLOW, f"name={classifier}", "--port", "0", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        first_line = process.stderr.readline()
        found = re.fullmatch(r"unmask serves name at (http://127\.0\.0\.1:\d+) \(.*/docs\)\n", first_line)
        assert found, first_line + process.stderr.read()
        with httpx2.Client(base_url=found[1], timeout=30) as client, ThreadPoolExecutor(3) as clients:
            assert client.get("/health").status_code == 200
            body = {"inputs": "the dogs sleep near the house and dream in the garden."}
            accepted = [clients.submit(client.post, "/predict", json=body) for _ in range(3)]
            wait_until(lambda: 'queue_requests{model="name"} 3.0' in client.get("/metrics").text)
            process.send_signal(sent)
            wait_until(lambda: client.get("/health").status_code == 503)
            assert error_of(httpx2.get(f"{found[1]}/health"))[:2] == (503, "Unhealthy")  # by a new connection too
            assert error_of(client.post("/predict", json=body))[:2] == (503, "Unhealthy")
            assert [one.result().status_code for one in accepted] == [200] * 3
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_damaged_model_is_refused(classifier: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in classifier.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        serve([classifier, damaged], device="cpu", port=0)


def test_a_model_that_computes_no_numbers_is_refused(classifier: Path, tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "nan"
    weights = {name: tensor.clone() for name, tensor in hub.read_weights(classifier).items()}
    next(tensor for name, tensor in weights.items() if name.endswith("LayerNorm.weight")).fill_(torch.nan)
    hub.save_model_folder(
        folder,
        config=hub.read_config(classifier),
        weights=weights,
        write_extras=lambda partial: [
            (partial / file.name).write_bytes(file.read_bytes())
            for file in classifier.iterdir()
            if "token" in file.name or file.name == "vocab.txt"
        ],
    )
    with pytest.raises(CheckpointError, match=r"nan.*: .*norm\.weight holds NaN or infinity: its weights are damaged"):
        open_models({"nan": folder}, device="cpu")


def test_a_second_signal_does_not_wait(classifier: Path) -> None:
    command = [sys.executable, "-c", SLOW, f"name={classifier}", "--port", "0", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split()[4]
            with httpx2.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(6) as clients:
                body = {"inputs": "the dogs sleep near the house and dream in the garden."}
                accepted = [clients.submit(client.post, "/predict", json=body) for _ in range(6)]
                wait_until(lambda: 'queue_requests{model="name"} 0.0' not in client.get("/metrics").text)
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: client.get("/health").status_code == 503)
                process.send_signal(signal.SIGTERM)
                responses = [one.result() for one in accepted]
            assert {error_of(one)[:2] for one in responses if one.status_code != 200} == {(503, "Unhealthy")}
            assert process.wait(20) == 130
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_an_empty_key_is_refused(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_API_KEY", "")
    with pytest.raises(SettingsError, match="UNMASK_API_KEY is empty"):
        run_command([str(classifier), "--port", "0"])


def test_a_port_that_is_taken(classifier: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*in use"):
            serve(classifier, device="cpu", port=port)


def test_names_of_models() -> None:
    assert named_models(["runs/cola", "other=runs/x", "google-bert/bert-base-uncased", "minilm"]) == {
        "cola": "runs/cola",
        "other": "runs/x",
        "bert-base-uncased": "google-bert/bert-base-uncased",
        "minilm": "minilm",
    }
    assert named_models({"a": "runs/x"}) == {"a": "runs/x"}
    with pytest.raises(SettingsError, match=r"two models are called cola .*: name one, as NAME=runs/cola"):
        named_models(["runs/cola", "others/cola"])
    with pytest.raises(SettingsError, match="no model is named"):
        named_models([])
    with pytest.raises(SettingsError, match="unexpected keyword argument 'prot'"):
        serve("minilm", prot=8000)


def test_an_exported_model(tmp_path: Path) -> None:
    folder = save_export(tmp_path / "graph", "sequence-classification", num_outputs=3)
    ours = pipeline("text-classification", folder, runtime="onnx", top_k=None)
    texts = ["the dog", "these cats sleep", "a"]
    with serving({"graph": open_model(folder, runtime="onnx")}, workers=2) as served:
        for text, expected in zip(texts, ours(texts), strict=True):
            for one, other in zip(served.ask("/predict", {"inputs": text}).json(), expected, strict=True):
                assert one["label"] == other["label"]
                assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_exported_model_is_served_without_torch(tmp_path: Path) -> None:
    program = """
import json, sys
from starlette.testclient import TestClient
from unmask.serving.app import make_app
from unmask.serving.models import open_models
with TestClient(make_app(open_models({"graph": sys.argv[1]}, runtime="onnx"))) as client:
    print(json.dumps(client.post("/embed", json={"inputs": ["the dog"]}).json()))
assert "torch" not in sys.modules
"""
    folder = save_export(tmp_path / "graph", "encoder", num_outputs=3)
    done = without_torch(program, folder)
    assert done.returncode == 0, done.stderr
    ours = pipeline("feature-extraction", folder, runtime="onnx", pooling="mean", normalize=True)
    np.testing.assert_allclose(json.loads(done.stdout), [ours("the dog")], atol=1e-5)


def test_several_workers_give_the_answers_of_one(classifier: Path, encoder: Path) -> None:
    ours = pipeline("feature-extraction", encoder, device="cpu", pooling="mean", return_arrays=True)
    texts = [f"the {'dog ' * (number % 7)}sleeps" for number in range(40)]
    with serving({"bert": classifier, "mini": encoder}, workers=3) as served, ThreadPoolExecutor(8) as clients:
        asked = clients.map(lambda text: served.ask("/embed", {"inputs": text, "normalize": False}).json()[0], texts)
        np.testing.assert_allclose(np.array(list(asked)), np.array(ours(texts)), atol=1e-5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("bert ", "mini "))]
