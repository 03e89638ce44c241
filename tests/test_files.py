"""Files and folders are whole or do not exist: `.venv/bin/python -m pytest tests/test_files.py`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from unmask.errors import DataError
from unmask.files import (
    append_bytes,
    append_json_lines,
    new_folder,
    remove_leftovers,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 KiB, or a skip where mounting is not permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def fill(folder: Path, content: str) -> None:
    (folder / "nested").mkdir()
    (folder / "a.txt").write_text(content)
    (folder / "nested" / "b.txt").write_text(content * 3)


def make_folder(path: Path, content: str, *, replace: bool = False, error: BaseException | None = None) -> None:
    with new_folder(path, replace=replace) as folder:
        fill(folder, content)
        if error:
            raise error


def test_a_written_file_holds_exactly_what_was_given(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "parents" / "text.txt"
    write_text(path, "하나\r\ntwo\n")
    assert path.read_bytes() == "하나\r\ntwo\n".encode()
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["text.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_json_is_readable_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "밥", "rows": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text()
    assert "밥" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"text": "밥", "rows": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == text


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "No space left on device; free some space, or write elsewhere"),
        (errno.EROFS, "Read-only file system; write to a disk that is not read-only"),
        (errno.EACCES, "Permission denied; write elsewhere, or change the permissions there"),
    ],
)
def test_a_disk_that_refuses_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, code: int, message: str
) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")
    monkeypatch.setattr(os, broken, failing(code))
    with pytest.raises(DataError) as raised:
        write_text(path, "new")
    assert str(raised.value) == f"{path}: cannot be written: {message}"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["results.json"]


def test_a_mistake_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "folder") as folder:
        (folder / "absent").read_text()
    assert names(tmp_path) == []


def test_a_really_full_disk_keeps_the_old_file_and_the_old_folder(full_disk: Path) -> None:
    write_text(full_disk / "a.txt", "old")
    make_folder(full_disk / "model", "old")
    before = sorted(full_disk.rglob("*"))

    with pytest.raises(DataError, match=r"a\.txt: cannot be written: No space left on device"):
        write_bytes(full_disk / "a.txt", bytes(100_003))
    full = r"disk/model: cannot be written: No space left on device; free some space"
    with pytest.raises(DataError, match=full):
        make_folder(full_disk / "model", "x" * 100_003, replace=True)
    with pytest.raises(DataError, match=full), new_folder(full_disk / "model", replace=True) as folder:
        write_bytes(folder / "weights", bytes(100_003))
    with pytest.raises(DataError, match=r"log\.jsonl: cannot be written: No space left on device"):
        append_json_lines(full_disk / "log.jsonl", ["x" * 100_003])

    assert (full_disk / "log.jsonl").read_bytes() == b""
    (full_disk / "log.jsonl").unlink()
    assert sorted(full_disk.rglob("*")) == before
    assert (full_disk / "a.txt").read_text() == "old"
    assert (full_disk / "model" / "a.txt").read_text() == "old"


def test_a_really_read_only_disk_is_named(full_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    with pytest.raises(DataError, match=r"runs/a\.txt: cannot be written: Read-only file system"):
        write_text(full_disk / "runs" / "a.txt", "new")
    with pytest.raises(DataError, match=r"disk/run: cannot be written: Read-only file system"):
        make_folder(full_disk / "run", "new", error=AssertionError("the block must not begin"))


def test_json_lines_are_added_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    append_json_lines(path, [{"step": 1}, {"step": 2, "text": "줄\n바꿈"}])
    append_json_lines(path, [{"step": 3}])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2, "text": "줄\n바꿈"},
        {"step": 3},
    ]
    before = path.read_bytes()
    real_write = os.write
    writes = iter([lambda fd, data: real_write(fd, data[:5]), failing(errno.ENOSPC)])
    monkeypatch.setattr(os, "write", lambda fd, data: next(writes)(fd, data))
    with pytest.raises(DataError, match="No space left on device"):
        append_json_lines(path, [{"step": 4}])
    assert path.read_bytes() == before


def test_a_folder_appears_whole_at_the_end_of_its_block(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "model"
    with new_folder(path) as folder:
        fill(folder, "new")
        assert not path.exists()
    assert (path / "nested" / "b.txt").read_text() == "newnewnew"
    assert names(path.parent) == ["model"]


def test_every_file_and_folder_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[int | str] = []  # the inode of what was flushed, which a rename keeps
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        events.append(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def replace(old: Path, new: Path) -> None:
        events.append("rename")
        real_replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    make_folder(tmp_path / "model", "new")
    assert {*events[:3]} == {path.stat().st_ino for path in (tmp_path / "model").rglob("*")}
    assert events[3:] == [(tmp_path / "model").stat().st_ino, "rename", tmp_path.stat().st_ino]


def test_an_existing_folder_is_refused_unless_empty_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    make_folder(path, "old")
    with pytest.raises(DataError, match="model: the folder exists already: choose another name, or remove it first"):
        make_folder(path, "new", error=AssertionError("the block must not begin"))
    (path / "c.txt").write_text("only in the old one")
    make_folder(path, "new", replace=True)
    assert names(path) == ["a.txt", "nested"]
    assert (path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["model"]
    with pytest.raises(DataError, match=r"a\.txt: a file of this name is in the way: choose another name"):
        make_folder(path / "a.txt", "new", replace=True, error=AssertionError("the block must not begin"))


@pytest.mark.parametrize("error", [RuntimeError("in the block"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "model"
    make_folder(path, "old")
    with pytest.raises(type(error)):
        make_folder(path, "new", replace=True, error=error)
    assert (path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_swap_that_fails_halfway_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    make_folder(path, "old")
    real_replace = os.replace
    renames = iter([real_replace, failing(errno.EIO), real_replace])
    monkeypatch.setattr(os, "replace", lambda *names: next(renames)(*names))
    with pytest.raises(DataError, match="model: cannot be written: Input/output error; check the disk"):
        make_folder(path, "new", replace=True)
    assert (path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_linked_folder_is_replaced_behind_its_link(tmp_path: Path) -> None:
    (tmp_path / "large_disk").mkdir()
    link = tmp_path / "model"
    link.symlink_to(tmp_path / "large_disk")
    for content in ("old", "new"):
        make_folder(link, content, replace=True)
    assert link.is_symlink()
    assert (tmp_path / "large_disk" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("renames_done", [0, 1])
def test_a_kill_leaves_the_old_content(tmp_path: Path, renames_done: int) -> None:
    """Killed before the first rename of a swap, and between its two renames: `remove_leftovers` undoes both."""
    make_folder(tmp_path / "model", "old")
    write_text(tmp_path / "a.txt", "old")
    program = f"""
