"""SlowFast: few frames in many channels, many frames in few.

Christoph Feichtenhofer, Haoqi Fan, Jitendra Malik and Kaiming He, "SlowFast Networks for Video
Recognition", ICCV 2019, arXiv:1812.03982; details of the authors' configuration files.

Shapes: B videos, T frames (the fast pathway's), C channels, H, W pixels, K classes. The slow
pathway sees T/α of the frames, the fast one has 1/β of the channels. After pool1, res2, res3 and
res4 a lateral convolution with stride α along time brings the fast maps to the slow pathway, where
they are concatenated.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tdn_model.contract import NetworkShape, check_at_least
from tdn_model.layers.conv3d import ConvBN3d, VolumeNetwork
from tdn_model.layers.resnet2d import EXPANSION, STAGES, ResNetConfig, resnet_config
from tdn_model.models.i3d import check_positions
from tdn_model.models.resnet3d import Attention, Stem3d, Times, make_stage3d, reset_residuals_


class SlowFast(VolumeNetwork):
    """Both pathways, their laterals, and one classifier over the two pooled maps."""

    def __init__(
        self,
        shape: NetworkShape,
        slow_times: Times,
        fast_times: Times,
        *,
        alpha: int,
        beta: int,
        lateral_kernel: int,
        nonlocal_res4: Collection[int],
    ) -> None:
        slow = resnet_config(shape)
        fast = ResNetConfig(slow.width // beta, slow.blocks)
        super().__init__(shape, slow.features + fast.features)
        self.slow_frames = evenly(shape.num_segments, shape.num_segments // alpha)
        self.slow_stem = Stem3d(shape.channels, slow.width, slow_times)
        self.fast_stem = Stem3d(shape.channels, fast.width, fast_times)
        self.slow, self.fast, self.laterals = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        attention = Attention(nonlocal_res4, "dot_product", (2, 2, 2))
        slow_in, fast_in = slow.width, fast.width
        for stage in STAGES:
            self.laterals.append(
                ConvBN3d(fast_in, 2 * fast_in, (lateral_kernel, 1, 1), (alpha, 1, 1))
            )
            self.slow.append(
                make_stage3d(
                    slow,
                    stage,
                    slow_times,
                    in_channels=slow_in + 2 * fast_in,
                    attention=attention if stage == 4 else None,
                )
            )
            self.fast.append(make_stage3d(fast, stage, fast_times))
            slow_in = slow.width * 2 ** (stage - 2) * EXPANSION
            fast_in = fast.width * 2 ** (stage - 2) * EXPANSION
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_residuals_(self, zero_last_norm=True)

    def pathways(self, x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
        """The last maps of the slow and of the fast pathway."""
        slow = self.slow_stem(x_BCTHW[:, :, self.slow_frames])
        fast = self.fast_stem(x_BCTHW)
        for lateral, slow_stage, fast_stage in zip(
            self.laterals, self.slow, self.fast, strict=True
        ):
            slow = slow_stage(torch.cat([slow, lateral(fast)], 1))
            fast = fast_stage(fast)
        return slow, fast

    def features(self, x_BCTHW: Tensor) -> Tensor:
        """Both pooled maps, slow first, as a volume of one position."""
        pooled = [path.mean((2, 3, 4), keepdim=True) for path in self.pathways(x_BCTHW)]
        return torch.cat(pooled, 1)


def evenly(frames: int, count: int) -> list[int]:
    """`count` frames from the first to the last, as the authors' code picks the slow ones."""
    return [i * (frames - 1) // max(1, count - 1) for i in range(count)]


def slowfast(
    shape: NetworkShape,
    *,
    alpha: int = 4,
    beta: int = 8,
    lateral_kernel: int = 7,
    res4_temporal_blocks: int | None = None,
    nonlocal_res4: Collection[int] = (),
) -> SlowFast:
    """SlowFast; the defaults are 8×8 on ResNet-50: 32 fast frames, 8 slow ones.

    Printed 65.7 G for a 256² view. 16×8 with non-local blocks on ResNet-101, printed 234 G, is 64
    frames with `lateral_kernel=5`, `nonlocal_res4=(6, 13, 20)` and, as in the authors' files,
    `res4_temporal_blocks=6`: only the first six of res4's 23 blocks have a temporal kernel, in both
    pathways; None gives all of them one. The cost is met with φ and g pooled by 2×2×2, as in the
    authors' files for AVA; pooled by 1×2×2, as their Kinetics file leaves it, it is 242.0 G. (The
    TDN table's "8+64" counts the span of the clip, not the fast frames.)
    """
    config = resnet_config(shape)
    num_segments = shape.num_segments
    for name, value in (("alpha", alpha), ("beta", beta), ("lateral_kernel", lateral_kernel)):
        check_at_least(name, value, 1)
    if lateral_kernel % 2 == 0:
        raise ValueError(f"lateral_kernel: got {lateral_kernel}; it takes an odd integer")
    positions = check_positions("nonlocal_res4", nonlocal_res4)
    check_at_least("num_segments", num_segments, alpha * (2 if positions else 1))
    if num_segments % alpha:
        raise ValueError(f"num_segments: got {num_segments}; it takes a multiple of alpha={alpha}")
    if config.width % beta:
        raise ValueError(f"width: got {config.width}; it takes a multiple of beta={beta}")
    res4: tuple[int, ...] = (3,)
    if res4_temporal_blocks is not None:
        check_at_least("res4_temporal_blocks", res4_temporal_blocks, 0)
        res4 = tuple(3 if i < res4_temporal_blocks else 1 for i in range(config.blocks[2]))
    return SlowFast(
        shape,
        Times(kernels={4: res4, 5: (3,)}),
        Times(stem_kernel=5, kernels={2: (3,), 3: (3,), 4: res4, 5: (3,)}),
        alpha=alpha,
        beta=beta,
        lateral_kernel=lateral_kernel,
        nonlocal_res4=positions,
    )
