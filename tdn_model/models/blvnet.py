"""bLVNet-TAM: big-little pairs of frames with temporal aggregation.

Quanfu Fan, Chun-Fu (Richard) Chen, Hilde Kuehne, Marco Pistoia and David Cox, "More Is Less:
Learning Efficient Video Representations by Big-Little Network and Depthwise Temporal Aggregation",
NeurIPS 2019, arXiv:1912.00869; details as released.

Shapes: clips `(B, T, 1, C, H, W)` with T = 2n frames, named "n×2" in the tables; P = B·n pairs with
the pair index fastest, logits `(B, K)`. The frames 0, 2, … are "little": full resolution, half the
width, few blocks; the frames 1, 3, … are "big": half the resolution, full width.

Full size (α = 2, β = 4, 174 classes): bLResNet-50 16×2 at 224² 47.7 G multiply-adds (printed 47.7),
24×2 at 256² 93.4 G (the 48 frames of the Kinetics table, printed 93.4), bLResNet-101 32×2 at 224²
128.6 G (printed 128.6).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import ClipNetwork, NetworkShape, check_at_least
from tdn_model.layers.resnet2d import (
    EXPANSION,
    TOTAL_STRIDE,
    ConvBN,
    init_convolutions_,
    mean_logits,
    reset_classifier_,
    resnet_config,
    to_rows,
)
from tdn_model.layers.temporal import TemporalConv, split_time

BACKBONES = {
    "blresnet50": (3, 4, 6, 3),
    "blresnet101": (4, 8, 18, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (4, 8, 18, 3),
}
"""Blocks in stages 2 to 5; the tables call the networks by the plain names."""
PAIR = 2
"""Frames that are read together: one at full, one at half the resolution."""


class Aggregation(TemporalConv):
    """TAM: `ReLU(a⊙x[t-1] + b⊙x[t] + c⊙x[t+1])` per channel, zeros beyond the ends."""

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__(channels, num_frames)
        nn.init.normal_(self.weight, std=(2 / channels) ** 0.5)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.relu(super().forward(x_NCHW), inplace=True)


class PooledShortcut(nn.Sequential):
    """3×3 average pool where the block strides, 1×1 and batch norm where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if stride != 1:
            self.add_module("pool", nn.AvgPool2d(3, stride=stride, padding=1))
        if in_channels != out_channels:
            self.add_module("project", ConvBN(in_channels, out_channels, 1, bias=False))


class BigLittleBottleneck(nn.Module):
    """Bottleneck of inner width out/4 whose last batch norm starts at zero.

    With `num_frames` the convolutions read aggregated maps; so does a shortcut that changes the
    shape, while an identity shortcut reads the block's input.
    """

    CONV_BN = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        last_relu: bool = True,
        num_frames: int | None = None,
    ) -> None:
        super().__init__()
        planes = max(out_channels // EXPANSION, 1)
        self.last_relu = last_relu
        self.aggregate = None if num_frames is None else Aggregation(in_channels, num_frames)
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut: PooledShortcut | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = PooledShortcut(in_channels, out_channels, stride)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = x_NCHW if self.aggregate is None else self.aggregate(x_NCHW)
        carried = x_NCHW if self.shortcut is None else self.shortcut(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y)).add_(carried)
        return F.relu(y, inplace=True) if self.last_relu else y


def chain(
    in_channels: int, out_channels: int, count: int, *, stride: int, last_relu: bool
) -> nn.Module:
    """`count` bottlenecks; the first carries the stride, the last may end before its ReLU."""
    blocks = [
        BigLittleBottleneck(
            in_channels if index == 0 else out_channels,
            out_channels,
            stride=stride if index == 0 else 1,
            last_relu=last_relu or index < count - 1,
        )
        for index in range(count)
    ]
    return nn.Sequential(*blocks)


