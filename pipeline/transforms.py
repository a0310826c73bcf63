"""Crops, flips and sizes: uint8 frames in, uint8 frames out; normalised later, on the device.

Parameters are drawn once per clip and applied to every frame alike. Frames are (C, H, W) uint8
tensors that lie channels-last in memory, as the JPEG decoder leaves them; each is resized by itself
on that layout, which is the fast path (stacking first would copy it away).

    N  frames of a clip (T·F)      V  views (crops) of a clip      C, H, W  channels, height, width

Three channels are RGB. Two are a field of optical flow, x and y, as levels of which 127.5 means no
motion: mirrored, its x component is inverted as well (255 − x, TSN). Resizing does not rescale it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal
from typing import Protocol as Structure

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.crops import CROPS, Crop

FLOW_CHANNELS = 2

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
FLOW_MEAN = 0.5
FLOW_STD = sum(STD) / len(STD)
""".226, the mean of the RGB deviations: as TSN normalises flow for networks trained on ImageNet."""

Flip = Literal["none", "plain", "label_aware"]
_SMALL_PX = 128 * 128
"""Up to this area a crop's frames are resized in one call (the call costs more than the pixels);
larger ones one by one (copying them side by side would cost more)."""


class Frames(Structure):
    """Frames (C, H, W) uint8 of one size, at least one; they may be decoded as they are asked for.

    A list is one. May be gone through more than once.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


