"""The frame store: one LMDB file per shard, one blob of JPEGs per video. The only user of lmdb.

    data/P/frames/DS/shard-00017.lmdb      key = video id, value = blob
    blob = header (16 bytes) + offsets (n + 1 × uint32) + JPEGs end to end: `packed_frames`

A shard is written once, in key order, one transaction per video, to a temporary name: equal content
gives equal bytes, and a file that has its final name is whole. Readers leave no trace on disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from pipeline.core.errors import StoreError
from pipeline.core.files import publish
from pipeline.store.packed_frames import ShardDigest, unpack

_FIRST_MAP_BYTES = 16 << 20
_LAST_MAP_BYTES = 1 << 42
_MOST_OPEN = 128
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class ShardFile:
    """What identifies a finished shard file."""

    name: str
    bytes: int
    entries: int
    content: str
    """`ShardDigest` of its entries."""


class ShardWriter:
    """Writes one shard file; use as a context manager. Nothing has the final name before `close`.

    On any error inside the block the temporary file is removed. A full disk is a StoreError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=".lmdb", dir=path.parent)
            os.close(handle)
            os.unlink(name)  # LMDB makes the file itself
        self._temporary = Path(name)
        self._digest = ShardDigest()
        self._entries = 0
        self._last = b""
        self._map_bytes = _FIRST_MAP_BYTES
        with writing(path):
            self._env = lmdb.open(
                name, subdir=False, lock=False, sync=False, metasync=False, readahead=False,
                map_size=self._map_bytes, max_dbs=0, mode=0o644,
            )  # fmt: skip

    def put(self, video_id: str, blob: bytes) -> str:
        """Store a video; ids must come in ascending order of their UTF-8. Returns its sha256."""
        key = video_id.encode("utf-8")
        if key <= self._last:
            raise StoreError(f"'{video_id}' is not in key order", where=self.path.name)
        with writing(self.path):
            while True:
                try:
                    with self._env.begin(write=True) as transaction:
                        transaction.put(key, blob)
                    break
                except lmdb.MapFullError:
                    self._grow()
        digest = hashlib.sha256(blob)
        self._digest.add(key, len(blob), digest.digest())
        self._last = key
        self._entries += 1
        return digest.hexdigest()

    def close(self) -> ShardFile:
        """Flush, give the file its name and say what it holds."""
        with writing(self.path):
            self._env.sync(True)
            self._env.close()
            os.chmod(self._temporary, 0o644)
            size = self._temporary.stat().st_size
            publish(self._temporary, self.path)
        return ShardFile(self.path.name, size, self._entries, self._digest.hex())

    def abandon(self) -> None:
        """Remove the temporary file."""
        self._env.close()
        self._temporary.unlink(missing_ok=True)

    def _grow(self) -> None:
        self._map_bytes *= 2
        if self._map_bytes > _LAST_MAP_BYTES:
            raise StoreError("a shard is larger than 4 TiB", where=self.path.name)
        self._env.set_mapsize(self._map_bytes)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()  # after `close` there is nothing left to remove


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a full disk and other write errors into a StoreError that says so."""
    try:
        yield
    except lmdb.MapFullError:
        raise
    except (OSError, lmdb.Error) as error:
        if isinstance(error, lmdb.DiskError) or _names(error, _FULL) or _is_full(path.parent):
            raise StoreError(
                "the disk is full (or a quota is used up)",
                where=path.name,
                do="free some space and run the command again; finished shards are kept",
            ) from None
        system = isinstance(error, OSError) and error.strerror
        reason = system or str(error).rpartition(": ")[2]
        raise StoreError(
            f"cannot write a shard: {reason}",
            where=path.name,
            do="look at the rights of the folder of frames, then run the command again",
        ) from None


def _names(error: Exception, codes: tuple[int, ...]) -> bool:
    """Whether an error carries one of the system's error numbers, as a field or as text."""
    number, text = getattr(error, "errno", None), str(error)
    return number in codes or any(os.strerror(code) in text for code in codes)


def _is_full(folder: Path) -> bool:
    """Whether a megabyte can no longer be written: LMDB calls a write cut short an I/O error."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
            file.flush()
    except OSError as error:
        return _names(error, _FULL)
    return False


class _Handles:
    """The read-only LMDB environments open in this process, shared by all stores.

    LMDB refuses to open a file twice in one process, and counts a forked child as the process it
    came from: so there is one environment per file, and a fork closes them all beforehand.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._open: OrderedDict[Path, tuple[tuple[int, ...], Any]] = OrderedDict()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=lambda: self.lock.release(),
            after_in_child=self._after_in_child,
        )

    @contextmanager
    def reading(self, folder: Path, shard: ShardFile) -> Iterator[Any]:
        """A read transaction on a shard file; other threads wait until it is done."""
        with self.lock, self._environment(folder, shard).begin(buffers=True) as transaction:
            yield transaction

    def _environment(self, folder: Path, shard: ShardFile) -> Any:
        path = (folder / shard.name).absolute()
        signature = _signature(path, folder, shard)
        known, environment = self._open.pop(path, ((), None))
        if environment is not None and known != signature:  # the file was replaced
            environment.close()
            environment = None
        if environment is None:
            environment = _open_environment(path, f"{folder.name}/{shard.name}")
        self._open[path] = (signature, environment)
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)[1][1].close()
        return environment

    def close(self) -> None:
        """Drop all handles; the next access opens them again."""
        with self.lock:
            while self._open:
                self._open.popitem()[1][1].close()

    def _before_fork(self) -> None:
        self.lock.acquire()
        self.close()

    def _after_in_child(self) -> None:
        self.lock = threading.RLock()


