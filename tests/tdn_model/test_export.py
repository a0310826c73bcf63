"""`torch.export` captures the networks in evaluation mode, and autocast leaves them finite."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from tests.tdn_model.helpers import clips, mini, randomise_


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("tsn", {}), ("tsm", {}), ("tconv", {}), ("tdn", {}), ("tdn", {"variant": "printed"})],
)
def test_an_exported_network_gives_the_same_logits(
    architecture: str, options: dict[str, Any]
) -> None:
    model = mini(architecture, **options).eval()
    randomise_(model)
    x = clips(model)
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