def colour_jitter(view: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and saturation of a clip (N, 3, H, W) uint8, drawn once for all frames.

    Each factor is uniform in 0.6 to 1.4, the usual strength; the papers that jitter colours give
    none. Grey clips (optical flow) must not come here.
    """
    # Imported here: it takes a second, and few recipes jitter colours.
    from torchvision.transforms.v2 import functional

    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).tolist()
    view = functional.adjust_brightness(view, brightness)
    view = functional.adjust_contrast(view, contrast)
    jittered: Tensor = functional.adjust_saturation(view, saturation)
    return jittered


def scaled_size(width: int, height: int, short_side_px: int) -> tuple[int, int]:
    """(width, height) with the shorter side at `short_side_px`, the longer rounded down."""
    if width <= height:
        return short_side_px, int(short_side_px * height / width)
    return int(short_side_px * width / height), short_side_px


def resize(frame: Tensor, width: int, height: int) -> Tensor:
    """A (C, H, W) uint8 frame at another size: bilinear with antialias, as PIL does it."""
    if frame.shape[-1] == width and frame.shape[-2] == height:
        return frame
    return _interpolate(frame.unsqueeze(0), width, height).squeeze(0)


def _interpolate(frames: Tensor, width: int, height: int) -> Tensor:
    """(N, C, H, W) uint8 resized; uint8 in, uint8 out, channels-last kept."""
    if frames.shape[-2:] == (height, width):
        return frames
    # Part of a frame is no dense tensor, and interpolate would fall back to planar memory: three
    # times slower, and slower still to copy from. One copy of the part avoids both.
    dense = frames.contiguous(memory_format=torch.channels_last)
    return interpolate(dense, size=(height, width), mode="bilinear", antialias=True)


def train_view(frames: Frames, crop: Crop, size_px: int, width_px: int | None = None) -> Tensor:
    """One crop of every frame, resized to a square: (N, C, size, size) uint8, channels-last.

    With `width_px`, narrower frames are of half the size of those of that width; the same part of
    them is taken, exactly so when the crop is `even`.
    """
    if width_px is None and crop.width * crop.height <= _SMALL_PX:
        box = _box(crop)
        parts = torch.stack([frame.permute(1, 2, 0)[box] for frame in frames]).permute(0, 3, 1, 2)
        view = _interpolate(parts, size_px, size_px)
    else:
        view = _one_by_one(frames, crop, size_px, width_px or 0)
    return mirror(view) if crop.mirrored else view


def _one_by_one(frames: Frames, crop: Crop, size_px: int, width_px: int) -> Tensor:
    """A crop of each frame, resized while the frame is still in the processor's cache."""
    view = torch.empty(0, dtype=torch.uint8)
    parts: dict[bool, Tensor] = {}
    for number, frame in enumerate(frames):
        half = frame.shape[-1] < width_px
        inside = frame[(slice(None), *_box(crop, 2 if half else 1))]
        if not number:
            view = _channels_last(len(frames), inside.shape[0], size_px, size_px)
        if inside.shape == view.shape[1:]:
            view[number].copy_(inside)
            continue
        if half not in parts:
            channels, height, width = inside.shape
            parts[half] = _channels_last(1, channels, height, width)
        parts[half][0].copy_(inside)
        view[number].copy_(_interpolate(parts[half], size_px, size_px)[0])
    return view


def _box(crop: Crop, shrink: int = 1) -> tuple[slice, slice]:
    top, left = crop.top // shrink, crop.left // shrink
    height, width = crop.height // shrink, crop.width // shrink
    return slice(top, top + height), slice(left, left + width)


def even(crop: Crop) -> Crop:
    """The crop with its place and sides rounded down to even pixels."""
    left, top, width, height = (
        side // 2 * 2 for side in (crop.left, crop.top, crop.width, crop.height)
    )
    return Crop(left, top, width, height, crop.mirrored)


def _channels_last(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.empty((n, height, width, channels), dtype=torch.uint8).permute(0, 3, 1, 2)


def mirror(frames: Tensor) -> Tensor:
    """uint8 frames (…, C, H, W) seen in a mirror; of flow, the x component changes its sign."""
    mirrored = frames.flip(-1)
    if frames.shape[-3] == FLOW_CHANNELS:
        mirrored[..., 0, :, :] = 255 - mirrored[..., 0, :, :]
    return mirrored


def test_views(
    frames: Frames,
    crops: str,
    resize_px: int | None,
    crop_px: int,
    whole_px: tuple[int, int] | None = None,
) -> Tensor:
    """All crops of a protocol: (V, N, C, crop, crop) uint8, channels-last.

    Frames are resized to the shorter side `resize_px` first (None: not, unless a side is smaller
    than the crop). `full` squeezes the whole frame into the square. With `whole_px`, the width and
    height of whole frames, others may be of half that size.
    """
    images = iter(frames)
    first = next(images)
    channels, height, width = first.shape
    if whole_px is not None:
        width, height = whole_px
    if crops == "full":
        whole = Crop(0, 0, width, height)
        return train_view(frames, whole, crop_px, whole_px and whole_px[0]).unsqueeze(0)
    short = resize_px if resize_px is not None else max(crop_px, min(width, height))
    width, height = scaled_size(width, height, short)
    rectangles = CROPS[crops](width, height, crop_px)
    shape = (len(rectangles), len(frames), crop_px, crop_px, channels)
    out = torch.empty(shape, dtype=torch.uint8)
    for number, frame in enumerate(chain([first], images)):
        resized = resize(frame, width, height)
        for view, box in zip(out, rectangles, strict=True):
            part = resized[:, box.top : box.top + crop_px, box.left : box.left + crop_px]
            part = mirror(part) if box.mirrored else part
            view[number].copy_(part.permute(1, 2, 0))
    return out.permute(0, 1, 4, 2, 3)


def flip_map(classes: Sequence[str], flip_pairs: Sequence[Sequence[str]]) -> list[int]:
    """For each class, the class a mirrored clip shows; a pair's unknown name is a ValueError."""
    index = {name: number for number, name in enumerate(classes)}
    table = list(range(len(classes)))
    for one, other in flip_pairs:
        if one not in index or other not in index:
            missing = one if one not in index else other
            raise ValueError(f"flip_pairs names '{missing}', which is no class")
        table[index[one]], table[index[other]] = index[other], index[one]
    return table


def normalise(frames: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 frames (…, C, H, W) as floats of ImageNet's mean and deviation, on their own device."""
    mean = torch.tensor(MEAN, device=frames.device, dtype=dtype).mul(255).view(3, 1, 1)
    scale = torch.tensor(STD, device=frames.device, dtype=dtype).mul(255).reciprocal().view(3, 1, 1)
    return frames.to(dtype).sub_(mean).mul_(scale)


def normalise_flow(fields: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 levels of flow (…, 2, H, W) as floats, on their own device.

    (level / 255 − 0.5) / 0.226 for both components, as TSN feeds flow to networks that start from
    ImageNet weights; no motion comes out near 0.
    """
    return fields.to(dtype).sub_(255 * FLOW_MEAN).mul_(1 / (255 * FLOW_STD))
