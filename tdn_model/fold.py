"""An inference copy of a network with its batch norms folded into the convolutions before them.

A batch norm in evaluation mode is affine per channel, so it folds exactly (up to rounding) into the
convolution that feeds it, biases included. Modules say which of their parts follow one another in a
class attribute `CONV_BN`, pairs of attribute names; a batch norm not listed there stays. The
original is not touched: its biases and statistics are what a published checkpoint holds.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference: folded, evaluation mode, no gradients, channels-last weights."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(folded.modules()):
        for conv_name, bn_name in getattr(module, "CONV_BN", ()):
            conv, bn = getattr(module, conv_name), getattr(module, bn_name)
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, bn))
                setattr(module, bn_name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)
