"""NL-I3D+GCN: the regions of a video as a graph.

Xiaolong Wang and Abhinav Gupta, "Videos as Space-Time Region Graphs", ECCV 2018, arXiv:1806.01810.

Shapes: B videos, T' frames of the last maps, R regions per frame, N = T'·R nodes, D features of a
node, K classes. Boxes `(B, T', R, 4)` are x0, y0, x1, y1 as fractions of the frame.

The authors take the 50 best boxes of a region proposal network, trained on MSCOCO, in each frame.
Here the caller may give boxes; without them they are regular: two grids of overlapping squares. So
the graph, its features and its head are the paper's, but regular boxes do not follow objects, and
the proposal network is neither built nor counted.

The printed 606 G for two clips, 303 G each, is 136 G above the 167 G printed for NL-I3D. Our graph
head costs 8.9 G (229.7 G in all, 220.9 G of them NL-I3D, see `i3d.nl_i3d`), so the printed number
must hold the proposals: a ResNet-50 over 32 frames of 224² would be 131 G.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from tdn_model.contract import NetworkShape, check_at_least
from tdn_model.layers.conv3d import conv3d, to_volume
from tdn_model.models.i3d import NONLOCAL_RES3, NONLOCAL_RES4, check_positions, i3d_times
from tdn_model.models.resnet3d import Attention, ResNet3d

ALIGN = 7
"""RoIAlign's output is 7×7, as in the paper."""
LAYERS = 3
"""Graph convolutions per branch."""


class GraphBranch(nn.Module):
    """Three graph convolutions with one adjacency per graph: `Z = relu(norm(Σ G X W)) + X`.

    Section 3.3: layer norm, then ReLU, and a residual connection; the front and back graphs of
    section 3.2 have weights of their own and are summed.
    """

    def __init__(self, channels: int, graphs: int) -> None:
        super().__init__()
        self.weights = nn.ModuleList(
            nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(graphs))
            for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(LAYERS))

    def forward(self, x_BND: Tensor, graphs_BNN: Sequence[Tensor]) -> Tensor:
        for weights, norm in zip(self.weights, self.norms, strict=True):
            update = torch.zeros_like(x_BND)
            for weight, graph in zip(weights.children(), graphs_BNN, strict=True):
                update = update + graph @ weight(x_BND)
            x_BND = F.relu(norm(update)) + x_BND
        return x_BND


class RegionGraphNetwork(ResNet3d):
    """NL-I3D whose pooled features and pooled graph features are classified together."""

    def __init__(
        self,
        shape: NetworkShape,
        attention: Mapping[int, Attention],
        *,
        grid: int,
    ) -> None:
        super().__init__(
            shape,
            i3d_times(1, 1),
            res5_stride=1,
            attention=attention,
        )
        features = self.config.features
        channels = features // 4
        self.grid = grid
        self.reduce = conv3d(features, channels, (1, 1, 1))
        self.theta = nn.Linear(channels, channels, bias=False)
        self.phi = nn.Linear(channels, channels, bias=False)
        self.similarity = GraphBranch(channels, 1)
        self.space_time = GraphBranch(channels, 2)
        self.classifier = nn.Linear(2 * channels, shape.num_classes)
        self.reset_parameters()

    def forward(self, clips_BTFCHW: Tensor, boxes_BTR4: Tensor | None = None) -> Tensor:
        self.check(clips_BTFCHW)
        x = self.reduce(self.features(to_volume(clips_BTFCHW)))
        if boxes_BTR4 is None:
            boxes_BTR4 = regular_boxes(self.grid, x).expand(x.shape[0], x.shape[2], -1, -1)
        check_boxes(boxes_BTR4, x)
        nodes_BND = region_features(x, boxes_BTR4)
        similar = (self.theta(nodes_BND) @ self.phi(nodes_BND).transpose(1, 2)).softmax(2)
        front = overlap_graph(boxes_BTR4)
        back = normalise(front.transpose(1, 2))
        graph = self.similarity(nodes_BND, [similar])
        graph = graph + self.space_time(nodes_BND, [normalise(front), back])
        pooled = torch.cat([x.mean((2, 3, 4)), graph.mean(1)], 1)
        logits_BK: Tensor = self.classifier(self.dropout(pooled))
        return logits_BK


