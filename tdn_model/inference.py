"""An inference copy that computes the same function in fewer passes over memory.

On a processor most of a segment network's time beyond its convolutions goes into reading and
writing maps, so the copy

- folds batch norms away and keeps every map channels-last (`fold`);
- packs each convolution's weight once, with the activation, and in a bottleneck the sum with the
  shortcut, done where the convolution writes its result;
- runs both directions of an L-TDM as one batch, its mean over scales folded into the last 1×1, its
  gate applied in place, the gate's constant folded into the temporal convolution behind it;
- adds S-TDM's maps to the main path in place, without an enlarged copy of them.

The fused steps use the oneDNN operators that torch's own compiler emits; where this torch has none,
and on accelerators, the copy is the folded network. In-place work is safe because no map is read
twice: hooks that keep maps belong on the original.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.fold import fold
from tdn_model.layers.fused import FusedConv, has_fused_operators
from tdn_model.layers.resnet2d import Bottleneck, Stem

DTYPES = (torch.float32, torch.bfloat16)


def inference_copy(
    model: nn.Module, *, dtype: torch.dtype = torch.float32, fused: bool = True
) -> nn.Module:
    """A copy for evaluation, without gradients; `fused` off leaves it at folding.

    With bfloat16 the weights are rounded once; networks on the ResNet stem still take float32
    clips, whose differences they form before rounding. Raises ValueError for another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: got {dtype}; it takes one of {list(DTYPES)}")
    copy = fold(model).to(dtype)
    on_processor = all(p.device.type == "cpu" for p in copy.parameters())
    if fused and on_processor and has_fused_operators():
        replace_parts_(copy)
    return copy


class FusedBottleneck(nn.Module):
    """`backbones.Bottleneck`, folded: three convolutions that carry ReLUs and the sum with them."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.before_conv1 = block.before_conv1
        self.conv1 = FusedConv(block.conv1, "relu")
        self.after_conv1 = block.after_conv1
        self.conv2 = FusedConv(block.conv2, "relu")
        self.after_conv2 = block.after_conv2
        self.conv3 = FusedConv(block.conv3)
        self.after_conv3 = block.after_conv3
        self.sums = isinstance(block.after_conv3, nn.Identity)
        self.shortcut = block.shortcut
        if not isinstance(block.shortcut, nn.Identity):
            projection = block.shortcut.get_submodule("conv")
            assert isinstance(projection, nn.Conv2d)
            self.shortcut = FusedConv(projection)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.after_conv1(self.conv1(self.before_conv1(x_NCHW)))
        y = self.after_conv2(self.conv2(y))
        if self.sums:
            # Only a stage's first block reads a map that others read, and its shortcut is a copy.
            return self.conv3.add_to_(self.shortcut(x_NCHW), y)
        y = self.after_conv3(self.conv3(y))
        return F.relu(y.add_(self.shortcut(x_NCHW)), inplace=True)


class FusedStem(nn.Module):
    """`backbones.Stem`, folded."""

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        self.conv = FusedConv(stem.conv, "relu")

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.max_pool2d(self.conv(x_NCHW.to(self.conv.dtype)), 3, stride=2, padding=1)


def replace_parts_(model: nn.Module) -> None:
    """Put the fused modules in the places of those they stand for, innermost first."""
    for name, module in reversed(list(model.named_modules())):
        made = _fused(module)
        if made is not None and name:
            model.set_submodule(name, made)


def _fused(module: nn.Module) -> nn.Module | None:
    """What stands for a module in the copy; a network's own modules know their forms themselves."""
    if type(module) is Bottleneck:
        return FusedBottleneck(module)
    if type(module) is Stem:
        return FusedStem(module)
    if isinstance(module, nn.Sequential) and len(module) == 2:
        merged = getattr(module[0], "merged_with", None)
        return None if merged is None else merged(module[1])
    own = getattr(module, "inference_form", None)
    return None if own is None else own()
