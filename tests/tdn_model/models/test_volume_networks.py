"""The networks over whole clips: contract, gradients, state, export, refusals, known relatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import inception_v3
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.video import s3d as torchvision_s3d
from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

from tdn_model.models.slowfast import evenly
from tests.tdn_model.helpers import clips, make, mini, randomise_

CASES: list[tuple[str, dict[str, Any]]] = [
    ("i3d", {}),
    ("i3d", {"stem_stride": 2, "pool1": 2, "res5_stride": 2, "num_segments": 9}),
    ("i3d_3x1x1", {"in_channels": 2, "num_segments": 1}),
    ("nl_i3d", {"blocks": (1, 2, 2, 1)}),
    ("nl_i3d", {"nonlocal_res3": [], "nonlocal_res4": [0], "nonlocal_form": "dot_product"}),
    ("nl_i3d_gcn", {"grid": 2, "nonlocal_res3": [0]}),
    ("slowonly", {}),
    ("slowfast", {"num_segments": 8}),
    (
        "slowfast",
        {"num_segments": 8, "lateral_kernel": 5, "nonlocal_res4": [0], "res4_temporal_blocks": 0},
    ),
    ("i3d_inception", {"num_segments": 8}),
    ("s3d", {"num_segments": 16}),
    ("s3d_g", {"num_segments": 8, "blocks": (1, 2, 1, 2)}),
    ("r2plus1d", {"blocks": (1, 2, 1, 1)}),
    ("res3d", {}),
    ("c3d", {"num_segments": 16, "side_px": 48}),
    ("p3d", {"num_segments": 16, "blocks": (3, 1, 1, 1)}),
    ("artnet", {"in_channels": 2}),
    ("eco", {}),
    ("eco", {"full": False, "num_segments": 1}),
    ("eco_en_lite", {"num_segments": 5, "members": [2, 3]}),
    ("tsn_inceptionv3", {"num_segments": 2, "blocks": (1, 2, 1, 1)}),
]


def size_of(architecture: str) -> tuple[int, int]:
    return {"tsn_inceptionv3": (80, 80)}.get(architecture, (48, 48))


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def network(case: Any) -> Any:
    return mini(case[0], **case[1])


@pytest.fixture
def x(case: Any, network: Any) -> Tensor:
    return clips(network, size=size_of(case[0]))


def test_a_step_gives_logits_and_a_gradient_to_every_parameter(network: Any, x: Tensor) -> None:
    randomise_(network)
    logits = network(x)
    assert logits.shape == (2, 5) and network.window == 1
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0 or "theta" in name or "phi" in name, name


def test_evaluation_repeats_and_does_not_depend_on_the_batch(network: Any, x: Tensor) -> None:
    randomise_(network)
    network.eval()
    with torch.no_grad():
        together, again = network(x), network(x)
        alone = torch.cat([network(video[None]) for video in x])
    assert torch.equal(together, again)
    assert (together[0] - together[1]).abs().max() > 1e-6
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_state_moves_to_a_network_of_the_same_build(case: Any, network: Any, x: Tensor) -> None:
    network(x)  # moves the running statistics away from their start
    other = mini(case[0], seed=99, **case[1])
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(x), other.eval()(x))


def test_every_frame_counts(network: Any, x: Tensor) -> None:
    randomise_(network)
    network.eval()
    x.requires_grad_(True)
    network(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax((0, 2, 3, 4, 5)) > 0).all()


@pytest.mark.parametrize(
    "architecture", ["i3d", "nl_i3d", "slowfast", "s3d_g", "p3d", "artnet", "eco", "r2plus1d"]
)
def test_odd_sizes_fit(architecture: str) -> None:
    frames = {"p3d": 16, "s3d_g": 8}.get(architecture, 4)
    network = mini(architecture, num_segments=frames).eval()
    with torch.no_grad():
        assert network(clips(network, batch=1, size=(33, 75))).shape == (1, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :, 0], "clips: got rank 5"),
        (lambda x: x.repeat(1, 1, 2, 1, 1, 1), "clips: got F=2"),
        (lambda x: x.repeat(1, 2, 1, 1, 1, 1), "clips: got T="),
        (lambda x: x[:, :, :, :1], "clips: got C=1"),
        (lambda x: x[..., :9, :], "clips: got H=9"),
        (lambda x: x.int(), "clips: got dtype torch.int32"),
    ],
)
def test_clips_it_cannot_take_are_refused(network: Any, x: Tensor, change: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        network(change(x))


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("i3d", {"num_segments": 1}, "num_segments: got 1"),
        ("i3d", {"stem_stride": 3}, "stem_stride: got 3"),
        ("i3d", {"backbone": "resnet18"}, "backbone: got 'resnet18'"),
        ("nl_i3d", {"nonlocal_res4": [1, 1]}, "nonlocal_res4: got"),
        ("nl_i3d", {"nonlocal_form": "concat"}, "nonlocal_form: got 'concat'"),
        ("nl_i3d_gcn", {"grid": 0}, "grid: got 0"),
        ("slowfast", {"num_segments": 6}, "num_segments: got 6; it takes a multiple of alpha"),
        ("slowfast", {"width": 12}, "width: got 12; it takes a multiple of beta"),
        ("slowfast", {"lateral_kernel": 4}, "lateral_kernel: got 4"),
        ("slowfast", {"nonlocal_res4": [0]}, "num_segments: got 4"),
        ("s3d", {"num_segments": 7}, "num_segments: got 7"),
        ("s3d", {"num_segments": 8, "blocks": (1, 3, 1, 1)}, "blocks: got"),
        ("r2plus1d", {"backbone": "resnet101"}, "backbone: got 'resnet101'"),
        ("r2plus1d", {"blocks": (1, 1, 1)}, "blocks: got"),
        ("c3d", {"num_segments": 8}, "num_segments: got 8"),
        ("p3d", {"num_segments": 16, "kinds": ["D"]}, "kinds: got 'D'"),
        ("p3d", {"num_segments": 16, "kinds": []}, "kinds: got none"),
        ("artnet", {"width": 7}, "width: got 7; it takes a multiple of 2"),
        ("eco_en_lite", {"num_segments": 4, "members": [2, 3]}, "num_segments: got 4"),
        ("tsn_inceptionv3", {"width": 6}, "width: got 6"),
        ("res3d", {"dropout": 1.0}, "dropout: got 1.0"),
    ],
)
def test_options_it_cannot_take_are_refused(
    architecture: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        mini(architecture, **options)


def test_c3d_takes_one_size_only() -> None:
    model = mini("c3d", num_segments=16, side_px=48)
    with pytest.raises(ValueError, match="got H=64, W=48"):
        model(clips(model, size=(64, 48)))


def test_a_nonlocal_block_starts_as_the_identity() -> None:
    with_block = mini("nl_i3d", nonlocal_res3=[0], nonlocal_res4=[]).eval()
    without = mini("i3d").eval()
    state = with_block.state_dict()
    without.load_state_dict({k: v for k, v in state.items() if "attend" not in k})
    x = clips(without)
    torch.testing.assert_close(with_block(x), without(x))


def test_the_slow_pathway_sees_frames_from_first_to_last() -> None:
    assert evenly(32, 8) == torch.linspace(0, 31, 8).long().tolist()
    assert evenly(64, 16) == torch.linspace(0, 63, 16).long().tolist()
    assert evenly(4, 1) == [0]


def test_regions_take_part_in_the_graph() -> None:
    model = mini("nl_i3d_gcn", grid=2).eval()
    randomise_(model)
    x = clips(model)
    left = torch.tensor([0.0, 0.0, 0.4, 0.4]).expand(2, 2, 3, 4)
    right = torch.tensor([0.6, 0.6, 1.0, 1.0]).expand(2, 2, 3, 4)
    with torch.no_grad():
        assert (model(x, left) - model(x, right)).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"boxes: got shape \(2, 1, 3, 4\)"):
        model(x, left[:, :1])


def test_the_front_graph_joins_boxes_of_the_next_frame_by_their_overlap() -> None:
    from tdn_model.models.nl_i3d_gcn import normalise, overlap_graph, regular_boxes

    a, b = [0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 0.5]
    graph = overlap_graph(torch.tensor([[[a, b], [a, [0.8, 0.8, 1.0, 1.0]]]]))[0]
    assert graph[0].tolist() == pytest.approx([0, 0, 1, 0])
    assert graph[1].tolist() == pytest.approx([0, 0, 1 / 3, 0])
    assert graph[2:].abs().max() == 0
    assert normalise(graph[None])[0].sum(1).tolist() == pytest.approx([1, 1, 0, 0])
    boxes = regular_boxes(5, torch.zeros(1))
    assert boxes.shape == (50, 4) and (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_lite_ensemble_is_the_mean_of_its_members() -> None:
    model = mini("eco_en_lite", num_segments=5, members=[2, 3]).eval()
    x = clips(model)
    with torch.no_grad():
        first, second = model.members[0](x[:, :2]), model.members[1](x[:, 2:])
        torch.testing.assert_close(model(x), (first + second) / 2)


def in_order(state: dict[str, Tensor]) -> list[Tensor]:
    """Tensors in the order of definition, the classifier's last."""
    last = [k for k in state if k.startswith(("fc.", "classifier."))]
    return [state[k] for k in state if k not in last] + [state[k] for k in last]


