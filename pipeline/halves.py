"""Frames decoded at half size inside the JPEG's own transform: cheaper, and not the same pixels.

An option for frames of which a network uses differences at half resolution only (four of TDN's
five), off by default. Each 8x8 block becomes 4x4 from its low frequencies. What is left is mostly
undoing the JPEG's Huffman code, so that a frame of half the size costs three quarters of a whole.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.errors import StoreError

_HALF_RGB = cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB
"""Half size in RGB; REDUCED_COLOR_2 is the first of these and BGR, which excludes RGB."""


def decode_half(jpeg: bytearray) -> Tensor:
    """A frame (3, H/2, W/2) uint8 RGB (sides rounded up), channels-last in memory.

    Raises StoreError when the JPEG cannot be decoded.
    """
    half = cv2.imdecode(np.frombuffer(jpeg, np.uint8), _HALF_RGB)
    if half is None:
        raise StoreError("a stored frame cannot be decoded", do="run `tdn store verify`")
    return torch.from_numpy(np.asarray(half, dtype=np.uint8)).permute(2, 0, 1)