class PairedStem(nn.Module):
    """7×7/2 on every frame, then the first aggregation and merge: `(P, width, H/4, W/4)`."""

    def __init__(self, in_channels: int, width: int, alpha: int, num_frames: int) -> None:
        super().__init__()
        narrow = max(width // alpha, 1)
        self.conv = ConvBN(in_channels, width, 7, stride=2, bias=False)
        self.aggregate = Aggregation(width, num_frames)
        self.big = ConvBN(width, width, 3, stride=2, bias=False)
        self.little1 = ConvBN(width, narrow, 3, bias=False)
        self.little2 = ConvBN(narrow, narrow, 3, stride=2, bias=False)
        self.little3 = ConvBN(narrow, width, 1, bias=False)
        self.merge = ConvBN(width, width, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = self.aggregate(F.relu(self.conv(x_NCHW), inplace=True))
        little, big = x[0::PAIR], self.big(x[1::PAIR])
        little = F.relu(self.little1(little), inplace=True)
        little = self.little3(F.relu(self.little2(little), inplace=True))
        merged = self.merge(F.relu(big + little, inplace=True))
        return F.relu(merged, inplace=True)


class PairedStage(nn.Module):
    """Aggregation over all frames, then one big and one little branch and their fusion.

    Takes and gives one map per pair: both frames of a pair carry the same map between stages. The
    big branch has `blocks` - 1 bottlenecks and the fusion the last one, which carries `stride`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: int,
        *,
        alpha: int,
        beta: int,
        stride: int,
        num_frames: int,
    ) -> None:
        super().__init__()
        narrow = max(out_channels // alpha, 1)
        few = max(1, blocks // beta - 1)
        self.aggregate = Aggregation(in_channels, num_frames)
        self.big = chain(in_channels, out_channels, max(1, blocks - 1), stride=2, last_relu=False)
        self.little = chain(in_channels, narrow, few, stride=1, last_relu=True)
        self.expand = ConvBN(narrow, out_channels, 1, bias=False)
        self.fusion = BigLittleBottleneck(out_channels, out_channels, stride=stride)

    def forward(self, x_PCHW: Tensor) -> Tensor:
        x = self.aggregate(x_PCHW.repeat_interleave(PAIR, 0))
        little = self.expand(self.little(x[0::PAIR]))
        big = F.interpolate(self.big(x[1::PAIR]), size=little.shape[2:])
        y: Tensor = self.fusion(F.relu(big + little, inplace=True))
        return y


class BigLittleNet(ClipNetwork):
    """The whole network: paired stem, three paired stages, one plain stage on a map per pair."""

    def __init__(self, shape: NetworkShape, *, alpha: int, beta: int) -> None:
        super().__init__(shape, min_size_px=TOTAL_STRIDE)
        config = resnet_config(shape, BACKBONES)
        self.config = config
        num_frames = shape.num_segments
        self.stem = PairedStem(shape.channels, config.width, alpha, num_frames)
        channels, stages = config.width, []
        for index, (blocks, stride) in enumerate(zip(config.blocks[:3], (2, 2, 1), strict=True)):
            out_channels = config.width * 2**index * EXPANSION
            stage = PairedStage(
                channels,
                out_channels,
                blocks,
                alpha=alpha,
                beta=beta,
                stride=stride,
                num_frames=num_frames,
            )
            stages.append(stage)
            channels = out_channels
        self.res2, self.res3, self.res4 = stages
        self.res5 = nn.Sequential(
            *(
                BigLittleBottleneck(
                    channels if index == 0 else config.features,
                    config.features,
                    stride=2 if index == 0 else 1,
                    num_frames=num_frames // PAIR,
                )
                for index in range(config.blocks[3])
            )
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(config.features, shape.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init_convolutions_(self)
        for part in self.modules():
            if isinstance(part, BigLittleBottleneck):
                nn.init.zeros_(part.bn3.weight)
        reset_classifier_(self.classifier)

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        x = self.stem(to_rows(clips_BTFCHW[:, :, 0]))
        x = self.res5(self.res4(self.res3(self.res2(x))))
        pooled = split_time(x, self.num_segments // PAIR).mean((3, 4))
        return mean_logits(pooled, self.classifier, self.dropout)


def blvnet_tam(shape: NetworkShape, *, alpha: int = 2, beta: int = 4) -> BigLittleNet:
    """bLVNet-TAM; `num_segments` counts frames and must be even. α narrows, β shortens the
    little branch.

    The backbone is "blresnet50" or "blresnet101" (stages of 4, 8, 18, 3 blocks, not the plain
    ResNet-101's); the plain names mean the same.
    """
    if shape.num_segments % PAIR:
        raise ValueError(
            f"num_segments: got {shape.num_segments}; it takes an even number of frames"
        )
    check_at_least("alpha", alpha, 1)
    check_at_least("beta", beta, 1)
    return BigLittleNet(shape, alpha=alpha, beta=beta)
