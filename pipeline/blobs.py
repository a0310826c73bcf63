"""The stored form of one video: a header, a table of offsets and its JPEGs end to end.

header (16 bytes) + offsets (n + 1 × uint32) + JPEGs; all integers little endian
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Sequence

from pipeline.errors import StoreError

_MAGIC = b"TDNV"
FORMAT = 1
"""Version of the stored form; it is in every blob and in the recipe of every shard."""

_HEADER = struct.Struct("<4sHHIHH")  # magic, version, flags, frames, width, height

if sys.byteorder != "little":
    raise StoreError("frame stores need a little-endian machine")


def pack(stream: bytes, offsets: Sequence[int], width_px: int, height_px: int) -> bytes:
    """The blob of a video whose JPEG i is `stream[offsets[i]:offsets[i + 1]]`."""
    table = array("I", offsets)
    header = _HEADER.pack(_MAGIC, FORMAT, 0, len(offsets) - 1, width_px, height_px)
    return b"".join((header, table.tobytes(), stream))


def unpack(blob: bytes | memoryview, where: str) -> tuple[memoryview, memoryview]:
    """(offsets as uint32, JPEG bytes) of a blob, without copying; StoreError if it is not one."""
    view = memoryview(blob)
    if len(view) < _HEADER.size:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    magic, version, _, n_frames, _, _ = _HEADER.unpack_from(view)
    body = _HEADER.size + 4 * (n_frames + 1)
    if magic != _MAGIC or version != FORMAT or body > len(view):
        raise StoreError(
            "a stored video is not in this version's format",
            where=where,
            do="decode the data set again",
        )
    offsets = view[_HEADER.size : body].cast("I")
    if offsets[n_frames] != len(view) - body:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    return offsets, view[body:]


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
