"""Files and folders that are whole or do not exist.

Everything is written under a hidden name beside its place, flushed to the disk (fsync), then renamed. A kill at any
moment leaves the old content or the new; a disk that is full or read-only is one clear error, with nothing left behind.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "append_bytes",
    "append_json_lines",
    "new_file",
    "new_folder",
    "remove_leftovers",
    "sha256_of",
    "write_bytes",
    "write_json",
    "write_text",
]

_FREE_SPACE = "free some space, or write elsewhere"
_PERMISSION = "write elsewhere, or change the permissions there"
_IN_THE_WAY = "choose another name"
_ADVICE = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: _FREE_SPACE,
    errno.EROFS: "write to a disk that is not read-only",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EIO: "check the disk, or write elsewhere",
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ENAMETOOLONG: _IN_THE_WAY,
}
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors and tokenizers report what the disk said
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<state>partial|replaced)")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole, in place of any file of that name; missing parent folders are made.

    Raises:
        DataError: the disk is full or read-only, or the place is forbidden or taken by a folder; the old file survives.
    """
    with _clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(path, "partial")
        try:
            with partial.open("xb", buffering=0) as file:
                _write_all(file.fileno(), content)
            partial.replace(path)
            _sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_bytes` does; line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON as `write_bytes` does.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def append_json_lines(path: Path, records: Iterable[Any]) -> None:
    """Add one line of JSON per record to a file, made if missing, and flush it to the disk.

    Raises:
        DataError: as `write_bytes`; the file keeps its old lines and no part of a new one.
        ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    lines = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    with _clear_errors(path), path.open("ab", buffering=0) as file:
        old_size = file.tell()
        try:
            _write_all(file.fileno(), lines.encode())
        except OSError:
            file.truncate(old_size)
            raise


def append_bytes(path: Path, content: bytes, *, offset: int) -> None:
    """Put bytes behind the first `offset` bytes of a file, made if missing, and flush them to the disk.

    Whatever stood there is cut off: a writer that records its offsets elsewhere, after each call, can be killed at any
    moment and go on from the last record.

    Raises:
        DataError: as `write_bytes`; the first `offset` bytes survive. Or the file is shorter than that.
    """
    with _clear_errors(path), path.open("ab", buffering=0) as file:
        if file.tell() < offset:
            raise DataError(
                f"has {file.tell()} bytes where {offset} were written: it lost some. Remove its folder, and begin anew",
                path=path,
            )
        file.truncate(offset)
        try:
            _write_all(file.fileno(), content)
        except OSError:
            file.truncate(offset)
            raise


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Be the only process in a folder, made if missing, while the block runs: wait until another is done.

    A kill lets go of it.

    Raises:
        DataError: the folder cannot be made or read.
    """
    with _clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file whole, piece by piece: what the block writes takes its place when the block ends well.

    When it raises, nothing is left of it, and a file of that name survives. Missing parent folders are made.

    Raises:
        DataError: as `write_bytes`.
    """
    with _clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(path, "partial")
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Make a folder whole: fill the hidden folder this yields, and it takes its place when the block ends well.

    The block should only write. When it raises, the hidden folder is removed and whatever was at `path` survives.

    Args:
        path: where the folder will be; missing parents are made, an empty folder there counts as none.
        replace: take the place of a folder that is there. The two renames of a swap are not one step: a kill between
            them leaves the old folder under its hidden name, and `remove_leftovers` puts it back.

    Raises:
        DataError: something is at `path` already, or the disk is full, read-only or forbidden.
    """
    target = Path(os.path.realpath(path))  # a link to a folder on a larger disk stays a link
    with _clear_errors(path):
        if target.exists() and not target.is_dir():
            raise DataError("a file of this name is in the way: choose another name", path=path)
        if not replace and target.is_dir() and any(target.iterdir()):
            raise DataError("the folder exists already: choose another name, or remove it first", path=path)
        partial = _beside(target, "partial")
        try:
            partial.mkdir(parents=True)
            yield partial
            for entry in [*partial.rglob("*"), partial]:
                _sync(entry)
            _move_in(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Undo what a killed writer left in `folder`: half-written entries go, an entry about to be replaced comes back.

    Only for the one writer of that folder, before it writes.
    """
    with _clear_errors(folder):
        for entry in list(folder.iterdir()):
            if not (match := _LEFTOVER.fullmatch(entry.name)):
                continue
            target = folder / match["name"]
            if match["state"] == "replaced" and not target.exists():
                entry.replace(target)
            elif entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _CannotWriteError(DataError):
    """What the operating system said about a write, in its own words."""

    def __init__(self, path: Path, code: int) -> None:
        self.code = code
        super().__init__(f"cannot be written: {os.strerror(code)}; {_ADVICE[code]}", path=path)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says, through Python or through a library in Rust, into one error that names `path`."""
    try:
        yield
    except Exception as error:
        code = _os_error_code(error)
        if code not in _ADVICE:
            raise
        raise _CannotWriteError(path, code) from error


def _os_error_code(error: Exception) -> int | None:
    if isinstance(error, _CannotWriteError):  # from a file inside a new folder: the user knows the folder's name only
        return error.code
    if isinstance(error, OSError):
        return error.errno
    match = _RUST_OS_ERROR.search(str(error))
    return int(match[1]) if match else None


def _beside(path: Path, state: Literal["partial", "replaced"]) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{state}")


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _sync(path: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and writes names through
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_in(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`, past the folder that is there."""
    if not target.exists():
        partial.replace(target)
        _sync(target.parent)
        return
    replaced = _beside(target, "replaced")
    target.replace(replaced)
    try:
        partial.replace(target)
    except OSError:
        replaced.replace(target)
        raise
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)
