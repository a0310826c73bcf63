"""Frames decoded at half size inside the JPEG's own transform: a fifth cheaper, and not the same.

An option for frames of which a network uses differences at half resolution only (four of TDN's
five), off by default. Each 8x8 block becomes 4x4 from its low frequencies; pixels are then
repeated, so that the frame keeps its size and averaging over 2x2 gives the half-size frame back.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.errors import StoreError


def decode_half(jpeg: bytearray, width_px: int, height_px: int) -> Tensor:
    """A frame (3, H, W) uint8 RGB, channels-last in memory, of half the detail.

    Raises StoreError when the JPEG cannot be decoded.
    """
    half = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    if half is None:
        raise StoreError("a stored frame cannot be decoded", do="run `tdn store verify`")
    rows, columns = half.shape[:2]
    rgb = cv2.cvtColor(half, cv2.COLOR_BGR2RGB)
    size = (2 * columns, 2 * rows)
    whole = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    return torch.from_numpy(whole[:height_px, :width_px]).permute(2, 0, 1)
