from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import PretrainPlan, TrainPlan
from stages import predict, pretrain, score, train
from stages.rows.row_network import absent_start
from stages.trainer.training_run import PATIENCE, saturated
from tdn_model.weights.imagenet import torchvision_names
from tests.stages.conftest import COMPUTE, predict_plan, score_plan, train_plan
from tests.tdn_model.helpers import make

SHAPE = {"width": 4, "blocks": [1, 1, 1, 1]}


STILLS = {
    "images": 80,
    "size_px": 32,
    "epochs": 1,
    "batch": 16,
    "lr": 0.05,
    "weight_decay": 0.0005,
    "seed": 0,
    "compute": COMPUTE,
}


def stills(backbone: str = "resnet50") -> PretrainPlan:
    plan = {"kind": "stills", "backbone": backbone, "size": SHAPE, "stills": STILLS}
    return PretrainPlan.model_validate(plan)


def imagenet(backbone: str = "resnet50") -> PretrainPlan:
    return PretrainPlan.model_validate({"kind": "imagenet", "backbone": backbone, "size": SHAPE})


def state(work: Workspace, key: str, name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(work.run(key) / "train" / name, weights_only=True)
    return found


R50, RES2NET = "images_resnet50", "images_res2net50"
IMAGES = {"kind": "images", "source": R50, "images": R50}


def from_row(row: str, *, two_stream: bool = False, keep: bool = True) -> dict[str, Any]:
    start = {"kind": "row", "source": row, "two_stream": two_stream, "keep_classifier": keep}
    return {**start, "images": R50} if two_stream else start


def first_weights(work: Workspace, plan: TrainPlan) -> dict[str, torch.Tensor]:
    """The row's weights before its first step of any size."""
    train.run(work, plan.row, plan)
    return state(work, plan.row, "weights.pt")


def still(**recipe: Any) -> dict[str, Any]:
    return {"epochs": 1, "lr": 1e-12, "weight_decay": 0.0, "partial_bn": True, **recipe}


def test_pretraining_twice_gives_the_same_weights(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    pretrain.run(work, R50, stills())
    first = (work.run(R50) / "train" / "weights.pt").read_bytes()
    pretrain.run(work, R50, stills())
    assert (work.run(R50) / "train" / "weights.pt").read_bytes() == first
    history = read_json(work.run(R50) / "train" / "history.json")
    assert 0 <= history[0]["held_out_top1_pct"] <= 100


def test_names_are_torchvisions() -> None:
    import torchvision

    ours = make("tsn", num_classes=1000, num_segments=1)
    theirs = torchvision.models.resnet50().state_dict()
    named = torchvision_names(ours.state_dict())
    assert {k: v.shape for k, v in named.items()} == {k: v.shape for k, v in theirs.items()}


def test_a_row_starts_from_the_images_but_its_classifier(work: Workspace) -> None:
    pretrain.run(work, R50, stills())
    plan = train_plan("a", start=IMAGES, **still())
    found = torchvision_names(first_weights(work, plan))
    given = state(work, R50, "weights.pt")
    assert torch.allclose(found["layer2.0.conv2.weight"], given["layer2.0.conv2.weight"])
    assert found["fc.weight"].shape != given["fc.weight"].shape


def test_every_training_of_a_row_starts_from_images_of_its_own(work: Workspace) -> None:
    pretrain.run(work, R50, stills().model_copy(update={"seeds": 2}))
    given = [state(work, R50, f"weights{end}.pt") for end in ("", ".seed1")]
    name = "layer2.0.conv2.weight"
    assert not torch.allclose(given[0][name], given[1][name])
    for own in (True, False):
        start = {**IMAGES, "own_images": own}
        train.run(work, "a", train_plan("a", start=start, seeds=2, **still()))
        second = torchvision_names(state(work, "a", "weights.seed1.pt"))
        assert torch.allclose(second[name], given[int(own)][name])


def test_a_pretraining_from_a_later_seed_is_the_same_one(work: Workspace) -> None:
    pretrain.run(work, R50, stills().model_copy(update={"seeds": 2}))
    second = state(work, R50, "weights.seed1.pt")
    plan = stills()
    assert plan.stills is not None
    later = plan.stills.model_copy(update={"seed": 1})
    pretrain.run(work, R50, plan.model_copy(update={"stills": later}))
    found = state(work, R50, "weights.pt")
    assert all(torch.equal(found[name], value) for name, value in second.items())


def test_every_training_of_a_row_starts_from_that_training_of_another(work: Workspace) -> None:
    train.run(work, "first", train_plan("first", epochs=1, seeds=2))
    plan = train_plan("second", start=from_row("first"), seeds=2, **still())
    train.run(work, "second", plan)
    first, second = (state(work, row, "weights.seed1.pt") for row in ("first", "second"))
    assert torch.allclose(first["res3.0.conv2.weight"], second["res3.0.conv2.weight"])


def test_a_row_starts_from_another_rows_weights(work: Workspace) -> None:
    train.run(work, "first", train_plan("first", epochs=1))
    plan = train_plan("second", start=from_row("first"), **still())
    first, second = state(work, "first", "weights.pt"), first_weights(work, plan)
    assert torch.allclose(first["res3.0.conv2.weight"], second["res3.0.conv2.weight"])
    assert torch.allclose(first["classifier.weight"], second["classifier.weight"], atol=1e-5)


def test_classes_of_another_data_set_are_not_taken_over_though_there_are_as_many(
    work: Workspace,
) -> None:
    train.run(work, "first", train_plan("first", epochs=1))
    kept = first_weights(work, train_plan("kept", start=from_row("first"), **still()))
    new = first_weights(work, train_plan("new", start=from_row("first", keep=False), **still()))
    assert torch.allclose(kept["res3.0.conv2.weight"], new["res3.0.conv2.weight"])
    assert kept["classifier.weight"].shape == new["classifier.weight"].shape
    assert not torch.allclose(kept["classifier.weight"], new["classifier.weight"], atol=1e-3)


def test_two_streams_start_from_a_tsn_and_from_images(work: Workspace) -> None:
    pretrain.run(work, R50, stills())
    network = {"options": {"in_channels": 3, "window": 1}}
    train.run(work, "first", train_plan("first", "tsn_stack", network=network, epochs=1))
    start = from_row("first", two_stream=True)
    plan = train_plan("two", "featdiff", start=start, **still())
    found = first_weights(work, plan)
    image, images = state(work, "first", "weights.pt"), state(work, R50, "weights.pt")
    assert torch.allclose(found["image.res4.0.conv2.weight"], image["res4.0.conv2.weight"])
    difference = found["difference.res4.0.conv2.weight"]
    assert torch.allclose(difference, images["layer3.0.conv2.weight"])


def test_a_start_of_another_network_is_refused(work: Workspace) -> None:
    train.run(work, "first", train_plan("first", epochs=1))
    plan = train_plan("row", "tanet", start=from_row("first"))
    with pytest.raises(UsageError, match="row cannot start from first"):
        train.run(work, "row", plan)


def test_a_start_that_was_not_trained_says_what_to_run(work: Workspace) -> None:
    plan = train_plan(start=from_row("first"))
    with pytest.raises(AbsentData, match="its start 'first' is not trained") as caught:
        train.run(work, "row", plan)
    assert caught.value.do == "run `tdn train first --profile mini`"
    train.run(work, "row", plan, record_absent=True)
    assert read_json(work.run("row") / "train" / "outcome.json")["status"] == "not-run"


def test_tea_finds_a_res2net_among_the_images(work: Workspace) -> None:
    pretrain.run(work, RES2NET, stills("res2net50"))
    given = state(work, RES2NET, "weights.pt")
    start = {**IMAGES, "source": RES2NET, "images": RES2NET}
    plan = train_plan("row", "tea", start=start, network={"backbone": "res2net50"}, **still())
    found = first_weights(work, plan)
    name = "layer2.0.convs.1.weight"
    torch.testing.assert_close(found["res3.0.convs.1.weight"], given[name])


def test_imagenet_weights_come_from_a_local_file(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)
    given = torchvision_names(make("tsn", num_classes=7, num_segments=1, width=4).state_dict())
    torch.save(given, tmp_path / "data" / "weights" / "resnet50.pth")
    pretrain.run(work, R50, imagenet())
    found = state(work, R50, "weights.pt")
    assert all(torch.equal(found[name], given[name]) for name in given)


def test_imagenet_weights_that_nobody_has_are_named(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    plan = imagenet("res2net50")
    with pytest.raises(AbsentData, match="torchvision has no res2net50"):
        pretrain.run(work, R50, plan)
    assert not (work.run(R50) / "train").exists()
    pretrain.run(work, R50, plan, record_absent=True)
    outcome = read_json(work.run(R50) / "train" / "outcome.json")
    assert outcome["status"] == "not-run"


def test_phase_one_holds_the_image_network_still(work: Workspace) -> None:
    whole = train_plan("whole", "featdiff", epochs=2, phase1_epochs=0)
    train.run(work, "whole", whole)
    first = train_plan("first", "featdiff", epochs=2, phase1_epochs=1)
    # Held still for the first of two epochs: other weights than trained throughout.
    train.run(work, "first", first)
    a, b = state(work, "whole", "weights.pt"), state(work, "first", "weights.pt")
    assert not torch.equal(a["image.res4.0.conv2.weight"], b["image.res4.0.conv2.weight"])


def test_two_phases_need_a_network_that_has_them(work: Workspace) -> None:
    with pytest.raises(UsageError, match="tsn does not train in two phases"):
        train.run(work, "row", train_plan(epochs=2, phase1_epochs=1))


def test_more_seeds_train_more_networks_and_give_mean_and_spread(work: Workspace) -> None:
    train.run(work, "row", train_plan(epochs=1, seeds=2))
    first, second = state(work, "row", "weights.pt"), state(work, "row", "weights.seed1.pt")
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    predict.run(work, "row", predict_plan(seeds=2))
    score.run(work, "row", score_plan(seeds=2))
    found = read_json(work.metrics("row"))["protocols"]["center_1x1"]
    assert len(found["trainings"]) == len(set(found["predictions_content"])) == 2
    assert found["top1_pct"] == pytest.approx(sum(found["trainings"]) / 2)


def test_a_plateau_divides_the_rate_by_ten() -> None:
    rising = [{"validation_top1_pct": float(n)} for n in range(5)]
    flat = [{"validation_top1_pct": 4.0}] * PATIENCE
    assert saturated(rising) == 0
    assert saturated(rising + flat) == 1
    assert saturated(rising + flat * 2) == 2
    assert saturated([{"loss": 1.0}] * 9) == 0


def test_a_row_with_a_plateau_is_validated_every_epoch(work: Workspace) -> None:
    train.run(work, "row", train_plan(epochs=2, decay="plateau"))
    history = read_json(work.run("row") / "train" / "history.json")
    assert all(0 <= epoch["validation_top1_pct"] <= 100 for epoch in history)
    assert [epoch["lr"] for epoch in history] == [0.05, 0.05], "nothing is saturated yet"


def test_a_row_whose_images_are_missing_is_told_why(work: Workspace) -> None:
    pretrain.run(work, RES2NET, imagenet("res2net50"), record_absent=True)
    start = {**IMAGES, "source": RES2NET, "images": RES2NET}
    lacking = train_plan(start=start, network={"backbone": "res2net50"})
    assert "torchvision has no" in absent_start(work, lacking)


def test_an_empty_weights_file_is_told_in_words(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "data" / "weights" / "resnet50.pth").touch()
    with pytest.raises(AbsentData, match="resnet50 cannot be had"):
        pretrain.run(work, R50, imagenet())


def test_iterations_are_turned_into_epochs(work: Workspace) -> None:
    # Nine videos in batches of four: two steps an epoch.
    train.run(work, "row", train_plan(unit="iterations", epochs=5, milestones=[2]))
    assert len(read_json(work.run("row") / "train" / "history.json")) == 3
