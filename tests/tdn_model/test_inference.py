"""The inference copy is the same function without batch norms, and leaves its original alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tdn_model.inference import fold, inference_copy
from tdn_model.training import predict_step
from tests.tdn_model.helpers import clips, mini, randomise_


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("tsn", {}),
        ("tsm", {}),
        ("tconv", {}),
        ("tdn", {}),
        ("tdn", {"s_tdm_stages": (1, 2, 3), "s_tdm_fusion": "res_channel"}),
        ("tdn", {"variant": "printed", "l_tdm_form": "channel"}),
        ("tanet", {}),
        ("tea", {"backbone": "res2net50"}),
    ],
)
def test_folding_keeps_the_function(architecture: str, options: dict[str, Any]) -> None:
    model = mini(architecture, **options).double().eval()
    randomise_(model)
    folded = fold(model)
    x = clips(model, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)


def test_no_batch_norm_of_tdn_survives_and_the_original_keeps_all() -> None:
    model = mini("tdn")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert not folded.training and model.training
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in folded.parameters())


@pytest.mark.parametrize(("architecture", "options"), [("tdn", {}), ("i3d", {"num_segments": 8})])
def test_the_copy_of_a_network_in_float32_is_the_folded_one(
    architecture: str, options: dict[str, Any]
) -> None:
    model = mini(architecture, **options).eval()
    x = clips(model)
    with torch.inference_mode():
        assert torch.equal(inference_copy(model)(x), fold(model)(x))
        torch.testing.assert_close(inference_copy(model)(x), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ["tdn", "nl_i3d_gcn"])
def test_bfloat16_stays_near(architecture: str) -> None:
    model = mini(architecture).eval()
    randomise_(model)
    x = clips(model)
    copy = inference_copy(model, dtype=torch.bfloat16)
    got = predict_step(copy, x, precision=torch.bfloat16)
    want = predict_step(model, x)
    assert got.dtype == torch.float32
    assert (got - want).abs().max() < 0.05 * want.abs().max()


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype: got torch\.float16"):
        inference_copy(mini("tsn"), dtype=torch.float16)
