"""TSN on stacks: the F frames of a segment's window enter the stem side by side (optical flow).

Shapes: clips `(B, T, F, C, H, W)`, stem input `(N, F·C, H, W)` with the frame index slowest; N =
B·T rows with the segment index fastest; logits `(B, K)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tdn_model.contract import check_at_least
from tdn_model.layers.resnet2d import Geometry, SegmentResNet, geometry, to_rows


class StackedSegmentResNet(SegmentResNet):
    """A segment network whose stem reads all F·C channels of a window."""

    def __init__(
        self,
        shape: Geometry,
        *,
        num_classes: int,
        num_segments: int,
        dropout: float,
        in_channels: int,
        window: int,
    ) -> None:
        check_at_least("window", window, 1)
        check_at_least("in_channels", in_channels, 1)
        super().__init__(
            shape,
            num_classes=num_classes,
            num_segments=num_segments,
            dropout=dropout,
            window=window,
            in_channels=window * in_channels,
        )
        self.in_channels = in_channels

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        x = self.stem(to_rows(clips_BTFCHW.flatten(2, 3)))
        maps: Tensor = self.res5(self.res4(self.res3(self.res2(x))))
        return maps


def tsn_stack(
    *,
    backbone: str = "resnet50",
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    in_channels: int = 2,
    window: int = 5,
) -> nn.Module:
    """TSN's temporal stream: stacks of `window` flow frames of two channels (Wang et al. 2016)."""
    return StackedSegmentResNet(
        geometry(backbone, width, blocks),
        num_classes=num_classes,
        num_segments=num_segments,
        dropout=dropout,
        in_channels=in_channels,
        window=window,
    )
