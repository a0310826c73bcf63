"""Published checkpoints: the authors' names, strict, there and back bit for bit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tdn_model import export_official, import_official
from tdn_model.published import KEY_MAPS, CheckpointMismatch, OfficialShape, official_shape
from tests.tdn_model.helpers import MINI, clips, make, mini, randomise_
from tests.tdn_model.reference_tdn import Reference, official_input

NARROW = {"width": MINI["width"], "blocks": MINI["blocks"]}
OWN = ("tdn", "tsn", "tsm", "tanet", "tea")


def official(architecture: str, **options: Any) -> dict[str, Tensor]:
    model = mini(architecture, **options)
    randomise_(model)
    model(clips(model))
    return export_official(model)


def published_list(name: str) -> dict[str, tuple[tuple[int, ...], bool]]:
    folder = os.environ.get("TDN_TEST_REFERENCE")
    if not folder:
        pytest.skip("TDN_TEST_REFERENCE is not set: no lists of published keys to compare with")
    entries = json.loads((Path(folder) / f"{name}_official_keys.json").read_text())["keys"]
    return {key: (tuple(shape), "float" in dtype) for key, (shape, dtype, _) in entries.items()}


@pytest.mark.parametrize(
    ("architecture", "backbone", "num_segments", "name"),
    [
        ("tdn", "resnet50", 8, "tdn_r50"),
        ("tdn", "resnet50", 16, "tdn_r50"),
        ("tdn", "resnet101", 8, "tdn_r101"),
        ("tsm", "resnet50", 8, "tsm_r50"),
        ("tanet", "resnet50", 8, "tanet_r50"),
        ("tea", "res2net50", 16, "tea_r50"),
    ],
)
def test_names_and_shapes_are_those_of_the_published_files(
    architecture: str, backbone: str, num_segments: int, name: str
) -> None:
    expected = published_list(name)
    with torch.device("meta"):
        model = make(architecture, backbone=backbone, num_classes=174, num_segments=num_segments)
    names = KEY_MAPS[architecture](model)
    ours = {
        names[key]: (tuple(tensor.shape), tensor.is_floating_point())
        for key, tensor in model.state_dict().items()
    }
    assert ours == expected


@pytest.mark.parametrize("architecture", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("wrapping", ["bare", "module", "file"])
def test_a_checkpoint_comes_back_bit_for_bit(
    architecture: str, dtype: torch.dtype, wrapping: str
) -> None:
    state = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in official(architecture).items()
    }
    given: dict[str, Any] = dict(state)
    if wrapping != "bare":
        given = {f"module.{key}": tensor for key, tensor in state.items()}
    if wrapping == "file":
        given = {"epoch": 3, "arch": "resnet50", "state_dict": given, "best_prec1": 1.5}
    backbone = "res2net50" if architecture == "tea" else "resnet50"
    model = import_official(architecture, given, backbone=backbone, num_segments=4, **NARROW)
    assert not model.training
    back = export_official(model)
    assert back.keys() == state.keys()
    for key, tensor in state.items():
        assert back[key].dtype == tensor.dtype and torch.equal(back[key], tensor), key


def test_an_imported_network_computes_what_its_checkpoint_means() -> None:
    state = official("tdn")
    model: Any = import_official("tdn", state, num_segments=4, **NARROW)
    x = clips(model)
    with torch.no_grad():
        want = Reference(state, 4)(official_input(x))
        torch.testing.assert_close(model(x), want, rtol=1e-5, atol=1e-6)
        again: Any = import_official("tdn", state, num_segments=4, **NARROW)
        assert torch.equal(model(x), again(x))


def test_importing_copies_and_leaves_the_checkpoint_alone() -> None:
    state = official("tsn")
    before = {key: tensor.clone() for key, tensor in state.items()}
    model: Any = import_official("tsn", state, num_segments=4, **NARROW)
    model.train()(clips(model)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert all(torch.equal(before[key], state[key]) for key in state)


def test_only_the_inert_stem_is_frozen_after_an_import() -> None:
    model = import_official("tdn", official("tdn"), num_segments=4, **NARROW)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"short_term.unused_stem.weight", "short_term.unused_stem.bias"}


@pytest.mark.parametrize("architecture", OWN)
def test_every_unused_missing_and_mismatched_key_is_named(architecture: str) -> None:
    state = official(architecture)
    missing = ["base_model.bn1.running_mean", "new_fc.bias"]
    for key in missing:
        del state[key]
    state["base_model.fc.extra"] = torch.zeros(3)
    state["stray"] = torch.zeros(3)
    state["base_model.bn1.weight"] = torch.zeros(99)
    state["base_model.bn1.num_batches_tracked"] = torch.tensor(1.5)
    with pytest.raises(CheckpointMismatch) as refused:
        import_official(architecture, state, num_segments=4, **NARROW)
    assert refused.value.missing == missing
    assert refused.value.unused == ["base_model.fc.extra", "stray"]
    assert len(refused.value.mismatched) == 2
    for key in (*missing, "stray", "base_model.fc.extra", "got float (99,), takes float (8,)"):
        assert key in str(refused.value)


@pytest.mark.parametrize(
    ("name", "segments", "blocks"),
    [
        ("tdn_r50", None, (3, 4, 6, 3)),
        ("tdn_r101", None, (3, 4, 23, 3)),
        ("tanet_r50", 8, (3, 4, 6, 3)),
        ("tsm_r50", None, (3, 4, 6, 3)),
        ("tea_r50", None, (3, 4, 6, 3)),
    ],
)
def test_a_published_file_tells_its_classes_clip_length_and_depth(
    name: str, segments: int | None, blocks: tuple[int, ...]
) -> None:
    shapes = {f"module.{key}": shape for key, (shape, _) in published_list(name).items()}
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    found = official_shape({"epoch": 60, "state_dict": state})
    assert (found.segments, found.blocks) == (segments, blocks)
    assert found.classes in (174, 400)
    assert (
        official_shape({"state_dict": [1]}) == official_shape({}) == OfficialShape(None, None, ())
    )


def test_a_checkpoint_of_another_network_is_refused() -> None:
    with pytest.raises(CheckpointMismatch, match=r"conv1\.net\.weight"):
        import_official("tsn", official("tsm"), num_segments=4, **NARROW)
    with pytest.raises(CheckpointMismatch, match="missing"):
        import_official("tdn", official("tsn"), num_segments=4, **NARROW)
    with pytest.raises(CheckpointMismatch, match=r"missing: base_model\.layer"):
        import_official("tdn", official("tdn"), num_segments=4, width=8, blocks=(1, 1, 2, 1))


def test_networks_without_dropout_keep_their_classifier_in_the_base() -> None:
    state = official("tdn", dropout=0.0)
    assert "base_model.fc.weight" in state and "new_fc.weight" not in state
    model = import_official("tdn", state, num_segments=4, **NARROW)
    assert export_official(model).keys() == state.keys()


def test_a_class_permutation_reorders_logits_and_is_undone_on_export() -> None:
    state, order = official("tsm"), [3, 0, 4, 1, 2]
    plain: Any = import_official("tsm", state, num_segments=4, **NARROW)
    ours: Any = import_official("tsm", state, num_segments=4, class_permutation=order, **NARROW)
    x = clips(plain)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x)[:, order])
    back = export_official(ours, class_permutation=order)
    assert all(torch.equal(back[key], state[key]) for key in state)
    for wrong in ([0, 1, 2, 3], [0, 0, 1, 2, 3], [1, 2, 3, 4, 5]):
        with pytest.raises(ValueError, match="class_permutation: got"):
            import_official("tsm", state, num_segments=4, class_permutation=wrong, **NARROW)


def test_only_the_shifted_blocks_of_a_deep_tsm_are_wrapped() -> None:
    with torch.device("meta"):
        model = make("tsm", backbone="resnet101", num_classes=174, num_segments=8)
    wrapped = [name for name in KEY_MAPS["tsm"](model).values() if ".net." in name]
    assert len(wrapped) == 2 + 2 + 12 + 2
    assert all(int(name.split(".")[2]) % 2 == 0 for name in wrapped)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"state_dict": 3}, "state_dict: got int"),
        ({"new_fc.weight": torch.zeros(5, 8), "x": "text"}, "not tensors: x"),
        ({}, "missing: new_fc.weight"),
    ],
)
def test_what_is_no_state_dict_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        import_official("tsn", given, num_segments=4)


def test_wrong_requests_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="architecture: got 'tconv'; it takes one of"):
        import_official("tconv", {}, num_segments=4)
    with pytest.raises(ValueError, match="num_classes: got 7; the checkpoint has 5"):
        import_official("tsn", official("tsn"), num_segments=4, num_classes=7, **NARROW)
    with pytest.raises(ValueError, match="only TDN with its default options"):
        export_official(mini("tdn", bidirectional=False))
    with pytest.raises(ValueError, match=r"without an official name: res2\.0\.before_conv1"):
        export_official(mini("tanet", position="a"))
    with pytest.raises(ValueError, match=r"not made by tdn_model\.build"):
        export_official(torch.nn.Linear(2, 2))
