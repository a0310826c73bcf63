"""TDN evaluated the way its authors' release arranges the work, as a yardstick for speed.

The same modules and weights as ours, in another arrangement: contiguous maps, differences before
pooling, nearest up-sampling as a map of its own, a temporal convolution over a permuted
`(N·H·W, C, T)`, the long-term module once per direction, the classifier once per segment, batch
norms unfolded. Only the default `released` network is arranged here.

Shapes: clips `(B, T, 5, 3, H, W)`, N = B·T rows with the segment index fastest, logits `(B, K)`.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn_model.backbones import Bottleneck, Stem
from tdn_model.tdm import LongTermTDM, ShortTermFusion, ShortTermTDM
from tdn_model.tdn import TDN


class ReferenceTDN(nn.Module):
    """A copy of a released-variant TDN's weights, evaluated in the authors' arrangement."""

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
        frames = clips_BTFCHW.flatten(0, 1).contiguous().unbind(1)
        short: ShortTermTDM = self.net.short_term  # type: ignore[assignment]  # checked above
        steps = [after - before for before, after in pairwise(frames)]
        motion = _stem(short.stem, F.avg_pool2d(torch.cat(steps, 1), 2))
        x = self._fuse(_stem(self.net.stem, frames[2].contiguous()), motion)
        motion = self._stage(short.copies["res2"], motion)
        x = self._fuse(self._stage(self.net.res2, x), motion)
        for stage in (self.net.res3, self.net.res4, self.net.res5):
            x = self._stage(stage, x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        scores: Tensor = self.net.classifier(self.net.dropout(x))
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
        for name, part in block.after_conv1.named_children():
            if name == "long_term":
                assert isinstance(part, LongTermTDM)
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
        x = x.contiguous().view(-1, c, self.segments)
        x = F.conv1d(x, weight_C1K, padding=1, groups=c)
        x = x.view(-1, h, w, c, self.segments).permute(0, 4, 3, 1, 2)
        return x.contiguous().view(n, c, h, w)

    def _long_term(self, part: LongTermTDM, x: Tensor) -> Tensor:
        b = part.reduce_bn(part.reduce(x))
        s = part.align(b).view(-1, self.segments, *b.shape[1:])
        b = b.view(s.shape)
        forward = F.pad(s[:, 1:] - b[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1))
        backward = F.pad(s[:, :-1] - b[:, 1:], (0, 0, 0, 0, 0, 0, 1, 0))
        first = self._gate(part, forward.flatten(0, 1))
        second = self._gate(part, backward.flatten(0, 1))
        return x + x * (0.5 * first + 0.5 * second)

    def _gate(self, part: LongTermTDM, z: Tensor) -> Tensor:
        scales = part.scales
        half, full = scales["pool2"], scales["pool1"]
        pooled = half.bn(half.conv(F.avg_pool2d(z, 2)))  # type: ignore[operator]  # modules
        pooled = F.interpolate(pooled, z.shape[2:])
        smooth = full.bn(full.conv(z))  # type: ignore[operator]  # modules
        fused = z / 3 + pooled / 3 + smooth / 3
        y: Tensor = part.expand_bn(part.expand(fused))
        return y.sigmoid() - 0.5


def _stem(stem: Stem, x: Tensor) -> Tensor:
    x = F.relu(stem.bn(stem.conv(x)), inplace=True)
    return F.max_pool2d(x, 3, stride=2, padding=1)
