"""Which chains there are, which are affected by a change, and which a target names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.base import read_yaml
from stages.driver.chains import (
    COSTS,
    REPORT,
    Chain,
    affected,
    behind,
    every_chain,
    resolve_targets,
)
from stages.profile_graph import graph_path
from tests.checkout import ROOT

ROW = "tsn_r50_8f_ssv1"


@pytest.fixture(scope="module")
def work() -> Workspace:
    return Workspace(ROOT)


@pytest.fixture(scope="module")
def chains(work: Workspace) -> dict[str, Chain]:
    return every_chain(work)


def test_every_stage_of_the_graph_but_the_plan_is_in_one_chain(
    work: Workspace, chains: dict[str, Chain]
) -> None:
    found = [stage for chain in chains.values() for stage, _ in chain.stages]
    assert {*found, "plan"} == set(read_yaml(graph_path(work))["stages"])
    addresses = [one for chain in chains.values() for one in chain.addresses]
    assert len(addresses) == len(set(addresses))


def test_nothing_changed_is_nothing_to_do(chains: dict[str, Chain]) -> None:
    assert affected(chains, []) == {}
    assert affected(chains, ["plan"]) == {}
    assert list(affected(chains, ["tables"])) == [REPORT]


def test_a_changed_row_runs_alone_and_then_the_report(chains: dict[str, Chain]) -> None:
    todo = affected(chains, [f"train@{ROW}"])
    assert list(todo) == [ROW, REPORT]
    assert [stage for stage, _ in todo[ROW].stages] == ["train", "predict", "score"]


def test_a_row_that_others_start_from_takes_them_along_and_goes_first(
    chains: dict[str, Chain],
) -> None:
    todo = list(affected(chains, ["train@tsn_r50_hmdb51_flow_s1"]))
    assert todo == ["tsn_r50_hmdb51_flow_s1", "featdiff_r50_hmdb51_flow_s1", REPORT]


def test_changed_data_run_before_their_rows(chains: dict[str, Chain]) -> None:
    todo = affected(chains, ["decode@act"])
    assert next(iter(todo)) == "data.act"
    assert todo["data.act"].stages[-1] == ("flow", "act")
    assert {"tsn_r50_act_rgb", "featdiff_r50_act_flow"} <= todo.keys()
    assert all("act" in name for name in todo if name != REPORT)


def test_a_profile_without_a_generator_has_no_mini_stage() -> None:
    local = every_chain(Workspace(Path(ROOT), "local"))
    assert [stage for stage, _ in local["data.weizmann"].stages] == ["check", "decode"]


def test_costs_wait_for_nothing_and_the_report_for_everything(chains: dict[str, Chain]) -> None:
    assert not chains[COSTS].after
    assert chains[REPORT].after == chains.keys() - {REPORT}
    assert list(chains)[-1] == REPORT


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ROW, {ROW}),
        ("ssv1", {"data.ssv1"}),
        ("images_resnet50", {"images_resnet50"}),
        ("1c", {"tdn_r50_8f_ssv1", "tdn_r50_8f_ssv1_none", "tdn_r50_8f_ssv1_stdm_conv1",
                "tdn_r50_8f_ssv1_stdm_only", "tdn_r50_8f_ssv1_ltdm_only"}),
    ],
)  # fmt: skip
def test_a_target_names_a_row_a_start_a_data_set_or_a_tables_rows(
    work: Workspace, chains: dict[str, Chain], target: str, expected: set[str]
) -> None:
    assert resolve_targets(work, chains, [target]) == expected


def test_a_table_stands_for_the_members_of_its_combinations_too(
    work: Workspace, chains: dict[str, Chain]
) -> None:
    found = resolve_targets(work, chains, ["tdn-ng2018/1"])
    assert {"featdiff_r50_hmdb51_flow_s1"} <= found <= chains.keys()


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("tsn_r50_8f_ssvv1", f"did you mean '{ROW}'"),
        ("ssv3", "ssv"),
        ("tdn-iclr2021/1e", "tdn-iclr"),
    ],
)
def test_an_unknown_target_names_the_nearest(
    work: Workspace, chains: dict[str, Chain], target: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=f"no row, data set or table '{target}'") as caught:
        resolve_targets(work, chains, [ROW, target])
    assert hint in caught.value.do


def test_a_table_of_several_documents_is_asked_for(
    work: Workspace, chains: dict[str, Chain]
) -> None:
    with pytest.raises(UsageError, match="2 documents have a table 'extra'") as caught:
        resolve_targets(work, chains, ["extra"])
    assert "tdn-iclr2021/extra, tdn-ng2018/extra" in caught.value.do


def test_what_a_row_rests_on_is_its_data_its_start_and_what_that_starts_from(
    chains: dict[str, Chain],
) -> None:
    assert set(behind(chains, {"featdiff_r50_hmdb51_flow_s1"})) == {
        "featdiff_r50_hmdb51_flow_s1", "tsn_r50_hmdb51_flow_s1", "images_resnet50", "data.hmdb51",
    }  # fmt: skip


def test_a_table_without_a_row_in_the_profile_is_refused_and_does_not_mean_everything() -> None:
    local = Workspace(ROOT, "local")
    with pytest.raises(UsageError, match="1c has no row in profile local"):
        resolve_targets(local, every_chain(local), ["tdn-iclr2021/1c"])
