from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import AbsentData, DataError, UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.profiles import Loader
from stages import train
from tests.stages.conftest import train_plan


def weights(work: Workspace, row: str = "row") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(
        work.run(row) / "train" / "weights.pt", weights_only=True
    )
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_twice_gives_the_same_weights(work: Workspace) -> None:
    train.run(work, "row", train_plan())
    first = weights(work)
    history = read_json(work.run("row") / "train" / "history.json")
    train.run(work, "row", train_plan())
    assert same(first, weights(work))
    assert len(history) == 3
    assert history == read_json(work.run("row") / "train" / "history.json")


def test_processes_that_load_ahead_change_no_weight(work: Workspace) -> None:
    train.run(work, "row", train_plan())
    alone = weights(work)
    train.run(work, "row", train_plan(), loader=Loader(workers=1, cache_mb=64))
    assert same(alone, weights(work))


def test_reduced_precision_trains_other_weights_of_the_same_type(work: Workspace) -> None:
    train.run(work, "row", train_plan())
    first = weights(work)
    train.run(work, "row", train_plan(compute={"precision": "bfloat16"}))
    second = weights(work)
    assert not same(first, second)
    assert {v.dtype for v in first.values()} == {v.dtype for v in second.values()}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
def test_training_twice_on_an_accelerator_gives_the_same_weights(work: Workspace) -> None:
    compute = {"device": "auto", "precision": "bfloat16"}
    plan = train_plan(architecture="tdn", crop_px=64, compute=compute)
    train.run(work, "row", plan)
    first = weights(work)
    train.run(work, "row", plan)
    assert same(first, weights(work))


def test_another_seed_gives_other_weights(work: Workspace) -> None:
    train.run(work, "row", train_plan())
    first = weights(work)
    train.run(work, "row", train_plan(seed=1))
    assert not same(first, weights(work))


class Killed(BaseException):
    pass


def stop_at(step: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return progress


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_killed_training_goes_on_to_the_same_weights(work: Workspace, step: int) -> None:
    train.run(work, "whole", train_plan("row"))
    with pytest.raises(Killed):
        train.run(work, "row", train_plan(), identity="a", progress=stop_at(step))
    assert not (work.run("row") / "train").exists()
    train.run(work, "row", train_plan(), identity="a")
    assert same(weights(work, "whole"), weights(work))
    assert not (work.run("row") / "resume").exists()


def test_a_checkpoint_of_another_plan_is_not_taken_up(work: Workspace) -> None:
    with pytest.raises(Killed):
        train.run(work, "row", train_plan(lr=0.5), identity="a", progress=stop_at(5))
    train.run(work, "row", train_plan(), identity="b")
    train.run(work, "fresh", train_plan("row"))
    assert same(weights(work, "fresh"), weights(work))


def test_absent_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AbsentData, match="ssv1 is not decoded") as caught:
        train.run(Workspace(tmp_path), "row", train_plan())
    assert caught.value.exit_code == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("profile", "command"), [("mini", "make repro`"), ("gpu", "PROFILE=gpu`")])
def test_generated_data_are_made_by_the_profile_that_lacks_them(
    tmp_path: Path, profile: str, command: str
) -> None:
    with pytest.raises(AbsentData) as caught:
        train.run(Workspace(tmp_path, profile), "row", train_plan())
    assert command in caught.value.do


def test_absent_data_is_an_outcome_in_the_graph(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    train.run(work, "row", train_plan(), record_absent=True)
    outcome = read_json(work.run("row") / "train" / "outcome.json")
    assert outcome["status"] == "not-run"
    assert "ssv1" in outcome["reason"]


def test_a_checkpoint_outlives_data_that_are_gone_for_a_while(work: Workspace) -> None:
    train.run(work, "whole", train_plan("row"))
    with pytest.raises(Killed):
        train.run(work, "row", train_plan(), identity="a", progress=stop_at(5))
    frames = work.frames("ssv1")
    frames.rename(frames.with_name("elsewhere"))
    train.run(work, "row", train_plan(), identity="b", record_absent=True)
    assert read_json(work.run("row") / "train" / "outcome.json")["status"] == "not-run"
    frames.with_name("elsewhere").rename(frames)
    steps: list[int] = []
    train.run(
        work, "row", train_plan(), identity="a", progress=lambda done, total: steps.append(done)
    )
    assert steps[0] > 1 and same(weights(work, "whole"), weights(work))


def test_a_diverging_training_stops_with_advice(work: Workspace) -> None:
    with pytest.raises(DataError, match="the loss is") as caught:
        train.run(work, "row", train_plan(lr=1e30, clip_norm=None, epochs=20))
    assert "learning rate" in caught.value.do
    assert not (work.run("row") / "train").exists()


def test_options_that_the_network_refuses_name_the_row(work: Workspace) -> None:
    with pytest.raises(UsageError, match="row: width"):
        train.run(work, "row", train_plan(network={"width": 0}))


def test_tdn_gets_its_five_frames(work: Workspace) -> None:
    train.run(work, "row", train_plan(architecture="tdn", epochs=1, crop_px=36))
    assert (work.run("row") / "train" / "weights.pt").is_file()
