"""Entry points for `torch.hub`: every network by its name, and readers of published checkpoints.

    model = torch.hub.load("<owner>/tdn-bench", "tdn", num_classes=174, num_segments=8)
    model = torch.hub.load("<owner>/tdn-bench", "official", file="tdn.pth.tar",
                           architecture="tdn", num_segments=8)

Clips are `(B, T, F, 3, H, W)`, frames normalised by ImageNet's mean and deviation; logits `(B, K)`.
F is `model.window`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdn_model.build import MODELS, build, factory
from tdn_model.weights.imagenet import IMAGENET, load_imagenet
from tdn_model.weights.published import import_official

dependencies = ["torch", "torchvision"]


def _entry(architecture: str) -> Callable[..., nn.Module]:
    def make(
        *,
        num_classes: int,
        num_segments: int,
        backbone: str | None = None,
        imagenet: bool | str | dict[str, torch.Tensor] = False,
        **options: Any,
    ) -> nn.Module:
        if backbone is None:
            backbone = inspect.signature(factory(architecture)).parameters["backbone"].default
        model = build(
            architecture,
            backbone=backbone,
            num_classes=num_classes,
            num_segments=num_segments,
            **options,
        )
        if imagenet is True:
            load_imagenet(model, IMAGENET.get(backbone, {}))
        elif imagenet is not False:
            load_imagenet(model, imagenet)
        return model

    make.__name__ = architecture
    make.__doc__ = f"""`{architecture}`, freshly initialised; `tdn models` lists their sizes.

    `imagenet`: True for torchvision's first weights of the backbone, the name of other ones, or a
    state dict in torchvision's naming. `options` are those of `tdn_model.build`.
    """
    return make


def official(
    *,
    file: str | Path,
    architecture: str,
    num_segments: int,
    backbone: str = "resnet50",
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
