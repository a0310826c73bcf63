"""Small networks and clips that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tdn_model.build import build_from
from tdn_model.contract import NetworkShape

MINI: dict[str, Any] = {"width": 8, "blocks": (1, 1, 1, 1), "num_classes": 5}


def make(architecture: str, **keywords: Any) -> Any:
    """A network from shape and options side by side."""
    return build_from(architecture, keywords)


def mini_shape(**fields: Any) -> NetworkShape:
    return NetworkShape(**{"num_segments": 4, **MINI, **fields})


def mini(architecture: str, *, seed: int = 0, num_segments: int = 4, **options: Any) -> Any:
    torch.manual_seed(seed)
    return make(architecture, num_segments=num_segments, **{**MINI, **options})


def clips(
    model: Any, *, batch: int = 2, size: tuple[int, int] = (48, 48), seed: int = 1, **kwargs: Any
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, model.num_segments, model.window, model.in_channels, *size)
    return torch.randn(shape, generator=generator, **kwargs)


def randomise_(model: nn.Module, seed: int = 7) -> None:
    """Weights and batch-norm statistics away from their initial values, so that every part counts.

    Each residual branch adds a third of its input's scale, so that deep networks stay
    well-conditioned and float32 comparisons mean something.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                noise = 0.5 + noise.abs()
            elif tensor.ndim > 1:
                noise = noise * (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("weight"):
                noise = (0.3 if name.endswith("bn3.weight") else 1) * (1 + 0.2 * noise)
            else:
                noise = 0.2 * noise
            tensor.copy_(noise)
