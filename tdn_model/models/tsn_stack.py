"""TSN on stacks: the F frames of a segment's window enter the stem side by side (optical flow).

Limin Wang, Yuanjun Xiong, Zhe Wang, Yu Qiao, Dahua Lin, Xiaoou Tang and Luc Van Gool, "Temporal
Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016, arXiv:1608.00859;
here on a ResNet, as in Ng and Davis (see `tdn_model.models.featdiff`).

Shapes: clips `(B, T, F, C, H, W)`, stem input `(N, F·C, H, W)` with the frame index slowest; N =
B·T rows with the segment index fastest; logits `(B, K)`.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from tdn_model.contract import NetworkShape, check_at_least
from tdn_model.layers.resnet2d import SegmentResNet, to_rows


class StackedSegmentResNet(SegmentResNet):
    """A segment network whose stem reads all F·C channels of a window."""

    def __init__(self, shape: NetworkShape, *, window: int) -> None:
        check_at_least("window", window, 1)
        super().__init__(replace(shape, in_channels=window * shape.channels), window=window)
        self.in_channels = shape.channels

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        return self.stages(to_rows(clips_BTFCHW.flatten(2, 3)))


def tsn_stack(shape: NetworkShape, *, window: int = 5) -> StackedSegmentResNet:
    """TSN's temporal stream: stacks of `window` flow frames of two channels (Wang et al. 2016)."""
    if shape.in_channels is None:
        shape = replace(shape, in_channels=2)
    return StackedSegmentResNet(shape, window=window)
