"""The comparison networks on 2-D backbones: contract, gradients, state, export, cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tdn_model.contract import NetworkShape
from tdn_model.count_cost import measure
from tdn_model.models.tea import res2net, tea
from tdn_model.weights.imagenet import load_imagenet, torchvision_names
from tests.tdn_model.helpers import clips, make, mini, randomise_

CASES: list[tuple[str, dict[str, Any]]] = [
    *(("tanet", {"position": position}) for position in "abcd"),
    ("tanet", {"branches": "local"}),
    ("tanet", {"branches": "global", "in_channels": 2}),
    ("teinet", {}),
    ("teinet", {"motion": False, "num_segments": 1}),
    ("teinet", {"interaction": False, "reduction": 4}),
    ("tea", {"backbone": "res2net50", "blocks": (2, 1, 1, 2)}),
    ("stm", {"width": 12, "blocks": (1, 2, 1, 1)}),
    ("blvnet_tam", {}),
    ("blvnet_tam", {"backbone": "blresnet101", "blocks": (3, 1, 8, 2), "num_segments": 2}),
    ("blvnet_tam", {"alpha": 4, "beta": 1, "in_channels": 1}),
    ("trn_multiscale", {}),
    ("trn_multiscale", {"backbone": "bninception", "subsets": 2}),
    ("tsn_bninception", {"blocks": (1, 2, 2, 1), "width": 12}),
    ("tsn_stack", {}),
    ("featdiff", {}),
    ("featdiff", {"lateral": "conv1x1", "layers": ["input", "res4"], "num_segments": 2}),
    ("featdiff", {"lateral": "gated", "window": 5, "in_channels": 2}),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def network(case: Any) -> Any:
    return mini(case[0], **case[1])


def test_a_step_gives_logits_and_a_gradient_to_every_parameter(network: Any) -> None:
    randomise_(network)
    logits = network(clips(network))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_evaluation_repeats_and_does_not_depend_on_the_batch(network: Any) -> None:
    randomise_(network)
    network.eval()
    x = clips(network)
    with torch.no_grad():
        together, again = network(x), network(x)
        alone = torch.cat([network(video[None]) for video in x])
    assert torch.equal(together, again)
    assert (together[0] - together[1]).abs().max() > 1e-6
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_state_moves_to_a_network_of_the_same_build(case: Any, network: Any) -> None:
    x = clips(network)
    network(x)  # moves the running statistics away from their start
    other = mini(case[0], seed=99, **case[1])
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(x), other.eval()(x))


def test_odd_sizes_fit(network: Any) -> None:
    with torch.no_grad():
        assert network.eval()(clips(network, batch=1, size=(33, 75))).shape == (1, 5)


@pytest.mark.parametrize("wrong", ["T", "F", "C", "H", "rank"])
def test_wrong_clips_are_refused_before_any_arithmetic(network: Any, wrong: str) -> None:
    x = clips(network, batch=1)
    shape = list(x.shape)
    if wrong == "rank":
        shape.pop(2)
    else:
        shape["BTFCHW".index(wrong)] += {"H": -20}.get(wrong, 1)
    with pytest.raises(ValueError, match=rf"clips: got {wrong}.*it takes"):
        network(torch.empty(shape, device="meta"))


@pytest.mark.parametrize(
    ("architecture", "options", "says"),
    [
        ("tanet", {"position": "e"}, "position: got 'e'"),
        ("tanet", {"branches": "none"}, "branches: got 'none'"),
        ("tanet", {"num_segments": 0}, "num_segments: got 0"),
        ("teinet", {"num_segments": 1}, "num_segments: got 1"),
        ("teinet", {"reduction": 0}, "reduction: got 0"),
        ("tea", {"backbone": "resnet101"}, "backbone: got 'resnet101'"),
        ("tea", {"num_classes": 0}, "num_classes: got 0"),
        ("stm", {"blocks": (1, 1)}, "blocks: got (1, 1)"),
        ("blvnet_tam", {"num_segments": 3}, "num_segments: got 3"),
        ("blvnet_tam", {"alpha": 0}, "alpha: got 0"),
        ("trn_multiscale", {"num_segments": 1}, "num_segments: got 1"),
        ("trn_multiscale", {"backbone": "vgg16"}, "backbone: got 'vgg16'"),
        ("tsn_bninception", {"backbone": "bninception", "blocks": (1, 4, 1, 1)}, "blocks: got"),
        ("tsn_stack", {"window": 0}, "window: got 0"),
        ("featdiff", {"num_segments": 1}, "num_segments: got 1"),
        ("featdiff", {"layers": ["res2"]}, "layers: got ['res2']"),
        ("featdiff", {"layers": ["input", "res5"]}, "layers: got ['input', 'res5']"),
        ("featdiff", {"lateral": "conv"}, "lateral: got 'conv'"),
    ],
)
def test_wrong_options_are_named(architecture: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as refused:
        mini(architecture, **options)
    assert says in str(refused.value)


PRINTED_G = [
    # architecture, options, T, side, classes, parameters, printed G, relative difference allowed
    ("tanet", {}, 8, 224, 174, 25_127_246, 32.76, 0.001),
    ("tanet", {}, 8, 256, 400, None, 43, 0.02),
    ("teinet", {}, 8, 224, 400, 30_340_496, 33, 0.02),
    ("teinet", {}, 16, 224, 400, 30_340_496, 66, 0.02),
    ("tea", {"backbone": "res2net50"}, 8, 224, 174, 24_456_280, 34.54, 0.001),
    ("tea", {"backbone": "res2net50"}, 16, 224, 174, 24_456_280, 70, 0.02),
    ("stm", {}, 8, 224, 174, 24_035_666, 33.07, 0.001),
    ("blvnet_tam", {}, 32, 224, 174, None, 47.7, 0.001),
    ("blvnet_tam", {}, 48, 256, 400, None, 93.4, 0.001),
    ("blvnet_tam", {"backbone": "blresnet101"}, 64, 224, 174, None, 128.6, 0.001),
    ("tsn_bninception", {}, 8, 224, 174, 10_448_590, 16, 0.02),
    ("trn_multiscale", {"backbone": "bninception"}, 16, 224, 174, None, 33, 0.02),
    ("trn_multiscale", {"backbone": "bninception"}, 8, 224, 174, 13_141_218, 16.26, 0.001),
    ("featdiff", {}, 3, 224, 51, 47_225_062, 20.44, 0.001),
]


@pytest.mark.parametrize("row", PRINTED_G, ids=lambda row: f"{row[0]}-{row[2]}-{row[3]}")
def test_full_size_networks_cost_what_the_tables_print(row: Any) -> None:
    architecture, options, frames, side, classes, params, gmacs, tolerance = row
    with torch.device("meta"):
        model: Any = make(architecture, num_classes=classes, num_segments=frames, **options)
    cost = measure(model, (1, frames, model.window, model.in_channels, side, side))
    assert cost.gmacs == pytest.approx(gmacs, rel=tolerance)
    if params is not None:
        assert cost.params == params


@pytest.mark.parametrize("architecture", ["tanet", "teinet", "tea", "stm"])
def test_imagenet_weights_fill_all_but_the_temporal_modules(architecture: str) -> None:
    model = mini(architecture)
    given = {
        key.replace("stem.conv", "conv1")
        .replace("stem.bn", "bn1")
        .replace("shortcut.conv", "downsample.0")
        .replace("shortcut.bn", "downsample.1")
        .replace("res5", "layer4")
        .replace("res4", "layer3")
        .replace("res3", "layer2")
        .replace("res2", "layer1"): torch.rand_like(value.float()).to(value.dtype)
        for key, value in model.state_dict().items()
        if ".after_" not in key and ".before_" not in key and "classifier" not in key
    }
    kept = load_imagenet(model, given)
    assert kept and len(kept) + len(given) == len(model.state_dict())
    assert torch.equal(model.res4[0].conv3.weight, given["layer3.0.conv3.weight"])
    assert all(".after_" in key or ".before_" in key or "classifier" in key for key in kept)


@pytest.mark.parametrize("architecture", ["tanet", "teinet", "tea", "stm", "blvnet_tam"])
def test_half_precision_runs_forward_and_back(architecture: str) -> None:
    model = mini(architecture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(clips(model))
    logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_tea_starts_from_a_res2net_and_keeps_its_own_modules_as_they_began() -> None:
    """All that TEA adds to Res2Net keeps its initial values; the rest is the Res2Net's."""
    shape: dict[str, Any] = {"width": 16, "blocks": (2, 1, 1, 1)}
    torch.manual_seed(0)
    images = res2net(NetworkShape(num_classes=5, num_segments=1, dropout=0.0, **shape))
    network = tea(NetworkShape(num_classes=7, num_segments=4, **shape))
    kept = load_imagenet(network, torchvision_names(images.state_dict()))
    added = ("before_convs", "after_conv1", "classifier", "num_batches_tracked")
    assert all(any(part in key for part in added) for key in kept)
    assert torch.equal(network.res2[1].convs[1].weight, images.res2[1].convs[1].weight)
    assert images.eval()(torch.rand(2, 1, 1, 3, 32, 32)).shape == (2, 5)
