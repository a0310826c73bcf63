"""TDN arranged the way its authors' release arranges the work: what our network's speed is held to.

The same modules and weights as ours: contiguous maps, differences before pooling, a temporal
convolution over a permuted `(N·H·W, C, T)`, the long-term module once per direction, the classifier
once per segment, batch norms not folded. Only the default `released` network is arranged here.

Shapes: clips `(B, T, 5, 3, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.layers.resnet2d import Bottleneck, Stem
from tdn_model.layers.tdm import LongTermTDM, ShortTermFusion, ShortTermTDM
from tdn_model.layers.temporal import split_time
from tdn_model.models.tdn import TDN


class ReferenceTDN(nn.Module):
    """A copy of a released-variant TDN's weights in the authors' arrangement.

    Raises ValueError for another variant.
    """

    def __init__(self, model: TDN) -> None:
        super().__init__()
        if not model.design.is_released or model.short_term is None:
            raise ValueError("model: the reference arranges the released TDN alone")
        self.net = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        self.segments = model.num_segments
        fusion = model.fusions[0]
        assert isinstance(fusion, ShortTermFusion)
        self.alpha, self.beta = fusion.weights

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        frames = clips_BTFCHW.flatten(0, 1)
        short = self.net.get_submodule("short_term")
        assert isinstance(short, ShortTermTDM)
        each = frames.contiguous().unbind(1)
        motion = F.avg_pool2d(torch.cat([b - a for a, b in pairwise(each)], 1), 2)
        motion = _stem(short.stem, motion)
        x = frames[:, 2].contiguous()
        x = self._fuse(_stem(self.net.get_submodule("stem"), x), motion)
        motion = self._stage(short.copies["res2"], motion)
        x = self._fuse(self._stage(self.net.get_submodule("res2"), x), motion)
        for name in ("res3", "res4", "res5"):
            x = self._stage(self.net.get_submodule(name), x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        scores: Tensor = self.net.get_submodule("classifier")(self.net.get_submodule("dropout")(x))
        return scores.view(-1, self.segments, scores.shape[1]).mean(1)

    def _fuse(self, x: Tensor, motion: Tensor) -> Tensor:
        y: Tensor = self.alpha * x + self.beta * F.interpolate(motion, x.shape[2:])
        return y

    def _stage(self, stage: nn.Module, x: Tensor) -> Tensor:
        for block in stage.children():
            assert isinstance(block, Bottleneck)
            x = self._block(block, x)
        return x

    def _block(self, block: Bottleneck, x: Tensor) -> Tensor:
        y = F.relu(block.bn1(block.conv1(x)), inplace=True)
        for part in block.after_conv1.children():
            if isinstance(part, LongTermTDM):
                y = self._long_term(part, y)
            else:
                y = self._temporal(part.get_parameter("weight"), y)
        y = F.relu(block.bn2(block.conv2(y)), inplace=True)
        y = block.bn3(block.conv3(y))
        y += block.shortcut(x)
        return F.relu(y, inplace=True)

    def _temporal(self, weight_C1K: Tensor, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(-1, self.segments, c, h, w).permute(0, 3, 4, 2, 1)
        x = F.conv1d(x.contiguous().view(-1, c, self.segments), weight_C1K, padding=1, groups=c)
        x = x.view(-1, h, w, c, self.segments).permute(0, 4, 3, 1, 2)
        return x.contiguous().view(n, c, h, w)

    def _long_term(self, part: LongTermTDM, x: Tensor) -> Tensor:
        b = part.reduce_bn(part.reduce(x))
        s = split_time(part.align(b), self.segments)
        b = split_time(b, self.segments)
        forward = F.pad(s[:, 1:] - b[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        backward = F.pad(s[:, :-1] - b[:, 1:], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1)
        first, second = self._gate(part, forward), self._gate(part, backward)
        return x + x * (0.5 * first + 0.5 * second)

    def _gate(self, part: LongTermTDM, z: Tensor) -> Tensor:
        half, full = part.scales["pool2"], part.scales["pool1"]
        pooled = _conv_bn(half, F.avg_pool2d(z, 2))
        fused = z / 3 + F.interpolate(pooled, z.shape[2:]) / 3 + _conv_bn(full, z) / 3
        y: Tensor = part.expand_bn(part.expand(fused))
        return y.sigmoid() - 0.5


def _conv_bn(module: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = module.get_submodule("bn")(module.get_submodule("conv")(x))
    return y


def _stem(stem: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(stem, Stem)
    return F.max_pool2d(F.relu(_conv_bn(stem, x), inplace=True), 3, stride=2, padding=1)
