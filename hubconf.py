"""Entry points for `torch.hub`: every network by its name, and readers of published checkpoints.

    model = torch.hub.load("<owner>/tdn-bench", "tdn", num_classes=174, num_segments=8)
    model = torch.hub.load("<owner>/tdn-bench", "official", file="tdn.pth.tar",
                           architecture="tdn", num_segments=8)

Clips are `(B, T, F, 3, H, W)`, frames normalised by ImageNet's mean and deviation; logits `(B, K)`.
F is `model.window`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdn_model.build import MODELS, build_from
from tdn_model.published import import_official
from tdn_model.weights.imagenet import IMAGENET, load_imagenet

dependencies = ["torch", "torchvision"]
OTHER_BACKBONES = {
    "i3d_inception": "inceptionv1",
    "s3d": "inceptionv1",
    "s3d_g": "inceptionv1",
    "tsn_inceptionv3": "inceptionv3",
    "tea": "res2net50",
}
"""Networks whose own backbone, as ImageNet weights are named, is not ResNet-50."""


def _entry(architecture: str) -> Callable[..., nn.Module]:
    def make(
        *,
        num_classes: int,
        num_segments: int,
        backbone: str | None = None,
        imagenet: bool | str | dict[str, torch.Tensor] = False,
        **options: Any,
    ) -> nn.Module:
        shape = {"num_classes": num_classes, "num_segments": num_segments, "backbone": backbone}
        model = build_from(architecture, shape | options)
        if imagenet is True:
            name = backbone or OTHER_BACKBONES.get(architecture, "resnet50")
            load_imagenet(model, IMAGENET.get(name, {}))
        elif imagenet is not False:
            load_imagenet(model, imagenet)
        return model

    make.__name__ = architecture
    make.__doc__ = f"""`{architecture}`, freshly initialised; `tdn models` lists their sizes.

    `imagenet`: True for torchvision's first weights of the backbone, the name of other ones, or a
    state dict in torchvision's naming. `options` are the other fields of
    `tdn_model.contract.NetworkShape` and the network's own.
    """
    return make


def official(
    *,
    file: str | Path,
    architecture: str,
    num_segments: int,
    backbone: str | None = None,
    **options: Any,
) -> nn.Module:
    """A network from its authors' checkpoint file, in evaluation mode; see `import_official`.

    The file is read weights-only: one that would run code is refused.
    """
    state = torch.load(file, map_location="cpu", weights_only=True)
    return import_official(
        architecture, state, backbone=backbone, num_segments=num_segments, **options
    )


globals().update({architecture: _entry(architecture) for architecture in MODELS})
