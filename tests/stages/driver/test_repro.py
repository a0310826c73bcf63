"""What the driver decides to run, and in what order; that it runs is tests/e2e."""

from __future__ import annotations

from fnmatch import filter as matching
from pathlib import Path

import pytest

from pipeline.core.workspace import Workspace
from pipeline.schema.base import read_yaml
from pipeline.schema.profiles import load_profile
from stages.driver.repro import Chain, chains
from stages.profile_graph import graph_path
from tests.checkout import ROOT


@pytest.fixture
def work() -> Workspace:
    return Workspace(ROOT)


def test_nothing_changed_is_nothing_to_do(work: Workspace) -> None:
    assert chains(work, []) == {}
    assert chains(work, ["tables", "dvc.yaml:report"]) == {}


def test_a_changed_row_runs_alone(work: Workspace) -> None:
    todo = chains(work, ["dvc.yaml:train@tsn_r50_8f_ssv1"])
    assert list(todo) == ["tsn_r50_8f_ssv1"]
    assert [s.partition("@")[0] for s in todo["tsn_r50_8f_ssv1"].stages] == [
        "train",
        "predict",
        "score",
    ]


def test_a_row_that_others_start_from_takes_them_along_and_goes_first(work: Workspace) -> None:
    todo = list(chains(work, ["train@tsn_r50_hmdb51_flow_s1"]))
    assert todo[0] == "tsn_r50_hmdb51_flow_s1"
    assert set(todo[1:]) == {"featdiff_r50_hmdb51_flow_s1"}


def test_changed_data_run_before_their_rows(work: Workspace) -> None:
    todo = chains(work, ["decode@act"])
    assert next(iter(todo)) == "data.act"
    assert todo["data.act"].stages[-1] == "flow@act"
    assert {"tsn_r50_act_rgb", "featdiff_r50_act_flow"} <= todo.keys()
    assert all("act" in name for name in todo)


def test_a_profile_without_a_generator_has_no_mini_stage(work: Workspace) -> None:
    local = Workspace(Path(work.root), "local")
    assert chains(local, ["check@weizmann"])["data.weizmann"].stages == (
        "check@weizmann",
        "decode@weizmann",
    )


def test_costs_are_measured_beside_the_rows(work: Workspace) -> None:
    todo = chains(work, ["cost", "train@tsn_r50_8f_ssv1"])
    assert todo["cost.all"].stages == ("cost",)
    assert not todo["cost.all"].after


@pytest.mark.parametrize("profile", ["mini", "local"])
def test_a_pattern_names_the_stages_of_one_chain_in_order(profile: str) -> None:
    local = Workspace(Path(ROOT), profile)
    kinds = list(read_yaml(graph_path(local))["stages"])
    everything = [f"decode@{name}" for name in load_profile(local.manifests, profile).datasets]
    todo = chains(local, [*everything, "pretrain@scratch", "pretrain@images", "cost"])
    # DVC runs what a pattern matches as dvc.yaml has it: one kind of stage after the other.
    stages = [stage for chain in todo.values() for stage in chain.stages]
    listed = sorted(stages, key=lambda stage: kinds.index(stage.partition("@")[0]))
    for chain in todo.values():
        assert tuple(matching(listed, chain.pattern)) == chain.stages


def test_a_row_with_the_name_of_its_data_has_a_pattern_of_its_own() -> None:
    data = Chain("data x", "data sets", ("mini@x", "check@x", "decode@x", "flow@x"), frozenset())
    row = Chain("row x", "rows on x", ("train@x", "predict@x", "score@x"), frozenset())
    assert tuple(matching([*data.stages, *row.stages], row.pattern)) == row.stages
    assert tuple(matching([*data.stages, *row.stages], data.pattern)) == data.stages
