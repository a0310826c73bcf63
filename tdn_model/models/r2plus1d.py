"""Basic-block 3-D ResNets: R(2+1)D-34 and Res3D-18.

R(2+1)D: Du Tran, Heng Wang, Lorenzo Torresani, Jamie Ray, Yann LeCun and Manohar Paluri, "A Closer
Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, arXiv:1711.11248.
Res3D: Du Tran, Jamie Ray, Zheng Shou, Shih-Fu Chang and Manohar Paluri, "ConvNet Architecture
Search for Spatiotemporal Feature Learning", 2017, arXiv:1708.05038.

Shapes: B videos, T frames, C channels, H, W pixels. Stages res3 to res5 halve time and space.
Res3D-18 is torchvision's `r3d_18`; R(2+1)D-34 is not among torchvision's models.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import (
    Counts,
    NetworkShape,
    check_backbone,
    chosen_blocks,
    chosen_width,
)
from tdn_model.layers.conv3d import ConvBN3d, VolumeNetwork

TOTAL_STRIDE = 16
"""Pixels of a frame per position of the last maps: the stem and three stages halve them."""

Unit = Callable[[int, int, int, bool], nn.Module]
"""(in channels, out channels, stride, ReLU at the end) → a 3×3×3 unit, or what replaces it."""


class Factored(nn.Sequential):
    """1×d×d to P channels, batch norm, ReLU, then t×1×1: R(2+1)D's replacement of t×d×d.

    P = ⌊t·d²·N·M / (d²·N + t·M)⌋ keeps the parameters of the full convolution (section 3.5).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, relu: bool, eps: float
    ) -> None:
        middle = 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)
        super().__init__(
            ConvBN3d(in_channels, middle, (1, 3, 3), (1, stride, stride), eps=eps),
            ConvBN3d(middle, out_channels, (3, 1, 1), (stride, 1, 1), relu=relu, eps=eps),
        )


def full_unit(in_channels: int, out_channels: int, stride: int, relu: bool) -> nn.Module:
    """3×3×3, batch norm and, if asked, ReLU."""
    return ConvBN3d(in_channels, out_channels, (3, 3, 3), (stride, stride, stride), relu=relu)


def factored_unit(in_channels: int, out_channels: int, stride: int, relu: bool) -> nn.Module:
    """As in the original weights, batch norms have ε = 1e-3."""
    return Factored(in_channels, out_channels, stride, relu, 1e-3)


class BasicBlock3d(nn.Module):
    """Two units and a shortcut, which is 1×1×1 with batch norm where the shape changes."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, unit: Unit, eps: float
    ) -> None:
        super().__init__()
        self.conv1 = unit(in_channels, out_channels, stride, True)
        self.conv2 = unit(out_channels, out_channels, 1, False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            step = (stride, stride, stride)
            self.shortcut = ConvBN3d(
                in_channels, out_channels, (1, 1, 1), step, relu=False, eps=eps
            )

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x_BCTHW))
        return F.relu(y.add_(self.shortcut(x_BCTHW)), inplace=True)


class BasicResNet3d(VolumeNetwork):
    """A stem and four stages of basic blocks over one clip."""

    def __init__(
        self,
        shape: NetworkShape,
        stem: nn.Module,
        unit: Unit,
        *,
        blocks: Counts,
        eps: float,
    ) -> None:
        width = chosen_width(shape)
        super().__init__(shape, 8 * width, min_size_px=TOTAL_STRIDE)
        self.stem = stem
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            units: list[nn.Module] = []
            for index in range(count):
                stride = 2 if stage and not index else 1
                units.append(BasicBlock3d(channels, width * 2**stage, stride, unit, eps))
                channels = width * 2**stage
            stages.append(nn.Sequential(*units))
        self.res2, self.res3, self.res4, self.res5 = stages
        self.reset_parameters()

    def features(self, x_BCTHW: Tensor) -> Tensor:
        maps: Tensor = self.res5(self.res4(self.res3(self.res2(self.stem(x_BCTHW)))))
        return maps


def r2plus1d(shape: NetworkShape) -> BasicResNet3d:
    """R(2+1)D-34, 32 frames of 112² (Tran et al. 2018, table 1; 152 G printed)."""
    check_backbone(shape, "resnet34")
    width = chosen_width(shape)
    middle = max(1, 45 * width // 64)
    stem = nn.Sequential(
        ConvBN3d(shape.channels, middle, (1, 7, 7), (1, 2, 2), eps=1e-3),
        ConvBN3d(middle, width, (3, 1, 1), eps=1e-3),
    )
    blocks = chosen_blocks(shape, (3, 4, 6, 3))
    return BasicResNet3d(shape, stem, factored_unit, blocks=blocks, eps=1e-3)


def res3d(shape: NetworkShape) -> BasicResNet3d:
    """Res3D-18, 16 frames of 112²: the "C3D, ResNet18" of TDN's UCF101 table (Tran et al. 2017).

    That table prints no cost.
    """
    check_backbone(shape, "resnet18")
    stem = ConvBN3d(shape.channels, chosen_width(shape), (3, 7, 7), (1, 2, 2))
    blocks = chosen_blocks(shape, (2, 2, 2, 2))
    return BasicResNet3d(shape, stem, full_unit, blocks=blocks, eps=1e-5)
