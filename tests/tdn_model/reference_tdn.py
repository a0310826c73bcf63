"""TDN evaluated the slow way, straight from the equations, on a state dict in the official naming.

An independent yardstick for `tdn_model.models.tdn`: nothing of the package is used. Input is the
official one, `(N, T·15, H, W)` with a segment's five RGB frames behind one another on the channel
axis. The temporal convolution is a `conv1d` over permuted maps, the long-term module runs once per
direction, and the classifier runs per segment. In training mode, batch norms use the batch's
statistics and update the running ones inside `state`; dropout is not modelled (use 0).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


class Reference:
    def __init__(self, state: State, num_segments: int, *, training: bool = False) -> None:
        self.state = state
        self.segments = num_segments
        self.training = training

    def __call__(self, x: Tensor) -> Tensor:
        frames = x.view(-1, 15, *x.shape[2:])
        f = [frames[:, 3 * k : 3 * k + 3] for k in range(5)]
        steps = torch.cat([f[k + 1] - f[k] for k in range(4)], 1)

        main = self.conv("base_model.conv1", f[2], stride=2, padding=3)
        main = F.max_pool2d(F.relu(self.bn("base_model.bn1", main)), 3, 2, 1)
        motion = self.conv("base_model.conv1_5.0", F.avg_pool2d(steps, 2, 2), stride=2, padding=3)
        motion = F.max_pool2d(F.relu(self.bn("base_model.conv1_5.1", motion)), 3, 2, 1)

        alpha, beta = (0.5, 0.5) if self.segments == 8 else (0.75, 0.25)
        main = alpha * main + beta * F.interpolate(motion, main.shape[2:])
        main = self.stage("base_model.layer1_bak", main, 1)
        motion = self.stage("base_model.resnext_layer1", motion, 1)
        main = alpha * main + beta * F.interpolate(motion, main.shape[2:])
        for layer in (2, 3, 4):
            main = self.stage(f"base_model.layer{layer}_bak", main, 2)

        pooled = F.adaptive_avg_pool2d(main, 1).flatten(1)
        head = "new_fc" if "new_fc.weight" in self.state else "base_model.fc"
        scores = F.linear(pooled, self.state[f"{head}.weight"], self.state[f"{head}.bias"])
        return scores.view(-1, self.segments, scores.shape[1]).mean(1)

    def stage(self, name: str, x: Tensor, stride: int) -> Tensor:
        index = 0
        while f"{name}.{index}.conv1.weight" in self.state:
            x = self.block(f"{name}.{index}", x, stride if index == 0 else 1)
            index += 1
        return x

    def block(self, name: str, x: Tensor, stride: int) -> Tensor:
        y = F.relu(self.bn(f"{name}.bn1", self.conv(f"{name}.conv1", x)))
        if f"{name}.mse.conv1.weight" in self.state:
            y = self.temporal(f"{name}.shift.conv", self.long_term(f"{name}.mse", y))
        y = self.conv(f"{name}.conv2", y, stride=stride, padding=1)
        y = F.relu(self.bn(f"{name}.bn2", y))
        y = self.bn(f"{name}.bn3", self.conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.weight" in self.state:
            x = self.conv(f"{name}.downsample.0", x, stride=stride)
            x = self.bn(f"{name}.downsample.1", x)
        return F.relu(y + x)

    def long_term(self, name: str, x: Tensor) -> Tensor:
        b = self.bn(f"{name}.bn1", self.conv(f"{name}.conv1", x))
        s = self.conv(f"{name}.conv2", b, padding=1, groups=b.shape[1])
        b, s = self.by_time(b), self.by_time(s)
        nothing = torch.zeros_like(b[:, 0])
        last = self.segments - 1
        onward = [s[:, t + 1] - b[:, t] for t in range(last)]
        back = [s[:, t - 1] - b[:, t] for t in range(1, self.segments)]
        p = torch.stack([*onward, nothing], 1).flatten(0, 1)
        q = torch.stack([nothing, *back], 1).flatten(0, 1)
        gate = self.gate(name, p)
        gate = 0.5 * (gate + self.gate(name, q))
        return x + x * gate

    def gate(self, name: str, z: Tensor) -> Tensor:
        half = self.conv(f"{name}.conv3_smallscale2", F.avg_pool2d(z, 2, 2), padding=1)
        half = F.interpolate(self.bn(f"{name}.bn3_smallscale2", half), z.shape[2:])
        full = self.conv(f"{name}.conv3_smallscale4", z, padding=1)
        full = self.bn(f"{name}.bn3_smallscale4", full)
        y = self.bn(f"{name}.bn3", self.conv(f"{name}.conv3", (z + half + full) / 3))
        return y.sigmoid() - 0.5

    def temporal(self, name: str, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        sequences = self.by_time(x).permute(0, 3, 4, 2, 1).reshape(-1, c, self.segments)
        mixed = F.conv1d(sequences, self.state[f"{name}.weight"], padding=1, groups=c)
        return mixed.view(-1, h, w, c, self.segments).permute(0, 4, 3, 1, 2).reshape(n, c, h, w)

    def by_time(self, x: Tensor) -> Tensor:
        return x.view(-1, self.segments, *x.shape[1:])

    def conv(
        self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Tensor:
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, self.state[f"{name}.weight"], bias, stride, padding, groups=groups)

    def bn(self, name: str, x: Tensor) -> Tensor:
        if self.training:
            self.state[f"{name}.num_batches_tracked"] += 1
        return F.batch_norm(
            x,
            self.state[f"{name}.running_mean"],
            self.state[f"{name}.running_var"],
            self.state[f"{name}.weight"],
            self.state[f"{name}.bias"],
            training=self.training,
            momentum=0.1,
            eps=1e-5,
        )


def official_input(clips_BTFCHW: Tensor) -> Tensor:
    """Our clips as the official input: windows on channels, segments on channels."""
    return clips_BTFCHW.flatten(1, 3)
