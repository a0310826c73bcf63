"""The two temporal difference modules of TDN.

Limin Wang, Zhan Tong, Bin Ji and Gangshan Wu, "TDN: Temporal Difference Networks for Efficient
Action Recognition", CVPR 2021, arXiv:2012.10071, sections 3.2 and 3.3 of its first version (see
`tdn_model.models.tdn`).

Shapes: B videos, T segments, N = B·T rows with the segment index fastest, F = 5 frames in a
segment's window, C channels, c = C/r channels after the reduction, H, W.

The paper and the released networks differ in details. A `Variant` lists them, so that both can be
built and compared; everything else is shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.contract import check_at_least, check_choice
from tdn_model.layers.resnet2d import ResNetConfig, Stem, make_stage
from tdn_model.layers.temporal import AlignedDifference, split_time

WINDOW = 5
"""F: frames in a segment's window."""
CENTRE = WINDOW // 2
"""The window's RGB frame, which the main path sees."""
MIN_REDUCED_WIDTH = 4
"""Least channels after a reduction: C/16 where the published networks are narrowest (C = 64)."""
FUSIONS = ("add", "mul", "res_mul", "channel", "res_channel")
"""Forms of `ShortTermFusion` (table 1a)."""
FORMS = ("attention", "channel", "add")
"""Forms of `LongTermTDM` (table 1b)."""


@dataclass(frozen=True)
class Variant:
    """One choice for each point where the paper's text and the authors' networks disagree."""

    centred_differences: bool
    """S-TDM's D: `I[i+k] - I[i]` for k in -2, -1, 1, 2; else four steps `f[k+1] - f[k]`."""
    weighted_fusion: bool
    """αF + βH with (α, β) = (½, ½) at T = 8 and (¾, ¼) at any other T; else F + H."""
    upsample: str
    """Mode of every up-sampling."""
    conv_of_neighbour_first: bool
    """C = Conv(neighbour) - F; else eq. 4's F - Conv(neighbour)."""
    backward_from_previous: bool
    """The second direction looks from i to i-1; else eq. 6's M(F[i+1], F[i]), the pair turned."""
    mean_of_scales: bool
    """Divide the sum over scales by N."""
    gate_offset: float
    """Subtracted from the sigmoid."""
    unused_stem: bool
    """Have the released networks' extra RGB stem, which no input reaches: checkpoints hold it."""


VARIANTS: dict[str, Variant] = {
    "released": Variant(
        centred_differences=False,
        weighted_fusion=True,
        upsample="nearest",
        conv_of_neighbour_first=True,
        backward_from_previous=True,
        mean_of_scales=True,
        gate_offset=0.5,
        unused_stem=True,
    ),
    "printed": Variant(
        centred_differences=True,
        weighted_fusion=False,
        upsample="bilinear",
        conv_of_neighbour_first=False,
        backward_from_previous=False,
        mean_of_scales=False,
        gate_offset=0.0,
        unused_stem=False,
    ),
}


def fusion_weights(num_segments: int, variant: Variant) -> tuple[float, float]:
    """(α, β) of the additive short-term fusion."""
    if not variant.weighted_fusion:
        return 1.0, 1.0
    return (0.5, 0.5) if num_segments == 8 else (0.75, 0.25)


def upsample(x_NCHW: Tensor, like_NCHW: Tensor, mode: str) -> Tensor:
    """`x` resized to the height and width of `like`."""
    size = like_NCHW.shape[2:]
    if x_NCHW.shape[2:] == size:
        return x_NCHW
    corners = None if mode == "nearest" else False
    y: Tensor = F.interpolate(x_NCHW, size=size, mode=mode, align_corners=corners)
    return y


def frame_differences(frames_NFCHW: Tensor, *, centred: bool) -> Tensor:
    """The four differences of a five-frame window, stacked on channels: `(N, 4·C, H, W)`."""
    if centred:
        around = frames_NFCHW[:, [0, 1, 3, 4]]
        return (around - frames_NFCHW[:, CENTRE : CENTRE + 1]).flatten(1, 2)
    return (frames_NFCHW[:, 1:] - frames_NFCHW[:, :-1]).flatten(1, 2)


