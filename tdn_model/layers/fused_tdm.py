"""The temporal difference modules in an inference copy: see `tdn_model.inference`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.layers.fused import FusedConv
from tdn_model.layers.tdm import LongTermTDM, ShortTermFusion, SmoothedScale
from tdn_model.layers.temporal import TemporalConv, depthwise, split_time


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
        self.variant = module.variant
        self.reduce = FusedConv(module.reduce)
        self.align = module.align
        self.scales = nn.ModuleList(FusedScale(part) for part in _scales(module))
        expand = module.expand
        if module.variant.mean_of_scales:
            expand.weight.data /= 1 + len(self.scales)
        self.expand = FusedConv(expand, "sigmoid")
        constant = 1 - module.variant.gate_offset
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
        onto = q[:, 1:] if self.variant.backward_from_previous else q[:, :-1]
        for neighbour, own, out in ((s[:, 1:], b[:, :-1], p[:, :-1]), (s[:, :-1], b[:, 1:], onto)):
            if self.variant.conv_of_neighbour_first:
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


def _scales(module: LongTermTDM) -> list[SmoothedScale]:
    return [part for part in module.scales.values() if isinstance(part, SmoothedScale)]
