"""I3D-ResNet, its 3×1×1 baseline, NL-I3D and SlowOnly: which `ResNet3d` each of them is.

I3D: Joao Carreira and Andrew Zisserman, "Quo Vadis, Action Recognition? A New Model and the
Kinetics Dataset", CVPR 2017, arXiv:1705.07750; on a ResNet as in Xiaolong Wang and Abhinav Gupta,
"Videos as Space-Time Region Graphs", ECCV 2018, arXiv:1806.01810, section 3.1.
I3D 3×1×1: the baseline of "TAM: Temporal Adaptive Module for Video Recognition" (see
`tdn_model.models.tanet`).
NL-I3D: Xiaolong Wang, Ross Girshick, Abhinav Gupta and Kaiming He, "Non-local Neural Networks",
CVPR 2018, arXiv:1711.07971.
SlowOnly: Christoph Feichtenhofer, Haoqi Fan, Jitendra Malik and Kaiming He, "SlowFast Networks for
Video Recognition", ICCV 2019, arXiv:1812.03982.

Shapes: clips `(B, T, 1, C, H, W)`, logits `(B, K)`; `num_segments` is the number of frames T.
"""

from __future__ import annotations

from collections.abc import Collection

from tdn_model.contract import NetworkShape, check_at_least, check_choice
from tdn_model.layers.nonlocal_block import FORMS
from tdn_model.models.resnet3d import ALL_THREE, I3D_TIMES, Attention, ResNet3d, Times

NONLOCAL_RES3 = (1, 3)
NONLOCAL_RES4 = (1, 3, 5)
"""Blocks of res3 and res4, from 0, behind which NL-I3D has a non-local block."""


def i3d(
    shape: NetworkShape,
    *,
    stem_stride: int = 1,
    pool1: int = 1,
    res5_stride: int = 1,
) -> ResNet3d:
    """I3D-ResNet, 32 frames (Carreira & Zisserman 2017; as in Wang & Gupta 2018, section 3.1).

    Temporal kernels: stem 5; res2 3, 3, 3; res3 3, 1, 3, 1; res4 3, 1, …; res5 1, 3, 1, on each
    block's first convolution; time is halved once, after res2. `stem_stride` and `pool1` halve it
    in the stem and in the max pool behind it. `res5_stride` is 1 as in Wang & Gupta, whose res5
    maps are 14×14 for their regions; 2 is the usual ResNet. The TDN text prints 306 G for 32×2, so
    153 G per clip: 224² with `res5_stride` 1 costs 152.5 G, with 2 only 113.6 G.
    """
    return ResNet3d(
        shape,
        i3d_times(stem_stride, pool1),
        res5_stride=check_stride("res5_stride", res5_stride),
    )


def i3d_3x1x1(shape: NetworkShape) -> ResNet3d:
    """I3D 3×1×1, the baseline of the TAM paper (Liu et al. 2021): 8 frames, all of them kept.

    The first convolution of every block is 3×1×1; the stem stays 1×7×7 and nothing strides or
    pools along time.
    """
    return ResNet3d(shape, Times(kernels=ALL_THREE))


def nl_i3d(
    shape: NetworkShape,
    *,
    stem_stride: int = 1,
    pool1: int = 1,
    res5_stride: int = 1,
    nonlocal_res3: Collection[int] = NONLOCAL_RES3,
    nonlocal_res4: Collection[int] = NONLOCAL_RES4,
    nonlocal_form: str = "embedded_gaussian",
) -> ResNet3d:
    """I3D with five non-local blocks, after every second block of res3 and res4.

    Wang, Girshick, Gupta & He 2018; the defaults are the 32-frame network in Wang & Gupta 2018. A
    position past the end of a shortened stage has no non-local block. The 128-frame network is
    `stem_stride=2, pool1=2, res5_stride=2`: 281.5 G at 256², printed 282 G (at 224² 200.9 G).

    The 32-frame row prints 334 G for two clips, 167 G each, 14.5 G over I3D's; ours costs 220.9 G
    at 224², 68.4 G over I3D's: 20.6 G for the 1×1×1 convolutions and 47.8 G for the products of
    the attention. The printed number cannot hold the products; with them left out, as a counter of
    convolution layers does, ours is 173.0 G, 3.6 % above, a rest we cannot explain.
    """
    check_choice("nonlocal_form", nonlocal_form, FORMS)
    return ResNet3d(
        shape,
        i3d_times(stem_stride, pool1),
        res5_stride=check_stride("res5_stride", res5_stride),
        attention={
            3: Attention(check_positions("nonlocal_res3", nonlocal_res3), nonlocal_form),
            4: Attention(check_positions("nonlocal_res4", nonlocal_res4), nonlocal_form),
        },
    )


def slowonly(shape: NetworkShape) -> ResNet3d:
    """SlowOnly: SlowFast's slow pathway alone, 8 frames (Feichtenhofer et al. 2019).

    3×1×1 in res4 and res5, no temporal kernel before, no temporal stride. Printed 41.9 G: that is
    a 224² view (41.7 G); the 256² views of the protocol cost 54.5 G.
    """
    return ResNet3d(shape, SLOW_TIMES, zero_last_norm=True)


SLOW_TIMES = Times(kernels={4: (3,), 5: (3,)})
"""The slow pathway of SlowFast."""


def i3d_times(stem_stride: int, pool1: int) -> Times:
    """I3D's kernels, with these strides along time in the stem and its pool."""
    return Times(
        stem_kernel=5,
        stem_stride=check_stride("stem_stride", stem_stride),
        pool1=check_stride("pool1", pool1),
        pool2=2,
        kernels=I3D_TIMES,
    )


def check_stride(name: str, got: int) -> int:
    """`got`, a stride of 1 or 2; ValueError for another."""
    check_choice(name, got, (1, 2))
    return got


def check_positions(name: str, got: Collection[int]) -> tuple[int, ...]:
    """Block positions, from 0, as a sorted tuple."""
    for position in got:
        check_at_least(name, position, 0)
    if len(set(got)) != len(got):
        raise ValueError(f"{name}: got {list(got)}; it takes distinct block positions from 0")
    return tuple(sorted(got))
