"""What a network costs at its own input, counted on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.schema.network_list import Network
from pipeline.schema.plan_models import CountedNetwork
from tdn_model.build import build_from
from tdn_model.contract import ClipNetwork
from tdn_model.count_cost import Cost, measure, saved_bytes


@dataclass(frozen=True)
class ClipCost:
    """What one clip costs, and the clip's shape `(1, T, F, C, H, W)`."""

    cost: Cost
    input_shape: tuple[int, ...]


def keywords_of(network: Network | CountedNetwork) -> dict[str, Any]:
    """What `build_from` takes to build a network of a plan of stage `cost`."""
    classes = network.classes if isinstance(network, Network) else network.num_classes
    return {
        "backbone": network.backbone,
        "num_classes": classes,
        "num_segments": network.segments,
        **network.options,
    }


def clip_cost(architecture: str, keywords: Mapping[str, Any], side_px: int) -> ClipCost:
    """The cost of one clip of squares of `side_px`; `keywords` as `build_from` takes them."""
    model = on_meta(architecture, keywords)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.forward = _same  # type: ignore[assignment, method-assign]  # costs no MACs
    shape = (1, model.num_segments, model.window, model.in_channels, side_px, side_px)
    return ClipCost(measure(model, shape), shape)


@dataclass(frozen=True)
class TrainingMemory:
    """Device memory that a step of training in float32 needs at least, in bytes."""

    weights: int
    """With gradients and momentum."""
    clip: int
    """Maps that are kept for the backward pass, a clip; half of it in 16 bits."""


def training_memory(architecture: str, keywords: Mapping[str, Any], side_px: int) -> TrainingMemory:
    """Counted on the meta device, without activation checkpointing; arguments as of `clip_cost`.

    Of two clips at once: some layers refuse to train on one.
    """
    model = on_meta(architecture, keywords)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            vars(part)["forward"] = _KeptMap.apply  # 60 % of the time
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    clip = (model.num_segments, model.window, model.in_channels, side_px, side_px)
    return TrainingMemory(3 * weights, saved_bytes(model, (2, *clip)) // 2)


class _KeptMap(torch.autograd.Function):
    """What a batch norm that learns does to memory: it keeps the map given and makes another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.empty_like(x)


def on_meta(architecture: str, keywords: Mapping[str, Any]) -> ClipNetwork:
    """A network without memory for its weights; arguments as of `clip_cost`."""
    with torch.device("meta"), _NoInitialValues():
        return build_from(architecture, keywords)


def _same(x: Tensor) -> Tensor:
    return x


class _NoInitialValues(TorchFunctionMode):
    """Draws no initial values: on the meta device there are none, yet drawing takes time."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def input_of(network: Network) -> str:
    """Clips, frames and side as the list prints them: "2 × 32 × 224²"."""
    clips = f"{network.clips} × " if network.clips > 1 else ""
    return f"{clips}{network.segments} × {network.side_px}²"
