"""The run folder: what stands in it before training, and how it is guarded."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import DataError, UnmaskError
from unmask.files import new_folder, remove_leftovers, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from unmask.tasks import Samples, Task

__all__ = [
    "DIVERGED",
    "as_json",
    "command_of",
    "copy_model",
    "describe",
    "describe_lengths",
    "is_complete",
    "is_run",
    "open_run_folder",
    "refuse_changed_data",
    "refuse_used_folder",
    "remove_checkpoints",
    "remove_folder",
    "spared",
]

DIVERGED = "diverged.json"
"""What the run of one of several seeds leaves where it diverged: a mark that it is not to be tried again."""

_CONFIG = "config.json"
_START = ("environment.json", "command.txt", _CONFIG)  # in the order they are written
_SEED = re.compile(r"seed-\d+")  # a run of one of several seeds, in the folder of them all
_TRIAL = re.compile(r"trial-\d{3,}")  # a run of a search, likewise
_OF_A_SEARCH = ("study.jsonl", "search.json")
_REST = (
    *("data.json", "metrics.jsonl", "checkpoints", "model", "generator", "adapter", "seeds.json"),
    *("predictions_dev.jsonl", "evaluation_dev.json", "evaluation.json", "plots", "report.html", DIVERGED),
)


def is_run(folder: Path) -> bool:
    """Whether a run was begun here."""
    return all((folder / name).is_file() for name in _START)


def command_of(config: dict[str, Any]) -> str:
    """Tell which command a run is of, by its config.json."""
    if config.get("task") == "pretraining":
        return "pretrain"
    return "search" if "space" in config else "finetune"


def is_complete(folder: Path) -> bool:
    """Whether a run has come to its end: it has a model, and can no longer be resumed."""
    return (folder / "model").is_dir() and not (folder / "checkpoints").exists()


def remove_checkpoints(folder: Path) -> None:
    """Make a run complete; the last thing it does, because until then it can be resumed."""
    remove_folder(folder / "checkpoints")


def remove_folder(folder: Path) -> None:
    """Remove a folder of a run, if it is there, in one step: half of it could be taken for whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    for gone in (partial, folder):  # a kill may have left the first
        if gone.is_dir():
            shutil.rmtree(gone.rename(partial))


def copy_model(run: Path, folder: Path) -> None:
    """Give a folder the model of a run in it, and the adapter if there is one, in place of what it has."""
    if not (run / "adapter").is_dir():
        remove_folder(folder / "adapter")
    for name in ("adapter", "model"):  # the model last: it makes a run complete
        if (run / name).is_dir():
            with new_folder(folder / name, replace=True) as partial:
                shutil.copytree(run / name, partial, dirs_exist_ok=True)


@contextmanager
def spared(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let a report that fails cost nothing but itself: the error is told, and the run goes on to its end.

    A run that could not end without its report would fail in the same way each time it is resumed.

    Args:
        folder: of the run.
        say: prints a line.
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, UnmaskError) else f"{type(error).__name__}: "
        say(f"the report could not be made ({kind}{error}); the run is whole without it: unmask report {folder}")


def refuse_changed_data(folder: Path, described: dict[str, Any], *, resume: bool) -> None:
    """Make sure that a run goes on with the data it began with; both are described as in `data.json`.

    Raises:
        DataError: `data.json` says otherwise.
    """
    path = folder / "data.json"
    if not resume or not path.is_file():
        return
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"is not JSON ({error}): start another run", path=path) from error
    if not _agrees(before, described):
        raise DataError(
            "the data are not those the run began with: give it the same files, or start another run", path=path
        )


def refuse_used_folder(folder: Path, *, overwrite: bool, resume: bool, command: str | None = None) -> None:
    """Make sure that nothing of value is in the way, before any work is done.

    Args:
        folder: where a run is to be.
        overwrite: whether a run that is there is to be replaced.
        resume: whether it is to go on.
        command: that makes the run: only a search takes the place of a search.

    Raises:
        DataError: the folder holds a run and neither flag is given, or files that are no run's and would be lost.
    """
    if folder.is_file():
        raise DataError("a file of this name is in the way: choose another output folder", path=folder)
    names = {path.name for path in folder.iterdir() if not _is_hidden(path)} if folder.is_dir() else set()
    if names <= {*_START[:-1]}:  # nothing, or what a run writes before it is one
        return
    if not is_run(folder):
        raise DataError("the folder holds files that are no run's: choose another output folder", path=folder)
    if not overwrite and not resume:
        raise DataError(
            "the folder holds a run already: go on with it (--resume), replace it (--overwrite), "
            "or choose another output folder",
            path=folder,
        )
    foreign = _foreign_files(folder, is_search=command == "search") if overwrite else []
    if foreign:
        raise DataError(
            f"the folder holds files that are no run's ({', '.join(foreign)}): move them away, "
            "or choose another output folder",
            path=folder,
        )


