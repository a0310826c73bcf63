"""Networks by name. One line in `MODELS` adds one; its module is imported when it is asked for.

A factory takes keyword arguments only: `backbone, num_classes, num_segments, width, blocks,
dropout` and its own flat options, each with a default. What it returns is a `torch.nn.Module` that
maps clips `(B, T, F, C, H, W)` to logits `(B, K)` and has the attributes `window` (its F),
`num_segments` and `num_classes`. `build` adds `architecture`, the name it was asked for.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

MODELS: dict[str, str] = {
    "tdn": "tdn_model.models.tdn:tdn",
    "tsn": "tdn_model.models.tsn:tsn",
    "tconv": "tdn_model.models.tsn:tconv",
    "tsm": "tdn_model.models.tsn:tsm",
    "tanet": "tdn_model.models.tanet:tanet",
    "teinet": "tdn_model.models.teinet:teinet",
    "tea": "tdn_model.models.tea:tea",
    "stm": "tdn_model.models.stm:stm",
    "blvnet_tam": "tdn_model.models.blvnet:blvnet_tam",
    "trn_multiscale": "tdn_model.models.trn:trn_multiscale",
    "tsn_bninception": "tdn_model.models.bninception:tsn_bninception",
    "tsn_stack": "tdn_model.models.tsn_stack:tsn_stack",
    "featdiff": "tdn_model.models.featdiff:featdiff",
    "i3d": "tdn_model.models.i3d:i3d",
    "i3d_3x1x1": "tdn_model.models.i3d:i3d_3x1x1",
    "nl_i3d": "tdn_model.models.i3d:nl_i3d",
    "nl_i3d_gcn": "tdn_model.models.nl_i3d_gcn:nl_i3d_gcn",
    "slowonly": "tdn_model.models.i3d:slowonly",
    "slowfast": "tdn_model.models.slowfast:slowfast",
    "i3d_inception": "tdn_model.models.inception3d:i3d_inception",
    "s3d": "tdn_model.models.inception3d:s3d",
    "s3d_g": "tdn_model.models.inception3d:s3d_g",
    "r2plus1d": "tdn_model.models.r2plus1d:r2plus1d",
    "res3d": "tdn_model.models.r2plus1d:res3d",
    "c3d": "tdn_model.models.c3d:c3d",
    "p3d": "tdn_model.models.p3d:p3d",
    "artnet": "tdn_model.models.artnet:artnet",
    "eco": "tdn_model.models.eco:eco",
    "eco_en_lite": "tdn_model.models.eco:eco_en_lite",
    "tsn_inceptionv3": "tdn_model.models.inceptionv3:tsn_inceptionv3",
}

_COMMON = ("backbone", "num_classes", "num_segments", "width", "blocks", "dropout")


def factory(architecture: str) -> Callable[..., nn.Module]:
    """The function that makes networks of this name; imports its module."""
    if architecture not in MODELS:
        raise ValueError(_unknown("architecture", architecture, MODELS))
    module, _, name = MODELS[architecture].partition(":")
    found: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
    return found


def options(architecture: str) -> dict[str, Any]:
    """The network's own options and their defaults, without what all networks take."""
    parameters = inspect.signature(factory(architecture)).parameters
    return {name: p.default for name, p in parameters.items() if name not in _COMMON}


def build(
    architecture: str,
    *,
    backbone: str = "resnet50",
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    **options_given: Any,
) -> nn.Module:
    """The named network, freshly initialised, in training mode.

    `width` (64 in the published networks) and `blocks` (bottlenecks per stage) override the
    backbone's, so that a miniature is the same class as the full network. Made under
    `torch.device("meta")` it allocates nothing.
    """
    known = options(architecture)
    for name in options_given:
        if name not in known:
            raise ValueError(_unknown(f"option of {architecture!r}", name, known))
    model = factory(architecture)(
        backbone=backbone,
        num_classes=num_classes,
        num_segments=num_segments,
        width=width,
        blocks=tuple(blocks) if isinstance(blocks, Sequence) else blocks,
        dropout=dropout,
        **options_given,
    )
    model.architecture = architecture  # type: ignore[assignment]  # a plain attribute, not a module
    for parameter in model.parameters():
        if parameter.ndim == 4:  # else every convolution turns its weight round, every time
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _unknown(kind: str, got: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(got, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {got!r}{hint} It takes: {', '.join(sorted(known)) or 'none'}."
