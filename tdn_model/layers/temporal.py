"""Temporal operations on segment maps that need no permutation of the layout.

Shapes: B videos, T segments, N = B·T rows with the segment index fastest, C channels, H, W.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CPU_DEPTHWISE_DTYPES = (torch.float32, torch.bfloat16)
"""Types whose depthwise convolutions are fast on a processor (oneDNN)."""


def split_time(x_NCHW: Tensor, num_segments: int) -> Tensor:
    """The same memory as `(B, T, C, H, W)`."""
    return x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])


def shift_init_(weight_C1K: Tensor, divisor: int = 8) -> None:
    """Make a 3-tap depthwise filter act as TSM's shift: C/divisor channels take t+1, then t-1."""
    fold = weight_C1K.shape[0] // divisor
    with torch.no_grad():
        weight_C1K.zero_()
        weight_C1K[:fold, 0, 2] = 1
        weight_C1K[fold : 2 * fold, 0, 0] = 1
        weight_C1K[2 * fold :, 0, 1] = 1


def three_taps(x_BTCHW: Tensor, weight_C1K: Tensor) -> Tensor:
    """`y[t] = w0 x[t-1] + w1 x[t] + w2 x[t+1]` with zeros beyond the ends, as multiply-adds."""
    before, here, after = weight_C1K.view(-1, 3, 1, 1).unbind(1)
    y_BTCHW = x_BTCHW * here
    y_BTCHW[:, 1:].addcmul_(x_BTCHW[:, :-1], before)
    y_BTCHW[:, :-1].addcmul_(x_BTCHW[:, 1:], after)
    return y_BTCHW


def depthwise(x_NCHW: Tensor, weight_C1K: Tensor, num_segments: int) -> Tensor:
    """The same as one depthwise 3×1 convolution over an image of T rows and H·W columns.

    In the channels-last layout that image is the same memory, so nothing is moved.
    """
    n, c, h, w = x_NCHW.shape
    x_BTSC = x_NCHW.permute(0, 2, 3, 1).reshape(-1, num_segments, h * w, c)
    weight = weight_C1K[..., None]
    y: Tensor = F.conv2d(x_BTSC.permute(0, 3, 1, 2), weight, padding=(1, 0), groups=c)
    return y.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class ThreeTaps(torch.autograd.Function):
    """`three_taps` with its gradient written out; twice as fast as differentiating the slices."""

    @staticmethod
    def forward(ctx: Any, x_BTCHW: Tensor, weight_C1K: Tensor) -> Tensor:
        ctx.save_for_backward(x_BTCHW, weight_C1K)
        return three_taps(x_BTCHW, weight_C1K)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor]:
        (y_grad,) = grads
        x, weight = ctx.saved_tensors
        x_grad = three_taps(y_grad, weight.flip(2))
        taps = (
            (y_grad[:, 1:] * x[:, :-1]).sum((0, 1, 3, 4)),
            (y_grad * x).sum((0, 1, 3, 4)),
            (y_grad[:, :-1] * x[:, 1:]).sum((0, 1, 3, 4)),
        )
        return x_grad, torch.stack(taps, 1).view_as(weight)


class TemporalConv(nn.Module):
    """Depthwise 3-tap convolution over segments, zero-padded, initialised as TSM's shift.

    No map is permuted: on a processor it is one depthwise convolution, elsewhere three shifted
    multiply-adds. The weight keeps the shape `(C, 1, 3)` of a depthwise `Conv1d`. TDN (Wang
    et al. 2021, section 3.4) places one in each residual block of stages 3-5; the released networks
    fix its form.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.weight = nn.Parameter(torch.empty(channels, 1, 3))
        shift_init_(self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, num_segments={self.num_segments}"

    def uncounted_macs(self, x_NCHW: Tensor) -> int:
        """Multiply-adds that an operator counter, which sees convolutions only, does not see."""
        return 3 * x_NCHW.numel()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        weight_C1K = self.weight.to(x_NCHW.dtype)
        if x_NCHW.device.type == "cpu" and x_NCHW.dtype in CPU_DEPTHWISE_DTYPES:
            return depthwise(x_NCHW, weight_C1K, self.num_segments)
        x_BTCHW = split_time(x_NCHW, self.num_segments)
        if torch.is_grad_enabled():
            y_BTCHW: Tensor = ThreeTaps.apply(x_BTCHW, weight_C1K)
        else:
            y_BTCHW = three_taps(x_BTCHW, weight_C1K)
        return y_BTCHW.flatten(0, 1)


class TemporalShift(nn.Module):
    """TSM's shift: the first C/divisor channels come from t+1, the next from t-1, zeros at ends.

    Lin et al. 2019, section 3; no parameters.
    """

    def __init__(self, num_segments: int, divisor: int = 8) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.divisor = divisor

    def forward(self, x_NCHW: Tensor) -> Tensor:
        fold = x_NCHW.shape[1] // self.divisor
        x = split_time(x_NCHW, self.num_segments)
        y = torch.zeros_like(x)
        y[:, :-1, :fold] = x[:, 1:, :fold]
        y[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        y[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return y.flatten(0, 1)


class AlignedDifference(nn.Module):
    """What the motion modules of TDN, TEA and STM begin with.

    A 1×1 convolution and batch norm reduce C channels to c = C/reduction, at least `min_width`; a
    depthwise 3×3 convolution aligns one segment's map with its neighbour's before they are
    subtracted; a 1×1 convolution expands to C again.
    """

    CONV_BN: tuple[tuple[str, str], ...] = (("reduce", "reduce_bn"),)

    def __init__(
        self, channels: int, num_segments: int, *, reduction: int = 16, min_width: int = 1
    ) -> None:
        super().__init__()
        reduced = max(channels // reduction, min_width)
        self.num_segments = num_segments
        self.reduce = nn.Conv2d(channels, reduced, 1, bias=False)
        self.reduce_bn = nn.BatchNorm2d(reduced)
        self.align = nn.Conv2d(reduced, reduced, 3, padding=1, groups=reduced, bias=False)
        self.expand = nn.Conv2d(reduced, channels, 1, bias=False)

    def change(self, x_NCHW: Tensor) -> Tensor:
        """`align(r[t+1]) - r[t]`, r the reduced maps: `(B, T-1, c, H, W)`."""
        reduced = self.reduce_bn(self.reduce(x_NCHW))
        r = split_time(reduced, self.num_segments)
        aligned = split_time(self.align(reduced), self.num_segments)
        difference: Tensor = aligned[:, 1:] - r[:, :-1]
        return difference
