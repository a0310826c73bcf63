"""Networks by name. One line in `MODELS` adds one; its module is imported when it is asked for.

A factory takes a `NetworkShape` and its own flat options, keyword-only and each with a default. It
returns a `ClipNetwork`, which maps clips `(B, T, F, C, H, W)` to logits `(B, K)` and has the
attributes `window` (its F), `num_segments`, `num_classes` and `in_channels`. `build` adds
`architecture`, the name it was asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tdn_model.contract import ClipNetwork, NetworkShape

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


def factory(architecture: str) -> Callable[..., ClipNetwork]:
    """The function that makes networks of this name; imports its module."""
    if architecture not in MODELS:
        raise ValueError(_unknown("architecture", architecture, MODELS))
    module, _, name = MODELS[architecture].partition(":")
    function: Callable[..., ClipNetwork] = getattr(importlib.import_module(module), name)
    return function


def options(architecture: str) -> dict[str, Any]:
    """The network's own options and their defaults: the factory's keyword-only arguments."""
    parameters = inspect.signature(factory(architecture)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def build(architecture: str, shape: NetworkShape, **own_options: Any) -> ClipNetwork:
    """The named network, freshly initialised from torch's random stream, in training mode.

    `shape.width` and `shape.blocks` make a miniature of the same class as the full network. Made
    under `torch.device("meta")` it allocates nothing. Raises ValueError naming an unknown network
    or option, or the value that the network refuses.
    """
    known = options(architecture)
    for name in own_options:
        if name not in known:
            raise ValueError(_unknown(f"option of {architecture!r}", name, known))
    model = factory(architecture)(shape, **own_options)
    model.architecture = architecture  # type: ignore[assignment]  # a plain attribute, not a module
    for parameter in model.parameters():
        if parameter.ndim == 4:  # otherwise every forward pass reorders the convolution's weight
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def build_from(architecture: str, keywords: Mapping[str, Any]) -> ClipNetwork:
    """`build` with the fields of `NetworkShape` and the network's own options in one mapping.

    For manifests and `torch.hub`, where both are written side by side.
    """
    names = {field.name for field in dataclasses.fields(NetworkShape)}
    shape = NetworkShape(**{name: value for name, value in keywords.items() if name in names})
    own = {name: value for name, value in keywords.items() if name not in names}
    return build(architecture, shape, **own)


def _unknown(kind: str, got: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(got, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {got!r}{hint} It takes: {', '.join(sorted(known)) or 'none'}."
