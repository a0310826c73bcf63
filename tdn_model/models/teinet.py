"""TEINet: motion enhancement, then temporal interaction.

Zhaoyang Liu, Donghao Luo, Yabiao Wang, Limin Wang, Ying Tai, Chengjie Wang, Jilin Li, Feiyue Huang
and Tong Lu, "TEINet: Towards an Efficient Architecture for Video Recognition", AAAI 2020,
arXiv:1911.09435. No release by the authors is known. The paper's parameter count fixes what its
text leaves open: the module works at each block's input width, so it stands before the first 1×1
of the residual branch.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

Full size (ResNet-50, T = 8, 224², 400 classes): 30.34 M parameters (printed 30.4), 32.9 G
multiply-adds (printed 33).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdn_model.contract import NetworkShape, check_at_least
from tdn_model.layers.resnet2d import BlockPosition, SegmentResNet, Slots
from tdn_model.layers.temporal import TemporalConv, split_time


class MotionEnhanced(nn.Module):
    """MEM: scales each channel by how its spatial mean changes towards the next segment.

    `s[t] = σ(W3 (W2 x̂[t+1] - W1 x̂[t]))` with 1×1 convolutions on the pooled maps x̂; the last
    segment, which has no next one, passes unchanged.
    """

    def __init__(self, channels: int, num_segments: int, reduction: int = 8) -> None:
        super().__init__()
        narrow = max(channels // reduction, 1)
        self.num_segments = num_segments
        self.current = nn.Conv2d(channels, narrow, 1, bias=False)
        self.following = nn.Conv2d(channels, narrow, 1, bias=False)
        self.expand = nn.Conv2d(narrow, channels, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        pooled = x_NCHW.mean((2, 3), keepdim=True)
        here = split_time(self.current(pooled), self.num_segments)[:, :-1]
        after = split_time(self.following(pooled), self.num_segments)[:, 1:]
        gate = self.expand((after - here).flatten(0, 1)).sigmoid()
        gate = split_time(gate, self.num_segments - 1)
        gate = torch.cat([gate, gate.new_ones(gate.shape[0], 1, *gate.shape[2:])], 1)
        return x_NCHW * gate.flatten(0, 1)


def teinet(
    shape: NetworkShape,
    *,
    reduction: int = 8,
    motion: bool = True,
    interaction: bool = True,
) -> SegmentResNet:
    """MEM then TIM before the first 1×1 of every block; either part can be left out.

    TIM is a depthwise 3-tap convolution over segments that begins as TSM's shift.
    """
    num_segments = shape.num_segments
    check_at_least("num_segments", num_segments, 2 if motion else 1)
    check_at_least("reduction", reduction, 1)

    def slots(position: BlockPosition) -> Slots:
        parts = nn.Sequential()
        if motion:
            parts.add_module(
                "motion", MotionEnhanced(position.in_channels, num_segments, reduction)
            )
        if interaction:
            parts.add_module("interaction", TemporalConv(position.in_channels, num_segments))
        return {"before_conv1": parts} if len(parts) else {}

    return SegmentResNet(shape, slots=slots)