def open_run_folder(folder: Path, config: dict[str, Any], *, resume: bool, may_change: Collection[str] = ()) -> None:
    """Write what a run starts with: its environment, the command and its settings.

    A run that goes on has all of that, and takes of the settings those that it may now have otherwise (`may_change`).

    A run to be replaced is removed first. The folder itself stays, as it may be a link, a mount, or where we are; its
    config.json is written last and removed first but for the two small files that go with it, so a kill at any moment
    leaves a run or the beginnings of one.
    """
    if folder.is_dir():
        remove_leftovers(folder)
    if is_run(folder):
        if resume:
            before = json.loads((folder / _CONFIG).read_bytes())
            changed = before | {name: value for name, value in config.items() if name in may_change}
            if changed != before:
                write_json(folder / _CONFIG, changed)
            return
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == _CONFIG):
            if entry.name in _START[:-1]:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    is_new = not folder.exists()
    try:
        write_json(folder / "environment.json", _environment())
        write_text(folder / "command.txt", shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\n")
        write_json(folder / _CONFIG, config)
    except DataError:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def as_json(settings: Any) -> dict[str, Any]:
    """Turn a dataclass of settings into what JSON can say."""
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
    }


def describe(task: Task[Any], samples: Samples, batch_size: int) -> dict[str, Any]:
    """Count a set's samples, targets and tokens, and the positions that padding would have made of them.

    Args:
        task: knows what the targets mean.
        samples: the set, with targets.
        batch_size: samples of a batch that is padded to its longest, in the order of the set.
    """
    return {
        "rows": len(samples),
        **task.describe_targets(samples),
        **describe_lengths(samples.input_ids.lengths, batch_size),
        "truncated_texts": samples.num_truncated_texts,
        "sha256": _fingerprint(samples),
    }


def describe_lengths(lengths: NDArray[np.int64], batch_size: int) -> dict[str, Any]:
    """Count tokens, and the positions that padding would have made of them; the arguments are those of `describe`."""
    longest = [
        int(batch.max()) * len(batch) for batch in np.split(lengths, range(batch_size, len(lengths), batch_size))
    ]
    padded = {f"padded_tokens_{width}": width * len(lengths) for width in (64, 128) if width >= lengths.max()}
    return {
        "tokens": int(lengths.sum()),
        "padded_tokens_longest": sum(longest),
        **padded,
        "length_histogram": [[int(n), int(c)] for n, c in zip(*np.unique(lengths, return_counts=True), strict=True)],
    }


def _fingerprint(samples: Samples) -> str:
    """Tell one set of samples from another: a resumed run must meet the very same."""
    digest = hashlib.sha256(samples.input_ids.lengths.tobytes())
    digest.update(samples.input_ids.values.tobytes())
    if samples.targets is not None:
        digest.update(samples.targets.values.tobytes())
    for part in (samples.windows, None if samples.rows is None else samples.rows.values):
        if part is not None:
            digest.update(part.tobytes())
    return digest.hexdigest()


def _agrees(before: Any, now: Any) -> bool:
    """Whether a description says the same of the data as one before.

    Figures that were computed may differ in their last digit on another machine; counts and hashes do not.
    """
    if isinstance(now, dict):
        return isinstance(before, dict) and all(_agrees(before.get(key), value) for key, value in now.items())
    if isinstance(now, list):
        is_alike = isinstance(before, list) and len(before) == len(now)
        return is_alike and all(map(_agrees, before, now))
    return isinstance(now, float) or bool(before == now)


def _foreign_files(folder: Path, *, is_search: bool = False) -> list[str]:
    """Name what in a run folder is no part of the run, nor of a run of one seed, or a search's trial, in it."""
    own = (*_START, *_REST, *(_OF_A_SEARCH if is_search else ()))
    found = []
    for path in sorted(path for path in folder.iterdir() if not _is_hidden(path)):
        is_of_several = _SEED.fullmatch(path.name) or (is_search and _TRIAL.fullmatch(path.name))
        if is_of_several and path.is_dir():
            found += [f"{path.name}/{name}" for name in _foreign_files(path)]
        elif path.name not in own:
            found.append(path.name)
    return found


def _is_hidden(path: Path) -> bool:
    """Whether this is what a killed writer left behind."""
    return path.name.startswith(".") and path.suffix in (".partial", ".replaced")


def _environment() -> dict[str, Any]:
    """Versions and machine, as far as they can change a result."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "unmask": version("unmask"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("tokenizers", "safetensors", "numpy", "scikit-learn")},
        "platform": platform.platform(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
