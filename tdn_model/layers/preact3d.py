"""Pre-activation 3-D ResNet blocks, which ARTNet and ECO share.

Shapes: B videos, T frames, C channels, H, W pixels. The stream between blocks is a raw sum; each
block gives the sum and its batch-normalised, rectified form.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.layers.conv3d import ConvBN3d, conv3d

CUBE = (3, 3, 3)
"""Kernel along (time, height, width)."""


class Activated(nn.Module):
    """Batch norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm3d(channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        return F.relu(self.bn(x_BCTHW), inplace=True)


class Smart(nn.Module):
    """ARTNet's SMART unit without the last batch norm (Wang et al. 2018, section 3.3).

    Appearance: 1×k×k and batch norm. Relation: 3×k×k and batch norm, squared, summed in pairs of
    channels with fixed weights ½, batch norm. Side by side, ReLU, 1×1×1.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        step = (stride, stride, stride)
        half = out_channels // 2
        self.appearance = ConvBN3d(in_channels, out_channels, (1, size, size), step, relu=False)
        self.relation = ConvBN3d(in_channels, out_channels, (3, size, size), step, relu=False)
        self.pool_bn = nn.BatchNorm3d(half)
        self.reduce = conv3d(out_channels + half, out_channels, (1, 1, 1))

    def uncounted_macs(self, x_BCTHW: Tensor) -> int:
        """The fixed pooling of pairs, a grouped convolution in the authors' network."""
        conv = self.relation.conv
        spans = zip(x_BCTHW.shape[2:], conv.kernel_size, conv.stride, strict=True)
        sizes = [(n + 2 * (kernel // 2) - kernel) // step + 1 for n, kernel, step in spans]
        return x_BCTHW.shape[0] * conv.out_channels * sizes[0] * sizes[1] * sizes[2]

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        energy = self.relation(x_BCTHW).square()
        pairs = energy.unflatten(1, (-1, 2)).mean(2)
        both = torch.cat([self.appearance(x_BCTHW), self.pool_bn(pairs)], 1)
        y: Tensor = self.reduce(F.relu(both, inplace=True))
        return y


class PreactBlock(nn.Module):
    """3×3×3 (with the stride), batch norm, ReLU, a second unit; the sum and its activation.

    Takes and gives `(sum, activated)`. Where the shape changes the shortcut is a 3×3×3 convolution
    of the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, smart: bool) -> None:
        super().__init__()
        step = (stride, stride, stride)
        self.conv1 = ConvBN3d(in_channels, out_channels, CUBE, step)
        self.conv2 = (
            Smart(out_channels, out_channels, 3)
            if smart
            else conv3d(out_channels, out_channels, CUBE)
        )
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = conv3d(in_channels, out_channels, CUBE, step)
        self.activate = Activated(out_channels)

    def forward(self, stream: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        total, activated = stream
        y = self.conv2(self.conv1(activated))
        total = y + (total if self.shortcut is None else self.shortcut(activated))
        return total, self.activate(total)


def make_preact_stage(
    in_channels: int, out_channels: int, count: int, stride: int, *, smart: bool
) -> nn.Sequential:
    """`count` blocks, of which the first has the stride."""
    blocks = [PreactBlock(in_channels, out_channels, stride, smart=smart)]
    blocks += [PreactBlock(out_channels, out_channels, 1, smart=smart) for _ in range(count - 1)]
    return nn.Sequential(*blocks)
