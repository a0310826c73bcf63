"""The stored form of one video: a header, a table of offsets and its JPEGs end to end.

header (16 bytes) + offsets (n + 1 × uint32) + JPEGs; all integers little endian

With the flag HALVES, its n frames are followed by the same n at half size, and the table has 2n + 1
offsets: a blob without halves is what it was before there were any.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from pipeline.core.errors import StoreError

_MAGIC = b"TDNV"
FORMAT = 1
"""Version of the stored form; it is in every blob and in the recipe of every shard."""

HALVES = 1
"""Flag: every frame is stored at half size too."""

MAX_BYTES = (1 << 32) - 1
"""More JPEG bytes than this do not fit the offsets."""

_HEADER = struct.Struct("<4sHHIHH")  # magic, version, flags, frames, width, height

if sys.byteorder != "little":
    raise StoreError("frame stores need a little-endian machine")


class Stored(NamedTuple):
    """What a blob holds."""

    offsets: memoryview
    """uint32; frame i is `jpegs[offsets[i]:offsets[i + 1]]`, its half, if stored, entry n + i."""
    jpegs: memoryview
    n_frames: int
    halves: bool
    """Whether each frame's half is stored."""

    def images(self, frames: Sequence[int] | None, half: bool, where: str) -> list[bytearray]:
        """Copies of the given frames or, with `half`, of their halves; None takes all.

        Raises IndexError for a frame that does not exist, StoreError where there are no halves.
        """
        if half and not self.halves:
            raise StoreError(
                "a video is stored without frames at half size",
                where=where,
                do="decode the data set with half_size: true in its decode policy",
            )
        first = self.n_frames if half else 0
        found = []
        for frame in range(self.n_frames) if frames is None else frames:
            if not 0 <= frame < self.n_frames:
                raise IndexError(f"{where}: no frame {frame} of {self.n_frames}")
            begin, end = self.offsets[first + frame], self.offsets[first + frame + 1]
            found.append(bytearray(self.jpegs[begin:end]))
        return found


def pack(
    stream: bytes,
    offsets: Sequence[int],
    width_px: int,
    height_px: int,
    halves: Sequence[bytes] = (),
) -> bytes:
    """The blob of a video whose JPEG i is `stream[offsets[i]:offsets[i + 1]]`.

    `halves` are the same frames at half size, all of them or none. Raises ValueError for another
    number, OverflowError when all is more than `MAX_BYTES`.
    """
    n_frames = len(offsets) - 1
    if halves and len(halves) != n_frames:
        raise ValueError(f"{len(halves)} halves of {n_frames} frames")
    table = array("I", offsets)
    table.extend(list(accumulate(map(len, halves), initial=offsets[-1]))[1:])
    flags = HALVES if halves else 0
    header = _HEADER.pack(_MAGIC, FORMAT, flags, n_frames, width_px, height_px)
    return b"".join((header, table.tobytes(), stream, *halves))


def unpack(blob: bytes | memoryview, where: str) -> Stored:
    """What a blob holds, without copying; StoreError if it is not one."""
    view = memoryview(blob)
    if len(view) < _HEADER.size:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    magic, version, flags, n_frames, _, _ = _HEADER.unpack_from(view)
    halves = bool(flags & HALVES)
    entries = 2 * n_frames if halves else n_frames
    body = _HEADER.size + 4 * (entries + 1)
    if magic != _MAGIC or version != FORMAT or flags & ~HALVES or body > len(view):
        raise StoreError(
            "a stored video is not in this version's format",
            where=where,
            do="decode the data set again",
        )
    offsets = view[_HEADER.size : body].cast("I")
    if offsets[entries] != len(view) - body:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    return Stored(offsets, view[body:], n_frames, halves)


class ShardDigest:
    """sha256 over, in key order, length and bytes of the key, length and sha256 of the value.

    Survives whatever LMDB does with pages; two shards with equal content have equal digests.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, key: bytes, value_bytes: int, value_sha256: bytes) -> None:
        self._hash.update(struct.pack("<I", len(key)) + key)
        self._hash.update(struct.pack("<Q", value_bytes) + value_sha256)

    def hex(self) -> str:
        return self._hash.hexdigest()
