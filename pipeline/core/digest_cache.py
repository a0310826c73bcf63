"""sha256 that need not be computed again while a file's inode, size and times stay as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.files import sha256_file, sha256_json
from pipeline.core.parquet import write_table

FRESH_NS = 50_000_000
"""A file changed this lately may change again within one tick of the file system's clock."""
_SCHEMA = pa.schema([("relpath", pa.string()), ("stamp", pa.string()), ("sha256", pa.string())])


def stamp(files: Iterable[tuple[str, os.stat_result]]) -> str:
    """What stays the same while files do: names, inodes, sizes and times of change; '' (never
    looked up, never kept) when one of them has changed just now."""
    facts = [(n, a.st_ino, a.st_size, a.st_ctime_ns, a.st_mtime_ns) for n, a in files]
    newest = max((fact[3] for fact in facts), default=0)
    return "" if newest > time.time_ns() - FRESH_NS else sha256_json(facts)


class DigestCache:
    """sha256 by name and stamp, in a Parquet file (None: kept nowhere). Losing it costs time.

    Whoever can write the file can put any digest in it: what must hold against a forger is
    computed from the bytes.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._old: dict[str, tuple[str, str]] = {}
        self._new: dict[str, tuple[str, str]] = {}
        if path is not None and path.is_file():
            try:
                columns = pq.read_table(path).to_pydict()
                pairs = zip(columns["stamp"], columns["sha256"], strict=True)
                self._old = dict(zip(columns["relpath"], pairs, strict=True))
            except (pa.ArrowException, OSError, KeyError, ValueError):
                self._old = {}

    def look_up(self, name: str, stamp: str) -> str | None:
        """The digest that was noted with this stamp."""
        old = self._old.get(name)
        return old[1] if old is not None and stamp and old[0] == stamp else None

    def note(self, name: str, stamp: str, digest: str) -> None:
        """Keep a digest; `stamp` is from before the file was read."""
        if stamp:
            self._new[name] = (stamp, digest)

    def sha256(self, path: Path) -> str:
        """The digest of one file; OSError when it cannot be read."""
        name, before = str(path), stamp([("", path.stat())])
        digest = self.look_up(name, before) or sha256_file(path)
        self.note(name, before, digest)
        return digest

    def save(self) -> None:
        """Write what was noted or looked up since this cache was opened."""
        if self._path is None or self._new == self._old:
            return
        items = sorted(self._new.items())
        columns = [[name for name, _ in items], [v[0] for _, v in items], [v[1] for _, v in items]]
        write_table(self._path, pa.table(columns, schema=_SCHEMA))
