"""A convolution that carries its activation: the oneDNN operators that torch's compiler emits."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def has_fused_operators() -> bool:
    """Whether this torch has oneDNN's fused convolutions."""
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    return torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in names)


class FusedConv(nn.Module):
    """A convolution with packed weights and its activation: "none", "relu" or "sigmoid"."""

    def __init__(self, conv: nn.Conv2d, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        assert not isinstance(conv.padding, str)
        self.geometry = (
            list(conv.padding),
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
        )
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.dtype = conv.weight.dtype
        self.packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.detach(), *self.geometry, None
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x_NCHW, self.packed, self.bias, *self.geometry, self.activation, [], ""
        )
        return y

    def add_to_(self, total_NCHW: Tensor, x_NCHW: Tensor) -> Tensor:
        """ReLU(total + conv(x)), written over `total`."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            total_NCHW, x_NCHW, self.packed, self.bias, *self.geometry, "add", 1.0, "relu", [], ""
        )
        return y
