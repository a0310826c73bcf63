"""ImageNet weights into a 3-D ResNet: each 2-D kernel repeated along time, divided by its length.

Carreira & Zisserman 2017, section 2.4 (mean inflation): a still video then gives what the 2-D
network gives for its frame, up to the borders in time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tdn_model.contract import ClipNetwork, NetworkShape
from tdn_model.layers.resnet2d import ResNetConfig, SegmentResNet
from tdn_model.weights.imagenet import as_state_dict, load_imagenet

Names = Sequence[tuple[str, str]]
"""Regular expressions and what replaces them, in order."""

P3D_NAMES: Names = (
    (r"^(conv|bn)1\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.(conv|bn)1\.", r"layer\1.\2.reduce.\3."),
    (r"^layer(\d)\.(\d+)\.(conv|bn)2\.", r"layer\1.\2.space.\3."),
    (r"^layer(\d)\.(\d+)\.(conv|bn)3\.", r"layer\1.\2.expand.\3."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.bn."),
    (r"^layer1\.", "res2."),
    (r"^layer2\.", "res3."),
    (r"^layer3\.", "res4."),
    (r"^layer4\.", "res5."),
)
"""Torchvision's ResNet keys → P3D's, in this order."""


def inflate_resnet(
    model: ClipNetwork, config: ResNetConfig, weights: str | Mapping[str, Tensor]
) -> list[str]:
    """Fill a 3-D ResNet of this size; returns the keys that kept their values.

    Those are the classifier's, and the attention's and the head's where there are any. `weights`
    as in `imagenet.load_imagenet`, whose refusals these are too.
    """
    shape = NetworkShape(
        num_classes=1,
        num_segments=1,
        width=config.width,
        blocks=config.blocks,
        in_channels=model.in_channels,
    )
    flat = SegmentResNet(shape)
    load_imagenet(flat, weights)
    filled = {k: v for k, v in flat.state_dict().items() if not k.startswith("classifier.")}
    ours = model.state_dict()
    loaded = {key: inflated(value, ours[key]) for key, value in filled.items()}
    model.load_state_dict({**ours, **loaded})
    return [key for key in ours if key not in loaded]


def inflate_named(
    model: nn.Module, weights: str | Mapping[str, Tensor], names: Names, skip: str = r"^fc\."
) -> list[str]:
    """Fill a network whose keys are torchvision's after `names`; returns the keys left alone.

    Keys that `skip` matches are not looked for. Raises ValueError naming what does not fit.
    """
    ours = model.state_dict()
    loaded: dict[str, Tensor] = {}
    wrong = []
    for key, value in as_state_dict(weights).items():
        if re.search(skip, key):
            continue
        name = key
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        if name in ours:
            value = inflated(value, ours[name])
        if name not in ours or value.shape != ours[name].shape:
            wrong.append(key)
        loaded[name] = value
    if wrong:
        raise ValueError(
            f"ImageNet weights do not fit this network: unknown or of another shape {wrong[:6]}"
        )
    model.load_state_dict({**ours, **loaded})
    return [key for key in ours if key not in loaded]


def inflated(value: Tensor, like: Tensor) -> Tensor:
    """`(O, I, H, W)` as `(O, I, T, H, W)`, divided by T; other tensors as they are."""
    if value.ndim != 4 or like.ndim != 5:
        return value
    frames = like.shape[2]
    return value[:, :, None].expand(-1, -1, frames, -1, -1) / frames
