"""Finding what a user names as data, and reading it as numbered lines, JSON records or a data set of the hub.

Text files are UTF-8. A byte order mark and CRLF line ends are taken away; a NUL byte or a byte that is not UTF-8 is an
error that names its line. Any file may be gzipped (`.gz`).
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from unmask.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "NOT_TEXT",
    "OTHER_FILE",
    "SAVE_AS_UTF8",
    "UTF16_MARKS",
    "decode_line",
    "find_source",
    "json_records",
    "load_dataset",
    "numbered_lines",
    "open_binary",
    "suffix_of",
    "unreadable",
]

NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and half a character, which JSON's \u escapes can spell
OTHER_FILE = "name another, or see why nothing was written into it"
SAVE_AS_UTF8 = "save the file as UTF-8"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def find_source(source: str | Path, data_dir: Path | None, *, is_file: bool) -> Path | None:
    """Where a file or folder is, in the working directory or the data folder; None for the id of a data set on the hub.

    Args:
        source: what the user named.
        data_dir: the data folder; if None, the environment variable UNMASK_DATA_DIR names it.
        is_file: whether the name is one of a file, by its suffix, and so no id.

    Raises:
        DataError: it is in neither place, and no id.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    folder = data_dir or os.environ.get("UNMASK_DATA_DIR")
    if folder and (in_folder := Path(folder).expanduser() / path).exists():
        return in_folder
    if _HUB_ID.fullmatch(str(source)) and not is_file:
        return None
    if path.is_absolute():
        raise DataError("there is no such file: check its name", path=source)
    if folder:
        raise DataError(f"there is no such file here or in the data folder {folder}: check its name", path=source)
    raise DataError(
        f"there is no such file in {Path.cwd()}: check its name, or name the folder it is in with --data-dir or the "
        "variable UNMASK_DATA_DIR",
        path=source,
    )


def suffix_of(path: Path) -> str:
    """What tells a file's format: its suffix in small letters, that before `.gz` where it is gzipped."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def open_binary(path: Path) -> BinaryIO:
    """Open a file to read its bytes, unpacked if it is gzipped."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, counted from 1, without line ends.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8 text.
    """
    try:
        with open_binary(path) as file:
            for number, content in enumerate(file, start=1):
                try:
                    yield number, decode_line(content, is_first=number == 1)
                except ValueError as error:
                    raise DataError(f"{error}: {SAVE_AS_UTF8}", path=path, line=number) from error
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def decode_line(content: bytes, *, is_first: bool = False) -> str:
    """The text of a line without its end; of a file's first line, without a byte order mark too.

    Raises:
        ValueError: it is no UTF-8 text; the message says what it looks like.
    """
    if is_first and content.startswith(UTF16_MARKS):
        raise ValueError("the file is UTF-16, as Windows programs call Unicode")
    if b"\0" in content:
        raise ValueError("there is a NUL byte: is this a text file?")
    if is_first:
        content = content.removeprefix(codecs.BOM_UTF8)
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} (0x{content[error.start]:02x})"
        raise ValueError(f"{where} is not UTF-8{_guess_encoding(content)}") from error


def _guess_encoding(content: bytes) -> str:
    """Name an encoding in which a line is plausible text, or nothing."""
    try:
        text = content.decode("cp949")
    except UnicodeDecodeError:
        return ""
    num_hangul = sum("가" <= character <= "힣" for character in text)
    num_foreign = sum(not character.isascii() for character in text)
    return f"; as CP949 it reads {text[:20]!r}" if num_hangul >= max(2, 0.9 * num_foreign) else ""


def json_records(path: Path, *, example: str = '{"text": "..."}') -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file that has one a line, with their lines; blank lines are none.

    Args:
        path: the file.
        example: such an object, for messages.

    Raises:
        DataError: a line holds something else, or cannot be read.
    """
    is_first = True
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            expected = f"expected one JSON object in each line, such as {example}"
            if is_first and line.lstrip()[0] in "[{" and _is_one_document(path):
                raise DataError(f"this is one JSON document over several lines: {expected}", path=path) from error
            raise DataError(f"not JSON ({error}): {expected}", path=path, line=number) from error
        if not isinstance(record, dict):
            raise DataError(f"expected one JSON object in each line, such as {example}", path=path, line=number)
        yield number, record
        is_first = False


def load_dataset(name: str, *, streaming: bool = False) -> dict[str, Any]:
    """The parts of a data set for `datasets`, by name.

    Args:
        name: a folder, `org/name`, or `org/name:config`.
        streaming: read rows as they are asked for, where the data set is not a saved folder; nothing is held or cached.

    Raises:
        DataError: it cannot be loaded.
    """
    import datasets

    folder = Path(name)
    try:
        if folder.is_dir():
            loaded = (
                datasets.load_from_disk(name) if _is_saved(folder) else datasets.load_dataset(name, streaming=streaming)
            )
        else:
            hub_id, _, config = name.partition(":")
            loaded = datasets.load_dataset(hub_id, config or None, streaming=streaming)
    except Exception as error:  # the hub, the network, the cache and each file format have errors of their own
        raise DataError(
            f"neither a file nor a data set that can be loaded ({_first_line(error)}). Check the name; without a "
            "network, give a file, or fetch the data set beforehand with `hf download --repo-type dataset`",
            path=name,
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {str(loaded.split): loaded}


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for a file that the disk, gzip or a library cannot read, in their words."""
    reason = (error.strerror if isinstance(error, OSError) else None) or _first_line(error)
    return DataError(f"the file cannot be read: {reason}", path=path)


def _is_saved(folder: Path) -> bool:
    return any((folder / file).exists() for file in ("dataset_dict.json", "state.json"))


def _is_one_document(path: Path) -> bool:
    """Whether a file of several lines is JSON as a whole."""
    try:
        lines = [line for _, line in numbered_lines(path) if line.strip()]
        json.loads("\n".join(lines))
    except (ValueError, RecursionError):  # DataError too
        return False
    return len(lines) > 1


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return record


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
