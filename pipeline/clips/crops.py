"""Where a clip is cropped: rectangles of a frame, drawn for training, fixed for testing.

Parameters are drawn once per clip and applied to every frame alike. Sizes and places are pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SCALES = (1.0, 0.875, 0.75, 0.66)
MAX_SCALE_STEPS = 1
_NEAR_PX = 3
SHORT_SIDE_JITTER = (256, 320)
JITTER_CROP = 224
# (x, y) in quarters of the free space: corners, centre, edge middles, quarter points.
_PLACES = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0),
    (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip

FLOW_SCALES = SCALES[:3]
"""TSN's for flow."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of the frame, in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False


def multi_scale_crop(
    width: int,
    height: int,
    size_px: int,
    flip: bool,
    rng: np.random.Generator,
    scales: Sequence[float] = SCALES,
) -> Crop:
    """TSN's training crop: one of four sizes per axis (three for flow: `FLOW_SCALES`), at one of
    thirteen places.

    Sizes are int(s · shorter side); one within 2 px of `size_px` becomes it; the two axes' scales
    are at most one step apart. `flip` mirrors with probability ½.
    """
    return _placed_crop(width, height, size_px, flip, rng, scales, _PLACES)


def _placed_crop(
    width: int,
    height: int,
    size_px: int,
    flip: bool,
    rng: np.random.Generator,
    scales: Sequence[float],
    places: Sequence[tuple[int, int]],
) -> Crop:
    base = min(width, height)
    sizes = [int(base * scale) for scale in scales]
    sizes = [size_px if abs(side - size_px) < _NEAR_PX else side for side in sizes]
    sizes = [min(side, base) for side in sizes]
    pairs = [
        (w, h)
        for j, h in enumerate(sizes)
        for i, w in enumerate(sizes)
        if abs(i - j) <= MAX_SCALE_STEPS
    ]
    crop_w, crop_h = pairs[int(rng.integers(len(pairs)))]
    across, down = places[int(rng.integers(len(places)))]
    left = across * ((width - crop_w) // 4)
    top = down * ((height - crop_h) // 4)
    return Crop(left, top, crop_w, crop_h, bool(flip and rng.random() < 0.5))


def corner_crop(
    width: int,
    height: int,
    size_px: int,
    flip: bool,
    rng: np.random.Generator,
    scales: Sequence[float] = SCALES,
) -> Crop:
    """The two-stream networks' training crop: one size per axis, at a corner or in the middle."""
    return _placed_crop(width, height, size_px, flip, rng, scales, _PLACES[:5])


def jittered_crop(
    width: int,
    height: int,
    size_px: int,
    flip: bool,
    rng: np.random.Generator,
    scales: Sequence[float] = (),
) -> Crop:
    """A random square, as if the shorter side had been resized to between 256/224 and 320/224 of
    `size_px` (Wang et al. 2021, section 4.1); draws its own scale, so `scales` is not used."""
    short = min(width, height)
    factor = rng.uniform(*SHORT_SIDE_JITTER) / JITTER_CROP
    side = min(short, max(1, round(short / factor)))
    left = int(rng.integers(0, width - side + 1))
    top = int(rng.integers(0, height - side + 1))
    return Crop(left, top, side, side, bool(flip and rng.random() < 0.5))


def random_crop(
    width: int,
    height: int,
    size_px: int,
    flip: bool,
    rng: np.random.Generator,
    scales: Sequence[float] = (),
) -> Crop:
    """A square of 224/256 of the shorter side at a random place: no scale jitter."""
    short = min(width, height)
    side = max(1, round(short * JITTER_CROP / SHORT_SIDE_JITTER[0]))
    left = int(rng.integers(0, width - side + 1))
    top = int(rng.integers(0, height - side + 1))
    return Crop(left, top, side, side, bool(flip and rng.random() < 0.5))


TRAIN_CROPS = {
    "multi_scale": multi_scale_crop,
    "corners": corner_crop,
    "short_side_jitter": jittered_crop,
    "random": random_crop,
}


def center_crop(width: int, height: int, size_px: int) -> list[Crop]:
    """The square in the middle, as torchvision places it."""
    left, top = round((width - size_px) / 2), round((height - size_px) / 2)
    return [Crop(left, top, size_px, size_px)]


def three_crops(width: int, height: int, size_px: int) -> list[Crop]:
    """Left, right and centre squares, in this order, all along x (TSN's full-resolution test).

    The step is a quarter of the free width, rounded down, so that the right one may miss the edge
    by up to 3 px; a portrait video gets the same square three times.
    """
    step_x, step_y = (width - size_px) // 4, (height - size_px) // 4
    return [Crop(x * step_x, 2 * step_y, size_px, size_px) for x in (0, 4, 2)]


def ten_crops(width: int, height: int, size_px: int) -> list[Crop]:
    """Four corners and the centre, each followed by its mirror image (TSN)."""
    step_x, step_y = (width - size_px) // 4, (height - size_px) // 4
    return [
        Crop(x * step_x, y * step_y, size_px, size_px, mirrored)
        for x, y in _PLACES[:5]
        for mirrored in (False, True)
    ]


CROPS = {"center": center_crop, "three": three_crops, "ten": ten_crops}


def scaled_size(width: int, height: int, short_side_px: int) -> tuple[int, int]:
    """(width, height) with the shorter side at `short_side_px`, the longer rounded down."""
    if width <= height:
        return short_side_px, int(short_side_px * height / width)
    return int(short_side_px * width / height), short_side_px


def eval_crops(
    width: int, height: int, crops: str, resize_px: int | None, crop_px: int
) -> tuple[tuple[int, int], list[Crop]]:
    """(width, height) to which a test protocol resizes frames, and its crops of the resized frame.

    The shorter side becomes `resize_px` (None: it stays, unless it is smaller than the crop).
    `full` squeezes the whole frame into one square of `crop_px`.
    """
    if crops == "full":
        return (crop_px, crop_px), [Crop(0, 0, crop_px, crop_px)]
    short = resize_px if resize_px is not None else max(crop_px, min(width, height))
    size = scaled_size(width, height, short)
    return size, CROPS[crops](*size, crop_px)
