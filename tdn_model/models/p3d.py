"""Pseudo-3D ResNet.

Zhaofan Qiu, Ting Yao and Tao Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual
Networks", ICCV 2017, arXiv:1711.10305; strides and pools are placed as in a port of the released
network.

Shapes: B videos, T frames, C channels, H, W pixels. In res2 to res4 a bottleneck's 3×3 becomes a
spatial S (1×3×3) and a temporal T (3×1×1) convolution, joined in three ways that take turns:

    P3D-A   T(S(x))        P3D-B   S(x) + T(x)        P3D-C   S(x) + T(S(x))

res5 is two-dimensional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import NetworkShape, check_choice
from tdn_model.layers.conv3d import ConvBN3d, VolumeNetwork
from tdn_model.layers.resnet2d import EXPANSION, resnet_config
from tdn_model.weights.inflate import P3D_NAMES, inflate_named

KINDS = ("A", "B", "C")
"""The three joins of S and T."""
FLAT = "2d"
"""A bottleneck without T, as in res5."""


class P3DBottleneck(nn.Module):
    """1×1×1 (with the spatial stride), S and T joined by `kind` (or S alone), 1×1×1; a shortcut."""

    def __init__(self, in_channels: int, planes: int, stride: int, kind: str) -> None:
        super().__init__()
        out_channels, step = planes * EXPANSION, (1, stride, stride)
        self.kind = kind
        self.reduce = ConvBN3d(in_channels, planes, (1, 1, 1), step)
        self.space = ConvBN3d(planes, planes, (1, 3, 3))
        self.time = None if kind == FLAT else ConvBN3d(planes, planes, (3, 1, 1))
        self.expand = ConvBN3d(planes, out_channels, (1, 1, 1), relu=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvBN3d(in_channels, out_channels, (1, 1, 1), step, relu=False)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        y = self.reduce(x_BCTHW)
        space = self.space(y)
        if self.time is None:
            y = space
        elif self.kind == "A":
            y = self.time(space)
        else:
            y = space + self.time(y if self.kind == "B" else space)
        y = self.expand(y)
        return F.relu(y.add_(self.shortcut(x_BCTHW)), inplace=True)


class P3D(VolumeNetwork):
    """Stem, max pool 2×3×3, four stages; time is halved in that pool and after res2, res3, res4."""

    def __init__(self, shape: NetworkShape, kinds: Sequence[str]) -> None:
        config = resnet_config(shape)
        super().__init__(shape, config.features, min_frames=16)
        self.stem = ConvBN3d(shape.channels, config.width, (1, 7, 7), (1, 2, 2))
        stages: list[nn.Module] = []
        channels, position = config.width, 0
        for stage, count in enumerate(config.blocks):
            blocks: list[nn.Module] = []
            for index in range(count):
                kind = FLAT if stage == 3 else kinds[position % len(kinds)]
                stride = 2 if stage and not index else 1
                blocks.append(P3DBottleneck(channels, config.width * 2**stage, stride, kind))
                channels = config.width * 2**stage * EXPANSION
                position += 1
            stages.append(nn.Sequential(*blocks))
        self.res2, self.res3, self.res4, self.res5 = stages
        self.reset_parameters()

    def load_imagenet(self, weights: str | Mapping[str, Tensor]) -> list[str]:
        """ImageNet's ResNet into the 1×1×1 and the spatial convolutions.

        The temporal ones keep their initial values; the 2-D network has none.
        """
        return inflate_named(self, weights, P3D_NAMES)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        x = F.max_pool3d(self.stem(x_BCTHW), (2, 3, 3), 2, (0, 1, 1))
        for stage in (self.res2, self.res3, self.res4):
            x = F.max_pool3d(stage(x), (2, 1, 1))
        maps: Tensor = self.res5(x)
        return maps


def p3d(
    shape: NetworkShape,
    *,
    kinds: Sequence[str] = KINDS,
) -> P3D:
    """P3D on ResNet-50, 16 frames of 160²; `kinds` are the blocks that take turns.

    TDN's UCF101 table prints no cost for it.
    """
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    if not kinds:
        raise ValueError(f"kinds: got none; it takes one or more of {list(KINDS)}")
    return P3D(shape, kinds)