def halve(frames_NFCHW: Tensor) -> Tensor:
    """Every 2×2 square's mean, an odd last row or column left out: average pooling, but faster."""
    height, width = (size // 2 * 2 for size in frames_NFCHW.shape[-2:])
    frames = frames_NFCHW[..., :height, :width]
    rows = frames[..., ::2, :] + frames[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


class ShortTermTDM(nn.Module):
    """S-TDM: motion maps from the frame differences in each segment's window (eq. 3).

    Differences at half size go through a 12-channel stem and then through copies of the first
    ResNet stages with weights of their own; one map leaves per fused stage. Pooling is linear, so
    frames are pooled before they are subtracted. `full_resolution` leaves the pooling out.
    """

    def __init__(
        self,
        config: ResNetConfig,
        stages: tuple[int, ...],
        variant: Variant,
        *,
        in_channels: int,
        full_resolution: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.centred = variant.centred_differences
        self.full_resolution = full_resolution
        self.unused_stem: nn.Conv2d | None = None
        if variant.unused_stem:
            self.unused_stem = nn.Conv2d(
                in_channels, config.width, 7, stride=2, padding=3, bias=bias
            )
            self.unused_stem.requires_grad_(False)
        self.stem = Stem((WINDOW - 1) * in_channels, config.width, bias=False)
        self.copies = nn.ModuleDict(
            {f"res{stage}": make_stage(config, stage, bias=bias) for stage in stages if stage > 1}
        )

    def forward(self, clips_BTFCHW: Tensor) -> list[Tensor]:
        frames = clips_BTFCHW.flatten(0, 1)
        if not self.full_resolution:
            frames = halve(frames)
        x = frame_differences(frames, centred=self.centred)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        maps = [x]
        for stage in self.copies.values():
            x = stage(x)
            maps.append(x)
        return maps


class ShortTermFusion(nn.Module):
    """How a motion map H joins the main path F (table 1a); the five forms are

    "add" αF + βH, "mul" F⊙H, "res_mul" F + F⊙H, "channel" F⊙H_channel,
    "res_channel" F + F⊙H_channel.

    The paper defines only the first. Read here as printed: H is eq. 3's map itself, with no gate
    function of its own and no α, β; H_channel is "a channel attention weight just as SENet": global
    average pool, C→C/16, ReLU, C/16→C, sigmoid (never narrower than 4).
    """

    def __init__(
        self, form: str, channels: int, weights: tuple[float, float], upsample_mode: str
    ) -> None:
        super().__init__()
        check_choice("s_tdm_fusion", form, FUSIONS)
        self.form = form
        self.weights = weights
        self.upsample_mode = upsample_mode
        self.squeeze: nn.Module = nn.Identity()
        if form in ("channel", "res_channel"):
            hidden = max(channels // 16, MIN_REDUCED_WIDTH)
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, hidden, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden, channels, 1),
                nn.Sigmoid(),
            )

    def forward(self, x_NCHW: Tensor, motion_NChw: Tensor) -> Tensor:
        if self.form in ("channel", "res_channel"):
            gate: Tensor = self.squeeze(motion_NChw)
        else:
            gate = upsample(motion_NChw, x_NCHW, self.upsample_mode)
        if self.form == "add":
            alpha, beta = self.weights
            if alpha + beta == 1:  # one pass over memory instead of two
                return torch.lerp(x_NCHW, gate, beta)
            return torch.add(x_NCHW if alpha == 1 else x_NCHW * alpha, gate, alpha=beta)
        if self.form.startswith("res_"):
            return x_NCHW + x_NCHW * gate
        return x_NCHW * gate


class SmoothedScale(nn.Module):
    """One scale of L-TDM: average pool p×p, 3×3 convolution, batch norm, back to the full size."""

    CONV_BN = (("conv", "bn"),)

    def __init__(self, channels: int, pool: int, upsample_mode: str) -> None:
        super().__init__()
        self.pool = pool
        self.upsample_mode = upsample_mode
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, z_NcHW: Tensor) -> Tensor:
        x = z_NcHW if self.pool == 1 else F.avg_pool2d(z_NcHW, self.pool)
        return upsample(self.bn(self.conv(x)), z_NcHW, self.upsample_mode)


class LongTermTDM(AlignedDifference):
    """L-TDM: features enhanced by differences to the neighbouring segment (eqs. 2, 4-6).

    Forms (table 1b): "attention" F + F⊙G; "channel" F + F⊙G_channel, where the summed scales are
    averaged over the map before the last 1×1, as in SE; "add" F + G, "no attention modeling", so
    without the sigmoid. `scales` is the N of eq. 5: the first scale is the map itself, the second a
    3×3 convolution, each further one a 3×3 convolution after pooling by 2, 4, …; one scale is
    "without multi-scale". With `bidirectional` off, G is the forward M alone. The reduced width is
    C/reduction but never below 4. The boundary segment, which has no neighbour, gets a zero
    difference.

    Both directions share every weight and every batch norm. In training each batch norm is called
    twice per step, forward direction first, and so normalises each direction by its own statistics;
    in evaluation both directions go through as one batch, which is the same function.
    """

    CONV_BN = (("reduce", "reduce_bn"), ("expand", "expand_bn"))

    def __init__(
        self,
        channels: int,
        num_segments: int,
        variant: Variant,
        *,
        form: str = "attention",
        scales: int = 3,
        bidirectional: bool = True,
        reduction: int = 16,
    ) -> None:
        check_choice("l_tdm_form", form, FORMS)
        check_at_least("l_tdm_scales", scales, 1)
        check_at_least("l_tdm_reduction", reduction, 1)
        super().__init__(channels, num_segments, reduction=reduction, min_width=MIN_REDUCED_WIDTH)
        self.variant = variant
        self.form = form
        self.bidirectional = bidirectional
        self.expand_bn = nn.BatchNorm2d(channels)
        reduced = self.reduce.out_channels
        pools = [2**power for power in reversed(range(scales - 1))]
        self.scales = nn.ModuleDict(
            {f"pool{p}": SmoothedScale(reduced, p, variant.upsample) for p in pools}
        )

    def differences(self, x_NcHW: Tensor) -> tuple[Tensor, Tensor]:
        """Aligned differences to the next segment and back (eq. 4), both `(N, c, H, W)`."""
        b = split_time(x_NcHW, self.num_segments)
        s = split_time(self.align(x_NcHW), self.num_segments)
        p, q = torch.zeros_like(b), torch.zeros_like(b)
        p[:, :-1] = s[:, 1:] - b[:, :-1]
        if self.variant.backward_from_previous:
            q[:, 1:] = s[:, :-1] - b[:, 1:]
        else:
            q[:, :-1] = s[:, :-1] - b[:, 1:]
        if not self.variant.conv_of_neighbour_first:
            p, q = -p, -q
        return p.flatten(0, 1), q.flatten(0, 1)

    def response(self, z_NcHW: Tensor) -> Tensor:
        """Eq. 5 before its sigmoid: the fused scales, expanded to all channels."""
        total = z_NcHW
        for scale in self.scales.values():
            total = total + scale(z_NcHW)
        if self.variant.mean_of_scales:
            total = total / (1 + len(self.scales))
        if self.form == "channel":
            total = F.adaptive_avg_pool2d(total, 1)
        y: Tensor = self.expand_bn(self.expand(total))
        return y if self.form == "add" else y.sigmoid()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        forward, backward = self.differences(self.reduce_bn(self.reduce(x_NCHW)))
        if not self.bidirectional:
            motion = self.response(forward)
        elif self.training:
            motion = self.response(forward).add(self.response(backward)).mul_(0.5)
        else:
            first, second = self.response(torch.cat([forward, backward])).chunk(2)
            motion = first.add(second).mul_(0.5)
        if self.form == "add":
            return x_NCHW + motion
        if self.bidirectional:  # the mean is a tensor of its own, which no gradient needs
            return x_NCHW * motion.add_(1 - self.variant.gate_offset)
        return x_NCHW * (motion + (1 - self.variant.gate_offset))
