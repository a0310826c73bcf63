"""Crops, flips and sizes: uint8 frames in, uint8 frames out; normalised later, on the device.

Parameters are drawn once per clip and applied to every frame alike. Frames are (C, H, W) uint8
tensors that lie channels-last in memory, as the JPEG decoder leaves them, and are resized on that
layout, which is the fast path: crops in groups that fit the processor's cache.

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

from pipeline.clips.crops import Crop, eval_crops

FLOW_CHANNELS = 2

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
FLOW_MEAN = 0.5
FLOW_STD = sum(STD) / len(STD)
""".226, the mean of the RGB deviations: as TSN normalises flow for networks trained on ImageNet."""

Flip = Literal["none", "plain", "label_aware"]
_GROUP_PX = 2**18
"""So many pixels are resized in one call: a call alone costs as much as a few thousand pixels, and
more would have left the processor's cache before they are resized."""


class Frames(Structure):
    """Frames (C, H, W) uint8 of one size, at least one; they may be decoded as they are asked for.

    A list is one, and so is a tensor (N, C, H, W). May be gone through more than once.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


Jitter = tuple[float, float, float]
"""Factors of brightness, contrast and saturation."""


def jitter(rng: np.random.Generator) -> Jitter:
    """Factors for a clip, each uniform in 0.6 to 1.4, the usual strength; the papers give none."""
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).tolist()
    return brightness, contrast, saturation


def colour_jitter(view: Tensor, factors: Jitter) -> Tensor:
    """Brightness, contrast and saturation of frames (N, 3, H, W) uint8, alike for all.

    Grey clips (optical flow) must not come here.
    """
    # Imported here: it takes a second, and few recipes jitter colours.
    from torchvision.transforms.v2 import functional

    brightness, contrast, saturation = factors
    view = functional.adjust_brightness(view, brightness)
    view = functional.adjust_contrast(view, contrast)
    jittered: Tensor = functional.adjust_saturation(view, saturation)
    return jittered


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


def train_view(frames: Frames, crop: Crop, size_px: int) -> Tensor:
    """One crop of every frame, resized to a square: (N, C, size, size) uint8, channels-last."""
    view: Tensor | None = None
    done = 0
    for parts in _parts(frames, crop, size_px):
        if view is None:
            view = _channels_last(len(frames), parts.shape[1], size_px, size_px)
        resized = _interpolate(parts, size_px, size_px)
        view[done : done + len(parts)].copy_(mirror(resized) if crop.mirrored else resized)
        done += len(parts)
    assert view is not None  # there is at least one frame
    return view


def _parts(frames: Frames, crop: Crop, size_px: int) -> Iterator[Tensor]:
    """The crop's part of every frame, in groups (n, C, h, w) that are valid until the next.

    Of frames that are decoded as they come, a part is copied while its frame is in the processor's
    cache, and the frame may then go.
    """
    n = max(1, _GROUP_PX // (crop.height * crop.width))
    if isinstance(frames, Tensor):
        yield from torch.split(_cut(frames, crop), n)
        return
    group: Tensor | None = None
    waiting = 0
    for frame in frames:
        part = _cut(frame, crop)
        if part.shape[-2:] == (size_px, size_px):  # nothing to resize: no need to gather them
            yield part.unsqueeze(0)
            continue
        if group is None:
            group = _channels_last(min(n, len(frames)), *part.shape)
        group[waiting].copy_(part)
        waiting += 1
        if waiting == len(group):
            yield group
            waiting = 0
    if group is not None and waiting:
        yield group[:waiting]


def _cut(frame: Tensor, crop: Crop) -> Tensor:
    return frame[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _channels_last(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.empty((n, height, width, channels), dtype=torch.uint8).permute(0, 3, 1, 2)


def mirror(frames: Tensor) -> Tensor:
    """uint8 frames (…, C, H, W) seen in a mirror; of flow, the x component changes its sign."""
    mirrored = frames.flip(-1)
    if frames.shape[-3] == FLOW_CHANNELS:
        mirrored[..., 0, :, :] = 255 - mirrored[..., 0, :, :]
    return mirrored


def crop_views(frames: Frames, crops: str, resize_px: int | None, crop_px: int) -> Tensor:
    """All crops of a protocol: (V, N, C, crop, crop) uint8, channels-last.

    Every frame is decoded once, resized and cropped as `crops.eval_crops` says.
    """
    images = iter(frames)
    first = next(images)
    channels, height, width = first.shape
    size, boxes = eval_crops(width, height, crops, resize_px, crop_px)
    out = torch.empty((len(boxes), len(frames), crop_px, crop_px, channels), dtype=torch.uint8)
    for number, frame in enumerate(chain([first], images)):
        resized = resize(frame, *size)
        for view, box in zip(out, boxes, strict=True):
            part = _cut(resized, box)
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
    """uint8 frames (…, C, H, W) as floats of ImageNet's mean and deviation, on their own device.

    Channels-last in memory, whatever the frames are.
    """
    mean = torch.tensor(MEAN, device=frames.device, dtype=dtype).mul(255)
    scale = torch.tensor(STD, device=frames.device, dtype=dtype).mul(255).reciprocal()
    width = frames.shape[-1]
    # Row by row: over three values at a time the same sums take a processor five times as long.
    rows = frames.movedim(-3, -1).to(dtype).flatten(-2)
    rows.sub_(mean.repeat(width)).mul_(scale.repeat(width))
    return rows.view(*rows.shape[:-1], width, -1).movedim(-1, -3)


def normalise_flow(fields: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 levels of flow (…, 2, H, W) as floats, on their own device.

    (level / 255 − 0.5) / 0.226 for both components, as TSN feeds flow to networks that start from
    ImageNet weights; no motion comes out near 0.
    """
    return fields.to(dtype).sub_(255 * FLOW_MEAN).mul_(1 / (255 * FLOW_STD))
