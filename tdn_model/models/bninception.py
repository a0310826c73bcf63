"""BN-Inception over the segments of a video, with mean consensus as in TSN.

Sergey Ioffe and Christian Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", ICML 2015, arXiv:1502.03167, figure 5; channel counts of the
ImageNet network that TSN and TRN started from. TSN: see `tdn_model.models.tsn`.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

Full size (T = 8, 224², 174 classes): 10.4 M parameters, 16.3 G multiply-adds (the tables print 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import (
    PUBLISHED_WIDTH,
    ClipNetwork,
    NetworkShape,
    check_backbone,
    chosen_blocks,
    chosen_width,
)
from tdn_model.layers.resnet2d import (
    ConvBN,
    init_convolutions_,
    mean_logits,
    reset_classifier_,
    to_rows,
)
from tdn_model.layers.temporal import split_time

BACKBONE = "bninception"
PUBLISHED_UNITS = (1, 3, 5, 2)
"""Units in stages 2 to 5; the first, the stem's, cannot be changed."""
MIN_SIZE_PX = 32
"""The network's total stride."""


@dataclass(frozen=True)
class UnitPlan:
    """Output channels of a unit's branches; without a projection the unit halves the map."""

    one: int
    """1×1."""
    three: tuple[int, int]
    """1×1, 3×3."""
    double: tuple[int, int]
    """1×1, and each of 3×3, 3×3."""
    projection: int
    """The 1×1 behind the pool."""
    pool: str = "avg"

    @property
    def halves(self) -> bool:
        """Whether the unit has stride 2."""
        return self.projection == 0


STAGES: tuple[tuple[UnitPlan, ...], ...] = (
    (
        UnitPlan(64, (64, 64), (64, 96), 32),
        UnitPlan(64, (64, 96), (64, 96), 64),
        UnitPlan(0, (128, 160), (64, 96), 0, "max"),
    ),
    (
        UnitPlan(224, (64, 96), (96, 128), 128),
        UnitPlan(192, (96, 128), (96, 128), 128),
        UnitPlan(160, (128, 160), (128, 160), 128),
        UnitPlan(96, (128, 192), (160, 192), 128),
        UnitPlan(0, (128, 192), (192, 256), 0, "max"),
    ),
    (
        UnitPlan(352, (192, 320), (160, 224), 128),
        UnitPlan(352, (192, 320), (192, 224), 128, "max"),
    ),
)
"""Stages 3, 4 and 5: units 3a-3c, 4a-4e, 5a-5b."""


class ConvBNReLU(ConvBN):
    """Convolution (with a bias, as in the ImageNet network), batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=True)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.relu(super().forward(x_NCHW), inplace=True)


def half_pool(x_NCHW: Tensor) -> Tensor:
    """3×3/2 max pool that rounds odd sizes up, as a padded 3×3/2 convolution does."""
    height, width = x_NCHW.shape[2:]
    return F.max_pool2d(x_NCHW, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


class Unit(nn.Module):
    """Up to four branches side by side: 1×1; 1×1, 3×3; 1×1, 3×3, 3×3; pool, 1×1.

    A unit that halves the map has no first branch and passes the pooled input through.
    """

    def __init__(self, in_channels: int, plan: UnitPlan, width: int) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(round(channels * width / PUBLISHED_WIDTH), 1)

        stride = 2 if plan.halves else 1
        (three_in, three), (double_in, double) = plan.three, plan.double
        three_in, three, double_in, double = map(scaled, (three_in, three, double_in, double))
        self.pool = "half" if plan.halves else plan.pool
        self.branch1 = None if plan.halves else ConvBNReLU(in_channels, scaled(plan.one), 1)
        self.branch3 = nn.Sequential(
            ConvBNReLU(in_channels, three_in, 1), ConvBNReLU(three_in, three, 3, stride)
        )
        self.branch33 = nn.Sequential(
            ConvBNReLU(in_channels, double_in, 1),
            ConvBNReLU(double_in, double, 3),
            ConvBNReLU(double, double, 3, stride),
        )
        self.project = None
        if not plan.halves:
            self.project = ConvBNReLU(in_channels, scaled(plan.projection), 1)
        passed = in_channels if plan.halves else scaled(plan.one) + scaled(plan.projection)
        self.out_channels = three + double + passed

    def forward(self, x_NCHW: Tensor) -> Tensor:
        parts = [self.branch3(x_NCHW), self.branch33(x_NCHW)]
        if self.branch1 is not None:
            parts.insert(0, self.branch1(x_NCHW))
        if self.project is None:
            parts.append(half_pool(x_NCHW))
        elif self.pool == "avg":
            parts.append(self.project(F.avg_pool2d(x_NCHW, 3, stride=1, padding=1)))
        else:
            parts.append(self.project(F.max_pool2d(x_NCHW, 3, stride=1, padding=1)))
        return torch.cat(parts, 1)


class SegmentInception(ClipNetwork):
    """BN-Inception over segments with mean consensus; the parts are named as in `SegmentResNet`."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape, min_size_px=MIN_SIZE_PX)
        width = chosen_width(shape)
        self.stem = ConvBNReLU(shape.channels, width, 7, 2)
        self.stage2 = nn.Sequential(ConvBNReLU(width, width, 1), ConvBNReLU(width, 3 * width, 3))
        stages = make_units(3 * width, width, kept_units(shape))
        self.stage3, self.stage4, self.stage5 = (nn.Sequential(*units) for units in stages)
        self.num_features = stages[-1][-1].out_channels
        self.dropout = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(self.num_features, shape.num_classes)
        init_convolutions_(self)
        reset_classifier_(self.classifier)

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        """The last stage's maps `(N, C, H/32, W/32)`."""
        x = half_pool(self.stem(to_rows(clips_BTFCHW[:, :, 0])))
        x = half_pool(self.stage2(x))
        maps: Tensor = self.stage5(self.stage4(self.stage3(x)))
        return maps

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        pooled = split_time(self.features(clips_BTFCHW), self.num_segments).mean((3, 4))
        return mean_logits(pooled, self.classifier, self.dropout)


def make_units(in_channels: int, width: int, counts: Sequence[int]) -> list[list[Unit]]:
    """The last `counts` units of stages 3, 4 and 5, so that a stage still halves the map."""
    stages: list[list[Unit]] = []
    for plans, count in zip(STAGES, counts, strict=True):
        units: list[Unit] = []
        for plan in plans[len(plans) - count :]:
            units.append(Unit(in_channels, plan, width))
            in_channels = units[-1].out_channels
        stages.append(units)
    return stages


def kept_units(shape: NetworkShape) -> tuple[int, ...]:
    """How many units stages 3, 4 and 5 keep: at most the published ones."""
    return chosen_blocks(shape, PUBLISHED_UNITS, at_most=True)[1:]


def tsn_bninception(shape: NetworkShape) -> SegmentInception:
    """TSN on BN-Inception (Wang et al. 2016)."""
    check_backbone(shape, BACKBONE)
    return SegmentInception(shape)
