"""The frame store: one LMDB file per shard, one blob of JPEGs per video. The only user of lmdb.

    data/P/frames/DS/shard-00017.lmdb      key = video id, value = blob
    blob = header (16 bytes) + offsets (n + 1 × uint32) + JPEGs end to end; little endian

A shard is written once, in key order, one transaction per video, to a temporary name: equal content
gives equal bytes, and a file that has its final name is whole. Readers leave no trace on disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from pipeline.blobs import ShardDigest, unpack
from pipeline.errors import StoreError

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
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=".lmdb", dir=path.parent)
        os.close(handle)
        os.unlink(name)  # LMDB makes the file itself
        self._temporary = Path(name)
        self._digest = ShardDigest()
        self._entries = 0
        self._last = b""
        self._map_bytes = _FIRST_MAP_BYTES
        with _disk_trouble(path):
            self._env = lmdb.open(
                name, subdir=False, lock=False, sync=False, metasync=False, readahead=False,
                map_size=self._map_bytes, max_dbs=0, mode=0o644,
            )  # fmt: skip

    def put(self, video_id: str, blob: bytes) -> str:
        """Store a video; ids must come in ascending order of their UTF-8. Returns its sha256."""
        key = video_id.encode("utf-8")
        if key <= self._last:
            raise StoreError(f"'{video_id}' is not in key order", where=self.path.name)
        with _disk_trouble(self.path):
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
        with _disk_trouble(self.path):
            self._env.sync(True)
            self._env.close()
            os.chmod(self._temporary, 0o644)
            size = self._temporary.stat().st_size
            os.replace(self._temporary, self.path)
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


class _disk_trouble:
    """Turns a full disk and other write errors into a StoreError that says so."""

    def __init__(self, path: Path) -> None:
        self.name = path.name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, lmdb.MapFullError) or not isinstance(error, OSError | lmdb.Error):
            return
        code = getattr(error, "errno", None)
        text = str(error)
        full = code in _FULL or any(os.strerror(number) in text for number in _FULL)
        if full or isinstance(error, lmdb.DiskError):
            raise StoreError(
                "the disk is full (or a quota is used up)",
                where=self.name,
                do="free some space and run the command again; finished shards are kept",
            ) from None
        reason = os.strerror(code) if code else text.rpartition(": ")[2]
        raise StoreError(f"cannot write a shard: {reason}", where=self.name) from None


# Stores whose handles a fork must not inherit: LMDB refuses a file twice in one process, and a
# child counts as the process it came from.
_open_stores: weakref.WeakSet[FrameStore] = weakref.WeakSet()


def _close_all() -> None:
    for store in list(_open_stores):
        store.close()


os.register_at_fork(before=_close_all)


class FrameStore:
    """Random access to the JPEGs of a store's videos, read-only.

    Opens a shard when one of its videos is first asked for, in each process for itself; may be
    pickled, forked and used from several threads. `shards` and `locations` come from the index
    (`pipeline.index.open_store`).
    """

    def __init__(
        self, folder: Path, shards: Sequence[ShardFile], locations: Mapping[str, int]
    ) -> None:
        self.folder = folder
        self.shards = tuple(shards)
        self._locations = dict(locations)
        self._prepare()

    def _prepare(self) -> None:
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._mutex = threading.RLock()
        _open_stores.add(self)

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._locations

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "shards": self.shards,
            "_locations": self._locations,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def n_frames(self, video_id: str) -> int:
        """How many frames are stored for a video."""
        with self._mutex, self._begin(video_id) as transaction:
            return len(self._offsets(transaction, video_id)[0]) - 1

    def jpegs(self, video_id: str, frames: Sequence[int] | None = None) -> list[bytearray]:
        """The JPEGs of the given frames (0-based; any order, repeats allowed), or of all.

        Writable copies, so that torch can wrap them. StoreError when the video is not stored or
        the shard is damaged; IndexError for a frame that does not exist.
        """
        with self._mutex, self._begin(video_id) as transaction:
            offsets, data = self._offsets(transaction, video_id)
            count = len(offsets) - 1
            chosen = range(count) if frames is None else frames
            found = []
            for frame in chosen:
                if not 0 <= frame < count:
                    raise IndexError(f"{video_id}: no frame {frame} of {count}")
                found.append(bytearray(data[offsets[frame] : offsets[frame + 1]]))
            del offsets, data
            return found

    def blob(self, video_id: str) -> bytes:
        """The whole stored value of a video."""
        with self._mutex, self._begin(video_id) as transaction:
            return bytes(self._value(transaction, video_id))

    def close(self) -> None:
        """Drop all handles; the next access opens them again."""
        with self._mutex:
            while self._open:
                self._open.popitem()[1].close()

    def _offsets(self, transaction: Any, video_id: str) -> tuple[memoryview, memoryview]:
        return unpack(self._value(transaction, video_id), f"{self.folder.name}, video {video_id}")

    def _value(self, transaction: Any, video_id: str) -> memoryview:
        value = transaction.get(video_id.encode("utf-8"))
        if value is None:
            raise StoreError(
                f"the index places '{video_id}' in a shard that does not hold it",
                where=f"{self.folder.name}/{self.shards[self._locations[video_id]].name}",
                do="run `tdn store verify`, or decode the data set again",
            )
        return memoryview(value)

    def _begin(self, video_id: str) -> Any:
        number = self._locations.get(video_id)
        if number is None:
            raise StoreError(
                f"video '{video_id}' has no frames in this store",
                where=self.folder.name,
                do="look up its status and reason in index.parquet",
            )
        environment = self._open.get(number)
        if environment is None:
            environment = self._open[number] = open_shard(self.folder, self.shards[number])
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(number)
        return environment.begin(buffers=True)


def open_shard(folder: Path, shard: ShardFile) -> Any:
    """A read-only LMDB environment of a shard file.

    The size is checked first: a truncated LMDB file opens, and then kills the reader (SIGBUS).
    """
    path = folder / shard.name
    where = f"{folder.name}/{shard.name}"
    do = "decode the data set again; it redoes only what is damaged"
    try:
        size = path.stat().st_size
    except OSError:
        raise StoreError("a shard is missing", where=where, do=do) from None
    if size != shard.bytes:
        raise StoreError(
            f"a shard has {size} bytes where the index says {shard.bytes}", where=where, do=do
        )
    try:
        return lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, max_dbs=0,
            max_spare_txns=2,
        )  # fmt: skip
    except lmdb.Error as error:
        reason = str(error).rpartition(": ")[2]
        raise StoreError(f"a shard cannot be opened: {reason}", where=where, do=do) from None


def scan(folder: Path, shard: ShardFile) -> Iterator[tuple[str, bytes]]:
    """Every (video id, sha256 of its blob) of a shard, in key order; StoreError if it is damaged.

    Compare the ids, count and `ShardDigest` with the index to verify the shard.
    """
    environment = open_shard(folder, shard)
    try:
        with environment.begin(buffers=True) as transaction:
            for key, value in transaction.cursor():
                yield bytes(key).decode("utf-8"), hashlib.sha256(value).digest()
    except lmdb.Error as error:
        reason = str(error).rpartition(": ")[2]
        raise StoreError(
            f"a shard is damaged: {reason}",
            where=f"{folder.name}/{shard.name}",
            do="decode the data set again; it redoes only what is damaged",
        ) from None
    finally:
        environment.close()
