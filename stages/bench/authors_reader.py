"""How the authors' released code reads clips, and two video decoders with random access.

The transforms are those that TDN takes over from TSN and TSM, step by step; random choices come
from outside, so that both sides make the same.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from pipeline.clips.crops import Crop
from pipeline.clips.transforms import MEAN, STD

TEMPLATE = "img_{:05d}.jpg"


def images(folder: Path, frames: list[int]) -> list[Image.Image]:
    """Frames (0-based) of a folder as RGB images; the folder is listed for its length."""
    os.listdir(folder)
    return [Image.open(folder / TEMPLATE.format(n + 1)).convert("RGB") for n in frames]


def arrays(folder: Path, frames: list[int]) -> list[npt.NDArray[np.uint8]]:
    """Frames of a folder as arrays (H, W, 3)."""
    return [np.asarray(image) for image in images(folder, frames)]


def sample(folder: Path, frames: list[int], crop: Crop, size_px: int) -> Tensor:
    """Read, crop, resize, mirror, stack, float in 0 … 1, normalise: (N · 3, size, size)."""
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    group = [image.crop(box) for image in images(folder, frames)]
    size = (size_px, size_px)
    group = [image.resize(size, Image.Resampling.BILINEAR) for image in group]
    if crop.mirrored:
        group = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in group]
    stack = np.concatenate([np.array(image) for image in group], axis=2)
    tensor = torch.from_numpy(stack).permute(2, 0, 1).contiguous().float().div(255)
    for channel, mean, std in zip(tensor, MEAN * len(group), STD * len(group), strict=True):
        channel.sub_(mean).div_(std)
    return tensor


def torchcodec(path: Path, frames: list[int]) -> Tensor:
    """Frames of a video by torchcodec, seeking exactly, on one thread: (N, 3, H, W)."""
    decoder = import_module("torchcodec.decoders").VideoDecoder(
        str(path), seek_mode="exact", num_ffmpeg_threads=1
    )
    pixels: Tensor = decoder.get_frames_at(frames).data
    return pixels


def decord(path: Path, frames: list[int]) -> npt.NDArray[np.uint8]:
    """Frames of a video by decord, one after another as the authors ask for them: (N, H, W, 3)."""
    library = import_module("decord")
    reader = library.VideoReader(str(path), ctx=library.cpu(0), num_threads=1)
    return np.stack([reader[frame].asnumpy() for frame in frames])
