"""One ResNet bottleneck family for every segment network, at any width and depth.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385;
the consensus over segments is that of TSN (see `tdn_model.models.tsn`).

Shapes: B videos, T segments, F frames in a window, N = B·T rows with the segment index fastest,
C channels, H, W pixels, K classes. Stage 1 is the stem, stages 2-5 are res2-res5.

A temporal network is this backbone with modules in the slots of its bottlenecks:

    y = after_conv1(relu(bn1(conv1(before_conv1(x)))))      1×1
    y = after_conv2(relu(bn2(conv2(y))))                    3×3, stride
    y = relu(after_conv3(bn3(conv3(y))) + shortcut(x))      1×1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import (
    PUBLISHED_WIDTH,
    ClipNetwork,
    Counts,
    NetworkShape,
    check_choice,
    chosen_blocks,
    chosen_width,
)

BACKBONES: Mapping[str, Counts] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
"""Bottlenecks in stages 2 to 5."""
EXPANSION = 4
"""A bottleneck's output channels per inner channel."""
TOTAL_STRIDE = 32
"""Pixels of a frame per position of the last maps, in each direction."""
STAGES = (2, 3, 4, 5)
"""Stages made of residual blocks."""
SLOTS = ("before_conv1", "after_conv1", "after_conv2", "after_conv3")
"""Places inside a bottleneck for a temporal module; empty ones hold the identity."""


@dataclass(frozen=True)
class ResNetConfig:
    """How wide and deep a ResNet is: `width` channels after the stem, bottlenecks per stage."""

    width: int = PUBLISHED_WIDTH
    blocks: Counts = (3, 4, 6, 3)

    @property
    def features(self) -> int:
        """Channels of the last maps."""
        return self.width * 8 * EXPANSION


def resnet_config(shape: NetworkShape, backbones: Mapping[str, Counts] = BACKBONES) -> ResNetConfig:
    """The backbone that `shape` names, by default the first of `backbones`, at its width and depth.

    Raises ValueError for a name that is not among `backbones`.
    """
    name = next(iter(backbones)) if shape.backbone is None else shape.backbone
    check_choice("backbone", name, backbones)
    return ResNetConfig(chosen_width(shape), chosen_blocks(shape, backbones[name]))


@dataclass(frozen=True)
class BlockPosition:
    """Where a residual block stands: enough for a network to decide what goes into its slots."""

    stage: int
    index: int
    """From 0 inside the stage."""
    in_channels: int
    planes: int
    """Channels of the 3×3 convolution."""
    stride: int
    blocks_in_stage: int

    @property
    def out_channels(self) -> int:
        return self.planes * EXPANSION


def block_positions(config: ResNetConfig, stage: int) -> Iterator[BlockPosition]:
    """The residual blocks of stage 2, 3, 4 or 5; the first of every stage but 2 halves the map."""
    planes = config.width * 2 ** (stage - 2)
    count = config.blocks[stage - 2]
    in_channels = config.width if stage == 2 else planes * EXPANSION // 2
    stride = 1 if stage == 2 else 2
    for index in range(count):
        yield BlockPosition(stage, index, in_channels, planes, stride, count)
        in_channels, stride = planes * EXPANSION, 1


Slots = Mapping[str, nn.Module]
"""Modules by the name of their slot."""
SlotFactory = Callable[[BlockPosition], Slots]
"""Makes the modules of one bottleneck."""


