"""ImageNet weights into the segment networks (random ones in torchvision's naming, no download)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import googlenet, inception_v3, resnet50

from tdn_model.weights.imagenet import IMAGENET, REFUSED, load_imagenet
from tests.tdn_model.helpers import clips, make


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return resnet50().state_dict()


def test_tsn_with_imagenet_weights_is_the_mean_over_torchvision(weights: dict[str, Tensor]) -> None:
    model = make("tsn", num_classes=3, num_segments=2).eval()
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
    model = make("tdn", num_classes=3, num_segments=2, s_tdm_stages=(1, 2, 3), l_tdm_stages=(4, 5))
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
    model = make("tsm", num_classes=3, num_segments=2, in_channels=2)
    load_imagenet(model, weights)
    mean = weights["conv1.weight"].mean(1)
    assert torch.equal(model.stem.conv.weight[:, 1], mean)


def test_weights_that_do_not_fit_are_refused_by_name(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"res2\.0\.conv1\.weight"):
        load_imagenet(make("tsn", num_classes=3, num_segments=2, width=8), weights)
    with pytest.raises(ValueError, match=r"missing \['res4\.6\."):
        load_imagenet(make("tsn", num_classes=3, num_segments=2, backbone="resnet101"), weights)
    with pytest.raises(ValueError, match=r"unknown or of another shape \['res2\.1\."):
        load_imagenet(make("tsn", num_classes=3, num_segments=2, blocks=(1, 4, 6, 3)), weights)
    with pytest.raises(ValueError, match=r"missing \['stem\.bn\.running_var'\]"):
        load_imagenet(
            make("tsn", num_classes=3, num_segments=2),
            {k: v for k, v in weights.items() if k != "bn1.running_var"},
        )


REFUSED_OPTIONS: dict[str, dict[str, Any]] = {
    "eco_en_lite": {"members": (1, 1)},
    "r2plus1d": {"num_segments": 8},
    "res3d": {"num_segments": 8},
    "c3d": {"num_segments": 16},
    "artnet": {"num_segments": 8},
    "slowfast": {"num_segments": 8},
    "blvnet_tam": {"num_segments": 2},
}


@pytest.mark.parametrize("architecture", sorted(REFUSED))
def test_a_network_without_a_counterpart_says_why(architecture: str) -> None:
    with torch.device("meta"):
        options = {"num_classes": 3, "num_segments": 2, **REFUSED_OPTIONS.get(architecture, {})}
        model = make(architecture, **options)
    with pytest.raises(ValueError, match=f"no ImageNet weights fit {architecture}: .+"):
        load_imagenet(model, {})


def test_every_backbone_with_weights_is_known_to_torchvision() -> None:
    from torchvision.models import get_weight

    assert all(get_weight(name) for name in IMAGENET.values())


@pytest.mark.parametrize("architecture", ["i3d", "nl_i3d", "slowonly", "i3d_3x1x1"])
def test_residual_volumes_are_inflated(architecture: str, weights: dict[str, Tensor]) -> None:
    model = make(architecture, num_classes=3, num_segments=8)
    kept = load_imagenet(model, weights)
    state = model.state_dict()
    for ours, theirs in (("stem.conv", "conv1"), ("res2.1.conv1", "layer1.1.conv1")):
        got = state[f"{ours}.weight"]
        torch.testing.assert_close(got.sum(2), weights[f"{theirs}.weight"])
        assert torch.equal(got[:, :, 0], got[:, :, -1])
    assert "classifier.weight" in kept and "res4.0.bn2.running_var" not in kept


def test_p3d_takes_its_spatial_half(weights: dict[str, Tensor]) -> None:
    model = make("p3d", num_classes=3, num_segments=16)
    kept = load_imagenet(model, weights)
    got = model.state_dict()["res3.0.space.conv.weight"][:, :, 0]
    assert torch.equal(got, weights["layer2.0.conv2.weight"])
    assert all("time" in key or "classifier" in key for key in kept)
    with pytest.raises(ValueError, match=r"another shape \['conv1\.weight'"):
        load_imagenet(make("p3d", num_classes=3, num_segments=16, width=8), weights)


def test_both_networks_of_a_difference_pair_are_filled(weights: dict[str, Tensor]) -> None:
    model = make("featdiff", num_classes=3, num_segments=2)
    load_imagenet(model, weights)
    state = model.state_dict()
    for stream in ("image", "difference"):
        assert torch.equal(state[f"{stream}.res2.0.conv2.weight"], weights["layer1.0.conv2.weight"])


def test_inception_v3_takes_our_normalisation() -> None:
    torch.manual_seed(1)
    image_net = inception_v3(transform_input=True, init_weights=False).eval()
    for norm in (m for m in image_net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.1, 0.1)
    model = make("tsn_inceptionv3", num_classes=3, num_segments=1).eval()
    kept = load_imagenet(model, image_net.state_dict())
    assert kept == ["classifier.weight", "classifier.bias"]
    image_net.fc = model.classifier
    x = clips(model, batch=1, size=(107, 107))
    with torch.no_grad():
        want, got = image_net(x[:, 0, 0]), model(x)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["i3d_inception", "s3d", "s3d_g"])
def test_a_still_video_sees_the_googlenet_it_was_inflated_from(architecture: str) -> None:
    torch.manual_seed(1)
    image_net = googlenet(init_weights=False, aux_logits=True).eval()
    model = make(architecture, num_classes=3, num_segments=8).eval()
    kept = load_imagenet(model, image_net.state_dict())
    assert all("linear" in key or "classifier" in key or ".1.bn." in key for key in kept)
    for part in model.modules():
        if hasattr(part, "linear"):  # a gate of one half everywhere
            torch.nn.init.zeros_(part.linear.weight)
            torch.nn.init.constant_(part.linear.bias, 30.0)
    frame = torch.rand(1, 192, 10, 10)
    with torch.no_grad():
        want = image_net.inception3a(frame)
        got = model.stage3[0](frame[:, :, None].expand(-1, -1, 9, -1, -1))[:, :, 4]
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-3)  # a second batch norm's ε
