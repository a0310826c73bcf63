"""The stored form of one video: a header, a table of offsets and its JPEGs end to end.

header (16 bytes) + offsets (n + 1 × uint32) + JPEGs; all integers little endian
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.errors import StoreError
from pipeline.video.jpeg_split import Size, is_one_jpeg, size_px

_MAGIC = b"TDNV"
FORMAT = 1
"""Version of the stored form; it is in every blob and in the recipe of every shard."""

MAX_BYTES = (1 << 32) - 1
"""More JPEG bytes than this do not fit the offsets."""

_HEADER = struct.Struct("<4sHHIHH")  # magic, version, 0, frames, width, height

if sys.byteorder != "little":
    raise StoreError("frame stores need a little-endian machine")


class Stored(NamedTuple):
    """What a blob holds."""

    offsets: memoryview
    """uint32; frame i is `jpegs[offsets[i]:offsets[i + 1]]`."""
    jpegs: memoryview
    n_frames: int

    def images(self, frames: Sequence[int] | None, where: str) -> list[bytearray]:
        """Copies of the JPEGs of the given frames (None: of all).

        Raises IndexError for a frame that does not exist.
        """
        found = []
        for frame in range(self.n_frames) if frames is None else frames:
            if not 0 <= frame < self.n_frames:
                raise IndexError(f"{where}: no frame {frame} of {self.n_frames}")
            found.append(bytearray(self.jpegs[self.offsets[frame] : self.offsets[frame + 1]]))
        return found


def pack(stream: bytes, offsets: Sequence[int], width_px: int, height_px: int) -> bytes:
    """The blob of a video whose JPEG i is `stream[offsets[i]:offsets[i + 1]]`.

    Raises OverflowError when the stream is longer than `MAX_BYTES`.
    """
    header = _HEADER.pack(_MAGIC, FORMAT, 0, len(offsets) - 1, width_px, height_px)
    return b"".join((header, array("I", offsets).tobytes(), stream))


def unpack(blob: bytes | memoryview, where: str) -> Stored:
    """What a blob holds, without copying; StoreError if it is not one."""
    view = memoryview(blob)
    if len(view) < _HEADER.size:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    magic, version, flags, n_frames, _, _ = _HEADER.unpack_from(view)
    body = _HEADER.size + 4 * (n_frames + 1)
    if magic != _MAGIC or version != FORMAT or flags or body > len(view):
        raise StoreError(
            "a stored video is not in this version's format",
            where=where,
            do="decode the data set again",
        )
    offsets = view[_HEADER.size : body].cast("I")
    if offsets[n_frames] != len(view) - body:
        raise StoreError("a stored video is cut off", where=where, do="decode the data set again")
    return Stored(offsets, view[body:], n_frames)


def odd_frame(blob: bytes | memoryview, where: str) -> str:
    """What is wrong with the first stored frame that is not exactly one JPEG of the size of the
    others; '' when all are. StoreError for what is no blob."""
    stored = unpack(blob, where)
    size: Size | None = None
    for number in range(stored.n_frames):
        image = bytes(stored.jpegs[stored.offsets[number] : stored.offsets[number + 1]])
        if not is_one_jpeg(image):
            return f"its frame {number} is not exactly one JPEG"
        size = size or size_px(image)
        if size_px(image) != size:
            return f"its frame {number} has another size than the first"
    return ""


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
