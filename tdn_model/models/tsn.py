"""Networks that read one frame per segment: TSN, T-Conv, TSM.

Shapes: clips `(B, T, 1, C, H, W)`, logits `(B, K)`; see `backbones` for the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from tdn_model.contract import check_at_least, check_stages
from tdn_model.layers.resnet2d import STAGES, SegmentResNet, Site, Slots, geometry
from tdn_model.layers.temporal import TemporalConv, TemporalShift


def tsn(
    *,
    backbone: str = "resnet50",
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    in_channels: int = 3,
) -> nn.Module:
    """Temporal Segment Network: no temporal operation before the consensus (Wang et al. 2016)."""
    return SegmentResNet(
        geometry(backbone, width, blocks),
        num_classes=num_classes,
        num_segments=num_segments,
        dropout=dropout,
        in_channels=in_channels,
    )


def tconv(
    *,
    backbone: str = "resnet50",
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    in_channels: int = 3,
    stages: Collection[int] = STAGES,
) -> nn.Module:
    """T-Conv: TSN with a temporal convolution in each residual block (Wang et al. 2021, table 1d).

    The table's cost is only possible with a depthwise one, so it is TDN's layer in TDN's place,
    after the first 1×1, in every block of `stages`.
    """
    chosen = check_stages("stages", stages, STAGES)

    def slots(site: Site) -> Slots:
        if site.stage not in chosen:
            return {}
        return {"after_conv1": TemporalConv(site.planes, num_segments)}

    check_at_least("num_segments", num_segments, 1)
    return SegmentResNet(
        geometry(backbone, width, blocks),
        num_classes=num_classes,
        num_segments=num_segments,
        dropout=dropout,
        in_channels=in_channels,
        slots=slots,
    )


def tsm(
    *,
    backbone: str = "resnet50",
    num_classes: int,
    num_segments: int,
    width: int | None = None,
    blocks: Sequence[int] | None = None,
    dropout: float = 0.5,
    in_channels: int = 3,
    shift_divisor: int = 8,
) -> nn.Module:
    """Temporal Shift Module inside the residual branch, before the first 1×1 (Lin et al. 2019).

    Every block shifts; where stage 4 has 23 or more blocks (ResNet-101) every second one does, as
    in the authors' release. The shortcut is not shifted.
    """
    shape = geometry(backbone, width, blocks)
    check_at_least("num_segments", num_segments, 1)
    check_at_least("shift_divisor", shift_divisor, 2)
    every = 2 if shape.blocks[2] >= 23 else 1

    def slots(site: Site) -> Slots:
        if site.index % every:
            return {}
        return {"before_conv1": TemporalShift(num_segments, shift_divisor)}

    return SegmentResNet(
        shape,
        num_classes=num_classes,
        num_segments=num_segments,
        dropout=dropout,
        in_channels=in_channels,
        slots=slots,
    )
