from __future__ import annotations

import torch

from tdn_model.losses import classification_loss


def test_one_label_a_video_is_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 2])
    expected = -logits.log_softmax(1)[[0, 1], labels].mean()
    assert torch.allclose(classification_loss(logits, labels), expected)


def test_several_labels_a_video_are_one_logistic_loss_per_class() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]], dtype=torch.bfloat16)
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    p = logits.float().sigmoid()
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).sum() / 2
    assert torch.allclose(classification_loss(logits, labels), expected)