def no_slots(position: BlockPosition) -> Slots:
    """A plain bottleneck."""
    return {}


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1, each with batch norm; temporal modules sit in its slots."""

    CONV_BN = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(
        self, position: BlockPosition, *, bias: bool = False, slots: Slots | None = None
    ) -> None:
        super().__init__()
        slots = slots or {}
        for name in slots:
            check_choice("slot", name, SLOTS)
        out_channels = position.out_channels
        self.before_conv1 = slots.get("before_conv1", nn.Identity())
        self.conv1 = nn.Conv2d(position.in_channels, position.planes, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(position.planes)
        self.after_conv1 = slots.get("after_conv1", nn.Identity())
        self.conv2 = nn.Conv2d(
            position.planes, position.planes, 3, stride=position.stride, padding=1, bias=bias
        )
        self.bn2 = nn.BatchNorm2d(position.planes)
        self.after_conv2 = slots.get("after_conv2", nn.Identity())
        self.conv3 = nn.Conv2d(position.planes, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.after_conv3 = slots.get("after_conv3", nn.Identity())
        self.shortcut: nn.Module = nn.Identity()
        if position.stride != 1 or position.in_channels != out_channels:
            self.shortcut = ConvBN(
                position.in_channels, out_channels, 1, stride=position.stride, bias=bias
            )

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
    config: ResNetConfig, stage: int, *, bias: bool = False, slots: SlotFactory = no_slots
) -> nn.Sequential:
    """Stage 2, 3, 4 or 5 of a ResNet, with what `slots` gives for each of its bottlenecks."""
    positions = block_positions(config, stage)
    return nn.Sequential(
        *(Bottleneck(position, bias=bias, slots=slots(position)) for position in positions)
    )


def init_convolutions_(module: nn.Module) -> None:
    """Draw every 2-D convolution from N(0, √(2 / (k²·out))); biases and batch norms keep defaults.

    The fan-out counts all output channels even in grouped convolutions, as in the releases.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class SegmentResNet(ClipNetwork):
    """A 2-D ResNet over the segments of a video; logits are the mean of the segments' logits.

    `backbones` are the names that `shape.backbone` may have, and `slots` makes the modules inside
    the bottlenecks; `window` is F. In evaluation the features are averaged before the classifier,
    which is the same function at 1/T of the work.
    """

    def __init__(
        self,
        shape: NetworkShape,
        *,
        backbones: Mapping[str, Counts] = BACKBONES,
        window: int = 1,
        bias: bool = False,
        slots: SlotFactory = no_slots,
    ) -> None:
        super().__init__(shape, window=window, min_size_px=TOTAL_STRIDE)
        config = resnet_config(shape, backbones)
        self.config = config
        self.stem = Stem(shape.channels, config.width, bias=bias)
        self.res2 = make_stage(config, 2, bias=bias, slots=slots)
        self.res3 = make_stage(config, 3, bias=bias, slots=slots)
        self.res4 = make_stage(config, 4, bias=bias, slots=slots)
        self.res5 = make_stage(config, 5, bias=bias, slots=slots)
        self.dropout = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(config.features, shape.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as the released networks do when no ImageNet weights are given."""
        init_convolutions_(self)
        reset_classifier_(self.classifier)

    def imagenet_sources(self) -> dict[str, str]:
        """Prefixes of keys beyond the backbone → the backbone's prefix whose weights they copy."""
        return {}

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        """The last stage's maps `(N, C, H/32, W/32)`."""
        return self.stages(to_rows(clips_BTFCHW[:, :, self.window // 2]))

    def stages(self, x_NCHW: Tensor) -> Tensor:
        """Stem and stages 2 to 5: from frames to the last maps."""
        maps: Tensor = self.res5(self.res4(self.res3(self.res2(self.stem(x_NCHW)))))
        return maps

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        x_NCHW = self.features(clips_BTFCHW)
        x_BTC = x_NCHW.mean((2, 3)).view(-1, self.num_segments, x_NCHW.shape[1])
        return mean_logits(x_BTC, self.classifier, self.dropout)


def use_blocks_(network: SegmentResNet, make_block: Callable[[BlockPosition], nn.Module]) -> None:
    """Give a segment network residual blocks of another kind, and initialise all of it again."""
    for stage in STAGES:
        blocks = (make_block(position) for position in block_positions(network.config, stage))
        setattr(network, f"res{stage}", nn.Sequential(*blocks))
    network.reset_parameters()


def reset_classifier_(classifier: nn.Linear) -> None:
    """The released segment networks' start: weights from N(0, 0.001), biases 0."""
    nn.init.normal_(classifier.weight, std=0.001)
    nn.init.zeros_(classifier.bias)


def mean_logits(x_BTC: Tensor, classifier: nn.Linear, dropout: nn.Dropout) -> Tensor:
    """Mean over segments of one linear classifier: `(B, K)`.

    In training dropout stands before the classifier, which then runs per segment; in evaluation the
    mean is taken first.
    """
    logits_BK: Tensor
    if dropout.training:
        logits_BK = classifier(dropout(x_BTC)).mean(1)
    else:
        logits_BK = classifier(x_BTC.mean(1))
    return logits_BK


def to_rows(x_BTCHW: Tensor) -> Tensor:
    """Segments as rows `(N, C, H, W)` in the channels-last layout that convolutions like best."""
    return x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
