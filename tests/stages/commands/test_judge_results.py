"""A run held against a reference of trainings that differ in seeds alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
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
    honest_runs,
    judge,
    reference_path,
    results_here,
    trial_runs,
)

ROWS = {"one": 80.0, "two": 60.0, "three": 70.0}


def results(
    work: Workspace,
    *,
    seed: int = 0,
    shift: float = 0.0,
    identity: str = "a",
    seeds: Sequence[float] = (0.0,),
) -> Workspace:
    """Metrics and machines of three rows, as a run from `seed` leaves them."""
    for row, mean in ROWS.items():
        write_record(work, row)
        values = [mean + shift + value for value in seeds]
        digests = [f"{row} {seed + number} {value}" for number, value in enumerate(values)]
        scored = {"trainings": values, "predictions_content": digests, "n_scored": 400}
        about = {"metric": "top1", "seed": seed, "identity": row + identity}
        write_json(work.metrics(row), {**about, "protocols": {"center": scored}})
    return work


def write_record(work: Workspace, row: str) -> None:
    """A record that the auditor would not believe, and what a machine said beside it."""
    path = work.record("train", row)
    write_json(path, {})
    observed = {"cpu": "a cpu", "accelerators": [], "packages": {"torch": "2.0"}}
    write_json(path.with_suffix(".observed.json"), observed)


def set_result(work: Workspace, row: str, value: float) -> None:
    metrics = read_json(work.metrics(row))
    scored = metrics["protocols"]["center"]
    scored |= {"trainings": [value], "predictions_content": [f"{row} set to {value}"]}
    write_json(work.metrics(row), metrics)


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
    set_result(work, "two", 45.0)
    found = judge(work)
    assert [one.result.row for one in found.outside] == ["two"]
    assert found.summary == (
        "verdict: 2 of 3 results within the reference distribution; outside: two "
        f"({found.allowed} allowed)"
    )
    assert judge(work, ["two"]).holds is False
    assert judge(work, ["one"]).holds is True


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
    found = judge(work)
    assert found.unknown[0].why_not == "trainings in the reference: 1 of 3 that are needed"
    assert found.holds is None


def test_equal_predictions_on_two_machines_are_one_training(work: Workspace) -> None:
    path = reference_path(work.root, work.profile)
    first = [one for one in read_results(path) if one.seed == 1]
    write_results(path, [replace(one, cpu=f"cpu {n}") for one in first for n in range(5)])
    assert judge(work).unknown[0].why_not.startswith("trainings in the reference: 1 of 3")


def test_every_training_is_judged(work: Workspace) -> None:
    results(work, seed=20, seeds=[0.0, 0.2])
    assert len(judge(work).within) == 6


def test_an_accelerator_is_the_machine_of_its_results(work: Workspace) -> None:
    path = work.record("train", "one").with_suffix(".observed.json")
    write_json(path, {**read_json(path), "accelerators": [{"name": "H100"}, {"name": "H100"}]})
    assert {one.cpu for one in results_here(work)} == {"a cpu", "H100"}


def test_all_seeds_of_a_profile_enter_the_reference_once(work: Workspace) -> None:
    long = results(Workspace(work.root, "long"), seed=10, seeds=[0.0, 0.3, -0.2])
    assert add_to_reference(work, long) == (9, 0, 24)
    assert add_to_reference(work, long) == (0, 0, 24)
    assert {one.seed for one in results_here(long)} == {10, 11, 12}
    results(long, seed=10, shift=-1.0, seeds=[0.0, 0.3, -0.2])
    assert add_to_reference(work, long) == (0, 9, 24)


def test_without_reference_or_results_something_can_be_done(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    with pytest.raises(AbsentData, match="no reference") as caught:
        judge(results(work))
    assert "make repro SEED=1" in caught.value.do
    with pytest.raises(AbsentData, match="no results"):
        add_to_reference(work, Workspace(tmp_path, "long"))
    with pytest.raises(UsageError, match="no file"):
        judge(work, reference=tmp_path / "nowhere.csv")


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
    assert "verdict: 3 of 3 results within the reference distribution" in honest.output
    results(work, shift=15.0)
    spoiled = runner.invoke(app, ["verdict", "--json"])
    assert spoiled.exit_code == 2 and json.loads(spoiled.output)["holds"] is False
    results(work, identity="b")
    assert runner.invoke(app, ["verdict"]).exit_code == 3


def test_repro_ends_with_the_verdict_where_there_is_a_reference(work: Workspace) -> None:
    assert closing(work) == "verdict: 3 of 3 results within the reference distribution"
    assert closing(Workspace(work.root, "long")) == ""
    results(work, identity="b")
    assert closing(work).startswith("verdict: nothing could be judged: the reference is of other")
    reference_path(work.root, work.profile).write_text("row\n")
    assert closing(work).startswith("verdict: nothing could be judged: line 1 is no result")


def trial(work: Workspace, key: str, value: float) -> None:
    """The metrics that a row run with other values leaves beside the row's own."""
    scored = {"trainings": [value], "predictions_content": [key], "n_scored": 400}
    protocols = {"center": {**scored, "top1_pct": value}}
    write_json(work.metrics(key), {"metric": "top1", "seed": 7, "protocols": protocols})


def test_the_reference_is_judged_seed_by_seed(work: Workspace) -> None:
    found = honest_runs(work)
    assert list(found) == [1, 2, 3, 4, 5] and all(run.holds for run in found.values())
    assert all(len(run.within) == 3 for run in found.values())
    far = [replace(r, value_pct=20.0) if r.seed == 2 else r for r in read_results(path_of(work))]
    write_results(path_of(work), far)
    assert [seed for seed, run in honest_runs(work).items() if not run.holds] == [2]


def test_a_row_with_other_values_is_judged_as_if_it_were_the_row(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work.root)
    trial(work, "one@recipe-lr-0-2_seed-1_start-seed-1", 60.0)
    trial(work, "two@recipe-lr-0-2_seed-2", 60.5)
    trial(work, "three@seed-3", 70.0)
    trial(work, "unknown@seed-3", 70.0)
    found = trial_runs(work)
    outside = {key: [one.outside for one in them] for key, them in found.items()}
    assert {key: sorted(them) for key, them in outside.items()} == {
        "recipe-lr-0-2": [False, True],
        "": [False],
    }
    assert len(judge(work).judged) == 3, "they are no results of the profile"
    answer = CliRunner().invoke(app, ["verdict", "--error-rates"], catch_exceptions=False)
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert "15 of 15 within; 5 of 5 runs" in answer.stdout
    assert ["recipe-lr-0-2", "2", "-9.8", "1", "1", "1"] in lines
    assert ["seeds", "alone", "1", "+0.0", "0", "0", "0"] in lines


def path_of(work: Workspace) -> Path:
    return reference_path(work.root, work.profile)
