"""The folded inference copy is the same function and leaves its original alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tdn_model.fold import fold
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