def same_as(ours: Any, theirs: Any, x: Tensor) -> None:
    """Fill `theirs`, give its values to `ours`, compare logits; `x` is `(B, T, 1, C, H, W)`."""
    randomise_(theirs)
    keys = in_order({k: k for k in ours.state_dict()})
    values = in_order(theirs.state_dict())
    own = ours.state_dict()
    assert len(keys) == len(values)
    ours.load_state_dict({k: v.view(own[k].shape) for k, v in zip(keys, values, strict=True)})
    volume = x[:, :, 0].transpose(1, 2)
    with torch.no_grad():
        want = theirs.eval()(volume[:, :, 0] if volume.shape[2] == 1 else volume)
        got = ours.eval()(x)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_res3d_is_torchvisions() -> None:
    ours = make("res3d", num_classes=400, num_segments=4, blocks=(1, 2, 1, 1))
    units = [Conv3DSimple] * 4
    theirs = VideoResNet(BasicBlock, units, [1, 2, 1, 1], BasicStem)
    same_as(ours, theirs, torch.randn(1, 4, 1, 3, 32, 32))


def test_s3d_is_torchvisions() -> None:
    ours = make("s3d", num_classes=400, num_segments=8)
    theirs = torchvision_s3d()
    theirs.avgpool = torch.nn.AvgPool3d((1, 2, 2))  # the last maps of 64² and 8 frames are 1×2×2
    same_as(ours, theirs, torch.randn(1, 8, 1, 3, 64, 64))


def test_inceptionv3_is_torchvisions() -> None:
    ours = make("tsn_inceptionv3", num_classes=1000, num_segments=1)
    theirs = inception_v3(aux_logits=False, init_weights=False)
    same_as(ours, theirs, torch.randn(1, 1, 1, 3, 80, 80))


def test_inflated_weights_sum_to_the_flat_ones() -> None:
    model = make("i3d_3x1x1", num_classes=4, num_segments=5, blocks=(1, 2, 1, 1))
    theirs = ResNet(Bottleneck, [1, 2, 1, 1])
    randomise_(theirs)
    kept = model.load_imagenet(theirs.state_dict())
    assert kept == ["classifier.weight", "classifier.bias"]
    weight = model.state_dict()["res2.0.conv1.weight"]
    torch.testing.assert_close(weight.sum(2), theirs.layer1[0].conv1.weight)
    assert torch.equal(weight[:, :, 0], weight[:, :, 2])
    attending = make("nl_i3d", num_classes=4, num_segments=4, blocks=(1, 2, 1, 1))
    kept = attending.load_imagenet(theirs.state_dict())
    assert {key.split(".")[2] for key in kept if not key.startswith("classifier")} == {"attend"}
