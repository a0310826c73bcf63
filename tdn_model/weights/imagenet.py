"""ImageNet weights into a network.

`weights` is the name of a torchvision weight enum, "ResNet50_Weights.IMAGENET1K_V1" (the first
releases are the ones the authors started from), or a state dict in torchvision's naming that the
caller has read from a file. Torchvision fetches and caches the former.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from tdn_model.layers.resnet2d import SegmentResNet

IMAGENET = {
    "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
    "resnet101": "ResNet101_Weights.IMAGENET1K_V1",
    "inceptionv1": "GoogLeNet_Weights.IMAGENET1K_V1",
    "inceptionv3": "Inception_V3_Weights.IMAGENET1K_V1",
}
"""Torchvision's first releases, which the authors started from, by backbone."""

NO_BNINCEPTION = "torchvision has no BN-Inception"
FROM_VIDEO = "its paper trains it on videos from the start, and it has no 2-D counterpart"
REFUSED = {
    "tsn_bninception": NO_BNINCEPTION,
    "trn_multiscale": NO_BNINCEPTION,
    "eco": NO_BNINCEPTION,
    "eco_en_lite": NO_BNINCEPTION,
    "blvnet_tam": "torchvision has no big-little ResNet",
    "slowfast": FROM_VIDEO,
    "r2plus1d": FROM_VIDEO,
    "res3d": FROM_VIDEO,
    "artnet": FROM_VIDEO,
    "c3d": FROM_VIDEO,
}
"""Networks that no ImageNet weights fit, and why."""

_RENAMES = (
    (r"^(conv|bn)1\.", r"stem.\1."),
    (r"^layer(\d)\.", lambda stage: f"res{int(stage[1]) + 1}."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.bn."),
)
"""Torchvision's ResNet keys → a segment network's, in this order."""


def as_state_dict(weights: str | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state dict behind a torchvision weight name, fetched and cached; a dict is itself."""
    if isinstance(weights, str):
        fetched: Mapping[str, Tensor] = get_weight(weights).get_state_dict(check_hash=True)
        return fetched
    return weights


def load_imagenet(model: nn.Module, weights: str | Mapping[str, Tensor]) -> list[str]:
    """Fill the backbone from ImageNet weights; returns the keys that kept their initial values.

    A network that is no plain segment network knows how itself, by a method of this name: 3-D ones
    inflate. Raises ValueError for one that no ImageNet weights fit (`REFUSED`) and for weights of
    another network.
    """
    own = getattr(model, "load_imagenet", None)
    if own is not None:
        untouched: list[str] = own(weights)
        return untouched
    if not isinstance(model, SegmentResNet):
        name = str(getattr(model, "architecture", type(model).__name__))
        why = REFUSED.get(name, "torchvision has no such 2-D network")
        raise ValueError(f"no ImageNet weights fit {name}: {why}")
    return fill_segments(model, as_state_dict(weights))


def fill_segments(model: SegmentResNet, weights: Mapping[str, Tensor]) -> list[str]:
    """`load_imagenet` of a segment network on a ResNet.

    Those that keep their values are, at most: the classifier, convolution biases (the ImageNet
    networks have none) and the temporal modules. Anything else that is missing, left over or of
    another shape is an error. The stem's three input channels are averaged where a network has
    other channels (flow, differences): every input channel gets the mean, not rescaled (Wang et al.
    2021, released code).
    """
    ours = model.state_dict()
    loaded = {_ours(key): value for key, value in weights.items() if not key.startswith("fc.")}
    for target, source in model.imagenet_sources().items():
        for key in ours:
            if key.startswith(target) and (name := source + key.removeprefix(target)) in loaded:
                loaded[key] = loaded[name]
    for key, value in loaded.items():
        if key.endswith(("stem.conv.weight", "unused_stem.weight")):
            loaded[key] = spread_channels(value, ours[key].shape[1])
    wrong = [key for key in loaded if key not in ours or loaded[key].shape != ours[key].shape]
    untouched = [key for key in ours if key not in loaded]
    backbone = re.compile(r"^(stem|res\d\.\d+)\.(?!after|before)(?!.*(conv\d?)\.bias$)")
    lacking = [key for key in untouched if backbone.match(key) and "num_batches_tracked" not in key]
    if wrong or lacking:
        raise ValueError(
            f"ImageNet weights do not fit this backbone: unknown or of another shape {wrong}; "
            f"missing {lacking}"
        )
    model.load_state_dict({**ours, **loaded})
    return untouched


def spread_channels(weight_OIHW: Tensor, in_channels: int) -> Tensor:
    """A first convolution for `in_channels`: the mean over the input channels, repeated."""
    if in_channels == weight_OIHW.shape[1]:
        return weight_OIHW
    mean: Tensor = weight_OIHW.mean(1, keepdim=True)
    return torch.cat([mean] * in_channels, 1)


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A plain segment network's state dict (TSN) in torchvision's ResNet names: what
    `load_imagenet` reads back."""
    renamed = {}
    for key, value in state.items():
        name = re.sub(r"^stem\.(conv|bn)\.", r"\g<1>1.", key)
        name = re.sub(r"^res(\d)\.", lambda stage: f"layer{int(stage[1]) - 1}.", name)
        name = name.replace(".shortcut.conv.", ".downsample.0.")
        name = name.replace(".shortcut.bn.", ".downsample.1.")
        renamed[re.sub(r"^classifier\.", "fc.", name)] = value
    return renamed


def _ours(key: str) -> str:
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key
