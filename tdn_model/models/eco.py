"""ECO and ECO-EnLite: a 2-D network per frame, a 3-D one over its maps.

Mohammadreza Zolfaghari, Kamaljeet Singh and Thomas Brox, "ECO: Efficient Convolutional Network for
Online Video Understanding", ECCV 2018, arXiv:1804.09066.

Shapes: B videos, T frames, N = B·T rows, C channels, H, W pixels, K classes. BN-Inception runs on
every frame up to the middle of unit 3c (96×28×28 of 224²); those maps, stacked over time, go
through res3 to res5 of a 3-D ResNet-18. ECO-Full lets BN-Inception go on as well and classifies
both pooled features; ECO-Lite stops there. The shortcuts and the pre-activation form are those of
the authors' network files, whose 3-D convolution biases, which batch norm cancels, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tdn_model.contract import (
    ClipNetwork,
    NetworkShape,
    check_at_least,
    check_backbone,
    chosen_width,
)
from tdn_model.layers.conv3d import VolumeNetwork, conv3d, scaled
from tdn_model.layers.preact3d import CUBE, Activated, make_preact_stage
from tdn_model.layers.resnet2d import init_convolutions_ as init_frames_
from tdn_model.layers.temporal import split_time
from tdn_model.models.bninception import (
    BACKBONE,
    ConvBNReLU,
    half_pool,
    kept_units,
    make_units,
)

EN_LITE_FRAMES = (16, 20, 24, 32)
"""Frames of ECO-EnLite's members."""
FRAME_DROPOUT = 0.6
"""Of the 2-D network's features, as in the authors' network files."""


class Eco(VolumeNetwork):
    """ECO over T frames; `full` adds the rest of BN-Inception beside the 3-D network."""

    def __init__(self, shape: NetworkShape, *, full: bool) -> None:
        check_backbone(shape, BACKBONE)
        width = chosen_width(shape)
        super().__init__(shape, 1)
        self.full = full
        self.stem = ConvBNReLU(shape.channels, width, 7, 2)
        self.stage2 = nn.Sequential(ConvBNReLU(width, width, 1), ConvBNReLU(width, 3 * width, 3))
        stages = make_units(3 * width, width, kept_units(shape))
        self.stage3 = nn.Sequential(*stages[0][:-1])
        self.unit3c = stages[0][-1]
        self.tail = nn.Sequential(*stages[1], *stages[2]) if full else None
        if not full:
            self.unit3c.branch3 = nn.Sequential()
            self.unit3c.branch33 = self.unit3c.branch33[:2]
        self.res3_conv = conv3d(scaled(96, width), 2 * width, CUBE)
        self.res3_activate = Activated(2 * width)
        self.res3 = make_preact_stage(2 * width, 2 * width, 1, 1, smart=False)
        self.res4 = make_preact_stage(2 * width, 4 * width, 2, 2, smart=False)
        self.res5 = make_preact_stage(4 * width, 8 * width, 2, 2, smart=False)
        features = 8 * width + (stages[2][-1].out_channels if full else 0)
        self.frame_dropout = nn.Dropout(FRAME_DROPOUT if shape.dropout else 0.0)
        self.classifier = nn.Linear(features, shape.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for part in (self.stem, self.stage2, self.stage3, self.unit3c, self.tail):
            if part is not None:
                init_frames_(part)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        """The pooled features of both networks, as a volume of one position."""
        frames = x_BCTHW.shape[2]
        x = half_pool(self.stem(x_BCTHW.transpose(1, 2).flatten(0, 1)))
        x_NCHW = self.stage3(half_pool(self.stage2(x)))
        middle = self.unit3c.branch33[1](self.unit3c.branch33[0](x_NCHW))
        total = self.res3_conv(split_time(middle, frames).transpose(1, 2))
        stream = (total, self.res3_activate(total))
        clip: Tensor = self.res5(self.res4(self.res3(stream)))[1].mean((2, 3, 4))
        clip = self.dropout(clip)
        if self.tail is None:
            return clip[:, :, None, None, None]
        last = self.unit3c.branch33[2](middle)
        both = torch.cat([self.unit3c.branch3(x_NCHW), last, half_pool(x_NCHW)], 1)
        per_frame = self.frame_dropout(self.tail(both).mean((2, 3)))
        pooled = split_time(per_frame, frames).mean(1)
        return torch.cat([pooled, clip], 1)[:, :, None, None, None]

    def head(self, x_BCTHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(x_BCTHW.flatten(1))
        return logits_BK


class EcoEnLite(ClipNetwork):
    """The mean logits of several ECO-Lites, each over its own frames of the clip.

    The members' samplings lie one behind the other: with 16, 20, 24 and 32 frames T is 92.
    """

    def __init__(self, shape: NetworkShape, frames: Sequence[int]) -> None:
        super().__init__(shape)
        self.frames = list(frames)
        self.members = nn.ModuleList(
            Eco(replace(shape, num_segments=count), full=False) for count in frames
        )

    def classifiers(self) -> list[nn.Linear]:
        return [member.get_submodule("classifier") for member in self.members]  # type: ignore[misc]  # Linear layers, which ModuleList does not know

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        parts = torch.split(clips_BTFCHW, self.frames, 1)
        logits = [member(part) for member, part in zip(self.members, parts, strict=True)]
        return torch.stack(logits).mean(0)


def eco(shape: NetworkShape, *, full: bool = True) -> Eco:
    """ECO-Full, 16 frames of 224², 64 G printed; `full` off is ECO-Lite.

    `blocks` keeps the last units of BN-Inception's stages 3, 4 and 5 (at most 1, 3, 5, 2).
    """
    return Eco(shape, full=full)


def eco_en_lite(shape: NetworkShape, *, members: Sequence[int] = EN_LITE_FRAMES) -> EcoEnLite:
    """ECO-EnLite: ECO-Lites over 16, 20, 24 and 32 frames of 224², 92 in all; 267 G printed."""
    for frames in members:
        check_at_least("members", frames, 1)
    if not members or sum(members) != shape.num_segments:
        raise ValueError(
            f"num_segments: got {shape.num_segments}; the members {list(members)} take "
            f"{sum(members)} frames together"
        )
    return EcoEnLite(shape, members)
