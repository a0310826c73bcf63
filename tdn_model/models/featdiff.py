"""TDN of Ng and Davis: an image network and a difference network fed by its feature differences.

Joe Yue-Hei Ng and Larry S. Davis, "Temporal Difference Networks for Video Action Recognition",
WACV 2018, section 3.

Shapes: clips `(B, T, F, C, H, W)`, T snippets of F consecutive frames (RGB: F = 1, C = 3; flow
stack: F = 5, C = 2), N = B·T image rows and B·(T-1) pair rows with the segment index fastest,
logits `(B, K)`.

    v[k] = I[k+1] - I[k]
    g_l[k] = block_l(g_{l-1}[k] + d),   d = f_{l-1}(I[k+1]) - f_{l-1}(I[k]) where l-1 ∈ layers

Where the text leaves it open: differences are taken after a stage's last ReLU; "conv1" is the
pooled 56 × 56 map (the text lists 224, 56, 28, 14 and no 112); "input – res4" is all five layers,
as in table 4, though section 3.2 names only four resolutions.

Full size (ResNet-50, T = 3, 224², 51 classes): 47.2 M parameters, 20.4 G multiply-adds (5 passes of
a ResNet-50; the paper prints none).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from tdn_model.contract import ClipNetwork, NetworkShape, check_at_least, check_choice
from tdn_model.layers.resnet2d import TOTAL_STRIDE, SegmentResNet, mean_logits, to_rows
from tdn_model.layers.temporal import split_time
from tdn_model.losses import classification_loss
from tdn_model.models.tsn_stack import StackedSegmentResNet
from tdn_model.weights.imagenet import load_imagenet

LAYERS = ("input", "conv1", "res2", "res3", "res4")
"""Maps of the image network whose differences may enter the difference network."""
LATERALS = ("sum", "conv1x1", "gated")
"""Forms of `Lateral`."""
PHASES = (1, 2)
"""Phases of training: see `FeatureDifferenceNet`."""


class StreamLogits(NamedTuple):
    """Consensus logits `(B, K)` of each network; each has a softmax loss of its own."""

    image: Tensor
    difference: Tensor


class Lateral(nn.Module):
    """How the image network's difference joins the difference network; all forms begin as the sum.

    "sum" g + d; "conv1x1" g + W d, W beginning as the identity; "gated" 2 (a g + b d) with a, b a
    softmax over two maps that a 1×1 convolution makes of g and d. The last two are section 3.2's
    "1 × 1 convolutional layer" and "gating mechanism", which it does not define further.
    """

    def __init__(self, form: str, channels: int) -> None:
        super().__init__()
        self.form = form
        self.project: nn.Conv2d | None = None
        self.gate: nn.Conv2d | None = None
        if form == "conv1x1":
            self.project = nn.Conv2d(channels, channels, 1, bias=False)
            nn.init.dirac_(self.project.weight)
        elif form == "gated":
            self.gate = nn.Conv2d(2 * channels, 2, 1)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]  # built with a bias

    def forward(self, g_NCHW: Tensor, d_NCHW: Tensor) -> Tensor:
        if self.project is not None:
            d_NCHW = self.project(d_NCHW)
        if self.gate is not None:
            weights: Tensor = 2 * self.gate(torch.cat([g_NCHW, d_NCHW], 1)).softmax(1)
            return g_NCHW * weights[:, :1] + d_NCHW * weights[:, 1:]
        return g_NCHW + d_NCHW


class FeatureDifferenceNet(ClipNetwork):
    """Both networks. `forward` gives the mean of their logits; `streams` gives them one by one.

    In phase 1 only the classifier of the image network is trained, and its batch norm statistics
    are frozen; phase 2 trains everything.
    """

    def __init__(
        self,
        shape: NetworkShape,
        *,
        window: int,
        layers: tuple[str, ...],
        lateral: str,
    ) -> None:
        super().__init__(shape, window=window, min_size_px=TOTAL_STRIDE)
        self.layers = layers
        self.phase = 2
        self.image, self.difference = (
            StackedSegmentResNet(replace(shape, num_segments=rows), window=window)
            for rows in (shape.num_segments, shape.num_segments - 1)
        )
        width = self.image.config.width
        widths = {"conv1": width} | {f"res{stage}": width * 2**stage for stage in (2, 3, 4)}
        self.laterals = nn.ModuleDict(
            {layer: Lateral(lateral, widths[layer]) for layer in layers if layer != "input"}
        )

    def streams(self, clips_BTFCHW: Tensor) -> StreamLogits:
        """Each network's logits, averaged over the T frames and over the T - 1 pairs."""
        self.check(clips_BTFCHW)
        frames_BTCHW = clips_BTFCHW.flatten(2, 3)
        f = to_rows(frames_BTCHW)
        g = to_rows(frames_BTCHW[:, 1:] - frames_BTCHW[:, :-1])
        for layer in ("conv1", "res2", "res3", "res4"):
            part = "stem" if layer == "conv1" else layer
            f = self.image.get_submodule(part)(f)
            g = self.difference.get_submodule(part)(g)
            if layer in self.layers:
                g = self.laterals[layer](g, pair_differences(f, self.num_segments))
        f, g = self.image.res5(f), self.difference.res5(g)
        return StreamLogits(consensus(self.image, f), consensus(self.difference, g))

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        streams = self.streams(clips_BTFCHW)
        return (streams.image + streams.difference) / 2

    def loss(self, clips_BTFCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the two networks' losses, and the fused logits for the accuracy."""
        image, difference = self.streams(clips_BTFCHW)
        total = classification_loss(image, labels_B)
        total = total + classification_loss(difference, labels_B)
        return total, (image + difference) / 2

    def load_imagenet(self, weights: str | Mapping[str, Tensor]) -> list[str]:
        """Both networks from ImageNet weights; see `load_pretrained`."""
        load_pretrained(self, weights)
        return [key for key in self.state_dict() if "classifier" in key]

    def set_phase(self, phase: int) -> None:
        """Freeze for phase 1 or thaw for phase 2; make the optimiser's groups in phase 2."""
        check_choice("phase", phase, PHASES)
        self.phase = phase
        for name, parameter in self.image.named_parameters():
            parameter.requires_grad_(phase == 2 or name.startswith("classifier."))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.phase == 1:
            for name, part in self.image.named_children():
                if name not in ("classifier", "dropout"):
                    part.eval()
        return self

    def classifiers(self) -> list[nn.Linear]:
        return [self.image.classifier, self.difference.classifier]

    def streams_for_partial_bn(self) -> list[nn.Module]:
        return [self.image, self.difference]


def pair_differences(f_NCHW: Tensor, num_segments: int) -> Tensor:
    """`f[k+1] - f[k]` inside each video: B·(T-1) rows."""
    f = split_time(f_NCHW, num_segments)
    return (f[:, 1:] - f[:, :-1]).flatten(0, 1)


def consensus(network: SegmentResNet, maps_NCHW: Tensor) -> Tensor:
    """The network's logits from its last maps, averaged over its rows of a video."""
    x_BTC = split_time(maps_NCHW, network.num_segments).mean((3, 4))
    return mean_logits(x_BTC, network.classifier, network.dropout)


def load_pretrained(
    model: FeatureDifferenceNet,
    imagenet: str | Mapping[str, Tensor],
    trained_tsn: Mapping[str, Tensor] | None = None,
) -> None:
    """Start both networks from ImageNet weights, or the image network from a trained TSN of ours.

    ImageNet weights cross modality: where the stem has other input channels (a flow stack), each
    gets the mean over the three. For flow the paper starts the image network from a TSN trained on
    flow stacks: the state dict of our "tsn_stack" of the same window and channels.
    """
    load_imagenet(model.difference, imagenet)
    if trained_tsn is None:
        load_imagenet(model.image, imagenet)
    else:
        model.image.load_state_dict(trained_tsn)


def featdiff(
    shape: NetworkShape,
    *,
    window: int = 1,
    layers: Collection[str] = LAYERS,
    lateral: str = "sum",
) -> FeatureDifferenceNet:
    """TDN of Ng and Davis. For flow stacks: `window=5, in_channels=2`.

    `layers` names the maps whose differences are used and always has "input", the difference
    network's own input; `lateral` is "sum", "conv1x1" or "gated". A clip has at least two snippets.
    """
    check_at_least("num_segments", shape.num_segments, 2)
    check_choice("lateral", lateral, LATERALS)
    got = tuple(layers)
    if "input" not in got or len(set(got)) != len(got) or not set(got) <= set(LAYERS):
        raise ValueError(
            f"layers: got {list(got)}; it takes distinct names of {list(LAYERS)}, "
            "'input' among them"
        )
    return FeatureDifferenceNet(
        shape,
        window=window,
        layers=tuple(layer for layer in LAYERS if layer in got),
        lateral=lateral,
    )
