"""What the networks over whole clips share: the contract, 3-D convolution units and the head.

Shapes: B videos, T frames, C channels, H, W pixels, K classes. A clip `(B, T, 1, C, H, W)` becomes
a volume `(B, C, T, H, W)`; `num_segments` is the number of frames. Kernels and strides are written
(time, height, width).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import check_at_least, check_choice, check_clips, check_dropout

Triple = tuple[int, int, int]


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


class VolumeNetwork(nn.Module):
    """A network over one clip: `features`, global average pooling, dropout, a linear classifier.

    A subclass makes its layers after `super().__init__` and ends with `reset_parameters`.
    """

    window = 1

    def __init__(
        self,
        features: int,
        *,
        num_classes: int,
        num_segments: int,
        dropout: float,
        in_channels: int,
        min_frames: int = 1,
        min_size_px: int = 32,
    ) -> None:
        super().__init__()
        check_at_least("num_classes", num_classes, 1)
        check_at_least("num_segments", num_segments, min_frames)
        check_at_least("in_channels", in_channels, 1)
        check_dropout(dropout)
        self.num_classes = num_classes
        self.num_segments = num_segments
        self.in_channels = in_channels
        self.min_size_px = min_size_px
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)

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

    def check(self, clips_BTFCHW: Tensor) -> None:
        """Refuse, before any arithmetic, clips that the network cannot take."""
        check_clips(
            clips_BTFCHW,
            num_segments=self.num_segments,
            window=self.window,
            channels=self.in_channels,
            min_size_px=self.min_size_px,
        )

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
    return max(1, channels * width // 64)


def check_width(width: int | None, multiple: int = 1) -> int:
    """`width`, 64 by default; refuses a width that does not divide the network's channels."""
    chosen = 64 if width is None else width
    check_at_least("width", chosen, 1)
    if chosen % multiple:
        raise ValueError(f"width: got {chosen}; it takes a multiple of {multiple}")
    return chosen


def check_backbone(got: str, own: str) -> None:
    """Refuse a backbone other than the network's only one, or `build`'s default, which it is."""
    check_choice("backbone", got, (own, "resnet50"))


def check_units(
    blocks: Sequence[int] | None, published: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Units per stage of a network whose units differ: at most the published ones."""
    got = tuple(published if blocks is None else blocks)
    if len(got) != 4 or any(
        n not in range(1, most + 1) for n, most in zip(got, published, strict=True)
    ):
        raise ValueError(
            f"blocks: got {list(got)}; it takes four integers from 1 up to {list(published)}"
        )
    return (got[0], got[1], got[2], got[3])


def check_blocks(
    blocks: Sequence[int] | None, published: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Blocks in stages 2 to 5: `blocks`, or the published ones."""
    got = tuple(published if blocks is None else blocks)
    if len(got) != 4 or not all(isinstance(n, int) and n >= 1 for n in got):
        raise ValueError(f"blocks: got {list(got)}; it takes four integers of at least 1")
    return (got[0], got[1], got[2], got[3])
