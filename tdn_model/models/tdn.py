"""Temporal Difference Network, as its authors released it and as the paper prints it.

Limin Wang, Zhan Tong, Bin Ji and Gangshan Wu, "TDN: Temporal Difference Networks for Efficient
Action Recognition", CVPR 2021, arXiv:2012.10071. Sections, equations and tables are cited from its
first version, "Temporal Difference Networks for Action Recognition", submitted to ICLR 2021.

Shapes: clips `(B, T, 5, C, H, W)`, of whose five consecutive frames the third is the segment's RGB
frame; N = B·T rows with the segment index fastest; logits `(B, K)`.

Full size (ResNet-50, T = 8, 224², 174 classes): 24.42 M parameters, 35.6 G multiply-adds. Where
text and release disagree, `tdm.Variant` lists the points.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor, nn

from tdn_model.contract import (
    NetworkShape,
    check_at_least,
    check_choice,
    check_flag,
    check_stages,
)
from tdn_model.layers.resnet2d import (
    EXPANSION,
    STAGES,
    TOTAL_STRIDE,
    BlockPosition,
    SegmentResNet,
    Slots,
    init_convolutions_,
    to_rows,
)
from tdn_model.layers.tdm import (
    CENTRE,
    FORMS,
    FUSIONS,
    VARIANTS,
    WINDOW,
    LongTermTDM,
    ShortTermFusion,
    ShortTermTDM,
    Variant,
    fusion_weights,
)
from tdn_model.layers.temporal import TemporalConv

S_TDM_STAGES = (1, 2, 3)
"""Stages that an S-TDM can be fused into."""


@dataclass(frozen=True)
class Design:
    """A checked set of TDN's switches, by default those of the release; `tdn` explains them."""

    variant: Variant = VARIANTS["released"]
    s_tdm_stages: tuple[int, ...] = (1, 2)
    s_tdm_fusion: str = "add"
    s_tdm_full_resolution: bool = False
    l_tdm_stages: tuple[int, ...] = (3, 4, 5)
    l_tdm_form: str = "attention"
    l_tdm_scales: int = 3
    l_tdm_reduction: int = 16
    bidirectional: bool = True
    temporal_conv_stages: tuple[int, ...] = (3, 4, 5)

    @property
    def is_released(self) -> bool:
        """Whether every switch is as in the published networks."""
        return self == Design()

    @property
    def min_size_px(self) -> int:
        """Smallest side whose res5 map the widest pool of an L-TDM there still fits."""
        if 5 not in self.l_tdm_stages or self.l_tdm_scales < 3:
            return TOTAL_STRIDE
        widest_pool: int = 1 << (self.l_tdm_scales - 2)
        return TOTAL_STRIDE * (widest_pool - 1) + 1

    def slots(self, position: BlockPosition, num_segments: int) -> Slots:
        """L-TDM and temporal convolution of one bottleneck, after its first 1×1."""
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if position.stage in self.l_tdm_stages:
            parts["long_term"] = LongTermTDM(
                position.planes,
                num_segments,
                self.variant,
                form=self.l_tdm_form,
                scales=self.l_tdm_scales,
                bidirectional=self.bidirectional,
                reduction=self.l_tdm_reduction,
            )
        if position.stage in self.temporal_conv_stages:
            parts["temporal"] = TemporalConv(position.planes, num_segments)
        return {"after_conv1": nn.Sequential(parts)} if parts else {}


