"""What the networks over whole clips share: the contract, 3-D convolution units and the head.

Shapes: B videos, T frames, C channels, H, W pixels, K classes. A clip `(B, T, 1, C, H, W)` becomes
a volume `(B, C, T, H, W)`; `num_segments` is the number of frames. Kernels and strides are written
(time, height, width).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import PUBLISHED_WIDTH, ClipNetwork, NetworkShape, check_at_least

Triple = tuple[int, int, int]
"""Kernels, strides and pools along (time, height, width)."""


class ConvBN3d(nn.Module):
    """A 3-D convolution padded to keep the size at stride 1, its batch norm and, if asked, ReLU."""

    CONV_BN = (("conv", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        *,
        relu: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = conv3d(in_channels, out_channels, kernel, stride)
        self.bn = nn.BatchNorm3d(out_channels, eps=eps)
        self.relu = relu

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x_BCTHW))
        return F.relu(y, inplace=True) if self.relu else y


def conv3d(
    in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1)
) -> nn.Conv3d:
    """A convolution without bias, padded by half its (odd) kernel."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=False)


class VolumeNetwork(ClipNetwork):
    """A network over one clip: `features`, global average pooling, dropout, a linear classifier.

    A subclass makes its layers after `super().__init__` and ends with `reset_parameters`.
    `num_features` is the classifier's input.
    """

    def __init__(
        self,
        shape: NetworkShape,
        num_features: int,
        *,
        min_frames: int = 1,
        min_size_px: int = 32,
    ) -> None:
        check_at_least("num_segments", shape.num_segments, min_frames)
        super().__init__(shape, min_size_px=min_size_px)
        self.dropout = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(num_features, shape.num_classes)

    def reset_parameters(self) -> None:
        """Convolutions from N(0, √(2 / fan-out)), a small random classifier."""
        init_convolutions_(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        """The last maps `(B, C', T', H', W')` of a volume."""
        raise NotImplementedError  # every network of this family has its own

    def head(self, x_BCTHW: Tensor) -> Tensor:
        """Logits `(B, K)` of the last maps."""
        logits_BK: Tensor = self.classifier(self.dropout(x_BCTHW.mean((2, 3, 4))))
        return logits_BK

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        return self.head(self.features(to_volume(clips_BTFCHW)))


def to_volume(clips_BTFCHW: Tensor) -> Tensor:
    """`(B, T, 1, C, H, W)` as `(B, C, T, H, W)`."""
    return clips_BTFCHW[:, :, 0].transpose(1, 2).contiguous()


def init_convolutions_(module: nn.Module) -> None:
    """Draw every convolution from N(0, √(2 / (kernel volume · out))); zero the biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def scaled(channels: int, width: int) -> int:
    """A channel count of the published network (width 64) at another width; at least 1."""
    return max(1, channels * width // PUBLISHED_WIDTH)
