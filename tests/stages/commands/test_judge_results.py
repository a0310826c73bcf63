"""A run held against a reference of trainings that differ in seeds alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.scores.reference import read_results, write_results
from stages.cli.main import app
from stages.commands.judge_results import (
    add_to_reference,
    closing,
    judge,
    reference_path,
    results_here,
)

ROWS = {"one": 80.0, "two": 60.0, "three": 70.0}


def results(
    work: Workspace,
    *,
    seed: int = 0,
    shift: float = 0.0,
    identity: str = "a",
    seeds: Sequence[float] = (),
) -> Workspace:
    """Metrics and machines of three rows, as a run from `seed` leaves them."""
    for row, mean in ROWS.items():
        write_record(work, row)
        scored = {"trainings": [mean + shift + value for value in seeds or [0.0]]}
        about = {"metric": "top1", "seed": seed, "identity": row + identity}
        write_json(work.metrics(row), {**about, "protocols": {"center": scored}})
    return work


def write_record(work: Workspace, row: str) -> None:
    path = work.record("train", row)
    write_json(path, {})
    observed = {"cpu": "a cpu", "accelerators": [], "packages": {"torch": "2.0"}}
    write_json(path.with_suffix(".observed.json"), observed)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """A profile with a reference of five seeds, a point apart."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "dvc.yaml").touch()
    work = Workspace(tmp_path)
    for seed, shift in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0), start=1):
        add_to_reference(work, results(work, seed=seed, shift=shift))
    return results(work)


def test_an_honest_run_is_within(work: Workspace) -> None:
    found = judge(work)
    assert found.holds and len(found.within) == 3 and not found.outside
    assert {one.bounds.trainings for one in found.judged if one.bounds} == {5}


def test_a_row_far_off_is_named_and_alone_does_not_hold(work: Workspace) -> None:
    metrics = read_json(work.metrics("two"))
    metrics["protocols"]["center"]["trainings"] = [45.0]
    write_json(work.metrics("two"), metrics)
    assert [one.result.row for one in judge(work).outside] == ["two"]
    assert not judge(work, ["two"]).holds
    assert judge(work, ["one"]).holds


def test_results_of_other_parameters_are_not_judged(work: Workspace) -> None:
    results(work, identity="b")
    found = judge(work)
    assert len(found.unknown) == 3 and not found.within
    assert found.unknown[0].why_not == "the reference is of other data or parameters"


def test_a_result_is_not_judged_by_itself(work: Workspace) -> None:
    path = reference_path(work.root, work.profile)
    kept = [one for one in read_results(path) if one.seed <= 2]
    write_results(path, kept)
    results(work, seed=2)
    assert judge(work).unknown[0].why_not == "1 trainings in the reference, 3 are needed"


def test_all_seeds_of_a_profile_enter_the_reference_once(work: Workspace) -> None:
    long = results(Workspace(work.root, "long"), seed=10, seeds=[0.0, 0.3, -0.2])
    assert add_to_reference(work, long) == (9, 24)
    assert add_to_reference(work, long) == (0, 24)
    assert {one.seed for one in results_here(long)} == {10, 11, 12}


def test_without_reference_or_results_something_can_be_done(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    with pytest.raises(AbsentData, match="no reference") as caught:
        judge(results(work))
    assert "make repro SEED=1" in caught.value.do
    with pytest.raises(AbsentData, match="no results"):
        add_to_reference(work, Workspace(tmp_path, "long"))


def test_an_unknown_row_is_named(work: Workspace) -> None:
    with pytest.raises(UsageError, match="no row 'tow'"):
        judge(work, ["tow"])


def test_the_command_tells_by_its_exit_code(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work.root)
    runner = CliRunner()
    honest = runner.invoke(app, ["verdict"])
    assert honest.exit_code == 0
    assert "verdict: 3 of 3 rows within the reference distribution" in honest.output
    results(work, shift=15.0)
    spoiled = runner.invoke(app, ["verdict", "--json"])
    assert spoiled.exit_code == 2 and json.loads(spoiled.output)["holds"] is False
    results(work, identity="b")
    assert runner.invoke(app, ["verdict"]).exit_code == 3


def test_repro_ends_with_the_verdict_where_there_is_a_reference(work: Workspace) -> None:
    assert closing(work) == "verdict: 3 of 3 rows within the reference distribution"
    assert closing(Workspace(work.root, "long")) == ""
