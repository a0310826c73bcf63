"""Torchvision's GoogLeNet and Inception-v3 weights into the networks on those backbones.

Both were trained on frames scaled to -1..1; ours are normalised by ImageNet's mean and deviation.
The first convolution takes the difference up: its weight is scaled by channel, and what a constant
shift of the input would give goes into the running mean of its batch norm. Where that convolution
is padded (GoogLeNet) the shift is exact away from the border.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tdn_model.weights.imagenet import as_state_dict
from tdn_model.weights.inflate import Names, inflate_named

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's mean and deviation by channel, which our clips are normalised by."""
HALF = 0.5
"""Mean and deviation that the published weights were trained with."""

SKIPPED = r"^(fc|aux\d|AuxLogits)\."
"""Torchvision's keys that no network of ours has."""

GOOGLENET_UNITS = {3: "ab", 4: "abcde", 5: "ab"}
INCEPTIONV3_STEM = {
    "Conv2d_1a_3x3": "stem.0",
    "Conv2d_2a_3x3": "stem.1",
    "Conv2d_2b_3x3": "stem.2",
    "Conv2d_3b_1x1": "stem.4",
    "Conv2d_4a_3x3": "stem.5",
}
INCEPTIONV3_UNITS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


def googlenet_names() -> Names:
    """Torchvision's GoogLeNet keys → ours.

    A cube's spatial (or only) convolution is its first part; torchvision's third branch is 3×3 too.
    """
    names = [
        (r"^conv1\.", "conv1.0."),
        (r"^conv2\.", "conv2.0."),
        (r"^conv3\.", "conv2.1.0."),
    ]
    for stage, units in GOOGLENET_UNITS.items():
        for index, unit in enumerate(units):
            names.append((rf"^inception{stage}{unit}\.", f"stage{stage}.{index}."))
    return [
        *names,
        (r"\.branch1\.(conv|bn)\.", r".branch0.0.\1."),
        (r"\.branch([23])\.0\.", r".BRANCH\1.0."),
        (r"\.branch([23])\.1\.", r".BRANCH\1.1.0."),
        (r"\.branch4\.1\.", ".branch3.1."),
        (r"\.BRANCH2\.", ".branch1."),
        (r"\.BRANCH3\.", ".branch2."),
    ]


def inflate_googlenet(model: nn.Module, weights: str | Mapping[str, Tensor]) -> list[str]:
    """Fill I3D-Inception, S3D or S3D-G; returns the keys that kept their values.

    Cubes are inflated by the mean over time. Where a cube is split, its spatial half takes the
    weight and its temporal half becomes each channel's own mean over time, so that a
    still video gives what the 2-D network gives, up to borders. Gates and classifier stay.
    """
    state = _rescaled(as_state_dict(weights), "conv1.conv.weight", "conv1.bn.running_mean")
    untouched = inflate_named(model, state, googlenet_names(), SKIPPED)
    averaged = set()
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv3d) and part.kernel_size[0] > 1 and part.kernel_size[1] == 1:
            eye = torch.eye(part.out_channels, part.in_channels)
            with torch.no_grad():
                part.weight.copy_(eye[:, :, None, None, None] / part.kernel_size[0])
            averaged.add(f"{name}.weight")
    return [key for key in untouched if key not in averaged]


def load_inceptionv3(model: nn.Module, weights: str | Mapping[str, Tensor]) -> list[str]:
    """Fill TSN on Inception-v3; returns the keys that kept their values: the classifier's."""
    names = [(rf"^{re.escape(theirs)}\.", f"{ours}.") for theirs, ours in INCEPTIONV3_STEM.items()]
    names += [
        (rf"^Mixed_{unit}\.", f"stages.{index}.") for index, unit in enumerate(INCEPTIONV3_UNITS)
    ]
    first = "Conv2d_1a_3x3"
    state = _rescaled(as_state_dict(weights), f"{first}.conv.weight", f"{first}.bn.running_mean")
    return inflate_named(model, state, names, SKIPPED)


def _rescaled(state: Mapping[str, Tensor], weight: str, mean: str) -> dict[str, Tensor]:
    """`state` for frames of our normalisation: the first convolution scaled, its mean shifted."""
    if weight not in state or mean not in state:
        raise ValueError(f"ImageNet weights do not fit this network: missing {weight} or {mean}")
    kernel = state[weight]
    scale = torch.tensor(STD, dtype=kernel.dtype)[:, None, None] / HALF
    shift = (torch.tensor(MEAN, dtype=kernel.dtype)[:, None, None] - HALF) / HALF
    constant = (kernel * shift).sum((1, 2, 3))
    return {**state, weight: kernel * scale, mean: state[mean] - constant}
