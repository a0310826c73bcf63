"""Just enough of JPEG to count, cut and measure images without decoding them.

Images are told apart by their markers, never by equal header bytes: the frames of one video may
have different headers (after a change of resolution, for example).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FORMAT = 2
"""Raise it when `split` or `size_px` answers differently: stored frames are then made again."""

START, END = b"\xff\xd8", b"\xff\xd9"
_JOINT = END + START + b"\xff"
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
_SCAN = 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Ends the data of a scan, in which a byte FF is followed by 00 or is a restart marker."""

Size = tuple[int, int]


def split(stream: bytes) -> tuple[list[int], bool]:
    """Offsets of the JPEGs that lie end to end in `stream`, and whether a cut one was dropped.

    `offsets[i]:offsets[i + 1]` is image i, so an empty stream gives [0]. The images are those of
    one encoder with one scan each: between the header of one and the next start, only data lie.
    """
    offsets = [0]
    position = 0
    while position < len(stream):
        data = _scan_data(stream, position)
        if data is None:
            return offsets, True
        joint = stream.find(_JOINT, data)
        if joint == -1:
            end = image_end(stream, position)
            if end != len(stream):
                return offsets, True
            position = end
        else:
            position = joint + len(END)
        offsets.append(position)
    return offsets, False


def image_end(data: bytes, start: int = 0) -> int | None:
    """Where the JPEG that begins at `start` ends; None when it is not whole or no JPEG."""
    position = _scan_data(data, start)
    while position is not None:
        found = _MARKER.search(data, position)
        if found is None:
            return None
        if found.group() == END:
            return found.end()
        position = _next_scan(data, found.start())
    return None


def is_one_jpeg(image: bytes) -> bool:
    """Whether `image` is exactly one whole JPEG; nothing but zero bytes may follow it."""
    end = image_end(image)
    return end is not None and not image[end:].strip(b"\0")


def concatenate(images: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Images end to end, and their offsets as `split` gives them."""
    offsets = [0]
    for image in images:
        offsets.append(offsets[-1] + len(image))
    return b"".join(images), offsets


def size_px(image: bytes, start: int = 0) -> Size | None:
    """(width, height) from a JPEG's header; None when there is no readable header."""
    if not image.startswith(START, start):
        return None
    position = start + len(START)
    while position + 9 <= len(image):
        if image[position] != 0xFF:
            return None
        marker = image[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _FRAME_MARKERS:
            height = int.from_bytes(image[position + 5 : position + 7], "big")
            width = int.from_bytes(image[position + 7 : position + 9], "big")
            return (width, height) if width and height else None
        position += 2 + int.from_bytes(image[position + 2 : position + 4], "big")
    return None


def _scan_data(data: bytes, start: int) -> int | None:
    """Where the data of the first scan of the JPEG at `start` begin."""
    if not data.startswith(START, start):
        return None
    return _next_scan(data, start + len(START))


def _next_scan(data: bytes, position: int) -> int | None:
    """Where the data of the next scan begin, from a marker at `position` on."""
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == END[1]:
            return None
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SCAN:
            return position
    return None
