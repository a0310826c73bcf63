"""TRN-multiscale: temporal relations among 2 to T frames.

Bolei Zhou, Alex Andonian, Aude Oliva and Antonio Torralba, "Temporal Relational Reasoning in
Videos", ECCV 2018, arXiv:1711.08496; details of the released relation module.

Shapes: clips `(B, T, 1, C, H, W)`, D features per frame, M subsets of k frames, logits `(B, K)`.

Full size (BN-Inception, T = 8, 224², 174 classes): 13.1 M parameters, 16.3 G multiply-adds, where
the tables print 33 G beside 16 G for TSN with the same backbone and frames. Relations cost 0.01 G,
so the printed number is not that of 8 frames in multiply-adds: it is twice as much, which 16 frames
give (32.5 G) and so does counting operations.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from tdn_model.contract import ClipNetwork, NetworkShape, check_at_least, check_choice
from tdn_model.layers.resnet2d import TOTAL_STRIDE, SegmentResNet
from tdn_model.layers.temporal import split_time
from tdn_model.models.bninception import BACKBONE, SegmentInception

BACKBONES = (BACKBONE, "resnet50", "resnet101")
"""The networks that may read the frames."""


class Relation(nn.Module):
    """Scores of ordered subsets of k frames: a two-layer network over their joined features."""

    def __init__(self, frames: int, feature_dim: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.ReLU(),
            nn.Linear(frames * feature_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x_BTD: Tensor, subsets_Mk: list[tuple[int, ...]]) -> Tensor:
        """Scores summed over the subsets: `(B, K)`."""
        x_BMD = torch.stack([x_BTD[:, list(subset)].flatten(1) for subset in subsets_Mk], 1)
        scores_BK: Tensor = self.mlp(x_BMD).sum(1)
        return scores_BK


class TemporalRelations(nn.Module):
    """One relation network per scale k = T … 2; scores are summed over scales and subsets.

    At scale T there is one subset; at a smaller one, up to `subsets` are drawn at random in each
    pass, in the release even at test time. With `fixed` they are, in evaluation, spread evenly over
    the lexicographic list of all k-subsets instead, so that evaluation is deterministic.
    """

    def __init__(
        self,
        num_segments: int,
        feature_dim: int,
        hidden: int,
        num_classes: int,
        *,
        subsets: int,
        fixed: bool,
    ) -> None:
        super().__init__()
        self.subsets = subsets
        self.fixed = fixed
        self.sizes = tuple(range(num_segments, 1, -1))
        self.choices = [list(itertools.combinations(range(num_segments), k)) for k in self.sizes]
        self.relations = nn.ModuleList(
            Relation(k, feature_dim, hidden, num_classes) for k in self.sizes
        )

    def pick(self, choices: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The subsets that this pass looks at."""
        count = min(self.subsets, len(choices))
        if self.fixed and not self.training:
            return [choices[(2 * i + 1) * len(choices) // (2 * count)] for i in range(count)]
        drawn: list[int] = torch.randperm(len(choices), device="cpu")[:count].tolist()
        return [choices[i] for i in drawn]

    def forward(self, x_BTD: Tensor) -> Tensor:
        scores = [
            relation(x_BTD, self.pick(choices))
            for relation, choices in zip(self.relations, self.choices, strict=True)
        ]
        return torch.stack(scores).sum(0)


class TRN(ClipNetwork):
    """Relations over frame features; a segment network's classifier serves as the feature layer."""

    def __init__(
        self,
        shape: NetworkShape,
        frames: SegmentResNet | SegmentInception,
        relations: TemporalRelations,
    ) -> None:
        super().__init__(shape, min_size_px=TOTAL_STRIDE)
        self.frames = frames
        self.relations = relations

    def classifiers(self) -> list[nn.Linear]:
        """The last layer of every relation."""
        last = [relation.get_submodule("mlp.3") for relation in self.relations.relations]
        return [layer for layer in last if isinstance(layer, nn.Linear)]

    def forward(self, clips_BTFCHW: Tensor) -> Tensor:
        self.check(clips_BTFCHW)
        maps = split_time(self.frames.features(clips_BTFCHW), self.num_segments)
        features_BTD = self.frames.classifier(self.frames.dropout(maps.mean((3, 4))))
        scores_BK: Tensor = self.relations(features_BTD)
        return scores_BK


def trn_multiscale(
    shape: NetworkShape,
    *,
    feature_dim: int = 256,
    hidden: int = 256,
    subsets: int = 3,
    fixed_subsets: bool = True,
) -> TRN:
    """TRN-multiscale; the backbone is "bninception", "resnet50" or "resnet101".

    `fixed_subsets` off draws random subsets in evaluation too, as the released testing does.
    """
    backbone = BACKBONE if shape.backbone is None else shape.backbone
    check_choice("backbone", backbone, BACKBONES)
    check_at_least("num_segments", shape.num_segments, 2)
    check_at_least("feature_dim", feature_dim, 1)
    check_at_least("hidden", hidden, 1)
    check_at_least("subsets", subsets, 1)
    inner = replace(shape, num_classes=feature_dim, backbone=backbone)
    frames = SegmentInception(inner) if backbone == BACKBONE else SegmentResNet(inner)
    relations = TemporalRelations(
        shape.num_segments,
        feature_dim,
        hidden,
        shape.num_classes,
        subsets=subsets,
        fixed=fixed_subsets,
    )
    return TRN(shape, frames, relations)
