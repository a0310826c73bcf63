"""One step of training and one of prediction: tensors in, tensors out.

Shapes: clips `(B, T, F, C, H, W)`, labels `(B,)` or `(B, K)`, logits `(B, K)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tdn_model.contract import PUBLISHED_WIDTH
from tdn_model.losses import classification_loss

MMAP_THRESHOLD_BYTES = 32 * 2**20
"""The most that glibc's M_MMAP_THRESHOLD grows to on a 64-bit system.

Larger blocks are mapped anew, page by page, at every allocation; smaller ones are used again.
"""


@dataclass(frozen=True)
class Step:
    """What one training step gives back."""

    loss: float
    """Before the step."""
    correct: int
    """Videos of the batch whose highest score is a class of theirs."""
    grad_norm: float
    """The L2 norm of all gradients before clipping."""


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

    Labels are class indices (B,), or (B, K) zeros and ones where a video may have several.

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
    correct = _correct(logits_BK, labels_B)
    return Step(float(loss.detach()), correct, float(norm))


def _loss(model: nn.Module, clips_BTFCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """The network's own loss where it has one (two streams, two losses), else cross-entropy."""
    own = getattr(model, "loss", None)
    if own is not None:
        loss, logits_BK = own(clips_BTFCHW, labels_B)
        return loss, logits_BK
    logits_BK = model(clips_BTFCHW)
    return classification_loss(logits_BK, labels_B), logits_BK


def _correct(logits_BK: Tensor, labels_B: Tensor) -> int:
    """Videos whose highest score is a class of theirs."""
    best_B = logits_BK.argmax(dim=1)
    if labels_B.dim() == 2:
        return int(labels_B.gather(1, best_B[:, None]).sum())
    return int((best_B == labels_B).sum())


@torch.inference_mode()
def predict_step(
    model: nn.Module, clips_BTFCHW: Tensor, *, precision: torch.dtype = torch.float32
) -> Tensor:
    """Logits (B, K) in float32; the caller has put the model into evaluation mode."""
    pieces = torch.split(clips_BTFCHW, micro_batch(model, clips_BTFCHW))
    with torch.autocast(
        clips_BTFCHW.device.type, dtype=precision, enabled=precision != torch.float32
    ):
        logits_BK = torch.cat([model(piece) for piece in pieces])
    return logits_BK.float()


def micro_batch(model: nn.Module, clips_BTFCHW: Tensor) -> int:
    """How many of the clips to evaluate at a time: all on an accelerator, few on a processor.

    On a processor the stem's output, a network's largest map, is kept below `MMAP_THRESHOLD_BYTES`,
    as larger ones make a batch slower per clip. The number depends on sizes alone, so that the same
    batch is always split alike. At least 1.
    """
    batch, segments, *_, height, width = clips_BTFCHW.shape
    if clips_BTFCHW.device.type != "cpu":
        return max(1, batch)
    channels = getattr(getattr(model, "config", None), "width", PUBLISHED_WIDTH)
    largest_map_bytes = 4 * segments * channels * (height // 2) * (width // 2)
    return max(1, MMAP_THRESHOLD_BYTES // max(1, largest_map_bytes))
