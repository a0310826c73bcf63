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

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.backbones import Bottleneck, Stem
from tdn_model.fold import fold
from tdn_model.tdm import LongTermTDM, ShortTermFusion, SmoothedScale
from tdn_model.temporal import TemporalConv, depthwise, split_time

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


class FusedScale(nn.Module):
    """`tdm.SmoothedScale`, folded; adds itself to the sum of scales."""

    def __init__(self, scale: SmoothedScale) -> None:
        super().__init__()
        self.pool, self.mode = scale.pool, scale.upsample_mode
        self.conv = FusedConv(scale.conv)

    def forward(self, z_NcHW: Tensor) -> Tensor:
        if self.pool == 1:
            y: Tensor = self.conv(z_NcHW)
            return y
        corners = None if self.mode == "nearest" else False
        y = self.conv(F.avg_pool2d(z_NcHW, self.pool))
        return F.interpolate(y, size=z_NcHW.shape[2:], mode=self.mode, align_corners=corners)


class FusedMotion(nn.Module):
    """An L-TDM of form "attention" in both directions, and the temporal convolution behind it.

    With M, M' the two directions' sigmoids and o the gate's offset, the module is
    `x ⊙ (½(M + M') + 1 - o) = (1 - o) (x + ½/(1 - o) x ⊙ (M + M'))`; the leading constant goes into
    the temporal convolution.
    """

    def __init__(self, module: LongTermTDM, temporal: TemporalConv) -> None:
        super().__init__()
        self.num_segments = module.num_segments
        self.reading = module.reading
        self.reduce = FusedConv(module.reduce)
        self.align = module.align
        self.scales = nn.ModuleList(FusedScale(part) for part in _scales(module))
        expand = module.expand
        if module.reading.mean_of_scales:
            expand.weight.data /= 1 + len(self.scales)
        self.expand = FusedConv(expand, "sigmoid")
        constant = 1 - module.reading.gate_offset
        self.share = 0.5 / constant
        self.taps: Tensor = temporal.weight.detach() * constant

    def forward(self, x_NCHW: Tensor) -> Tensor:
        z = self.differences(self.reduce(x_NCHW))
        total, *others = [scale(z) for scale in self.scales] or [z.clone()]
        if len(self.scales):
            total = total.add_(z)
        for other in others:
            total = total.add_(other)
        first, second = self.expand(total).chunk(2)
        x = x_NCHW.addcmul_(x_NCHW, first.add_(second), value=self.share)
        return depthwise(x, self.taps, self.num_segments)

    def differences(self, x_NcHW: Tensor) -> Tensor:
        """`LongTermTDM.differences`, both directions behind one another: `(2·N, c, H, W)`."""
        b = split_time(x_NcHW, self.num_segments)
        s = split_time(self.align(x_NcHW), self.num_segments)
        n, *rest = x_NcHW.shape
        z = x_NcHW.new_zeros((2 * n, *rest)).contiguous(memory_format=torch.channels_last)
        p, q = z.view(2, *b.shape).unbind(0)
        onto = q[:, 1:] if self.reading.backward_from_previous else q[:, :-1]
        for neighbour, own, out in ((s[:, 1:], b[:, :-1], p[:, :-1]), (s[:, :-1], b[:, 1:], onto)):
            if self.reading.conv_of_neighbour_first:
                torch.sub(neighbour, own, out=out)
            else:
                torch.sub(own, neighbour, out=out)
        return z


class FusedFusion(nn.Module):
    """αF + βH in place on F, H read through the squares of pixels that share one of its values."""

    def __init__(self, fusion: ShortTermFusion) -> None:
        super().__init__()
        self.plain = fusion
        self.alpha, self.beta = fusion.weights

    def forward(self, x_NCHW: Tensor, motion_NChw: Tensor) -> Tensor:
        n, c, h, w = motion_NChw.shape
        if x_NCHW.shape[2:] != (2 * h, 2 * w) or not self.fits(self.plain):
            y: Tensor = self.plain(x_NCHW, motion_NChw)
            return y
        squares = x_NCHW.view(n, c, h, 2, w, 2)
        motion = motion_NChw[:, :, :, None, :, None]
        if self.alpha + self.beta == 1:
            squares.lerp_(motion, self.beta)
        else:
            squares.mul_(self.alpha).add_(motion, alpha=self.beta)
        return x_NCHW

    @staticmethod
    def fits(fusion: ShortTermFusion) -> bool:
        return fusion.form == "add" and fusion.upsample_mode == "nearest"


def replace_parts_(model: nn.Module) -> None:
    """Put the fused modules in the places of those they stand for, innermost first."""
    for name, module in reversed(list(model.named_modules())):
        made = _fused(module)
        if made is not None and name:
            model.set_submodule(name, made)


def _fused(module: nn.Module) -> nn.Module | None:
    makers: dict[type[nn.Module], Callable[..., nn.Module]] = {
        Bottleneck: FusedBottleneck,
        Stem: FusedStem,
        ShortTermFusion: FusedFusion,
    }
    if type(module) in makers:
        return makers[type(module)](module)
    if isinstance(module, nn.Sequential) and len(module) == 2:
        first, second = module
        if isinstance(first, LongTermTDM) and isinstance(second, TemporalConv):
            whole = first.form == "attention" and first.bidirectional
            return FusedMotion(first, second) if whole else None
    return None


def _scales(module: LongTermTDM) -> list[SmoothedScale]:
    return [part for part in module.scales.values() if isinstance(part, SmoothedScale)]
