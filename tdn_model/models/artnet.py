"""ARTNet-R18: appearance and relation side by side.

Limin Wang, Wei Li, Wen Li and Luc Van Gool, "Appearance-and-Relation Networks for Video
Classification", CVPR 2018, arXiv:1711.09125, table 1.

Shapes: B videos, T frames, C channels, H, W pixels. As in the authors' network file: the stem is a
SMART unit with stride 2 in time and space, the second convolution of every block of res2 to res4 is
a SMART unit, res5 is plain. Their convolution biases, which batch norm cancels, are left out.
"""

from __future__ import annotations

from torch import Tensor

from tdn_model.contract import NetworkShape, check_backbone, chosen_blocks, chosen_width
from tdn_model.layers.conv3d import VolumeNetwork
from tdn_model.layers.preact3d import Activated, Smart, make_preact_stage


class ARTNet(VolumeNetwork):
    """Four stages of pre-activation blocks behind a SMART stem."""

    def __init__(self, shape: NetworkShape) -> None:
        width = chosen_width(shape, 2)
        super().__init__(shape, 8 * width, min_size_px=16)
        self.stem = Smart(shape.channels, width, 7, 2)
        self.stem_activate = Activated(width)
        stages = []
        for stage, count in enumerate(chosen_blocks(shape, (2, 2, 2, 2))):
            channels = width * 2**stage
            wide = channels if stage == 0 else channels // 2
            stride = 1 if stage == 0 else 2
            stages.append(make_preact_stage(wide, channels, count, stride, smart=stage < 3))
        self.res2, self.res3, self.res4, self.res5 = stages
        self.reset_parameters()

    def features(self, x_BCTHW: Tensor) -> Tensor:
        total = self.stem(x_BCTHW)
        stream = (total, self.stem_activate(total))
        maps: Tensor = self.res5(self.res4(self.res3(self.res2(stream))))[1]
        return maps


def artnet(shape: NetworkShape) -> ARTNet:
    """ARTNet on ResNet-18, 16 frames of 112²; `width` must be even (channels pool in pairs).

    Ours costs 25.7 G where 23.5 is printed. The network file's 3×3×3 shortcuts are 1.2 G of that,
    its 1×1×1 reductions 0.7 G; without both it is 23.8, so the printed number seems to leave
    out the layers beside the main path.
    """
    check_backbone(shape, "resnet18")
    return ARTNet(shape)
