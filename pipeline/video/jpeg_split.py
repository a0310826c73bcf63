"""Just enough of JPEG to count, cut and measure images without decoding them."""

from __future__ import annotations

from collections.abc import Sequence

FORMAT = 1
"""Raise it when `split` or `size_px` answers differently: stored frames are then made again."""

START, END = b"\xff\xd8", b"\xff\xd9"
_JOINT = END + START
_HEADER_BYTES = 20
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})


def split(stream: bytes) -> tuple[list[int], bool]:
    """Offsets of the JPEGs that lie end to end in `stream`, and whether a cut one was dropped.

    `offsets[i]:offsets[i + 1]` is image i, so an empty stream gives [0]. Safe without parsing:
    inside an image's data FF is always stuffed, and all images start with the same header (one
    encoder wrote them), which makes the search long-needled and fast.
    """
    if not stream.startswith(START):
        return [0], bool(stream)
    joint = END + stream[:_HEADER_BYTES]
    offsets = [0]
    position = stream.find(joint)
    while position != -1:
        offsets.append(position + 2)
        position = stream.find(joint, position + _HEADER_BYTES)
    whole = stream.endswith(END)
    if whole:
        offsets.append(len(stream))
    return offsets, not whole


def concatenate(images: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Images end to end, and their offsets as `split` gives them."""
    offsets = [0]
    for image in images:
        offsets.append(offsets[-1] + len(image))
    return b"".join(images), offsets


def size_px(image: bytes) -> tuple[int, int] | None:
    """(width, height) from a JPEG's header; None when there is no readable header."""
    if not image.startswith(START):
        return None
    position = 2
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
