"""Inception-v1 over volumes: I3D-InceptionV1, S3D and S3D-G.

I3D: Joao Carreira and Andrew Zisserman, "Quo Vadis, Action Recognition? A New Model and the
Kinetics Dataset", CVPR 2017, arXiv:1705.07750.
S3D, S3D-G: Saining Xie, Chen Sun, Jonathan Huang, Zhuowen Tu and Kevin Murphy, "Rethinking
Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification", ECCV 2018,
arXiv:1712.04851.
Inception-v1: Christian Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
arXiv:1409.4842.

Shapes: B videos, T frames, C channels, H, W pixels, K classes. Pools and convolutions are padded
alike on both sides, as in torchvision's `s3d`, which is this module's S3D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import NetworkShape, check_backbone, chosen_blocks, chosen_width
from tdn_model.layers.conv3d import ConvBN3d, Triple, VolumeNetwork, scaled
from tdn_model.weights.inception import inflate_googlenet

EPS = 1e-3
"""The batch norms' ε in the published networks."""
PUBLISHED_UNITS = (1, 2, 5, 2)
"""Units in stages 2 to 5; the first, stage 2's, cannot be changed."""
MIN_FRAMES = 8
"""With 5 to 7 frames torch 2.14's CPU gradient of a kernel of 7 with stride 2 is NaN or crashes."""
UNITS: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Stages 3, 4, 5: channels of 1×1; 1×1, 3×3×3; 1×1, 3×3×3; pool, 1×1 (Szegedy et al. 2015)."""
POOLS: tuple[tuple[Triple, Triple, Triple], ...] = (
    ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
)
"""Kernel, stride and padding of the max pool before each of these stages."""


class Gate(nn.Module):
    """S3D-G's feature gating `x ⊙ σ(W · mean(x) + b)` (Xie et al. 2018, section 4.4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        gate_BC = torch.sigmoid(self.linear(x_BCTHW.mean((2, 3, 4))))
        return x_BCTHW * gate_BC[:, :, None, None, None]


def point(in_channels: int, out_channels: int) -> nn.Module:
    """1×1×1, batch norm, ReLU."""
    return ConvBN3d(in_channels, out_channels, (1, 1, 1), eps=EPS)


def cube(in_channels: int, out_channels: int, size: int, stride: int, kind: str) -> nn.Sequential:
    """size³, or 1×size² and size×1×1, each with batch norm and ReLU; "gated" adds a gate."""
    step = (stride, stride, stride)
    if kind == "full":
        return nn.Sequential(ConvBN3d(in_channels, out_channels, (size,) * 3, step, eps=EPS))
    parts: list[nn.Module] = [
        ConvBN3d(in_channels, out_channels, (1, size, size), (1, stride, stride), eps=EPS),
        ConvBN3d(out_channels, out_channels, (size, 1, 1), (stride, 1, 1), eps=EPS),
    ]
    if kind == "gated":
        parts.append(Gate(out_channels))
    return nn.Sequential(*parts)


class Unit3d(nn.Module):
    """Four branches side by side; in a gated network each ends in a gate (the authors' code)."""

    def __init__(self, in_channels: int, channels: Sequence[int], kind: str) -> None:
        super().__init__()
        one, two_in, two, three_in, three, four = channels
        self.branch0 = nn.Sequential(point(in_channels, one))
        self.branch1 = nn.Sequential(point(in_channels, two_in), cube(two_in, two, 3, 1, kind))
        self.branch2 = nn.Sequential(
            point(in_channels, three_in), cube(three_in, three, 3, 1, kind)
        )
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), point(in_channels, four))
        if kind == "gated":
            self.branch0.append(Gate(one))
            self.branch3.append(Gate(four))
        self.out_channels = one + two + three + four

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(x_BCTHW) for branch in branches], 1)


class Inception3d(VolumeNetwork):
    """Inception-v1 with 3-D convolutions; logits are averaged over pairs of neighbouring frames."""

    def __init__(self, shape: NetworkShape, kind: str) -> None:
        check_backbone(shape, "inceptionv1")
        width = chosen_width(shape)
        units = chosen_blocks(shape, PUBLISHED_UNITS, at_most=True)[1:]
        super().__init__(shape, 1, min_frames=MIN_FRAMES)
        self.conv1 = cube(shape.channels, width, 7, 2, "full" if kind == "full" else "separable")
        self.conv2 = nn.Sequential(point(width, width), cube(width, 3 * width, 3, 1, kind))
        channels, stages = 3 * width, []
        for plans, count in zip(UNITS, units, strict=True):
            kept: list[nn.Module] = []
            for plan in plans[len(plans) - count :]:
                unit = Unit3d(channels, [scaled(n, width) for n in plan], kind)
                kept.append(unit)
                channels = unit.out_channels
            stages.append(nn.Sequential(*kept))
        self.stage3, self.stage4, self.stage5 = stages
        self.classifier = nn.Linear(channels, shape.num_classes)
        self.reset_parameters()

    def load_imagenet(self, weights: str | Mapping[str, Tensor]) -> list[str]:
        """Inflate torchvision's GoogLeNet; see `inception.inflate_googlenet`."""
        return inflate_googlenet(self, weights)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        x: Tensor = self.conv2(F.max_pool3d(self.conv1(x_BCTHW), *POOLS[0]))
        for pool, stage in zip(POOLS, (self.stage3, self.stage4, self.stage5), strict=True):
            x = stage(F.max_pool3d(x, *pool))
        return x

    def head(self, x_BCTHW: Tensor) -> Tensor:
        x_BCT = x_BCTHW.mean((3, 4))
        x_BTC = F.avg_pool1d(x_BCT, min(2, x_BCT.shape[2]), stride=1).transpose(1, 2)
        logits_BK: Tensor = self.classifier(self.dropout(x_BTC)).mean(1)
        return logits_BK


def i3d_inception(shape: NetworkShape) -> Inception3d:
    """I3D on Inception-v1, 64 frames of 224² (Carreira & Zisserman 2017).

    `blocks` keeps the last units of stages 3, 4 and 5 (its first number, stage 2's, is 1). Ours
    costs 111.2 G where 108 is printed, 2.9 % less. The layers and sizes leave no choice; we only
    note that the 1×1×1 convolutions of stage 3 cost 3.26 G, and without them it would be 107.9.
    """
    return Inception3d(shape, "full")


def s3d(shape: NetworkShape) -> Inception3d:
    """S3D, 64 frames of 224²: I3D with every 3×3×3 split in space and time (Xie et al. 2018).

    `blocks` as in `i3d_inception`. The texts print no cost for it.
    """
    return Inception3d(shape, "separable")


def s3d_g(shape: NetworkShape) -> Inception3d:
    """S3D-G, 64 frames of 224²: S3D with feature gating (Xie et al. 2018).

    `blocks` as in `i3d_inception`. Printed 71.38 G.
    """
    return Inception3d(shape, "gated")
