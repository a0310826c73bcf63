"""TEA: motion excitation and multiple temporal aggregation in a Res2Net.

Yan Li, Bin Ji, Xintian Shi, Jianguo Zhang, Bin Kang and Limin Wang, "TEA: Temporal Excitation and
Aggregation for Action Recognition", CVPR 2020, arXiv:2004.01398; details as released. The backbone
is that of Shang-Hua Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI,
arXiv:1904.01169.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, w channels in each
of the four chunks of a block, logits `(B, K)`.

Full size (Res2Net-50 26w×4s, T = 8, 224², 174 classes): 24,456,280 parameters, 34.54 G
multiply-adds (the tables print 35).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import NetworkShape
from tdn_model.layers.resnet2d import BlockPosition, ConvBN, SegmentResNet, use_blocks_
from tdn_model.layers.temporal import AlignedDifference, TemporalConv, shift_init_

BACKBONES = {"res2net50": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""Blocks in stages 2 to 5."""
BASE_WIDTH = 26
CHUNKS = 4
"""Res2Net-50 26w×4s: 4 chunks of 26 channels in a block of res2."""


class MotionExcitation(AlignedDifference):
    """ME: scales channels by the aligned difference to the next segment, pooled over the map.

    `x + x ⊙ (σ(BN(1×1(GAP(dw3×3(r[t+1]) - r[t])))) - ½)` with `r = BN(1×1(x))`, C/16 wide; the last
    segment's difference is zero. The paper draws 2σ-1 and no batch norm after the expansion.
    """

    CONV_BN = (("reduce", "reduce_bn"), ("expand", "expand_bn"))

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__(channels, num_segments)
        self.expand_bn = nn.BatchNorm2d(channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        change = self.change(x_NCHW).mean((3, 4), keepdim=True)
        change = F.pad(change, (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        gate = self.expand_bn(self.expand(change)).sigmoid()
        y: Tensor = x_NCHW * (gate + 0.5)
        return y


class Res2Block(nn.Module):
    """1×1, ME, then four chunks that see ever more of time and space (MTA), 1×1.

    Chunks 0-2: the previous chunk's output added (not in a stage's first block), temporal
    convolution that begins as the identity, 3×3 with the block's stride, batch norm, ReLU. Chunk 3:
    temporal convolution that begins as a full shift, and in a stage's first block a 3×3 average
    pool.
    """

    CONV_BN = (
        ("conv1", "bn1"),
        *((f"convs.{i}", f"bns.{i}") for i in range(CHUNKS - 1)),
        ("conv3", "bn3"),
    )

    def __init__(self, position: BlockPosition, num_segments: int) -> None:
        super().__init__()
        chunk = max(position.planes * BASE_WIDTH // 64, 1)
        inner = chunk * CHUNKS
        self.chained = position.index > 0
        self.stride = position.stride
        self.conv1 = nn.Conv2d(position.in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.after_conv1: nn.Module = MotionExcitation(inner, num_segments)
        self.before_convs = nn.ModuleList(TemporalConv(chunk, num_segments) for _ in range(CHUNKS))
        self.convs = nn.ModuleList(
            nn.Conv2d(chunk, chunk, 3, stride=position.stride, padding=1, bias=False)
            for _ in range(CHUNKS - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(chunk) for _ in range(CHUNKS - 1))
        self.conv3 = nn.Conv2d(inner, position.out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(position.out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if position.stride != 1 or position.in_channels != position.out_channels:
            self.shortcut = ConvBN(
                position.in_channels, position.out_channels, 1, stride=position.stride, bias=False
            )
        self.reset_shifts(chunk)

    def reset_shifts(self, chunk: int) -> None:
        """Temporal convolutions begin as the identity, the last chunk's as a full shift."""
        # A ModuleList forgets its members' type: these are TemporalConv, their weight a tensor.
        *identities, last = self.before_convs
        for shift in identities:
            shift_init_(shift.weight, divisor=chunk + 1)  # type: ignore[arg-type]
        shift_init_(last.weight, divisor=2)  # type: ignore[arg-type]

    def aggregate(self, x_NCHW: Tensor) -> Tensor:
        """MTA over the four chunks of the channels."""
        chunks = x_NCHW.chunk(CHUNKS, 1)
        done: list[Tensor] = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            y = chunks[i] + done[-1] if self.chained and done else chunks[i]
            done.append(F.relu(bn(conv(self.before_convs[i](y))), inplace=True))
        last = self.before_convs[-1](chunks[-1])
        if not self.chained:
            last = F.avg_pool2d(last, 3, stride=self.stride, padding=1)
        return torch.cat([*done, last], 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x_NCHW)), inplace=True)
        y = self.aggregate(self.after_conv1(y))
        y = self.bn3(self.conv3(y))
        return F.relu(y.add_(self.shortcut(x_NCHW)), inplace=True)


def tea(shape: NetworkShape) -> SegmentResNet:
    """TEA on "res2net50" (26 w × 4 s); "resnet50", as the tables call it, means the same."""
    network = SegmentResNet(shape, backbones=BACKBONES)
    use_blocks_(network, lambda position: Res2Block(position, shape.num_segments))
    return network


def res2net(shape: NetworkShape) -> SegmentResNet:
    """The Res2Net that TEA starts from: TEA without its temporal modules; `num_segments` is 1.

    Its state dict in torchvision's manner (`imagenet.torchvision_names`) is what the published
    Res2Net-50 26w×4s has, and what `load_imagenet` puts into a TEA.
    """
    network = tea(shape)
    for block in network.modules():
        if isinstance(block, Res2Block):
            block.after_conv1 = nn.Identity()
            block.before_convs = nn.ModuleList(nn.Identity() for _ in range(CHUNKS))
    return network
