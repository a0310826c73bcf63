"""BN-Inception over the segments of a video (Ioffe and Szegedy 2015, figure 5; channel counts of
the ImageNet network that TSN and TRN started from), with mean consensus as in TSN.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

Full size (T = 8, 224², 174 classes): 10.4 M parameters, 16.3 G multiply-adds (the tables print 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import check_at_least, check_choice, check_clips, check_dropout
from tdn_model.layers.blocks import mean_logits
from tdn_model.layers.resnet2d import ConvBN, init_convolutions_, to_rows
from tdn_model.layers.temporal import split_time

BACKBONE = "bninception"
PUBLISHED_WIDTH = 64
MIN_SIZE_PX = 32


@dataclass(frozen=True)
class Plan:
    """Output channels of a unit's branches; without a projection the unit halves the map."""

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    projection: int
    pool: str = "avg"

    @property
    def halves(self) -> bool:
        return self.projection == 0


STAGES: tuple[tuple[Plan, ...], ...] = (
    (
        Plan(64, (64, 64), (64, 96), 32),
        Plan(64, (64, 96), (64, 96), 64),
        Plan(0, (128, 160), (64, 96), 0, "max"),
    ),
    (
        Plan(224, (64, 96), (96, 128), 128),
        Plan(192, (96, 128), (96, 128), 128),
        Plan(160, (128, 160), (128, 160), 128),
        Plan(96, (128, 192), (160, 192), 128),
        Plan(0, (128, 192), (192, 256), 0, "max"),
    ),
    (
        Plan(352, (192, 320), (160, 224), 128),
        Plan(352, (192, 320), (192, 224), 128, "max"),
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

    def __init__(self, in_channels: int, plan: Plan, width: int) -> None:
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


class SegmentInception(nn.Module):
    """BN-Inception over segments with mean consensus; the parts are named as in `SegmentResNet`."""

    def __init__(
        self,
        *,
        num_classes: int,
        num_segments: int,
        width: int | None = None,
        blocks: Sequence[int] | None = None,
        dropout: float = 0.5,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        width = PUBLISHED_WIDTH if width is None else width
        check_at_least("num_classes", num_classes, 1)
        check_at_least("num_segments", num_segments, 1)
        check_at_least("in_channels", in_channels, 1)
        check_at_least("width", width, 1)
        check_dropout(dropout)
        kept = check_blocks(blocks)
        self.num_classes = num_classes
        self.num_segments = num_segments
        self.window = 1
        self.in_channels = in_channels
        self.stem = ConvBNReLU(in_channels, width, 7, 2)
        self.stage2 = nn.Sequential(ConvBNReLU(width, width, 1), ConvBNReLU(width, 3 * width, 3))
        channels, stages = 3 * width, []
        for plans, count in zip(STAGES, kept, strict=True):
            units = nn.Sequential()
            for plan in plans[len(plans) - count :]:
                unit = Unit(channels, plan, width)
                units.append(unit)
                channels = unit.out_channels
            stages.append(units)
        self.stage3, self.stage4, self.stage5 = stages
        self.num_features = channels
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        init_convolutions_(self)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        """The last stage's maps `(N, C, H/32, W/32)`."""
        x = half_pool(self.stem(to_rows(clips_BTFCHW[:, :, 0])))
        x = half_pool(self.stage2(x))
        maps: Tensor = self.stage5(self.stage4(self.stage3(x)))
        return maps

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        check_clips(
            clips_BTFCHW,
            num_segments=self.num_segments,
            window=self.window,
            channels=self.in_channels,
            min_size_px=MIN_SIZE_PX,
        )
        pooled = split_time(self.features(clips_BTFCHW), self.num_segments).mean((3, 4))
        return mean_logits(pooled, self.classifier, self.dropout)


def check_blocks(blocks: Sequence[int] | None) -> tuple[int, ...]:
    """Units kept in stages 3, 4, 5: the last ones of each, so that a stage still halves the map."""
    published = tuple(len(stage) for stage in STAGES)
    if blocks is None:
        return published
    got = tuple(blocks)
    most = (1, *published)
    if len(got) != 4 or any(n not in range(1, m + 1) for n, m in zip(got, most, strict=True)):
        raise ValueError(
            f"blocks: got {list(got)}; it takes four integers from 1 up to {list(most)} "
            "(units in stages 2-5)"
        )
    return got[1:]


def tsn_bninception(
    *,
    backbone: str = BACKBONE,
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    in_channels: int = 3,
) -> nn.Module:
    """TSN on BN-Inception (Wang et al. 2016), whichever `backbone` of the two names it is given."""
    check_choice("backbone", backbone, (BACKBONE, "resnet50"))
    return SegmentInception(
        num_classes=num_classes,
        num_segments=num_segments,
        width=width,
        blocks=blocks,
        dropout=dropout,
        in_channels=in_channels,
    )
