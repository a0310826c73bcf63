"""A copy of a network for inference: the same function without batch norms.

A batch norm in evaluation mode is affine per channel, so it folds exactly (up to rounding) into the
convolution or linear layer that feeds it, biases included. Modules say which of their parts follow
one another in a class attribute `CONV_BN`, pairs of names (dotted where a part lies deeper); a
batch norm not listed there stays. The original is not touched: its biases and statistics
are those of a published checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

DTYPES = (torch.float32, torch.bfloat16)
"""Types that a copy can have."""
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Channels innermost, by the rank of the weight."""


def inference_copy(model: nn.Module, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A folded copy in evaluation mode, without gradients.

    With bfloat16 the weights are rounded once; networks on the ResNet stem still take float32
    clips, whose differences they form before rounding. Raises ValueError for another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: got {dtype}; it takes one of {list(DTYPES)}")
    return fold(model).to(dtype)


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: folded, evaluation mode, no gradients, channels-last weights."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(folded.modules()):
        for before_name, norm_name in pairs(module):
            before, norm = module.get_submodule(before_name), module.get_submodule(norm_name)
            if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
                continue
            if isinstance(before, nn.Linear):
                module.set_submodule(before_name, fuse_linear_bn_eval(before, norm))
            elif isinstance(before, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                module.set_submodule(before_name, fuse_conv_bn_eval(before, norm))
            else:
                continue
            module.set_submodule(norm_name, nn.Identity())
    for parameter in folded.parameters():
        if parameter.ndim in LAYOUTS:
            parameter.data = parameter.data.contiguous(memory_format=LAYOUTS[parameter.ndim])
    return folded


def pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The pairs of `CONV_BN` that this module has; a part that is switched off is None."""
    present = {name for name, _ in module.named_modules()}
    for before, norm in getattr(module, "CONV_BN", ()):
        if before in present and norm in present:
            yield before, norm
