"""Parts shared by the segment networks whose residual blocks are not the plain bottleneck.

Shapes: B videos, T segments, N = B·T rows with the segment index fastest, C channels, H, W,
K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from tdn_model.layers.resnet2d import EXPANSION, STAGES, Geometry, SegmentResNet, Site


def sites(shape: Geometry, stage: int) -> Iterator[Site]:
    """The places of a stage's residual blocks, first to last."""
    planes = shape.width * 2 ** (stage - 2)
    count = shape.blocks[stage - 2]
    in_channels = shape.width if stage == 2 else planes * EXPANSION // 2
    stride = 1 if stage == 2 else 2
    for index in range(count):
        yield Site(stage, index, in_channels, planes, stride, count)
        in_channels, stride = planes * EXPANSION, 1


def use_blocks_(network: SegmentResNet, make_block: Callable[[Site], nn.Module]) -> None:
    """Give a segment network residual blocks of another kind, and initialise all of it again."""
    for stage in STAGES:
        made = nn.Sequential(*(make_block(site) for site in sites(network.shape, stage)))
        setattr(network, f"res{stage}", made)
    network.reset_parameters()


def mean_logits(x_BTC: Tensor, classifier: nn.Linear, dropout: nn.Dropout) -> Tensor:
    """Mean over segments of one linear classifier; without dropout, the mean is taken first."""
    logits_BK: Tensor
    if dropout.training:
        logits_BK = classifier(dropout(x_BTC)).mean(1)
    else:
        logits_BK = classifier(x_BTC.mean(1))
    return logits_BK