import os, signal
from pathlib import Path
from unmask.files import new_folder, write_text
real_replace, left = os.replace, {renames_done}
def replace(*names):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real_replace(*names)
os.replace = replace
with new_folder(Path("model"), replace=True) as folder:
    (folder / "c.txt").write_text("new")
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 3
    (tmp_path / ".a.txt.0123abcd.partial").write_text("half a file")
    (tmp_path / ".a.txt.partial").write_text("not ours")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".a.txt.partial", "a.txt", "model"]
    assert names(tmp_path / "model") == ["a.txt", "nested"]


def test_an_error_from_a_library_in_rust_is_understood(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="model: cannot be written: No space left on device; free some space"):
        make_folder(tmp_path / "model", "new", error=RuntimeError("I/O error: No space left on device (os error 28)"))


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_bytes_are_put_behind_an_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    append_bytes(path, b"one", offset=0)
    append_bytes(path, b"two", offset=3)
    append_bytes(path, b"TWO+", offset=3)  # what a kill left behind the last record is cut
    with pytest.raises(DataError, match="has 7 bytes where 8 were written"):
        append_bytes(path, b"eight", offset=8)  # never a hole of zeros
    assert path.read_bytes() == b"oneTWO+"
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing(errno.ENOSPC))
        with pytest.raises(DataError, match=r"a\.bin: cannot be written: No space left on device; free some space"):
            append_bytes(path, b"three", offset=6)
    assert path.read_bytes() == b"oneTWO"