def regular_boxes(grid: int, like: Tensor) -> Tensor:
    """`(2·grid², 4)`: a grid of equal squares, and squares twice as wide about the same centres."""
    edges = torch.arange(grid, device=like.device, dtype=like.dtype)
    corners = torch.cartesian_prod(edges, edges).flip(1) / grid
    small = torch.cat([corners, corners + 1 / grid], 1)
    margin = small.new_tensor([-0.5, -0.5, 0.5, 0.5]) / grid
    return torch.cat([small, (small + margin).clamp(0, 1)])


def check_boxes(boxes_BTR4: Tensor, x_BDTHW: Tensor) -> None:
    """Refuse boxes of another shape than one set per frame of the maps."""
    want = (x_BDTHW.shape[0], x_BDTHW.shape[2])
    shape = tuple(boxes_BTR4.shape)
    if len(shape) != 4 or shape[:2] != want or shape[3] != 4 or shape[2] < 1:
        raise ValueError(f"boxes: got shape {shape}; it takes (B={want[0]}, T'={want[1]}, R>=1, 4)")


def region_features(x_BDTHW: Tensor, boxes_BTR4: Tensor) -> Tensor:
    """RoIAlign 7×7 on the box's own frame, then its maximum: `(B, N, D)`."""
    batch, channels, frames, height, width = x_BDTHW.shape
    maps = x_BDTHW.transpose(1, 2).flatten(0, 1)
    regions = boxes_BTR4.shape[2]
    boxes = boxes_BTR4.reshape(-1, 4).to(maps.dtype) * maps.new_tensor([width, height] * 2)
    row = torch.arange(batch * frames, device=maps.device, dtype=maps.dtype)
    rois = torch.cat([row.repeat_interleave(regions)[:, None], boxes], 1)
    aligned: Tensor = roi_align(maps, rois, (ALIGN, ALIGN), aligned=True)
    return aligned.amax((2, 3)).view(batch, frames * regions, channels)


def overlap_graph(boxes_BTR4: Tensor) -> Tensor:
    """`(B, N, N)`: from each box to those of the next frame, their intersection over union."""
    batch, frames, regions, _ = boxes_BTR4.shape
    here, there = boxes_BTR4[:, :-1, :, None], boxes_BTR4[:, 1:, None, :]
    low = torch.maximum(here[..., :2], there[..., :2])
    high = torch.minimum(here[..., 2:], there[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = (boxes_BTR4[..., 2:] - boxes_BTR4[..., :2]).clamp(min=0).prod(-1)
    union = areas[:, :-1, :, None] + areas[:, 1:, None, :] - common
    iou = common / union.clamp(min=1e-6)
    graph = boxes_BTR4.new_zeros(batch, frames, regions, frames, regions)
    if frames > 1:
        steps = torch.arange(frames - 1, device=boxes_BTR4.device)
        graph[:, steps, :, steps + 1] = iou.transpose(0, 1).to(graph.dtype)
    return graph.view(batch, frames * regions, frames * regions)


def normalise(graph_BNN: Tensor) -> Tensor:
    """Rows that sum to 1; a node without neighbours keeps a row of zeros."""
    return graph_BNN / graph_BNN.sum(2, keepdim=True).clamp(min=1e-6)


def nl_i3d_gcn(
    shape: NetworkShape,
    *,
    nonlocal_res3: Collection[int] = NONLOCAL_RES3,
    nonlocal_res4: Collection[int] = NONLOCAL_RES4,
    grid: int = 5,
) -> RegionGraphNetwork:
    """NL-I3D+GCN, 32 frames, 50 regions in each of 16 frames, 512 features; `grid` gives 2·grid².

    Called with clips alone it uses regular boxes; `model(clips, boxes)` takes the caller's.
    """
    check_at_least("grid", grid, 1)
    return RegionGraphNetwork(
        shape,
        {
            3: Attention(check_positions("nonlocal_res3", nonlocal_res3)),
            4: Attention(check_positions("nonlocal_res4", nonlocal_res4)),
        },
        grid=grid,
    )
