"""STM: channel-wise spatio-temporal and channel-wise motion features side by side.

Boyuan Jiang, Mengmeng Wang, Weihao Gan, Wei Wu and Junjie Yan, "STM: SpatioTemporal and Motion
Encoding for Action Recognition", ICCV 2019, arXiv:1908.02486.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

Full size (ResNet-50, T = 8, 224², 174 classes): 24.0 M parameters, 33.1 G multiply-adds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tdn_model.contract import NetworkShape
from tdn_model.layers.resnet2d import BlockPosition, Bottleneck, SegmentResNet, use_blocks_
from tdn_model.layers.temporal import AlignedDifference, TemporalConv


class ChannelMotion(AlignedDifference):
    """CMM: the aligned difference to the next segment at C/16 channels, expanded again.

    `1×1(dw3×3(r[t+1]) - r[t])` with `r = BN(1×1(x))`; the last segment's difference is zero. A
    striding block halves the map with a 2×2 max pool, rounding up as its 3×3 convolution does.
    """

    def __init__(self, channels: int, num_segments: int, *, stride: int) -> None:
        super().__init__(channels, num_segments)
        self.stride = stride

    def forward(self, x_NCHW: Tensor) -> Tensor:
        change = F.pad(self.change(x_NCHW), (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        y: Tensor = self.expand(change)
        if self.stride != 1:
            y = F.max_pool2d(y, self.stride, ceil_mode=True)
        return y


def quarter_shift_(weight_C1K: Tensor) -> None:
    """First quarter of the channels (1, 0, 0), last quarter (0, 0, 1), between (0, 1, 0)."""
    fold = weight_C1K.shape[0] // 4
    with torch.no_grad():
        weight_C1K.zero_()
        weight_C1K[:fold, 0, 0] = 1
        weight_C1K[fold : weight_C1K.shape[0] - fold, 0, 1] = 1
        weight_C1K[weight_C1K.shape[0] - fold :, 0, 2] = 1


class SpatioTemporalBlock(Bottleneck):
    """Bottleneck whose 3×3 (CSTM) follows a temporal convolution and gets CMM added behind it.

    The temporal convolution is depthwise with three taps; it begins as a shift: the first quarter
    of the channels comes from t-1, the last from t+1.
    """

    def __init__(self, position: BlockPosition, num_segments: int) -> None:
        temporal = TemporalConv(position.planes, num_segments)
        quarter_shift_(temporal.weight)
        super().__init__(position, slots={"after_conv1": temporal})
        self.before_conv3 = ChannelMotion(position.planes, num_segments, stride=position.stride)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x_NCHW)), inplace=True)
        y = F.relu(self.bn2(self.conv2(self.after_conv1(h))), inplace=True)
        y = self.bn3(self.conv3(y + self.before_conv3(h)))
        return F.relu(y.add_(self.shortcut(x_NCHW)), inplace=True)


def stm(shape: NetworkShape) -> SegmentResNet:
    """STM: every residual block replaced by the one above."""
    network = SegmentResNet(shape)
    use_blocks_(network, lambda position: SpatioTemporalBlock(position, shape.num_segments))
    return network
