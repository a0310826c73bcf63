"""TANet: the Temporal Adaptive Module in a ResNet.

Zhaoyang Liu, Limin Wang, Wayne Wu, Chen Qian and Tong Lu, "TAM: Temporal Adaptive Module for Video
Recognition", ICCV 2021, arXiv:2005.06803; its supplement for the four positions. Reductions and
initial values are those of the authors' release.

Shapes: clips `(B, T, 1, C, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.

Full size (ResNet-50, T = 8, 224², 174 classes, position b): 25,127,246 parameters, 32.76 G
multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tdn_model.contract import NetworkShape, check_choice
from tdn_model.layers.resnet2d import BlockPosition, SegmentResNet, Slots
from tdn_model.layers.temporal import split_time

POSITIONS = {
    "a": "before_conv1",
    "b": "after_conv1",
    "c": "after_conv2",
    "d": "after_conv3",
}
"""Slot of the module in a bottleneck, by the supplement's letter."""
BRANCHES = ("both", "local", "global")
TAPS = 3
"""Length of the temporal kernel."""


class TemporalAdaptive(nn.Module):
    """Aggregates each channel over time with a kernel made from the video itself (eqs. 1-8).

    Local branch: an importance V `(B, C, T)` in 0..1 that scales the maps. Global branch: a softmax
    kernel Θ `(B, C, 3)` per video and channel. Both read the map's spatial mean u:

        x' = V ⊙ x,   y[t] = Θ0 x'[t-1] + Θ1 x'[t] + Θ2 x'[t+1],   zeros beyond the ends.

    With one branch alone, "local" leaves out the aggregation and "global" the scaling. The linear
    layers of the global branch see all T segments at once, so T is part of the weights' shape.
    """

    CONV_BN = (("importance.0", "importance.1"), ("kernel.0", "kernel.1"))

    def __init__(
        self,
        channels: int,
        num_segments: int,
        *,
        branches: str = "both",
        reduction: int = 4,
        expansion: int = 2,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.num_segments = num_segments
        narrow = max(channels // reduction, 1)
        wide = num_segments * expansion
        self.importance: nn.Sequential | None = None
        self.kernel: nn.Sequential | None = None
        if branches != "global":
            self.importance = nn.Sequential(
                nn.Conv1d(channels, narrow, 3, padding=1, bias=False),
                nn.BatchNorm1d(narrow),
                nn.ReLU(inplace=True),
                nn.Conv1d(narrow, channels, 1, bias=False),
                nn.Sigmoid(),
            )
        if branches != "local":
            self.kernel = nn.Sequential(
                nn.Linear(num_segments, wide, bias=False),
                nn.BatchNorm1d(wide),
                nn.ReLU(inplace=True),
                nn.Linear(wide, TAPS, bias=False),
                nn.Softmax(-1),
            )

    def uncounted_macs(self, x_NCHW: Tensor) -> int:
        """Multiply-adds of the aggregation, which is no convolution operator here."""
        return 0 if self.kernel is None else TAPS * x_NCHW.numel()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_BTCHW = split_time(x_NCHW, self.num_segments)
        u_BCT = x_BTCHW.mean((3, 4)).transpose(1, 2).contiguous()
        y = x_BTCHW
        if self.importance is not None:
            v_BTC = self.importance(u_BCT).transpose(1, 2)
            y = y * v_BTC[..., None, None]
        if self.kernel is not None:
            theta_BCK = self.kernel(u_BCT.flatten(0, 1)).view(-1, self.channels, TAPS)
            y = aggregate(y, theta_BCK)
        return y.flatten(0, 1)


def aggregate(x_BTCHW: Tensor, kernel_BCK: Tensor) -> Tensor:
    """Each video's channels convolved over time with their own three taps (eq. 3)."""
    taps = kernel_BCK.to(x_BTCHW.dtype)[:, None, :, :, None, None]
    before, here, after = taps.unbind(3)
    y_BTCHW = x_BTCHW * here
    y_BTCHW[:, 1:].addcmul_(x_BTCHW[:, :-1], before)
    y_BTCHW[:, :-1].addcmul_(x_BTCHW[:, 1:], after)
    return y_BTCHW


@dataclass
class Kernels:
    """What one module made of the clips that went through it: V `(B, C, T)` and Θ `(B, C, 3)`.

    A branch that is switched off leaves its tensor empty.
    """

    importance: Tensor = field(default_factory=lambda: torch.empty(0))
    kernel: Tensor = field(default_factory=lambda: torch.empty(0))


@contextmanager
def capture_kernels(model: nn.Module) -> Iterator[dict[str, Kernels]]:
    """Collects, while inside, each module's V and Θ of the latest forward pass, by module name.

    The pass itself is not touched: what the two branches return is read on its way.
    """
    kernels: dict[str, Kernels] = {}
    handles = []

    def watch(name: str, tam: TemporalAdaptive) -> None:
        kernels[name] = Kernels()

        def local(_module: nn.Module, _inputs: tuple[Tensor, ...], v_BCT: Tensor) -> None:
            kernels[name].importance = v_BCT.detach()

        def whole(_module: nn.Module, _inputs: tuple[Tensor, ...], theta_RK: Tensor) -> None:
            kernels[name].kernel = theta_RK.detach().view(-1, tam.channels, TAPS)

        if tam.importance is not None:
            handles.append(tam.importance.register_forward_hook(local))
        if tam.kernel is not None:
            handles.append(tam.kernel.register_forward_hook(whole))

    for name, module in model.named_modules():
        if isinstance(module, TemporalAdaptive):
            watch(name, module)
    try:
        yield kernels
    finally:
        for handle in handles:
            handle.remove()


def tanet(
    shape: NetworkShape,
    *,
    position: str = "b",
    branches: str = "both",
) -> SegmentResNet:
    """TANet-a to -d: a module before the first, or after the first, second or third convolution.

    "After" is after the convolution's batch norm and ReLU; position d, after the third's batch
    norm, is before the addition. Every block of every stage has one. `branches` is "both",
    "local" or "global". The module is no identity at the start: it keeps the framework's initial
    values, as in the release.
    """
    check_choice("position", position, POSITIONS)
    check_choice("branches", branches, BRANCHES)

    def slots(block: BlockPosition) -> Slots:
        channels = {"a": block.in_channels, "d": block.out_channels}.get(position, block.planes)
        module = TemporalAdaptive(channels, shape.num_segments, branches=branches)
        return {POSITIONS[position]: module}

    return SegmentResNet(shape, slots=slots)
