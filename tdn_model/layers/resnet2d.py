"""One ResNet bottleneck family for every segment network, at any width and depth.

Shapes: B videos, T segments, F frames in a window, N = B·T rows with the segment index fastest,
C channels, H, W pixels, K classes. Stage 1 is the stem, stages 2-5 are res2-res5 (He et al. 2016).

A temporal network is this backbone with modules in the slots of its bottlenecks:

    y = after_conv1(relu(bn1(conv1(before_conv1(x)))))      1×1
    y = after_conv2(relu(bn2(conv2(y))))                    3×3, stride
    y = relu(after_conv3(bn3(conv3(y))) + shortcut(x))      1×1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import check_at_least, check_choice, check_clips, check_dropout

BLOCKS: dict[str, tuple[int, int, int, int]] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
EXPANSION = 4
TOTAL_STRIDE = 32
STAGES = (2, 3, 4, 5)
SLOTS = ("before_conv1", "after_conv1", "after_conv2", "after_conv3")


@dataclass(frozen=True)
class Geometry:
    """How wide and deep a backbone is: `width` channels after the stem, bottlenecks per stage."""

    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)

    @property
    def features(self) -> int:
        return self.width * 8 * EXPANSION


def geometry(
    backbone: str, width: int | None = None, blocks: Sequence[int] | None = None
) -> Geometry:
    """The named backbone's geometry, narrowed or shortened where `width` or `blocks` say so."""
    check_choice("backbone", backbone, BLOCKS)
    chosen = BLOCKS[backbone] if blocks is None else blocks
    fits = isinstance(chosen, Sequence) and len(chosen) == 4
    if not fits or not all(isinstance(n, int) and n >= 1 for n in chosen):
        raise ValueError(f"blocks: got {blocks!r}; it takes four integers of at least 1")
    width = 64 if width is None else width
    check_at_least("width", width, 1)
    return Geometry(width, (chosen[0], chosen[1], chosen[2], chosen[3]))


@dataclass(frozen=True)
class Site:
    """Where a bottleneck stands: enough for a network to decide what goes into its slots."""

    stage: int
    index: int
    in_channels: int
    planes: int
    stride: int
    blocks_in_stage: int

    @property
    def out_channels(self) -> int:
        return self.planes * EXPANSION


Slots = Mapping[str, nn.Module]
SlotFactory = Callable[[Site], Slots]


def no_slots(site: Site) -> Slots:
    return {}


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1, each with batch norm; temporal modules sit in its slots."""

    CONV_BN = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, site: Site, *, bias: bool = False, slots: Slots | None = None) -> None:
        super().__init__()
        slots = slots or {}
        for name in slots:
            check_choice("slot", name, SLOTS)
        out_channels = site.out_channels
        self.before_conv1 = slots.get("before_conv1", nn.Identity())
        self.conv1 = nn.Conv2d(site.in_channels, site.planes, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(site.planes)
        self.after_conv1 = slots.get("after_conv1", nn.Identity())
        self.conv2 = nn.Conv2d(
            site.planes, site.planes, 3, stride=site.stride, padding=1, bias=bias
        )
        self.bn2 = nn.BatchNorm2d(site.planes)
        self.after_conv2 = slots.get("after_conv2", nn.Identity())
        self.conv3 = nn.Conv2d(site.planes, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.after_conv3 = slots.get("after_conv3", nn.Identity())
        self.shortcut: nn.Module = nn.Identity()
        if site.stride != 1 or site.in_channels != out_channels:
            self.shortcut = ConvBN(site.in_channels, out_channels, 1, stride=site.stride, bias=bias)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.before_conv1(x_NCHW)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.after_conv1(y)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.after_conv2(y)
        y = self.after_conv3(self.bn3(self.conv3(y)))
        return F.relu(y.add_(self.shortcut(x_NCHW)), inplace=True)


class ConvBN(nn.Module):
    """A convolution padded to keep the size at stride 1, and its batch norm."""

    CONV_BN = (("conv", "bn"),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=bias
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x_NCHW))
        return y


class Stem(ConvBN):
    """Stage 1: 7×7/2 convolution, batch norm, ReLU, 3×3/2 max pool."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 7, stride=2, bias=bias)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = F.relu(super().forward(x_NCHW.to(self.conv.weight.dtype)), inplace=True)
        return F.max_pool2d(y, 3, stride=2, padding=1)