class TDN(SegmentResNet):
    """The segment network with S-TDM fused into its early stages and L-TDM inside its later ones.

    Every backbone convolution has a bias although batch norm follows, as in the released networks:
    training removes it, but in evaluation it counts together with the running mean.
    """

    def __init__(self, shape: NetworkShape, design: Design) -> None:
        super().__init__(
            shape,
            window=WINDOW,
            bias=True,
            slots=lambda position: design.slots(position, shape.num_segments),
        )
        self.design = design
        self.min_size_px = design.min_size_px
        self.short_term: ShortTermTDM | None = None
        self.fusions = nn.ModuleList()
        if not design.s_tdm_stages:
            return
        self.short_term = ShortTermTDM(
            self.config,
            design.s_tdm_stages,
            design.variant,
            in_channels=shape.channels,
            full_resolution=design.s_tdm_full_resolution,
            bias=True,
        )
        weights = fusion_weights(shape.num_segments, design.variant)
        for stage in design.s_tdm_stages:
            width = self.config.width
            channels = width if stage == 1 else width * 2 ** (stage - 2) * EXPANSION
            self.fusions.append(
                ShortTermFusion(design.s_tdm_fusion, channels, weights, design.variant.upsample)
            )
        init_convolutions_(self.short_term)
        init_convolutions_(self.fusions)

    def imagenet_sources(self) -> dict[str, str]:
        """The difference path copies the RGB path's convolutions; its stem's batch norm is new.

        The difference stem's input channels all get the mean over the RGB stem's.
        """
        if self.short_term is None:
            return {}
        copies = {f"short_term.copies.{name}.": f"{name}." for name in self.short_term.copies}
        stems = {"short_term.stem.conv.": "stem.conv."}
        if self.short_term.unused_stem is not None:
            stems["short_term.unused_stem."] = "stem.conv."
        return stems | copies

    def features(self, clips_BTFCHW: Tensor) -> Tensor:
        x: Tensor = self.stem(to_rows(clips_BTFCHW[:, :, CENTRE]))
        maps = [] if self.short_term is None else self.short_term(clips_BTFCHW)
        for index, stage in enumerate((self.res2, self.res3, self.res4, self.res5)):
            if index < len(maps):
                x = self.fusions[index](x, maps[index])
            x = stage(x)
        return x


def tdn(
    shape: NetworkShape,
    *,
    variant: str = "released",
    s_tdm_stages: Collection[int] = (1, 2),
    s_tdm_fusion: str = "add",
    s_tdm_full_resolution: bool = False,
    l_tdm_stages: Collection[int] = (3, 4, 5),
    l_tdm_form: str = "attention",
    l_tdm_scales: int = 3,
    l_tdm_reduction: int = 16,
    multi_scale: bool = True,
    bidirectional: bool = True,
    temporal_conv_stages: Collection[int] | None = None,
) -> TDN:
    """TDN with every switch of the paper's ablations; the defaults are the released network.

    `variant` "released" or "printed" chooses the `Variant` where paper and release differ.
    `s_tdm_stages` is (), (1,), (1, 2) or (1, 2, 3): the difference path runs from the stem on, so
    an early stage cannot be left out; stage s is fused after stage s of the main path.
    With `multi_scale` off there is one scale, and `l_tdm_scales` is not used. By default, temporal
    convolutions are in stages 3-5 (the baseline of tables 1c and 5 keeps them) and in every stage
    with an L-TDM.
    """
    check_choice("variant", variant, VARIANTS)
    check_choice("s_tdm_fusion", s_tdm_fusion, FUSIONS)
    check_choice("l_tdm_form", l_tdm_form, FORMS)
    check_at_least("l_tdm_scales", l_tdm_scales, 1)
    check_at_least("l_tdm_reduction", l_tdm_reduction, 1)
    check_flag("s_tdm_full_resolution", s_tdm_full_resolution)
    check_flag("multi_scale", multi_scale)
    check_flag("bidirectional", bidirectional)
    short = check_stages("s_tdm_stages", s_tdm_stages, S_TDM_STAGES)
    if short != S_TDM_STAGES[: len(short)]:
        raise ValueError(f"s_tdm_stages: got {list(short)}; it takes the first n stages of 1, 2, 3")
    long = check_stages("l_tdm_stages", l_tdm_stages, STAGES)
    if temporal_conv_stages is None:
        temporal_conv_stages = sorted({3, 4, 5} | set(long))
    design = Design(
        variant=VARIANTS[variant],
        s_tdm_stages=short,
        s_tdm_fusion=s_tdm_fusion,
        s_tdm_full_resolution=s_tdm_full_resolution,
        l_tdm_stages=long,
        l_tdm_form=l_tdm_form,
        l_tdm_scales=l_tdm_scales if multi_scale else 1,
        l_tdm_reduction=l_tdm_reduction,
        bidirectional=bidirectional,
        temporal_conv_stages=check_stages("temporal_conv_stages", temporal_conv_stages, STAGES),
    )
    return TDN(shape, design)
