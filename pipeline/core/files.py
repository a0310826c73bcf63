"""Digests, canonical JSON and files that are either whole or absent."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK_BYTES = 1 << 20


def _mode_of_new_files() -> int:
    """What `open` would give a file. The system tells its mask only when it is changed."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


_MODE = _mode_of_new_files()
"""Asked once, before there are threads: files that those create meanwhile would get mode 666."""


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal sha256 of a byte string."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal sha256 of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_scratch(name: str) -> bool:
    """Whether a file is no result: one that is being written (`.tmp-…`), an editor's backup, what a
    file manager leaves, the lock of another reader of LMDB."""
    begins = (".tmp-", "._", ".#", ".nfs")
    ends = ("~", ".swp", ".swo", ".lmdb-lock", "#")
    names = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
    return name.startswith(begins) or name.endswith(ends) or name in names


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder and below it, sorted; none that `is_scratch`."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(map(is_scratch, path.relative_to(folder).parts))
    )


def sha256_path(path: Path) -> str | None:
    """A file's sha256, or a folder's: that of {name below it: sha256}; None for nothing there."""
    if path.is_dir():
        return sha256_json(
            {p.relative_to(path).as_posix(): sha256_file(p) for p in files_below(path)}
        )
    return sha256_file(path) if path.is_file() else None


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that is never seen half-written; leave it untouched if it already holds `data`.

    Keeping an identical file's mtime lets DVC and make see that nothing happened.
    """
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write in pieces, which becomes `path` when the block ends; as `write_atomic`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.is_file() and filecmp.cmp(name, path, shallow=False):
            os.unlink(name)
            return
        os.chmod(name, _MODE)
        os.replace(name, path)
        _flush(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new, empty folder beside `path`, which replaces it when the block ends.

    When the block fails the folder is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f".tmp-{path.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        publish(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(finished: Path, path: Path) -> None:
    """Give a finished file or folder its final name, in the place of what has that name.

    Content reaches the disk before the name does, so that a power cut cannot leave a name without
    content. A folder that is replaced is absent for a moment; a file never is.
    """
    below = sorted(finished.rglob("*")) if finished.is_dir() else []
    for item in [*below, finished]:
        _flush(item)
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(finished, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Have the disk hold a file's bytes, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(value: Any) -> bytes:
    """Readable JSON as files hold it: sorted keys, two spaces, final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON (see `json_bytes`), atomically."""
    write_atomic(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """The JSON value a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


_LARGEST_JSON = 1 << 28


def read_strict_json(path: Path) -> Any:
    """The JSON value of a file that anybody may have written.

    Raises OSError, and ValueError for what plain JSON leaves open or a forger uses: a key that is
    there twice, NaN, infinity, text that is not UTF-8, nesting without end, 256 MiB and more.
    """
    size = path.stat().st_size
    if size >= _LARGEST_JSON:
        raise ValueError(f"it has {size} bytes, too many for JSON of ours")
    try:
        return json.loads(
            path.read_bytes().decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