def make_stage(
    shape: Geometry, stage: int, *, bias: bool = False, slots: SlotFactory = no_slots
) -> nn.Sequential:
    """Stage 2, 3, 4 or 5 of a backbone of this geometry; every stage but 2 halves the map."""
    planes = shape.width * 2 ** (stage - 2)
    count = shape.blocks[stage - 2]
    in_channels = shape.width if stage == 2 else planes * EXPANSION // 2
    stride = 1 if stage == 2 else 2
    made = []
    for index in range(count):
        site = Site(stage, index, in_channels, planes, stride, count)
        made.append(Bottleneck(site, bias=bias, slots=slots(site)))
        in_channels, stride = site.out_channels, 1
    return nn.Sequential(*made)


def init_convolutions_(module: nn.Module) -> None:
    """Draw every 2-D convolution from N(0, √(2 / (k²·out))); biases and batch norms keep defaults.

    The fan-out counts all output channels even in grouped convolutions, as in the releases.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class SegmentResNet(nn.Module):
    """A 2-D ResNet over the segments of a video with mean consensus (TSN, Wang et al. 2016).

    Logits are the mean over segments of one linear classifier. In evaluation the mean is taken
    before the classifier, which is the same function at 1/T of the work; in training dropout comes
    between, so the classifier runs per segment.
    """

    def __init__(
        self,
        shape: Geometry,
        *,
        num_classes: int,
        num_segments: int,
        dropout: float = 0.5,
        window: int = 1,
        in_channels: int = 3,
        bias: bool = False,
        slots: SlotFactory = no_slots,
    ) -> None:
        super().__init__()
        check_at_least("num_classes", num_classes, 1)
        check_at_least("num_segments", num_segments, 1)
        check_at_least("in_channels", in_channels, 1)
        check_dropout(dropout)
        self.shape = shape
        self.num_classes = num_classes
        self.num_segments = num_segments
        self.window = window
        self.in_channels = in_channels
        self.min_size_px = TOTAL_STRIDE
        self.stem = Stem(in_channels, shape.width, bias=bias)
        self.res2 = make_stage(shape, 2, bias=bias, slots=slots)
        self.res3 = make_stage(shape, 3, bias=bias, slots=slots)
        self.res4 = make_stage(shape, 4, bias=bias, slots=slots)
        self.res5 = make_stage(shape, 5, bias=bias, slots=slots)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(shape.features, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as the released networks do when no ImageNet weights are given."""
        init_convolutions_(self)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        """The last stage's maps `(N, C, H/32, W/32)`."""
        x = self.stem(to_rows(clips_BTFCHW[:, :, self.window // 2]))
        maps: Tensor = self.res5(self.res4(self.res3(self.res2(x))))
        return maps

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        check_clips(
            clips_BTFCHW,
            num_segments=self.num_segments,
            window=self.window,
            channels=self.in_channels,
            min_size_px=self.min_size_px,
        )
        x_NCHW = self.features(clips_BTFCHW)
        x_BTC = x_NCHW.mean((2, 3)).view(-1, self.num_segments, x_NCHW.shape[1])
        logits_BK: Tensor
        if self.training:
            logits_BK = self.classifier(self.dropout(x_BTC)).mean(1)
        else:
            logits_BK = self.classifier(x_BTC.mean(1))
        return logits_BK


def to_rows(x_BTCHW: Tensor) -> Tensor:
    """Segments as rows `(N, C, H, W)` in the channels-last layout that convolutions like best."""
    return x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
