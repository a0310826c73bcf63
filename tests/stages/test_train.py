from __future__ import annotations

import random
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


EVERY_STEP = Loader(checkpoint_minutes=0)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_training_killed_a_dozen_times_ends_with_the_same_weights(
    work: Workspace, dropout: float
) -> None:
    """Each time at another step, within epochs too, and with one checkpoint in three damaged."""
    plan = train_plan(epochs=6, dropout=dropout)
    train.run(work, "whole", plan)
    resume = work.run("row") / "resume"
    kills = random.Random(7).sample(range(2, 12), 6)
    begun = []
    for step in sorted(kills * 2):
        seen: list[int] = []

        def progress(done: int, total: int, seen: list[int] = seen, step: int = step) -> None:
            seen.append(done)
            if done == step:
                raise Killed

        with pytest.raises(Killed):
            train.run(work, "row", plan, loader=EVERY_STEP, identity="a", progress=progress)
        begun.append(seen[0])
        checkpoints = sorted(resume.glob("*.pt"))
        assert len(checkpoints) <= 2
        if step % 3 == 0 and checkpoints:
            checkpoints[-1].write_bytes(checkpoints[-1].read_bytes()[:-100])
    assert len(set(begun)) > 3, "it went on from where it was"
    train.run(work, "row", plan, identity="a")
    assert same(weights(work, "whole"), weights(work))
    histories = [read_json(work.run(row) / "train" / "history.json") for row in ("whole", "row")]
    assert histories[0] == histories[1]
    assert not resume.exists()


def test_other_loader_settings_go_on_from_the_same_checkpoint(work: Workspace) -> None:
    train.run(work, "whole", train_plan("row"))
    with pytest.raises(Killed):
        train.run(work, "row", train_plan(), loader=EVERY_STEP, identity="a", progress=stop_at(4))
    steps: list[int] = []
    other = Loader(workers=1, cache_mb=8)
    train.run(
        work, "row", train_plan(), loader=other, identity="a", progress=lambda n, _: steps.append(n)
    )
    assert steps[0] > 1
    assert same(weights(work, "whole"), weights(work))


def test_a_training_of_minutes_writes_no_checkpoint(work: Workspace) -> None:
    with pytest.raises(Killed):
        train.run(work, "row", train_plan(), identity="a", progress=stop_at(5))
    assert not list((work.run("row") / "resume").glob("*.pt"))


@pytest.mark.parametrize("compute", [{"recompute": True}, {"channels_last": True}])
def test_how_it_is_computed_changes_no_weight_by_more_than_rounding(
    work: Workspace, compute: dict[str, Any]
) -> None:
    train.run(work, "whole", train_plan("row", "tdn", crop_px=36, epochs=1))
    train.run(work, "row", train_plan("row", "tdn", crop_px=36, epochs=1, compute=compute))
    first, second = weights(work, "whole"), weights(work)
    if "recompute" in compute:
        assert same(first, second)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_micro_batches_reach_the_step_of_a_training(work: Workspace) -> None:
    train.run(work, "row", train_plan(dropout=0.0, epochs=1))
    first = weights(work)
    train.run(work, "row", train_plan(dropout=0.0, epochs=1, compute={"micro_batch": 2}))
    assert not same(first, weights(work)), "batch norms see two clips at a time"


def test_half_precision_goes_on_with_the_scale_that_it_had(work: Workspace) -> None:
    plan = train_plan(compute={"precision": "float16"})
    train.run(work, "whole", plan)
    with pytest.raises(Killed):
        train.run(work, "row", plan, loader=EVERY_STEP, identity="a", progress=stop_at(4))
    train.run(work, "row", plan, identity="a")
    assert same(weights(work, "whole"), weights(work))


def test_a_checkpoint_of_another_plan_is_not_taken_up(work: Workspace) -> None:
    with pytest.raises(Killed):
        train.run(
            work, "row", train_plan(lr=0.5), loader=EVERY_STEP, identity="a", progress=stop_at(5)
        )
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
        train.run(work, "row", train_plan(), loader=EVERY_STEP, identity="a", progress=stop_at(5))
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
    assert "step" in caught.value.what and "videos 1" in caught.value.where
    assert not (work.run("row") / "train").exists()


def test_options_that_the_network_refuses_name_the_row(work: Workspace) -> None:
    with pytest.raises(UsageError, match="row: width"):
        train.run(work, "row", train_plan(network={"width": 0}))


def test_tdn_gets_its_five_frames(work: Workspace) -> None:
    train.run(work, "row", train_plan(architecture="tdn", epochs=1, crop_px=36))
    assert (work.run("row") / "train" / "weights.pt").is_file()
