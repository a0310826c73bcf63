"""Every network by name: shapes, gradients, state, determinism, refusals."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

import tdn_model
from tdn_model.build import MODELS
from tests.tdn_model.helpers import clips, mini, randomise_

OWN = ("tdn", "tsn", "tconv", "tsm")

SWITCHES: list[tuple[str, dict[str, Any]]] = [
    ("tsn", {}),
    ("tsn", {"in_channels": 2}),
    ("tsn", {"blocks": (2, 1, 2, 1), "width": 12}),
    ("tconv", {}),
    ("tconv", {"stages": [3, 4, 5]}),
    ("tsm", {}),
    ("tsm", {"shift_divisor": 4}),
    ("tdn", {}),
    ("tdn", {"num_segments": 8}),
    ("tdn", {"num_segments": 3}),
    ("tdn", {"num_segments": 1}),
    ("tdn", {"width": 12, "blocks": (2, 2, 1, 1)}),
    ("tdn", {"in_channels": 2}),
    *(("tdn", {"s_tdm_fusion": f}) for f in ("mul", "res_mul", "channel", "res_channel")),
    *(("tdn", {"l_tdm_form": f}) for f in ("channel", "add")),
    ("tdn", {"multi_scale": False}),
    ("tdn", {"bidirectional": False}),
    ("tdn", {"l_tdm_scales": 2}),
    ("tdn", {"l_tdm_reduction": 4}),
    ("tdn", {"s_tdm_full_resolution": True}),
    ("tdn", {"s_tdm_stages": [], "l_tdm_stages": []}),
    ("tdn", {"s_tdm_stages": []}),
    ("tdn", {"l_tdm_stages": []}),
    ("tdn", {"s_tdm_stages": [1], "l_tdm_stages": [2, 3, 4, 5]}),
    ("tdn", {"s_tdm_stages": [1, 2, 3], "l_tdm_stages": [4, 5]}),
    ("tdn", {"temporal_conv_stages": []}),
    ("tdn", {"variant": "printed"}),
    ("tdn", {"variant": "printed", "s_tdm_full_resolution": True, "l_tdm_scales": 2}),
    ("tdn", {"variant": "printed", "bidirectional": False, "l_tdm_form": "add"}),
]


@pytest.fixture(params=SWITCHES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def network(case: Any) -> Any:
    return mini(case[0], **case[1])


def test_a_step_gives_logits_and_a_gradient_to_every_used_parameter(network: Any) -> None:
    logits = network(clips(network))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        if "unused_stem" in name:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_evaluation_is_deterministic_and_independent_of_the_batch(network: Any) -> None:
    network.eval()
    x = clips(network)
    with torch.no_grad():
        together, again = network(x), network(x)
        alone = torch.cat([network(video[None]) for video in x])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_state_moves_to_a_network_of_the_same_build(case: Any, network: Any) -> None:
    x = clips(network)
    network(x)  # moves the running statistics away from their start
    other = mini(case[0], seed=99, **case[1])
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(x), other.eval()(x))


@pytest.mark.parametrize("architecture", OWN)
def test_the_same_seed_gives_the_same_network(architecture: str) -> None:
    one, two = mini(architecture, seed=3), mini(architecture, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("architecture", OWN)
def test_only_order_blind_networks_ignore_the_order_of_segments(architecture: str) -> None:
    model = mini(architecture).double().eval()
    randomise_(model)
    x = clips(model, dtype=torch.float64)
    with torch.no_grad():
        difference = (model(x) - model(x.flip(1))).abs().max()
    assert (difference < 1e-9) == (architecture == "tsn")


def test_short_term_differences_see_the_order_within_a_window() -> None:
    model = mini("tdn", l_tdm_stages=[], temporal_conv_stages=[]).double().eval()
    randomise_(model)
    x = clips(model, dtype=torch.float64)
    with torch.no_grad():
        assert (model(x) - model(x.flip(1))).abs().max() < 1e-9  # blind across segments
        assert (model(x) - model(x.flip(2))).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((2, 4, 5, 3, 48), "rank 5"),
        ((2, 3, 5, 3, 48, 48), "T=3"),
        ((2, 4, 1, 3, 48, 48), "F=1"),
        ((2, 4, 5, 1, 48, 48), "C=1"),
        ((2, 4, 5, 3, 32, 48), "H=32"),
        ((2, 4, 5, 3, 48, 16), "W=16"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused_in_words(shape: tuple[int, ...], names: str) -> None:
    with pytest.raises(ValueError, match=rf"clips: got {names}.*it takes .*T=4, F=5, C=3, H>=33"):
        mini("tdn")(torch.zeros(shape))


def test_integer_clips_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clips: got dtype torch.uint8"):
        mini("tsn")(torch.zeros(1, 4, 1, 3, 48, 48, dtype=torch.uint8))


def test_the_smallest_stated_size_works_and_one_pixel_less_is_refused() -> None:
    for chosen in ({}, {"l_tdm_stages": [3, 4]}, {"l_tdm_scales": 4}):
        model = mini("tdn", blocks=(1, 1, 1, 2), **chosen).eval()
        least = model.min_size_px
        with torch.no_grad():
            assert model(clips(model, size=(least, least))).shape == (2, 5)
            with pytest.raises(ValueError, match="clips: got H="):
                model(clips(model, size=(least - 1, least)))


@pytest.mark.parametrize(
    ("architecture", "chosen", "says"),
    [
        ("tdnn", {}, "unknown architecture 'tdnn'; did you mean 'tdn'"),
        ("tdn", {"biderectional": True}, "'biderectional'; did you mean 'bidirectional'"),
        ("tsn", {"s_tdm_stages": [1]}, "unknown option of 'tsn' 's_tdm_stages'"),
        ("tdn", {"backbone": "resnet34"}, "backbone: got 'resnet34'"),
        ("tdn", {"blocks": (1, 1, 1)}, "blocks: got"),
        ("tdn", {"blocks": 5}, "blocks: got 5"),
        ("tdn", {"width": 0}, "width: got 0"),
        ("tdn", {"dropout": 1.0}, "dropout: got 1.0"),
        ("tdn", {"num_segments": 0}, "num_segments: got 0"),
        ("tdn", {"variant": "draft"}, "variant: got 'draft'"),
        ("tdn", {"s_tdm_stages": [2]}, "s_tdm_stages: got"),
        ("tdn", {"s_tdm_stages": [1, 4]}, "s_tdm_stages: got"),
        ("tdn", {"l_tdm_stages": [1]}, "l_tdm_stages: got"),
        ("tdn", {"l_tdm_stages": 3}, "l_tdm_stages: got 3"),
        ("tdn", {"multi_scale": "no"}, "multi_scale: got 'no'"),
        ("tdn", {"l_tdm_form": "gate"}, "l_tdm_form: got 'gate'"),
        ("tdn", {"s_tdm_fusion": "concat", "s_tdm_stages": []}, "s_tdm_fusion: got 'concat'"),
        ("tdn", {"l_tdm_scales": 0}, "l_tdm_scales: got 0"),
        ("tsm", {"shift_divisor": 1}, "shift_divisor: got 1"),
        ("tconv", {"stages": [3, 3]}, "stages: got"),
    ],
)
def test_wrong_options_are_named(architecture: str, chosen: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as refused:
        mini(architecture, **chosen)
    assert says in str(refused.value)


@pytest.mark.parametrize("architecture", ["tdn", "tsn"])
def test_a_network_loads_no_other_network(architecture: str) -> None:
    home = MODELS[architecture].partition(":")[0]
    others = {path.partition(":")[0] for path in MODELS.values()} - {home}
    code = (
        "import sys\nfrom tdn_model.build import factory\n"
        f"factory({architecture!r})\nprint(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert home in loaded
    assert not others & set(loaded)


def test_the_package_is_the_function_and_not_the_module() -> None:
    assert callable(tdn_model.build)
    assert callable(tdn_model.import_official) and callable(tdn_model.export_official)
    with pytest.raises(AttributeError):
        _ = tdn_model.nothing
