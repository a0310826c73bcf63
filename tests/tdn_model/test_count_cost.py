"""Costs against the numbers that the published networks are known to have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tdn_model.count_cost import Cost, measure, saved_bytes
from tests.tdn_model.helpers import clips, make, mini


def full_size(architecture: str, num_segments: int = 8, size: int = 224, **options: Any) -> Cost:
    with torch.device("meta"):
        model = make(architecture, num_classes=174, num_segments=num_segments, **options)
    window: Any = model.window
    return measure(model, (1, num_segments, window, 3, size, size))


@pytest.mark.parametrize(
    ("architecture", "options", "params", "gmacs"),
    [
        ("tsn", {}, 23_864_558, 32.70),
        ("tsm", {}, 23_864_558, 32.70),
        ("tsn", {"backbone": "resnet101"}, None, 62.40),
        ("tconv", {}, None, 32.74),
        ("tdn", {}, 24_420_046, 35.64),
        ("tdn", {"num_segments": 16}, 24_420_046, 71.28),
        ("tdn", {"backbone": "resnet101"}, 43_681_726, 65.84),
        ("tdn", {"size": 256}, 24_420_046, 46.55),
        ("tdn", {"variant": "printed"}, 24_410_574, 35.64),
        ("tdn", {"s_tdm_stages": (), "l_tdm_stages": ()}, None, 32.73),
        ("tdn", {"s_tdm_stages": (1,), "l_tdm_stages": (2, 3, 4, 5)}, None, 34.40),
        ("tdn", {"s_tdm_stages": (1, 2, 3), "l_tdm_stages": (4, 5)}, None, 37.49),
    ],
)
def test_full_size_networks_cost_what_is_known(
    architecture: str, options: dict[str, Any], params: int | None, gmacs: float
) -> None:
    cost = full_size(architecture, **options)
    assert cost.gmacs == pytest.approx(gmacs, abs=0.011)
    if params is not None:
        assert cost.params == params


def test_the_difference_path_costs_what_it_should() -> None:
    stem = 8 * 56**2 * 12 * 64 * 49 / 1e9
    first = 64 * 64 + 9 * 64 * 64 + 64 * 256 + 64 * 256  # the shortcut included
    later = 256 * 64 + 9 * 64 * 64 + 64 * 256
    res2_copy = 8 * 28**2 * (first + 2 * later) / 1e9
    whole, without = full_size("tdn"), full_size("tdn", s_tdm_stages=())
    assert whole.gmacs - without.gmacs == pytest.approx(stem + res2_copy)


def test_measuring_leaves_the_network_as_it_was() -> None:
    model = mini("tdn")
    model.res2.eval()
    x = clips(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measured = measure(model, x.shape)
    assert measured.params == sum(p.numel() for p in model.parameters())
    assert model.training and not model.res2.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_cost_grows_with_the_batch() -> None:
    model = mini("tconv")
    one, two = measure(model, (1, 4, 1, 3, 48, 48)), measure(model, (2, 4, 1, 3, 48, 48))
    assert two.gmacs == pytest.approx(2 * one.gmacs)


def test_a_shape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="clips: got T=3"):
        measure(mini("tsn"), (1, 3, 1, 3, 48, 48))


def test_maps_kept_for_the_backward_pass_count_once_each() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    # The input, and the rectified map, which both its own and the next layer's gradient need.
    assert saved_bytes(model, (5, 4)) == 4 * 5 * (4 + 8)
