"""ImageNet weights into a 3-D ResNet: each 2-D kernel repeated along time, divided by its length.

Carreira & Zisserman 2017, section 2.4 (mean inflation): a still video then gives what the 2-D
network gives for its frame, up to the borders in time.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tdn_model.backbones import SegmentResNet
from tdn_model.imagenet import load_imagenet
from tdn_model.resnet3d import ResNet3d


def inflate_imagenet(model: ResNet3d, weights: str | Mapping[str, Tensor]) -> list[str]:
    """Fill the backbone; returns the keys that kept their values: classifier, attention, head.

    `weights` as in `imagenet.load_imagenet`, whose refusals these are too.
    """
    flat = SegmentResNet(model.shape, num_classes=1, num_segments=1, in_channels=model.in_channels)
    load_imagenet(flat, weights)
    given = {k: v for k, v in flat.state_dict().items() if not k.startswith("classifier.")}
    ours = model.state_dict()
    found = {key: inflated(value, ours[key]) for key, value in given.items()}
    model.load_state_dict({**ours, **found})
    return [key for key in ours if key not in found]


def inflated(value: Tensor, like: Tensor) -> Tensor:
    """`(O, I, H, W)` as `(O, I, T, H, W)`, divided by T; other tensors as they are."""
    if value.ndim != 4 or like.ndim != 5:
        return value
    frames = like.shape[2]
    return value[:, :, None].expand(-1, -1, frames, -1, -1) / frames
