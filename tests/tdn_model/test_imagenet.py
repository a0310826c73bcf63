"""ImageNet weights into the segment networks (random ones in torchvision's naming, no download)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet50

from tdn_model import build
from tdn_model.imagenet import load_imagenet
from tests.tdn_model.helpers import clips


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return resnet50().state_dict()


def make(architecture: str, **options: Any) -> Any:
    return build(architecture, num_classes=3, num_segments=2, **options)


def test_tsn_with_imagenet_weights_is_the_mean_over_torchvision(weights: dict[str, Tensor]) -> None:
    model = make("tsn").eval()
    kept = load_imagenet(model, weights)
    assert kept == ["classifier.weight", "classifier.bias"]
    image_net = resnet50().eval()
    image_net.load_state_dict(weights)
    image_net.fc = model.classifier
    x = clips(model, batch=1, size=(64, 96))
    with torch.no_grad():
        want = image_net(x.flatten(0, 2)).mean(0, keepdim=True)
        torch.testing.assert_close(model(x), want)


def test_tdn_fills_its_difference_path_from_the_same_weights(weights: dict[str, Tensor]) -> None:
    model = make("tdn", s_tdm_stages=(1, 2, 3), l_tdm_stages=(4, 5))
    kept = load_imagenet(model, weights)
    state = model.state_dict()
    mean = weights["conv1.weight"].mean(1)
    for channel in range(12):
        assert torch.equal(state["short_term.stem.conv.weight"][:, channel], mean)
    assert torch.equal(state["short_term.unused_stem.weight"], weights["conv1.weight"])
    for ours, theirs in (("copies.res2.1", "layer1.1"), ("copies.res3.0", "layer2.0")):
        got, want = state[f"short_term.{ours}.conv2.weight"], weights[f"{theirs}.conv2.weight"]
        assert torch.equal(got, want)
    fresh = ("classifier", ".bias", "long_term", "temporal", "short_term.stem.bn")
    assert all(any(part in key for part in fresh) for key in kept)


def test_flow_stems_get_the_mean_of_the_colour_channels(weights: dict[str, Tensor]) -> None:
    model = make("tsm", in_channels=2)
    load_imagenet(model, weights)
    mean = weights["conv1.weight"].mean(1)
    assert torch.equal(model.stem.conv.weight[:, 1], mean)


def test_weights_that_do_not_fit_are_refused_by_name(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"res2\.0\.conv1\.weight"):
        load_imagenet(make("tsn", width=8), weights)
    with pytest.raises(ValueError, match=r"missing \['res4\.6\."):
        load_imagenet(make("tsn", backbone="resnet101"), weights)
    with pytest.raises(ValueError, match=r"unknown or of another shape \['res2\.1\."):
        load_imagenet(make("tsn", blocks=(1, 4, 6, 3)), weights)
    with pytest.raises(ValueError, match=r"missing \['stem\.bn\.running_var'\]"):
        load_imagenet(make("tsn"), {k: v for k, v in weights.items() if k != "bn1.running_var"})
