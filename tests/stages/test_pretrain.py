from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from stages import pretrain, train
from stages import row_start as starts
from tdn_model.weights.imagenet import torchvision_names
from tests.stages.conftest import params
from tests.tdn_model.helpers import make

SHAPE = {"width": 4, "blocks": [1, 1, 1, 1]}


def stills(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "stills",
        "backbones": {"resnet50": SHAPE},
        "images": 80,
        "size_px": 32,
        "epochs": 1,
        "batch": 16,
        "lr": 0.05,
        "weight_decay": 0.0005,
        "seed": 0,
        "compute": {"device": "cpu", "precision": "float32", "threads": 1},
        **changes,
    }


def state(work: Workspace, key: str, name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(work.run(key) / "train" / name, weights_only=True)
    return found


def begin(kind: str, key: str, images: bool = False) -> dict[str, Any]:
    return {"start": {"kind": kind, "from": key, "images": images}}


def first_weights(work: Workspace, plan: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The row's weights before its first step of any size."""
    train.run(work, plan["row"], params=plan)
    return state(work, plan["row"], "weights.pt")


def still(**recipe: Any) -> dict[str, Any]:
    return {"epochs": 1, "lr": 1e-12, "weight_decay": 0.0, "partial_bn": True, **recipe}


def test_pretraining_twice_gives_the_same_weights(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    pretrain.run(work, "images", params=stills())
    first = (work.run("images") / "train" / "resnet50.pt").read_bytes()
    pretrain.run(work, "images", params=stills())
    assert (work.run("images") / "train" / "resnet50.pt").read_bytes() == first
    history = read_json(work.run("images") / "train" / "history.json")
    assert 0 <= history["resnet50"][0]["held_out_top1_pct"] <= 100


def test_names_are_torchvisions() -> None:
    import torchvision

    ours = make("tsn", num_classes=1000, num_segments=1)
    theirs = torchvision.models.resnet50().state_dict()
    named = torchvision_names(ours.state_dict())
    assert {k: v.shape for k, v in named.items()} == {k: v.shape for k, v in theirs.items()}


def test_a_row_starts_from_the_images_but_its_classifier(work: Workspace) -> None:
    pretrain.run(work, "images", params=stills())
    plan = {**params("a", **still()), **begin("images", "images")}
    found = torchvision_names(first_weights(work, plan))
    given = state(work, "images", "resnet50.pt")
    assert torch.allclose(found["layer2.0.conv2.weight"], given["layer2.0.conv2.weight"])
    assert found["fc.weight"].shape != given["fc.weight"].shape


def test_a_row_starts_from_another_rows_weights(work: Workspace) -> None:
    train.run(work, "first", params=params("first", epochs=1))
    plan = {**params("second", **still()), **begin("row", "first")}
    first, second = state(work, "first", "weights.pt"), first_weights(work, plan)
    assert torch.allclose(first["res3.0.conv2.weight"], second["res3.0.conv2.weight"])
    assert torch.allclose(first["classifier.weight"], second["classifier.weight"], atol=1e-5)


def test_two_streams_start_from_a_tsn_and_from_images(work: Workspace) -> None:
    pretrain.run(work, "images", params=stills())
    first = {**params("first", architecture="tsn_stack", epochs=1)}
    first["model"]["options"] = {"in_channels": 3, "window": 1}
    train.run(work, "first", params=first)
    plan = {**params("two", architecture="featdiff", **still()), **begin("row", "first", True)}
    found = first_weights(work, plan)
    image, images = state(work, "first", "weights.pt"), state(work, "images", "resnet50.pt")
    assert torch.allclose(found["image.res4.0.conv2.weight"], image["res4.0.conv2.weight"])
    difference = found["difference.res4.0.conv2.weight"]
    assert torch.allclose(difference, images["layer3.0.conv2.weight"])


def test_a_start_of_another_network_is_refused(work: Workspace) -> None:
    train.run(work, "first", params=params("first", epochs=1))
    plan = {**params("row", architecture="tanet"), **begin("row", "first")}
    with pytest.raises(UsageError, match="row cannot start from first"):
        train.run(work, "row", params=plan)


def test_a_start_that_was_not_trained_says_what_to_run(work: Workspace) -> None:
    plan = {**params("row"), **begin("row", "first")}
    with pytest.raises(AbsentData, match="its start 'first' is not trained") as caught:
        train.run(work, "row", params=plan)
    assert caught.value.do == "run `tdn train first`"
    train.run(work, "row", params=plan, record_absent=True)
    assert read_json(work.run("row") / "train" / "outcome.json")["status"] == "not-run"


def test_tea_finds_a_res2net_among_the_images(work: Workspace) -> None:
    pretrain.run(work, "images", params=stills(backbones={"res2net50": SHAPE}))
    given = state(work, "images", "res2net50.pt")
    plan = {**params("row", architecture="tea", **still()), **begin("images", "images")}
    plan["model"] |= {"backbone": "res2net50", **SHAPE}
    found = first_weights(work, plan)
    name = "layer2.0.convs.1.weight"
    torch.testing.assert_close(found["res3.0.convs.1.weight"], given[name])


def test_imagenet_weights_come_from_a_local_file(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)
    given = torchvision_names(make("tsn", num_classes=7, num_segments=1, width=4).state_dict())
    torch.save(given, tmp_path / "data" / "weights" / "resnet50.pth")
    pretrain.run(work, "images", params={"kind": "imagenet", "backbones": {"resnet50": SHAPE}})
    found = state(work, "images", "resnet50.pt")
    assert all(torch.equal(found[name], given[name]) for name in given)


def test_imagenet_weights_that_nobody_has_are_named(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    plan = {"kind": "imagenet", "backbones": {"res2net50": SHAPE}}
    with pytest.raises(AbsentData, match="torchvision has no res2net50"):
        pretrain.run(work, "images", params=plan)
    assert not (work.run("images") / "train").exists()
    pretrain.run(work, "images", params=plan, record_absent=True)
    outcome = read_json(work.run("images") / "train" / "outcome.json")
    assert outcome["status"] == "not-run"


def test_phase_one_holds_the_image_network_still(work: Workspace) -> None:
    whole = params("whole", architecture="featdiff", epochs=2, phase1_epochs=0)
    train.run(work, "whole", params=whole)
    first = params("first", architecture="featdiff", epochs=2, phase1_epochs=1)
    # Held still for the first of two epochs: other weights than trained throughout.
    train.run(work, "first", params=first)
    a, b = state(work, "whole", "weights.pt"), state(work, "first", "weights.pt")
    assert not torch.equal(a["image.res4.0.conv2.weight"], b["image.res4.0.conv2.weight"])


def test_two_phases_need_a_network_that_has_them(work: Workspace) -> None:
    with pytest.raises(UsageError, match="tsn does not train in two phases"):
        train.run(work, "row", params=params("row", epochs=2, phase1_epochs=1))


def test_more_seeds_train_more_networks_and_give_mean_and_spread(work: Workspace) -> None:
    from stages import predict, score
    from tests.stages.test_predict import SCORE

    plan = {**params("row", epochs=1), "seeds": 2}
    train.run(work, "row", params=plan)
    first, second = state(work, "row", "weights.pt"), state(work, "row", "weights.seed1.pt")
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    predict.run(work, "row", params=plan)
    score.run(work, "row", params={**SCORE, "seeds": 2})
    found = read_json(work.metrics("row"))["protocols"]["center_1x1"]
    values = found["seeds"]["values"]
    assert values[0] == found["top1_pct"]
    assert found["seeds"]["mean"] == pytest.approx(sum(values) / 2)


def test_a_plateau_divides_the_rate_by_ten() -> None:
    rising = [{"validation_top1_pct": float(n)} for n in range(5)]
    flat = [{"validation_top1_pct": 4.0}] * train.PATIENCE
    assert train.saturated(rising) == 0
    assert train.saturated(rising + flat) == 1
    assert train.saturated(rising + flat * 2) == 2
    assert train.saturated([{"loss": 1.0}] * 9) == 0


def test_a_row_with_a_plateau_is_validated_every_epoch(work: Workspace) -> None:
    plan = params("row", epochs=2, decay="plateau")
    plan["protocols"] = {train.VALIDATION: plan["protocols"]["center_1x1"]}
    train.run(work, "row", params=plan)
    history = read_json(work.run("row") / "train" / "history.json")
    assert all(0 <= epoch["validation_top1_pct"] <= 100 for epoch in history)
    assert [epoch["lr"] for epoch in history] == [0.05, 0.05], "nothing is saturated yet"


def test_one_missing_backbone_leaves_the_others(work: Workspace) -> None:
    (work.root / "data" / "weights").mkdir(parents=True)
    given = torchvision_names(make("tsn", num_classes=7, num_segments=1, width=4).state_dict())
    torch.save(given, work.root / "data" / "weights" / "resnet50.pth")
    plan = {"kind": "imagenet", "backbones": {"resnet50": SHAPE, "res2net50": SHAPE}}
    pretrain.run(work, "images", params=plan, record_absent=True)
    here = {**params("row"), **begin("images", "images")}
    assert starts.absent_start(work, here) == ""
    here["model"]["backbone"] = "res2net50"
    assert "torchvision has no" in starts.absent_start(work, here)


def test_an_empty_weights_file_is_told_in_words(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "data" / "weights" / "resnet50.pth").touch()
    with pytest.raises(AbsentData, match="resnet50 cannot be had"):
        pretrain.run(work, "images", params={"kind": "imagenet", "backbones": {"resnet50": SHAPE}})


def test_iterations_are_turned_into_epochs(work: Workspace) -> None:
    # Nine videos in batches of four: two steps an epoch.
    train.run(work, "row", params=params("row", unit="iterations", epochs=5, milestones=[2]))
    assert len(read_json(work.run("row") / "train" / "history.json")) == 3
