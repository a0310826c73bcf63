"""SGD as the papers run it: each parameter's rate and weight decay, and the schedule over steps.

Sources: the released trainers of TSN and TSM for the rates per group; TDN's declares them but
applies one rate and full weight decay to everything ("flat").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tdn_model.contract import ClipNetwork


@dataclass(frozen=True)
class Schedule:
    """The learning rate over one training, in steps of one batch."""

    lr: float
    epochs: int
    steps_per_epoch: int
    decay: Literal["cosine", "milestones", "plateau"]
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0

    def at(self, step: int) -> float:
        """The rate for a 0-based step: linear warm-up, then ÷10 at milestones or a cosine.

        With "plateau" it is constant; the caller, who sees the validation accuracy, divides it.
        """
        warmup = int(self.warmup_epochs * self.steps_per_epoch)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if self.decay != "cosine":
            passed = sum(step >= epoch * self.steps_per_epoch for epoch in self.milestones)
            return self.lr * self.gamma**passed
        total = max(1, self.epochs * self.steps_per_epoch - warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / total))


def parameter_groups(
    model: ClipNetwork, policy: Literal["flat", "tsn", "tsn_rates"], weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups with `lr_mult` and `weight_decay`.

    "flat": one rate and full decay for all (what TDN's trainer really does). "tsn": biases at twice
    the rate without decay, normalisation without decay, classifier weight ×5 and bias ×10.
    "tsn_rates": the same rates, full decay for all (TEA's trainer).
    """
    if policy == "flat":
        params = [p for p in model.parameters() if p.requires_grad]
        return [{"params": params, "lr_mult": 1.0, "weight_decay": weight_decay}]
    buckets: dict[tuple[float, float], list[Tensor]] = {}
    classifiers: list[nn.Module] = [*model.classifiers()]
    for module in model.modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            bias = name == "bias"
            mult = 2.0 if bias and not norm else 1.0
            if module in classifiers:
                mult = 10.0 if bias else 5.0
            decay = 0.0 if policy == "tsn" and (norm or bias) else weight_decay
            buckets.setdefault((mult, decay), []).append(parameter)
    return [
        {"params": params, "lr_mult": mult, "weight_decay": decay}
        for (mult, decay), params in sorted(buckets.items(), key=lambda item: item[0])
    ]


def sgd(groups: list[dict[str, Any]], momentum: float) -> torch.optim.SGD:
    """SGD with momentum, no Nesterov; rates are set step by step with `set_rate`."""
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its multiple of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_mult"]


def freeze_partial_bn(model: nn.Module) -> None:
    """Partial BN (TSN): every BatchNorm but the first keeps its statistics and affine terms.

    Batch norms over maps and volumes are meant; those inside a gate (over vectors) go on.

    Call after each `model.train()`. A network of several streams knows its own first ones.
    """
    for stream in model.streams_for_partial_bn() if isinstance(model, ClipNetwork) else [model]:
        kinds = nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
        norms = [module for module in stream.modules() if isinstance(module, kinds)]
        for norm in norms[1:]:
            norm.eval()
            for parameter in norm.parameters():
                parameter.requires_grad_(False)
