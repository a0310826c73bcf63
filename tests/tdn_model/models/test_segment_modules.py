"""The temporal modules against their equations, written out segment by segment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tdn_model.contract import NetworkShape
from tdn_model.layers.resnet2d import BlockPosition
from tdn_model.models.blvnet import Aggregation, PairedStage
from tdn_model.models.bninception import SegmentInception
from tdn_model.models.stm import ChannelMotion, quarter_shift_
from tdn_model.models.tanet import TemporalAdaptive, aggregate, capture_kernels
from tdn_model.models.tea import MotionExcitation, Res2Block
from tdn_model.models.teinet import MotionEnhanced
from tdn_model.models.trn import TemporalRelations
from tests.tdn_model.helpers import clips, mini, randomise_

T = 4


def maps(channels: int, *, videos: int = 2, side: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(videos * T, channels, side, side, generator=generator, dtype=torch.float64)


def ready(module: Any) -> Any:
    module = module.double().eval()
    randomise_(module)
    return module


def test_adaptive_aggregation_is_a_convolution_with_each_videos_own_kernel() -> None:
    x = maps(3).view(2, T, 3, 6, 6)
    kernel = torch.randn(2, 3, 3, dtype=torch.float64)
    rows = x.permute(0, 2, 1, 3, 4).reshape(1, 6, T, 36)  # (1, B·C, T, H·W)
    want = F.conv2d(rows, kernel.reshape(6, 1, 3, 1), padding=(1, 0), groups=6)
    want = want.view(2, 3, T, 6, 6).permute(0, 2, 1, 3, 4)
    torch.testing.assert_close(aggregate(x, kernel), want)


@pytest.mark.parametrize("branches", ["both", "local", "global"])
def test_captured_kernels_are_those_of_the_pass_and_change_nothing(branches: str) -> None:
    model = mini("tanet", branches=branches, blocks=(1, 2, 1, 1))
    twin = mini("tanet", branches=branches, blocks=(1, 2, 1, 1))
    x = clips(model)
    torch.manual_seed(0)
    plain = model(x)
    torch.manual_seed(0)
    with capture_kernels(twin) as found:
        watched = twin(x)
    assert torch.equal(plain, watched)
    for ours, theirs in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert list(found)[:2] == ["res2.0.after_conv1", "res3.0.after_conv1"] and len(found) == 5
    kernels = found["res3.1.after_conv1"]
    if branches != "global":
        assert kernels.importance.shape == (2, 16, T)
        assert ((kernels.importance > 0) & (kernels.importance < 1)).all()
    if branches != "local":
        assert kernels.kernel.shape == (2, 16, 3)
        torch.testing.assert_close(kernels.kernel.sum(-1), torch.ones(2, 16))
    assert not any(m._forward_hooks for m in twin.modules())


def test_captured_kernels_rebuild_the_modules_output() -> None:
    module = ready(TemporalAdaptive(8, T))
    x = maps(8)
    with capture_kernels(module) as found, torch.no_grad():
        y = module(x)
    (kernels,) = found.values()
    scaled = x.view(2, T, 8, 6, 6) * kernels.importance.transpose(1, 2)[..., None, None]
    torch.testing.assert_close(y, aggregate(scaled, kernels.kernel).flatten(0, 1))


def test_motion_enhancement_gates_by_the_next_segment_and_leaves_the_last() -> None:
    module = ready(MotionEnhanced(16, T))
    x = maps(16)
    y = module(x)
    for n in range(len(x)):
        want = x[n]
        if n % T < T - 1:
            here, after = (x[m].mean((1, 2)).view(1, 16, 1, 1) for m in (n, n + 1))
            want = want * module.expand(module.following(after) - module.current(here)).sigmoid()[0]
        torch.testing.assert_close(y[n], want)


def test_motion_excitation_pools_the_aligned_difference() -> None:
    module = ready(MotionExcitation(32, T))
    x = maps(32)
    y = module(x)
    for n in range(len(x)):
        change = torch.zeros(1, 2, 1, 1, dtype=x.dtype)
        if n % T < T - 1:
            here, after = (module.reduce_bn(module.reduce(x[m][None])) for m in (n, n + 1))
            change = F.adaptive_avg_pool2d(module.align(after) - here, 1)
        gate = module.expand_bn(module.expand(change)).sigmoid() - 0.5
        torch.testing.assert_close(y[n], (x[n] + x[n] * gate[0]))


@pytest.mark.parametrize("index", [0, 1])
def test_only_later_blocks_chain_their_chunks(index: int) -> None:
    position = BlockPosition(3, index, 32 if index else 16, 8, 1 if index else 2, 2)
    block = ready(Res2Block(position, T))
    x = maps(12, side=7).requires_grad_()  # four chunks of 8 * 26 // 64 = 3 channels
    y = block.aggregate(x)
    assert y.shape == (2 * T, 12, *([7, 7] if index else [4, 4]))
    (grad,) = torch.autograd.grad(y[:, 6:9].sum(), x)
    reached = grad.abs().sum((0, 2, 3)) > 0
    assert reached[6:9].all() and not reached[9:].any()
    assert reached[:6].any() == (index == 1)


def test_aggregated_chunks_begin_as_identity_and_full_shift() -> None:
    block = Res2Block(BlockPosition(2, 1, 64, 20, 1, 2), T)  # chunks of 8
    weights = [shift.weight[:, 0].tolist() for shift in block.before_convs]
    assert weights[0] == weights[2] == [[0, 1, 0]] * 8
    assert weights[3] == [[0, 0, 1]] * 4 + [[1, 0, 0]] * 4


def test_channel_motion_is_the_expanded_difference() -> None:
    module = ready(ChannelMotion(32, T, stride=2))
    x = maps(32, side=5)
    y = module(x)
    assert y.shape[2:] == (3, 3)
    here, after = (module.reduce_bn(module.reduce(x[m][None])) for m in (1, 2))
    want = F.max_pool2d(module.expand(module.align(after) - here), 2, ceil_mode=True)
    torch.testing.assert_close(y[1], want[0])
    assert y[T - 1].abs().max() == 0
    weight = torch.empty(9, 1, 3)
    quarter_shift_(weight)
    assert weight[:, 0].tolist() == [[1, 0, 0]] * 2 + [[0, 1, 0]] * 5 + [[0, 0, 1]] * 2


def test_temporal_aggregation_is_a_weighted_sum_of_neighbours() -> None:
    module = ready(Aggregation(3, T))
    x = maps(3)
    before, here, after = module.weight[:, 0].unbind(1)
    want = here.view(-1, 1, 1) * x[1]
    want = want + before.view(-1, 1, 1) * x[0] + after.view(-1, 1, 1) * x[2]
    torch.testing.assert_close(module(x)[1], want.relu())


def test_a_big_little_stage_gives_even_frames_to_the_little_branch() -> None:
    stage = ready(PairedStage(4, 16, 3, alpha=2, beta=4, stride=2, num_frames=T))
    sizes: dict[str, torch.Size] = {}
    seen: dict[str, torch.Tensor] = {}
    for name in ("big", "little"):

        def watch(_m: Any, inputs: Any, output: Any, name: str = name) -> None:
            sizes[name], seen[name] = output.shape, inputs[0]

        getattr(stage, name).register_forward_hook(watch)
    pairs = maps(4, side=8)[: T // 2 * 2]
    assert stage(pairs).shape == (4, 16, 4, 4)
    assert sizes == {"big": torch.Size([4, 16, 4, 4]), "little": torch.Size([4, 8, 8, 8])}
    frames = stage.aggregate(pairs.repeat_interleave(2, 0))
    assert torch.equal(seen["little"], frames[0::2]) and torch.equal(seen["big"], frames[1::2])


def test_fixed_subsets_repeat_and_random_ones_are_ordered_subsets() -> None:
    fixed = TemporalRelations(8, 4, 4, 3, subsets=3, fixed=True)
    free = TemporalRelations(8, 4, 4, 3, subsets=3, fixed=False)
    pairs = fixed.choices[-1]
    assert [len(choices) for choices in fixed.choices] == [1, 8, 28, 56, 70, 56, 28]
    assert fixed.eval().pick(pairs) == [pairs[4], pairs[14], pairs[23]]
    torch.manual_seed(0)
    drawn = {tuple(free.eval().pick(pairs)) for _ in range(10)}
    assert len(drawn) > 1
    assert all(len(set(d)) == 3 and set(d) <= set(pairs) for d in drawn)
    torch.manual_seed(0)
    assert len({tuple(fixed.train().pick(pairs)) for _ in range(10)}) > 1


def test_relations_sum_over_scales_and_subsets() -> None:
    module = ready(TemporalRelations(3, 4, 6, 5, subsets=3, fixed=True))
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    whole, pairs = module.relations
    want = whole.mlp(x.flatten(1))
    for subset in ((0, 1), (0, 2), (1, 2)):
        want = want + pairs.mlp(x[:, list(subset)].flatten(1))
    torch.testing.assert_close(module(x), want)


def test_inception_maps_have_the_published_channels() -> None:
    with torch.device("meta"):
        model = SegmentInception(NetworkShape(num_classes=5, num_segments=1))
    units = [*model.stage3, *model.stage4, *model.stage5]
    channels = [unit.out_channels for unit in units]
    assert channels == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]
