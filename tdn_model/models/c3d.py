"""C3D: eight 3×3×3 convolutions and two hidden layers.

Du Tran, Lubomir Bourdev, Rob Fergus, Lorenzo Torresani and Manohar Paluri, "Learning Spatiotemporal
Features with 3D Convolutional Networks", ICCV 2015, arXiv:1412.0767, section 3.3.

Shapes: B videos, T frames, C channels, H, W pixels. The hidden layers fix T and the side.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import (
    NetworkShape,
    check_at_least,
    check_backbone,
    chosen_blocks,
    chosen_width,
)
from tdn_model.layers.conv3d import VolumeNetwork

FACTORS = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of the convolutions between the pools, in units of the width."""


class C3D(VolumeNetwork):
    """Convolutions with biases and without batch norm, pools, two hidden layers, a classifier.

    The pools are 1×2×2 once, then 2×2×2; the last is padded by 1 in space.
    """

    def __init__(self, shape: NetworkShape, *, side_px: int) -> None:
        width = chosen_width(shape)
        depths = chosen_blocks(shape, (1, 2, 2, 2), at_most=True)
        hidden = 64 * width
        super().__init__(shape, hidden, min_frames=16, min_size_px=side_px)
        self.side_px = side_px
        self.stages = nn.ModuleList()
        channels = shape.channels
        for factors, depth in zip(FACTORS, (1, *depths), strict=True):
            stage = nn.Sequential()
            for factor in factors[len(factors) - depth :]:
                stage.append(nn.Conv3d(channels, factor * width, 3, padding=1))
                stage.append(nn.ReLU(inplace=True))
                channels = factor * width
            self.stages.append(stage)
        side = (side_px // 16 + 2) // 2
        self.fc6 = nn.Linear(channels * (shape.num_segments // 16) * side * side, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for layer in (self.fc6, self.fc7):
            nn.init.normal_(layer.weight, std=0.005)
            nn.init.ones_(layer.bias)

    def check(self, clips_BTFCHW: Tensor) -> None:
        super().check(clips_BTFCHW)
        got = tuple(clips_BTFCHW.shape)
        if got[4:] != (self.side_px, self.side_px):
            raise ValueError(
                f"clips: got H={got[4]}, W={got[5]} in shape {got}; it takes "
                f"H=W={self.side_px} (its hidden layers fix the size; see side_px)"
            )

    def features(self, x_BCTHW: Tensor) -> Tensor:
        last = len(self.stages) - 1
        for index, stage in enumerate(self.stages):
            kernel = (2 if index else 1, 2, 2)
            padding = (0, 1, 1) if index == last else 0
            x_BCTHW = F.max_pool3d(stage(x_BCTHW), kernel, kernel, padding)
        return x_BCTHW

    def head(self, x_BCTHW: Tensor) -> Tensor:
        x = self.dropout(F.relu(self.fc6(x_BCTHW.flatten(1)), inplace=True))
        x = self.dropout(F.relu(self.fc7(x), inplace=True))
        logits_BK: Tensor = self.classifier(x)
        return logits_BK


def c3d(shape: NetworkShape, *, side_px: int = 112) -> C3D:
    """C3D, 16 frames of 112²; `blocks` keeps the last convolutions of stages 2 to 5 (1, 2, 2, 2).

    TDN's UCF101 table names a ResNet-18 beside it, which is `r2plus1d.res3d`; it prints no cost.
    """
    check_backbone(shape, "c3d")
    check_at_least("side_px", side_px, 16)
    return C3D(shape, side_px=side_px)
