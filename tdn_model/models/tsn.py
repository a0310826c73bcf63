"""Networks that read one frame per segment of a plain ResNet: TSN, T-Conv, TSM.

TSN: Limin Wang, Yuanjun Xiong, Zhe Wang, Yu Qiao, Dahua Lin, Xiaoou Tang and Luc Van Gool,
"Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016,
arXiv:1608.00859; here on a ResNet, as in TDN's tables.
T-Conv: the baseline of table 1d in TDN's paper (see `tdn_model.models.tdn`).
TSM: Ji Lin, Chuang Gan and Song Han, "TSM: Temporal Shift Module for Efficient Video
Understanding", ICCV 2019, arXiv:1811.08383.

Shapes: clips `(B, T, 1, C, H, W)`, logits `(B, K)`; see `tdn_model.layers.resnet2d` for the rest.
"""

from __future__ import annotations

from collections.abc import Collection

from tdn_model.contract import NetworkShape, check_at_least, check_stages
from tdn_model.layers.resnet2d import STAGES, BlockPosition, SegmentResNet, Slots, resnet_config
from tdn_model.layers.temporal import TemporalConv, TemporalShift


def tsn(shape: NetworkShape) -> SegmentResNet:
    """Temporal Segment Network: no temporal operation before the consensus (Wang et al. 2016)."""
    return SegmentResNet(shape)


def tconv(shape: NetworkShape, *, stages: Collection[int] = STAGES) -> SegmentResNet:
    """T-Conv: TSN with a temporal convolution in each residual block (Wang et al. 2021, table 1d).

    The table's cost is only possible with a depthwise one, so it is TDN's layer in TDN's place,
    after the first 1×1, in every block of `stages`.
    """
    chosen = check_stages("stages", stages, STAGES)

    def slots(position: BlockPosition) -> Slots:
        if position.stage not in chosen:
            return {}
        return {"after_conv1": TemporalConv(position.planes, shape.num_segments)}

    return SegmentResNet(shape, slots=slots)


def tsm(shape: NetworkShape, *, shift_divisor: int = 8) -> SegmentResNet:
    """Temporal Shift Module inside the residual branch, before the first 1×1 (Lin et al. 2019).

    Every block shifts; where stage 4 has 23 or more blocks (ResNet-101) every second one does, as
    in the authors' release. The shortcut is not shifted.
    """
    check_at_least("shift_divisor", shift_divisor, 2)
    every = 2 if resnet_config(shape).blocks[2] >= 23 else 1

    def slots(position: BlockPosition) -> Slots:
        if position.index % every:
            return {}
        return {"before_conv1": TemporalShift(shape.num_segments, shift_divisor)}

    return SegmentResNet(shape, slots=slots)
