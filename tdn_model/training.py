"""One step of training and one of prediction: tensors in, tensors out.

Shapes: clips `(B, T, F, C, H, W)`, labels `(B,)` or `(B, K)`, logits `(B, K)`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tdn_model.contract import PUBLISHED_WIDTH
from tdn_model.losses import classification_loss

MMAP_THRESHOLD_BYTES = 32 * 2**20
"""The most that glibc's M_MMAP_THRESHOLD grows to on a 64-bit system.

Larger blocks are mapped anew, page by page, at every allocation; smaller ones are used again.
"""


class Step(NamedTuple):
    """What one training step gives back, on its device: reading a number waits for the device."""

    loss: Tensor
    """() float32, before the step: the mean over the clips."""
    correct: Tensor
    """() int64: videos of the batch whose highest score is a class of theirs."""
    grad_norm: Tensor
    """() float32: the L2 norm of all gradients before clipping."""


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clips_BTFCHW: Tensor,
    labels_B: Tensor,
    *,
    clip_norm: float | None,
    precision: torch.dtype = torch.float32,
    micro_batch: int | None = None,
    to_input: Callable[[Tensor], Tensor] = lambda clips: clips,
    scaler: torch.amp.GradScaler | None = None,
    shared: DistributedDataParallel | None = None,
) -> Step:
    """The loss on the consensus logits, gradients clipped by their total norm, one SGD step.

    Labels are class indices (B,), or (B, K) zeros and ones where a video may have several.
    `to_input` makes the network's input of clips. `precision` other than float32 runs the forward
    pass under autocast; a `scaler` keeps float16 gradients from vanishing.

    `micro_batch` clips are computed at a time and their gradients summed with their share of the
    batch: the result of one batch, but for rounding, for batch norms that learn, whose statistics
    are those of a micro-batch, and for dropout, whose masks are drawn for each in turn.

    `shared` is `WithLoss(model)` under DistributedDataParallel: `clips` are then this process's
    share, and gradients the mean over all, exchanged once a step. A loss that is not finite is not
    noticed here; the caller reads it.
    """
    optimizer.zero_grad(set_to_none=True)
    size = micro_batch or len(clips_BTFCHW)
    pieces = list(zip(torch.split(clips_BTFCHW, size), torch.split(labels_B, size), strict=True))
    losses, right = [], []
    for number, (clips, labels) in enumerate(pieces, start=1):
        alone = shared is None or number == len(pieces)
        with nullcontext() if alone else shared.no_sync():  # type: ignore[union-attr]  # not None: see alone
            with torch.autocast(
                clips.device.type, dtype=precision, enabled=precision != torch.float32
            ):
                inputs = to_input(clips)
                if shared is None:
                    loss, logits_BK = loss_and_logits(model, inputs, labels)
                else:
                    loss, logits_BK = shared(inputs, labels)
            loss = loss * (len(clips) / len(clips_BTFCHW))
            (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        losses.append(loss.detach())
        right.append(_correct(logits_BK, labels))
    if scaler is not None:
        scaler.unscale_(optimizer)
    parameters = [p for p in model.parameters() if p.grad is not None]
    limit = float("inf") if clip_norm is None else clip_norm
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    return Step(torch.stack(losses).sum(), torch.stack(right).sum(), norm)


class WithLoss(nn.Module):
    """A network that answers with loss and logits: what DistributedDataParallel wraps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips_BTFCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        return loss_and_logits(self.model, clips_BTFCHW, labels_B)


def loss_and_logits(
    model: nn.Module, clips_BTFCHW: Tensor, labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    """The network's own loss where it has one (two streams, two losses), else cross-entropy."""
    own = getattr(model, "loss", None)
    if own is not None:
        loss, logits_BK = own(clips_BTFCHW, labels_B)
        return loss, logits_BK
    logits_BK = model(clips_BTFCHW)
    return classification_loss(logits_BK, labels_B), logits_BK


def _correct(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """() int64: videos whose highest score is a class of theirs."""
    best_B = logits_BK.detach().argmax(dim=1)
    if labels_B.dim() == 2:
        return labels_B.gather(1, best_B[:, None]).sum().long()
    return (best_B == labels_B).sum()


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
