"""3-D bottleneck ResNets, which I3D, NL-I3D, SlowOnly and SlowFast are made of.

Joao Carreira and Andrew Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset", CVPR 2017, arXiv:1705.07750; on a ResNet as in Xiaolong Wang, Ross Girshick, Abhinav Gupta
and Kaiming He, "Non-local Neural Networks", CVPR 2018, arXiv:1711.07971.

Shapes: B videos, T frames, C channels, H, W pixels. The network is the 2-D ResNet with a time axis:
the first 1×1 convolution of a block may become k×1×1 (never the 3×3, which stays 1×3×3), and so
may the stem's 7×7. Part names are those of `resnet2d.SegmentResNet`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import NetworkShape
from tdn_model.layers.conv3d import ConvBN3d, Triple, VolumeNetwork, conv3d
from tdn_model.layers.nonlocal_block import NonLocal
from tdn_model.layers.resnet2d import EXPANSION, STAGES, ResNetConfig, resnet_config
from tdn_model.weights.inflate import inflate_resnet


@dataclass(frozen=True)
class Times:
    """What happens along time: kernels (repeated over a stage's blocks), strides, pools."""

    stem_kernel: int = 1
    stem_stride: int = 1
    pool1: int = 1
    """Kernel and stride along time of the max pool after the stem."""
    pool2: int = 1
    """Kernel and stride along time of a max pool after res2."""
    kernels: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Kernels of the first convolution of each block, per stage; missing stages have 1."""

    def kernel(self, stage: int, index: int) -> int:
        """The temporal kernel of block `index` of a stage."""
        pattern = self.kernels.get(stage, (1,))
        return pattern[index % len(pattern)]

    @property
    def min_frames(self) -> int:
        """Fewest frames that survive the strides and pools."""
        return self.stem_stride * (self.pool1 * self.pool2 - 1) + 1


I3D_TIMES = {2: (3,), 3: (3, 1), 4: (3, 1), 5: (1, 3)}
"""I3D's temporal kernels by stage, repeated over the stage's blocks."""
ALL_THREE = {stage: (3,) for stage in STAGES}
"""A temporal kernel of 3 in every block."""


class Bottleneck3d(nn.Module):
    """k×1×1, 1×3×3 (with the spatial stride), 1×1×1, each with batch norm, and a shortcut.

    `attend`, behind the block, is a non-local block or the identity.
    """

    CONV_BN = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, in_channels: int, planes: int, kernel: int, stride: int) -> None:
        super().__init__()
        out_channels = planes * EXPANSION
        self.conv1 = conv3d(in_channels, planes, (kernel, 1, 1))
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = conv3d(planes, planes, (1, 3, 3), (1, stride, stride))
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = conv3d(planes, out_channels, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            step: Triple = (1, stride, stride)
            self.shortcut = ConvBN3d(in_channels, out_channels, (1, 1, 1), step, relu=False)
        self.attend: nn.Module = nn.Identity()

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x_BCTHW)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        out: Tensor = self.attend(F.relu(y.add_(self.shortcut(x_BCTHW)), inplace=True))
        return out


class Stem3d(ConvBN3d):
    """k×7×7 convolution with spatial stride 2, batch norm, ReLU, 3×3 max pool with stride 2."""

    def __init__(self, in_channels: int, out_channels: int, times: Times) -> None:
        kernel, stride = (times.stem_kernel, 7, 7), (times.stem_stride, 2, 2)
        super().__init__(in_channels, out_channels, kernel, stride)
        self.pool = times.pool1

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        y = super().forward(x_BCTHW)
        return F.max_pool3d(y, (self.pool, 3, 3), (self.pool, 2, 2), (0, 1, 1))


@dataclass(frozen=True)
class Attention:
    """The non-local blocks of a stage: after which of its blocks (from 0), and of which kind."""

    after: Collection[int]
    form: str = "embedded_gaussian"
    pool: Triple = (1, 2, 2)


def make_stage3d(
    config: ResNetConfig,
    stage: int,
    times: Times,
    *,
    in_channels: int | None = None,
    stride: int | None = None,
    attention: Attention | None = None,
) -> nn.Sequential:
    """Stage 2, 3, 4 or 5; `in_channels` and `stride` default to the ResNet's own."""
    planes = config.width * 2 ** (stage - 2)
    if in_channels is None:
        in_channels = config.width if stage == 2 else planes * EXPANSION // 2
    if stride is None:
        stride = 1 if stage == 2 else 2
    blocks = []
    for index in range(config.blocks[stage - 2]):
        blocks.append(Bottleneck3d(in_channels, planes, times.kernel(stage, index), stride))
        in_channels, stride = planes * EXPANSION, 1
        if attention is not None and index in attention.after:
            blocks[-1].attend = NonLocal(in_channels, attention.form, attention.pool)
    return nn.Sequential(*blocks)


class ResNet3d(VolumeNetwork):
    """A 3-D ResNet over one clip, with non-local blocks in the stages of `attention`.

    `zero_last_norm` starts every residual branch at 0 (Goyal et al. 2017), as networks trained
    from scratch do.
    """

    def __init__(
        self,
        shape: NetworkShape,
        times: Times,
        *,
        res5_stride: int = 2,
        attention: Mapping[int, Attention] | None = None,
        zero_last_norm: bool = False,
    ) -> None:
        config = resnet_config(shape)
        super().__init__(shape, config.features, min_frames=times.min_frames)
        self.config = config
        self.times = times
        self.zero_last_norm = zero_last_norm
        self.stem = Stem3d(shape.channels, config.width, times)
        stages = [
            make_stage3d(
                config,
                stage,
                times,
                stride=res5_stride if stage == 5 else None,
                attention=(attention or {}).get(stage),
            )
            for stage in STAGES
        ]
        self.res2, self.res3, self.res4, self.res5 = stages
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_residuals_(self, zero_last_norm=self.zero_last_norm)

    def load_imagenet(self, weights: str | Mapping[str, Tensor]) -> list[str]:
        """Inflate 2-D ImageNet weights; returns the keys that kept their values."""
        return inflate_resnet(self, self.config, weights)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        x = self.res2(self.stem(x_BCTHW))
        if self.times.pool2 > 1:
            x = F.max_pool3d(x, (self.times.pool2, 1, 1))
        maps: Tensor = self.res5(self.res4(self.res3(x)))
        return maps


def reset_residuals_(module: nn.Module, *, zero_last_norm: bool) -> None:
    """Initialise non-local blocks; start residual branches at 0 if asked."""
    for part in module.modules():
        if isinstance(part, NonLocal):
            part.reset_parameters()
        elif isinstance(part, Bottleneck3d) and zero_last_norm:
            nn.init.zeros_(part.bn3.weight)
