"""`torch.export` captures the networks in evaluation mode, and autocast leaves them finite."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from tdn_model.build import MODELS
from tests.tdn_model.helpers import clips, mini, randomise_

OPTIONS: dict[str, dict[str, Any]] = {
    "tdn": {"l_tdm_scales": 2},
    "trn_multiscale": {"backbone": "bninception"},
    "tsn_bninception": {"backbone": "bninception"},
    "featdiff": {"lateral": "gated"},
    "nl_i3d": {"nonlocal_res4": [0]},
    "i3d_inception": {"num_segments": 8},
    "s3d": {"num_segments": 8},
    "s3d_g": {"num_segments": 8},
    "slowfast": {"num_segments": 4},
    "r2plus1d": {"num_segments": 4},
    "res3d": {"num_segments": 4},
    "artnet": {"num_segments": 4},
    "c3d": {"num_segments": 16, "side_px": 48},
    "p3d": {"num_segments": 16},
    "eco_en_lite": {"num_segments": 3, "members": [1, 2]},
}
CASES = [(name, OPTIONS.get(name, {})) for name in MODELS] + [("tdn", {"variant": "printed"})]


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_an_exported_network_gives_the_same_logits(
    architecture: str, options: dict[str, Any]
) -> None:
    options = {"num_segments": 2, **options}
    model = mini(architecture, **options).eval()
    randomise_(model)
    side = {"tsn_inceptionv3": 75, "c3d": 48}.get(architecture, 33)
    x = clips(model, batch=1, size=(side, side))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not ours to mend
        program = torch.export.export(model, (x,))
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["tdn", "tsm", "tconv"])
def test_a_step_in_bfloat16_is_finite_and_near(architecture: str) -> None:
    model = mini(architecture, dropout=0.0)
    x = clips(model)
    want = model(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = model(x)
    got.float().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert (got - want).detach().abs().max() < 0.1 * want.abs().max()