_REDO = "decode the data set again; it redoes only what is damaged"


def _signature(path: Path, folder: Path, shard: ShardFile) -> tuple[int, ...]:
    """What tells a file from its replacement, once its size is found right.

    A truncated LMDB file opens, and then kills the reader (SIGBUS): hence the check.
    """
    where = f"{folder.name}/{shard.name}"
    try:
        about = path.stat()
    except OSError:
        raise StoreError("a shard is missing", where=where, do=_REDO) from None
    if about.st_size != shard.bytes:
        what = f"a shard has {about.st_size} bytes where the index says {shard.bytes}"
        raise StoreError(what, where=where, do=_REDO)
    return about.st_dev, about.st_ino, about.st_mtime_ns


def _open_environment(path: Path, where: str) -> Any:
    try:
        return lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, max_dbs=0
        )
    except lmdb.Error as error:
        reason = str(error).replace(str(path), path.name)
        raise StoreError(f"a shard cannot be opened: {reason}", where=where, do=_REDO) from None


_handles = _Handles()


def close_shards() -> None:
    """Close the shards that this process has open; the next access opens them again, by whatever
    path it knows them."""
    _handles.close()


class FrameStore:
    """Random access to the JPEGs of a store's videos, read-only.

    Opens a shard when one of its videos is first asked for, in each process for itself; may be
    pickled, forked and used from several threads. `shards` and `locations` (video id → position
    in `shards`) come from the index (`FrameIndex.store`), as does `kind`: `frames`, or `flow`,
    whose JPEGs are grey fields (see `pipeline.store.tvl1`).
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[ShardFile],
        locations: Mapping[str, int],
        kind: str = "frames",
    ) -> None:
        self.folder = folder
        self.kind = kind
        self.shards = tuple(shards)
        self._locations = dict(locations)

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._locations

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def n_frames(self, video_id: str) -> int:
        """How many frames are stored for a video."""
        with self._value(video_id) as value:
            return unpack(value, self._where(video_id)).n_frames

    def jpegs(self, video_id: str, frames: Sequence[int] | None = None) -> list[bytearray]:
        """The JPEGs of the given frames (0-based; any order, repeats allowed), or of all.

        Writable copies, so that torch can wrap them. StoreError when the video is not stored or
        the shard is damaged; IndexError for a frame that does not exist.
        """
        with self._value(video_id) as value:
            where = self._where(video_id)
            return unpack(value, where).images(frames, where)

    def blob(self, video_id: str) -> bytes:
        """The whole stored value of a video."""
        with self._value(video_id) as value:
            return bytes(value)

    def _where(self, video_id: str) -> str:
        return f"{self.folder.name}, video {video_id}"

    @contextmanager
    def _value(self, video_id: str) -> Iterator[memoryview]:
        """The stored value, valid while the block runs."""
        number = self._locations.get(video_id)
        if number is None:
            raise StoreError(
                f"video '{video_id}' has no frames in this store",
                where=self.folder.name,
                do="look up its status and reason in index.parquet",
            )
        shard = self.shards[number]
        where = f"{self.folder.name}/{shard.name}"
        with _damage(where), _handles.reading(self.folder, shard) as transaction:
            value = transaction.get(video_id.encode("utf-8"))
            if value is None:
                raise StoreError(
                    f"the index places '{video_id}' in a shard that does not hold it",
                    where=where,
                    do=f"run `tdn store verify {self.folder.name}`, or decode the data set again",
                )
            yield memoryview(value)


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """Turns what LMDB says of a damaged file into a StoreError."""
    try:
        yield
    except lmdb.Error as error:
        reason = str(error).rpartition(": ")[2]
        raise StoreError(f"a shard is damaged: {reason}", where=where, do=_REDO) from None


def scan(
    folder: Path, shard: ShardFile, look: Callable[[str, memoryview], None] | None = None
) -> Iterator[tuple[str, int, bytes]]:
    """Every (video id, size in bytes, sha256 of its blob) of a shard, in key order.

    `look` is called with each id and blob, valid during the call.
    Raises StoreError where the file is missing, cut off or damaged.
    """
    with _damage(f"{folder.name}/{shard.name}"), _handles.reading(folder, shard) as transaction:
        for key, value in transaction.cursor():
            name = bytes(key).decode("utf-8", "backslashreplace")
            if look is not None:
                look(name, memoryview(value))
            yield name, len(value), hashlib.sha256(value).digest()
