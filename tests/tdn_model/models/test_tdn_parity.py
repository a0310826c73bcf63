"""TDN against an independent evaluation of the published equations, in both modes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tdn_model import export_official
from tdn_model.published import KEY_MAPS
from tests.tdn_model.helpers import clips, make, mini, randomise_
from tests.tdn_model.reference_tdn import Reference, official_input


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float(((got - want).abs().max() / want.abs().max()).detach())


@pytest.mark.parametrize("num_segments", [2, 8, 16])
@pytest.mark.parametrize("size", [(64, 64), (75, 53), (33, 97)])
def test_evaluation_equals_the_equations(num_segments: int, size: tuple[int, int]) -> None:
    model = mini("tdn", num_segments=num_segments, blocks=(1, 2, 2, 2)).double().eval()
    randomise_(model)
    x = clips(model, size=size, dtype=torch.float64)
    with torch.no_grad():
        got = model(x)
        want = Reference(export_official(model), num_segments)(official_input(x))
    assert relative_error(got, want) < 1e-12


@pytest.mark.parametrize(
    ("num_segments", "size", "dtype"),
    [
        (8, (224, 224), torch.float32),
        (16, (112, 97), torch.float32),
        (16, (75, 97), torch.float64),
        (8, (112, 128), torch.float64),
    ],
)
def test_the_full_width_network_equals_the_equations(
    num_segments: int, size: tuple[int, int], dtype: torch.dtype
) -> None:
    model: Any = make("tdn", num_classes=174, num_segments=num_segments)
    randomise_(model)
    model.to(dtype).eval()
    x = clips(model, batch=1, size=size, dtype=dtype)
    with torch.no_grad():
        got = model(x)
        want = Reference(export_official(model), num_segments)(official_input(x))
    assert relative_error(got, want) < (1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize(("num_segments", "size"), [(8, (48, 48)), (16, (61, 75)), (5, (75, 53))])
def test_a_training_step_equals_the_equations(num_segments: int, size: tuple[int, int]) -> None:
    model = mini("tdn", num_segments=num_segments, blocks=(1, 2, 1, 2), dropout=0.0).double()
    randomise_(model)
    state = export_official(model)
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.requires_grad_()
    x = clips(model, batch=3, size=size, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1])

    running = {k: v.detach() for k, v in state.items() if "running" in k}
    state.update(running)
    want = Reference(state, num_segments, training=True)(official_input(x))
    F.cross_entropy(want, labels).backward()
    got = model.train()(x)
    F.cross_entropy(got, labels).backward()

    assert relative_error(got, want) < 1e-10
    names = KEY_MAPS["tdn"](model)
    for ours, parameter in model.named_parameters():
        theirs = state[names[ours]].grad
        if theirs is None:
            assert parameter.grad is None and "conv1_temp" in names[ours]
        else:
            scale = max(float(theirs.abs().max()), 1e-6)
            assert float((parameter.grad - theirs).abs().max()) / scale < 1e-8, ours
    for ours, buffer in model.named_buffers():
        assert torch.allclose(buffer.double(), state[names[ours]].double(), 1e-12, 1e-12), ours


def test_shared_batch_norms_update_twice_per_step() -> None:
    model = mini("tdn")
    model(clips(model))
    tracked = {k: int(v) for k, v in model.state_dict().items() if "num_batches" in k}
    twice = {k for k, v in tracked.items() if v == 2}
    assert twice and set(tracked.values()) == {1, 2}
    assert all("expand_bn" in k or "scales.pool" in k for k in twice)


def test_fusion_weights_follow_the_number_of_segments() -> None:
    for num_segments, weights in ((8, (0.5, 0.5)), (16, (0.75, 0.25)), (4, (0.75, 0.25))):
        assert mini("tdn", num_segments=num_segments).fusions[0].weights == weights
    assert mini("tdn", num_segments=8, variant="printed").fusions[0].weights == (1, 1)
