"""The inference copy is the same function in fewer passes, and leaves its original alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tdn_model import inference
from tdn_model.inference import FusedBottleneck, inference_copy
from tdn_model.layers.fused_tdm import FusedFusion, FusedMotion
from tests.tdn_model.helpers import clips, mini, randomise_

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("tsn", {}),
    ("tsm", {}),
    ("tconv", {}),
    ("tanet", {"position": "d"}),
    ("teinet", {}),
    ("stm", {}),
    ("tdn", {"width": 64}),
    ("tdn", {"num_segments": 8, "blocks": (1, 2, 1, 1)}),
    ("tdn", {"variant": "printed"}),
    ("tdn", {"l_tdm_scales": 1, "l_tdm_stages": (2, 3), "s_tdm_stages": (1, 2, 3)}),
    ("tdn", {"bidirectional": False, "s_tdm_fusion": "res_mul"}),
    ("tdn", {"l_tdm_form": "add", "s_tdm_full_resolution": True}),
    ("i3d", {"num_segments": 8}),
]


@pytest.mark.skipif(not inference.has_fused_operators(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(("architecture", "options"), NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (70, 83)])
def test_the_copy_keeps_the_function(
    architecture: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    model = mini(architecture, **options).eval()
    randomise_(model)
    x = clips(model, size=size)
    kept = x.clone()
    copy = inference_copy(model)
    with torch.inference_mode():
        want, got, again = model(x), copy(x), copy(x)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    assert torch.equal(got, again) and torch.equal(x, kept)


@pytest.mark.skipif(not inference.has_fused_operators(), reason="this torch has no oneDNN")
def test_tdn_is_fused_throughout_and_the_original_is_untouched() -> None:
    model = mini("tdn").eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy = inference_copy(model)
    found = [type(module) for module in copy.modules()]
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in found)
    assert found.count(FusedBottleneck) == 5
    assert found.count(FusedMotion) == 3 and found.count(FusedFusion) == 2
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_unfused_is_the_folded_network() -> None:
    model = mini("tdn").eval()
    copy = inference_copy(model, fused=False)
    assert not any(isinstance(module, FusedBottleneck) for module in copy.modules())
    x = clips(model)
    with torch.inference_mode():
        torch.testing.assert_close(copy(x), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_bfloat16_takes_float_clips_and_stays_near(fused: bool) -> None:
    model = mini("tdn").eval()
    randomise_(model)
    x = clips(model)
    copy = inference_copy(model, dtype=torch.bfloat16, fused=fused)
    with torch.inference_mode():
        want, got = model(x), copy(x)
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).abs().max() < 0.05 * want.abs().max()


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype: got torch\.float16"):
        inference_copy(mini("tsn"), dtype=torch.float16)
