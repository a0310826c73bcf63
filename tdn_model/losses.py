"""Losses on video logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def classification_loss(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy, in float32; with several labels a video, one logistic loss per class.

    Labels are class indices (B,), or (B, K) zeros and ones. The latter's losses are summed over
    classes and averaged over videos, so that both are of one size.
    """
    logits_BK = logits_BK.float()
    if labels_B.dim() == 1:
        return functional.cross_entropy(logits_BK, labels_B)
    total = functional.binary_cross_entropy_with_logits(logits_BK, labels_B, reduction="sum")
    return total / len(labels_B)
