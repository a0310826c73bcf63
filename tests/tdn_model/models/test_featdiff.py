"""Ng and Davis' network: what feeds the difference network, the two losses, the two phases."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from tdn_model.models.featdiff import FeatureDifferenceNet, load_pretrained
from tdn_model.optim import freeze_partial_bn
from tests.tdn_model.helpers import clips, mini, randomise_


def network(**options: Any) -> Any:
    model = mini("featdiff", num_segments=3, **options).double().eval()
    randomise_(model)
    return model


def by_hand(model: FeatureDifferenceNet, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Frame by frame and pair by pair, one video."""
    parts = ("stem", "res2", "res3", "res4", "res5")
    frames = x.flatten(2, 3)[0]
    taps = []
    for frame in frames:
        f, maps = frame[None], []
        for part in parts:
            f = model.image.get_submodule(part)(f)
            maps.append(f)
        taps.append(maps)
    image = torch.stack([model.image.classifier(t[-1].mean((2, 3))) for t in taps]).mean(0)
    scores = []
    for k in range(len(frames) - 1):
        g = (frames[k + 1] - frames[k])[None]
        for level, (part, layer) in enumerate(
            zip(parts, ("conv1", "res2", "res3", "res4", None), strict=True)
        ):
            g = model.difference.get_submodule(part)(g)
            if layer in model.layers:
                g = g + taps[k + 1][level] - taps[k][level]
        scores.append(model.difference.classifier(g.mean((2, 3))))
    return image, torch.stack(scores).mean(0)


@pytest.mark.parametrize("layers", [("input",), ("input", "conv1", "res3"), None])
def test_streams_follow_the_equations(layers: tuple[str, ...] | None) -> None:
    model = network(**({} if layers is None else {"layers": layers}))
    x = clips(model, batch=1, dtype=torch.float64)
    with torch.no_grad():
        image, difference = by_hand(model, x)
        streams = model.streams(x)
        torch.testing.assert_close(streams.image, image)
        torch.testing.assert_close(streams.difference, difference)
        torch.testing.assert_close(model(x), (image + difference) / 2)


def test_every_lateral_form_begins_as_the_sum() -> None:
    plain = mini("featdiff").eval()
    x = clips(plain)
    for lateral in ("conv1x1", "gated"):
        other = mini("featdiff", lateral=lateral)
        other.load_state_dict(plain.state_dict(), strict=False)
        with torch.no_grad():
            torch.testing.assert_close(plain(x), other.eval()(x))


def test_a_still_video_leaves_the_difference_network_without_its_input() -> None:
    model = network()
    still = clips(model, dtype=torch.float64)[:, :1].expand(-1, 3, -1, -1, -1, -1)
    with torch.no_grad():
        difference = model.streams(still).difference
    torch.testing.assert_close(difference[0], difference[1])


def test_the_loss_is_one_softmax_loss_per_network() -> None:
    model = mini("featdiff", dropout=0.0)
    x, labels = clips(model), torch.tensor([1, 4])
    loss, logits = model.loss(x, labels)
    streams = model.streams(x)
    want = sum(functional.cross_entropy(stream, labels) for stream in streams)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(logits, (streams[0] + streams[1]) / 2)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_phase_one_holds_the_image_network_but_its_classifier() -> None:
    model = mini("featdiff", lateral="conv1x1")
    model.set_phase(1)
    assert model.train() is model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, labels = clips(model), torch.tensor([0, 2])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model.loss(x, labels)[0].backward()
        optimizer.step()
    for name, tensor in model.state_dict().items():
        held = name.startswith("image.") and not name.startswith("image.classifier.")
        assert torch.equal(before[name], tensor) == held, name
    model.set_phase(2)
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules())
    assert not any(m.training for m in model.eval().modules())
    with pytest.raises(ValueError, match="phase: got 3"):
        model.set_phase(3)


def test_partial_bn_leaves_each_networks_first_batch_norm() -> None:
    model = mini("featdiff")
    freeze_partial_bn(model.train())
    norms = (torch.nn.BatchNorm2d,)
    free = [n for n, m in model.named_modules() if isinstance(m, norms) and m.training]
    assert free == ["image.stem.bn", "difference.stem.bn"]
    model.set_phase(1)
    freeze_partial_bn(model)
    free = [n for n, m in model.named_modules() if isinstance(m, norms) and m.training]
    assert free == ["difference.stem.bn"]


def torchvision_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for key, value in state.items():
        for ours, theirs in (
            ("stem.conv", "conv1"),
            ("stem.bn", "bn1"),
            ("shortcut.conv", "downsample.0"),
            ("shortcut.bn", "downsample.1"),
            *((f"res{n + 1}.", f"layer{n}.") for n in (1, 2, 3, 4)),
            ("classifier", "fc"),
        ):
            key = key.replace(ours, theirs)
        found[key] = value
    return found


def test_weights_cross_modality_and_a_trained_flow_network_starts_the_image_network() -> None:
    imagenet = torchvision_names(mini("tsn", seed=5).state_dict())
    tsn = mini("tsn_stack", num_segments=3, seed=6)
    flow = mini("featdiff", num_segments=3, window=5, in_channels=2)
    load_pretrained(flow, imagenet, trained_tsn=tsn.state_dict())
    assert all(
        torch.equal(flow.image.state_dict()[name], tensor)
        for name, tensor in tsn.state_dict().items()
    )
    mean = imagenet["conv1.weight"].mean(1)
    stem = flow.difference.stem.conv.weight
    assert stem.shape[1] == 10
    assert all(torch.equal(stem[:, c], mean) for c in range(10))
    assert torch.equal(flow.difference.res4[0].conv2.weight, imagenet["layer3.0.conv2.weight"])
    rgb = mini("featdiff", num_segments=2)
    load_pretrained(rgb, imagenet)
    assert torch.equal(rgb.image.stem.conv.weight, imagenet["conv1.weight"])
    assert torch.equal(rgb.difference.stem.conv.weight, imagenet["conv1.weight"])


def test_a_stack_enters_the_stem_frame_by_frame() -> None:
    model = mini("tsn_stack", num_segments=2).eval()
    x = clips(model)
    seen: list[torch.Tensor] = []
    model.stem.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    with torch.no_grad():
        model(x)
    assert seen[0].shape == (4, 10, 48, 48)
    assert torch.equal(seen[0][1, 2:4], x[0, 1, 1])
