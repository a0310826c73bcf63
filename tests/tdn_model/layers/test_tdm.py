"""The difference modules piece by piece: both variants, every form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tdn_model.layers.tdm import VARIANTS, LongTermTDM, ShortTermFusion, frame_differences
from tests.tdn_model.helpers import clips, mini, randomise_

RELEASED, PRINTED = VARIANTS["released"], VARIANTS["printed"]


def test_released_differences_step_and_printed_differences_are_to_the_centre() -> None:
    frames = torch.tensor([0.0, 1, 3, 7, 20]).view(1, 5, 1, 1, 1)
    assert frame_differences(frames, centred=False).flatten().tolist() == [1, 2, 4, 13]
    assert frame_differences(frames, centred=True).flatten().tolist() == [-3, -2, 4, 17]


def test_differences_are_stacked_frame_by_frame() -> None:
    frames = torch.randn(2, 5, 3, 4, 4)
    stacked = frame_differences(frames, centred=False)
    torch.testing.assert_close(stacked[:, 3:6], frames[:, 2] - frames[:, 1])


def test_pooling_before_the_difference_changes_nothing() -> None:
    model = mini("tdn").double()
    x = clips(model, size=(51, 49), dtype=torch.float64)
    steps = frame_differences(x.flatten(0, 1), centred=False)
    want = model.short_term.stem(F.avg_pool2d(steps, 2))
    torch.testing.assert_close(model.short_term(x)[0], want)


def test_short_term_maps_halve_the_main_path_unless_at_full_resolution() -> None:
    for full, sizes in ((False, [6, 6, 3]), (True, [12, 12, 6])):
        model = mini("tdn", s_tdm_stages=(1, 2, 3), s_tdm_full_resolution=full)
        assert [m.shape[-1] for m in model.short_term(clips(model))] == sizes


@pytest.mark.parametrize("form", ["add", "mul", "res_mul", "channel", "res_channel"])
def test_fusion_forms(form: str) -> None:
    x, motion = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 3, 3)
    fusion = ShortTermFusion(form, 8, (0.75, 0.25), "nearest").requires_grad_(False)
    h = motion.repeat_interleave(2, 2).repeat_interleave(2, 3)
    gate = fusion.squeeze(motion) if "channel" in form else h
    if "channel" in form:
        assert gate.shape == (2, 8, 1, 1) and 0 < float(gate.min()) < float(gate.max()) < 1
    want = {"add": 0.75 * x + 0.25 * h}.get(form, x * gate + (x if "res" in form else 0))
    torch.testing.assert_close(fusion(x, motion), want)


def long_term(**options: object) -> LongTermTDM:
    variant = options.pop("variant", RELEASED)
    module = LongTermTDM(32, 4, variant, **options).double()
    for p in module.parameters():
        torch.nn.init.normal_(p)
    return module


def response(module: LongTermTDM, z: Tensor) -> Tensor:
    """Equation 5 with its own words, in evaluation mode."""
    total = z.clone()
    for name, scale in module.scales.items():
        pool = int(name.removeprefix("pool"))
        smoothed = scale.bn(scale.conv(F.avg_pool2d(z, pool)))
        mode = module.variant.upsample
        total += F.interpolate(smoothed, size=z.shape[2:], mode=mode)
    if module.variant.mean_of_scales:
        total = total / (len(module.scales) + 1)
    if module.form == "channel":
        total = total.mean((2, 3), keepdim=True)
    y = module.expand_bn(module.expand(total))
    return y if module.form == "add" else torch.sigmoid(y) - module.variant.gate_offset


@pytest.mark.parametrize("variant", ["released", "printed"])
@pytest.mark.parametrize("form", ["attention", "channel", "add"])
@pytest.mark.parametrize("scales", [1, 2, 3, 4])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_long_term_forms(variant: str, form: str, scales: int, bidirectional: bool) -> None:
    module = long_term(
        variant=VARIANTS[variant], form=form, scales=scales, bidirectional=bidirectional
    ).eval()
    x = torch.randn(8, 32, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        b = module.reduce_bn(module.reduce(x))
        s = module.align(b)
        p, q = torch.zeros_like(b), torch.zeros_like(b)
        for row in range(8):
            t = row % 4
            if t < 3:
                p[row] = s[row + 1] - b[row] if variant == "released" else b[row] - s[row + 1]
            if variant == "released" and t > 0:
                q[row] = s[row - 1] - b[row]
            if variant == "printed" and t < 3:
                q[row] = b[row + 1] - s[row]
        g = response(module, p)
        if bidirectional:
            g = (g + response(module, q)) / 2
        want = x + g if form == "add" else x + x * g
        torch.testing.assert_close(module(x), want)


def test_training_normalises_each_direction_by_its_own_statistics() -> None:
    module = long_term()
    x = torch.randn(8, 32, 7, 6, dtype=torch.float64)
    p, q = module.differences(module.reduce_bn(module.reduce(x)))
    want = x * (0.5 + (module.response(p) + module.response(q)) / 2)
    torch.testing.assert_close(module(x), want)
    joined = torch.cat(module.response(torch.cat([p, q])).chunk(2))
    apart = torch.cat([module.response(p), module.response(q)])
    assert (joined - apart).abs().max() > 1e-3


def test_the_reduced_width_is_a_sixteenth_but_never_below_four() -> None:
    widths = [LongTermTDM(c, 4, RELEASED).reduce.out_channels for c in (24, 64, 128, 512)]
    assert widths == [4, 4, 8, 32]


def test_the_variants_differ_in_their_answer_but_share_their_weights() -> None:
    released, printed = mini("tdn").double().eval(), mini("tdn", variant="printed").double().eval()
    randomise_(released)
    state = released.state_dict()
    printed.load_state_dict({k: v for k, v in state.items() if "unused_stem" not in k})
    x = clips(released, dtype=torch.float64)
    with torch.no_grad():
        assert (released(x) - printed(x)).abs().max() > 1e-2


def test_modules_stand_where_the_stages_say() -> None:
    model = mini("tdn", blocks=(2, 2, 2, 2), s_tdm_stages=(1,), l_tdm_stages=(2, 4))
    slots = {
        stage: [set(dict(block.after_conv1.named_children())) for block in getattr(model, stage)]
        for stage in ("res2", "res3", "res4", "res5")
    }
    both, only_conv = {"long_term", "temporal"}, {"temporal"}
    assert slots == {
        "res2": [both] * 2,
        "res3": [only_conv] * 2,
        "res4": [both] * 2,
        "res5": [only_conv] * 2,
    }
    assert len(model.fusions) == 1
