from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tdn_model.attribution import by_time, class_activation, enlarge, grad_cam, layer_names
from tests.tdn_model.helpers import clips, mini, randomise_

CLASSES = torch.tensor([3, 1])


def network(architecture: str, **options: Any) -> tuple[Any, Tensor]:
    model = mini(architecture, **options)
    randomise_(model)
    model.eval()
    return model, clips(model)


def test_cam_averages_to_the_logit() -> None:
    model, x = network("tdn")
    maps = class_activation(model, x, CLASSES)[""]
    assert maps.shape == (2, 4, 2, 2)
    logits = model(x)[torch.arange(2), CLASSES]
    found = maps.mean((1, 2, 3)) + model.classifier.bias[CLASSES]
    torch.testing.assert_close(found, logits.detach(), rtol=1e-4, atol=1e-5)


def test_cam_of_two_networks_averages_to_each_ones_logit() -> None:
    model, x = network("featdiff", num_segments=3)
    found = class_activation(model, x, CLASSES)
    streams = model.streams(x)
    for name, count in (("image", 3), ("difference", 2)):
        assert found[name].shape == (2, count, 2, 2)
        bias = getattr(model, name).classifier.bias[CLASSES]
        logits = getattr(streams, name)[torch.arange(2), CLASSES]
        mean = found[name].mean((1, 2, 3)) + bias
        torch.testing.assert_close(mean, logits.detach(), rtol=1e-4, atol=1e-5)


def test_cam_refuses_a_network_without_one_classifier_over_maps() -> None:
    model, x = network("i3d_3x1x1")
    with pytest.raises(ValueError, match="linear classifier"):
        class_activation(model, x, CLASSES)


def test_grad_cam_of_the_last_stage_is_the_positive_part_of_cam() -> None:
    """With a mean and a linear classifier behind it, its weights are the classifier's."""
    model, x = network("tsn")
    cam = class_activation(model, x, CLASSES)[""]
    found = grad_cam(model, x, "res5", CLASSES)
    segments, places = 4, 2 * 2
    torch.testing.assert_close(found, cam.clamp(min=0) / (segments * places), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("architecture", ["tdn", "tanet", "i3d_3x1x1", "featdiff"])
def test_every_named_layer_gives_maps_per_segment(architecture: str) -> None:
    model, x = network(architecture)
    layers = layer_names(model)
    assert layers
    for layer in layers:
        found = grad_cam(model, x, layer, CLASSES)
        expected = 3 if layer.startswith("difference") else 4
        assert found.shape[:2] == (2, expected)
        assert not found.requires_grad
        assert float(found.min()) >= 0


def test_the_difference_path_is_no_layer_of_the_main_path() -> None:
    model, _ = network("tdn")
    assert {"stem", "res2", "res5", "res3.0"} <= set(layer_names(model))
    assert not [name for name in layer_names(model) if "short_term" in name]


def test_an_unknown_layer_names_the_known_ones() -> None:
    model, x = network("tsn")
    with pytest.raises(ValueError, match=r"'res6'.*res5"):
        grad_cam(model, x, "res6", CLASSES)


def test_looking_leaves_the_network_as_it_was() -> None:
    model, x = network("tdn")
    before = model(x).detach()
    first = grad_cam(model, x, "res3", CLASSES)
    class_activation(model, x, CLASSES)
    assert torch.equal(grad_cam(model, x, "res3", CLASSES), first)
    assert torch.equal(model(x).detach(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fewer_times_are_repeated_for_every_segment() -> None:
    maps = torch.arange(2.0).view(1, 2, 1, 1)
    assert by_time(maps, 6).flatten().tolist() == [0, 0, 0, 1, 1, 1]


def test_an_even_map_stays_even_when_enlarged() -> None:
    large = enlarge(torch.full((1, 2, 2, 2), 3.0), 48, 64)
    assert large.shape == (1, 2, 48, 64)
    torch.testing.assert_close(large, torch.full_like(large, 3.0))
