"""TSN on Inception-v3, made of torchvision's blocks.

Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens and Zbigniew Wojna, "Rethinking
the Inception Architecture for Computer Vision", CVPR 2016, arXiv:1512.00567. TSN: see
`tdn_model.models.tsn`. The published network is torchvision's `inception_v3` without its auxiliary
classifier.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

The TDN text prints 3.2 G per frame. The network costs 5.71 G at its own 299² and, its convolutions
being unpadded, 2.84 G at TSN's 224²; 3.2 is 5.71 scaled by the area, (224/299)² · 5.71.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models import inception as blocks_of

from tdn_model.contract import (
    ClipNetwork,
    NetworkShape,
    check_backbone,
    chosen_blocks,
    chosen_width,
)
from tdn_model.layers.resnet2d import init_convolutions_, mean_logits, reset_classifier_, to_rows
from tdn_model.weights.inception import load_inceptionv3

MIN_SIZE_PX = 75
"""Smallest side whose last map is not empty; no convolution with a stride is padded."""
PUBLISHED_UNITS = (1, 3, 4, 2)
"""Units of the stem and of the 35×35, 17×17 and 8×8 stages (of 299²)."""
POOL_FEATURES = (32, 64, 64)
"""Channels of the pooled branch in the 35×35 units."""
NARROW = (128, 160, 160, 192)
"""Inner channels of the 7×7 branches in the 17×17 units."""


class TSNInceptionV3(ClipNetwork):
    """Inception-v3 per segment, then the mean of the segments' logits."""

    def __init__(self, shape: NetworkShape) -> None:
        check_backbone(shape, "inceptionv3")
        width = chosen_width(shape, 4)
        units = chosen_blocks(shape, PUBLISHED_UNITS, at_most=True)
        super().__init__(shape, min_size_px=MIN_SIZE_PX)

        def conv(inputs: int, outputs: int, **keywords: Any) -> nn.Module:
            ours = shape.channels if inputs == 0 else inputs * width // 64
            layer: nn.Module = blocks_of.BasicConv2d(ours, outputs * width // 64, **keywords)
            return layer

        self.stem = nn.Sequential(
            conv(0, 32, kernel_size=3, stride=2),
            conv(32, 32, kernel_size=3),
            conv(32, 64, kernel_size=3, padding=1),
            nn.MaxPool2d(3, 2),
            conv(64, 80, kernel_size=1),
            conv(80, 192, kernel_size=3),
            nn.MaxPool2d(3, 2),
        )
        self.stages = nn.Sequential(*make_units(conv, units))
        self.dropout = nn.Dropout(shape.dropout)
        self.classifier = nn.Linear(2048 * width // 64, shape.num_classes)
        init_convolutions_(self)
        reset_classifier_(self.classifier)

    def load_imagenet(self, weights: str | Mapping[str, Tensor]) -> list[str]:
        """Torchvision's Inception-v3; see `inception.load_inceptionv3`."""
        return load_inceptionv3(self, weights)

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        """The last maps `(N, C, H', W')`."""
        maps: Tensor = self.stages(self.stem(to_rows(clips_BTFCHW[:, :, 0])))
        return maps

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        pooled = self.features(clips_BTFCHW).mean((2, 3))
        x_BTC = pooled.view(-1, self.num_segments, pooled.shape[1])
        return mean_logits(x_BTC, self.classifier, self.dropout)


def make_units(conv: Any, units: Sequence[int]) -> list[nn.Module]:
    """Torchvision's units A, B, C, D and E with `conv` for their convolutions."""
    layers: list[nn.Module] = []
    channels = 192
    for pool_features in POOL_FEATURES[: units[1]]:
        layers.append(blocks_of.InceptionA(channels, pool_features, conv_block=conv))
        channels = 224 + pool_features
    layers.append(blocks_of.InceptionB(channels, conv_block=conv))
    channels += 480
    for narrow in NARROW[: units[2]]:
        layers.append(blocks_of.InceptionC(channels, narrow, conv_block=conv))
        channels = 768
    layers.append(blocks_of.InceptionD(channels, conv_block=conv))
    channels += 512
    for _ in range(units[3]):
        layers.append(blocks_of.InceptionE(channels, conv_block=conv))
        channels = 2048
    return layers


def tsn_inceptionv3(shape: NetworkShape) -> TSNInceptionV3:
    """TSN on Inception-v3; `width` is a multiple of 4, `blocks` at most (1, 3, 4, 2) units.

    Frames are at least 75 px: its convolutions are not padded.
    """
    return TSNInceptionV3(shape)
