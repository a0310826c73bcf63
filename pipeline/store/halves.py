"""Frames at half size: decoded so, and made so to be stored beside the whole ones.

An option for frames of which a network uses differences at half resolution only (four of TDN's
five), off by default. A frame is halved inside the JPEG's own transform: each 8x8 block becomes 4x4
from its low frequencies. What is left is mostly undoing the JPEG's Huffman code, so that reading a
half from its whole costs three quarters of the whole. Stored as a JPEG of its own it costs a
quarter, and its colours lose resolution once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError, StoreError
from pipeline.store.blob import MAX_BYTES

Pixels = npt.NDArray[np.uint8]

FORMAT = 1
"""Raise it when a frame gives another stored half: stores with halves are then made again."""

QUALITY = 90
"""libjpeg's, of stored halves: about ffmpeg's -q:v 2, at which frames are stored."""

# A frame lies as it is coded, whatever its camera says of which side is up: whole frames do too.
_HALF_BGR = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION
# Half size in RGB: REDUCED_COLOR_2 is the first of these and BGR, which excludes RGB.
_HALF_RGB = cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_ENCODING = (
    cv2.IMWRITE_JPEG_QUALITY, QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    # Its own Huffman code makes a half an eighth smaller, and so a twentieth faster to read.
    cv2.IMWRITE_JPEG_OPTIMIZE, 1,
)  # fmt: skip
# Full colour (4:4:4), tried on a few real videos, brought differences about an eighth nearer to
# those of whole frames, for half as much again to read: what the option is for would be gone.


def build() -> str:
    """What identifies the library that makes stored halves: its version."""
    return str(cv2.__version__)


def recipe() -> list[str | int]:
    """What decides the bytes of stored halves beside their frames."""
    return [FORMAT, QUALITY, build()]


def shrink(jpeg: bytes | bytearray) -> Pixels:
    """A frame at half size (H/2, W/2, 3), RGB, sides rounded up; a grey JPEG becomes RGB.

    Raises StoreError when the JPEG cannot be decoded.
    """
    half = _read(jpeg, _HALF_RGB)
    if half is None:
        raise StoreError("a stored frame cannot be decoded", do="run `tdn store verify`")
    return half


def make(stream: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The JPEGs `stream[offsets[i]:offsets[i + 1]]` at half size, as JPEGs; on one thread.

    Raises DataError naming the first that cannot be decoded, or when they are too much to store.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        found: list[bytes] = []
        room = MAX_BYTES - len(stream)
        for number, (begin, end) in enumerate(pairwise(offsets)):
            pixels = _read(stream[begin:end], _HALF_BGR)
            if pixels is None:
                raise DataError(f"frame {number} cannot be decoded")
            found.append(_encode(pixels))
            room -= len(found[-1])
            if room < 0:
                raise DataError("all is more than 4 GiB")
        return found
    finally:
        cv2.setNumThreads(threads)


def _read(jpeg: bytes | bytearray, flags: int) -> Pixels | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    except cv2.error:  # nothing at all, or more pixels than OpenCV allows
        return None
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


def _encode(pixels: Pixels) -> bytes:
    done, image = cv2.imencode(".jpg", pixels, _ENCODING)
    if not done:
        raise DataError("a frame at half size cannot be stored as a JPEG")
    return image.tobytes()
