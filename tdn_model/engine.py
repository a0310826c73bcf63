"""One step of training and one of prediction: tensors in, tensors out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# B videos, T segments, F frames of a window, C channels, H, W pixels, K classes.


@dataclass(frozen=True)
class Step:
    """What one training step gives back."""

    loss: float
    correct: int
    grad_norm: float


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clips_BTFCHW: Tensor,
    labels_B: Tensor,
    *,
    clip_norm: float | None,
    precision: torch.dtype = torch.float32,
) -> Step:
    """The loss on the consensus logits, gradients clipped by their total norm, one SGD step.

    `precision` other than float32 runs the forward pass under autocast. Raises FloatingPointError
    when the loss is not finite: the weights are then still those before the step.
    """
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(
        clips_BTFCHW.device.type, dtype=precision, enabled=precision != torch.float32
    ):
        loss, logits_BK = _loss(model, clips_BTFCHW, labels_B)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}")
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    parameters = [p for p in model.parameters() if p.grad is not None]
    limit = float("inf") if clip_norm is None else clip_norm
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    optimizer.step()
    correct = int((logits_BK.argmax(dim=1) == labels_B).sum())
    return Step(float(loss.detach()), correct, float(norm))


def _loss(model: nn.Module, clips_BTFCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """The network's own loss where it has one (two streams, two losses), else cross-entropy."""
    own = getattr(model, "loss", None)
    if own is not None:
        loss, logits_BK = own(clips_BTFCHW, labels_B)
        return loss, logits_BK
    logits_BK = model(clips_BTFCHW)
    return functional.cross_entropy(logits_BK.float(), labels_B), logits_BK


@torch.inference_mode()
def predict_step(
    model: nn.Module, clips_BTFCHW: Tensor, *, precision: torch.dtype = torch.float32
) -> Tensor:
    """Logits (B, K) in float32; the caller has put the model into evaluation mode."""
    with torch.autocast(
        clips_BTFCHW.device.type, dtype=precision, enabled=precision != torch.float32
    ):
        logits_BK: Tensor = model(clips_BTFCHW)
    return logits_BK.float()
