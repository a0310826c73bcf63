from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.profiles import load_profile
from stages import plan, profile_graph
from tests.checkout import copy_to

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    return tmp_path


def graph(path: Path) -> dict[str, dict[str, object]]:
    stages: dict[str, dict[str, object]] = yaml.safe_load(path.read_text())["stages"]
    return stages


def test_derived_graph_has_the_same_stages(checkout: Path) -> None:
    path = checkout / profile_graph.use(Workspace(checkout, "paper"))
    assert set(graph(path)) == set(graph(checkout / "dvc.yaml"))


def test_every_derived_stage_works_from_the_root(checkout: Path) -> None:
    path = checkout / profile_graph.use(Workspace(checkout, "local"))
    for name, stage in graph(path).items():
        body = stage.get("do", stage)
        assert isinstance(body, dict)
        assert body["wdir"] == "../../..", name
        assert not [dep for dep in body["deps"] if ".generated.json" in dep], name


def test_the_values_of_a_graph_are_the_profiles_data_sets_and_rows(checkout: Path) -> None:
    work = Workspace(checkout, "gpu")
    path = checkout / profile_graph.use(work)
    assert yaml.safe_load(path.read_text())["vars"] == ["graph.yaml"]
    values = yaml.safe_load(path.with_name("graph.yaml").read_text())
    assert values["profile"] == "gpu"
    assert values["datasets"] == values["generated"] == ["ssv1"]
    chosen = load_profile(work.manifests, "gpu").rows
    assert chosen is not None
    assert set(values["experiments"]) == set(chosen)
    row = {"dataset": "ssv1", "input": "frames", "start": "images_resnet50"}
    assert values["experiments"]["tdn_r50_8f_ssv1"] == row


def test_nothing_is_generated_for_a_profile_of_real_data(checkout: Path) -> None:
    path = checkout / profile_graph.use(Workspace(checkout, "local"))
    values = yaml.safe_load(path.with_name("graph.yaml").read_text())
    assert (values["datasets"], values["generated"]) == (["weizmann"], [])
    assert values["experiments_file"] == "experiments_local.yaml"
    assert len(values["experiments"]) == 18


def test_switching_on_and_off_touches_only_the_untracked_switch(checkout: Path) -> None:
    work = Workspace(checkout, "local")
    path = checkout / profile_graph.use(work)
    switch = path.with_name(".dvcignore")
    assert switch.is_file()
    before = path.read_bytes()
    profile_graph.drop(work)
    assert not switch.exists()
    assert path.read_bytes() == before
    assert dict((n, on) for n, on, _ in profile_graph.listing(work))["local"] is False


@pytest.mark.parametrize("name", ["mini", "gpu", "local", "long", "paper"])
def test_the_committed_graphs_are_the_derived_ones(name: str) -> None:
    for path, text in profile_graph.derived(Workspace(ROOT, name)).items():
        assert path.read_text(encoding="utf-8") == text, f"run `tdn profile use {name}`"


@pytest.mark.parametrize(
    ("profile", "source", "before", "after", "left_behind"),
    [
        ("gpu", "manifests/experiments.yaml", "start: images", "start: scratch", "gpu/graph.yaml"),
        ("gpu", "manifests/profiles/gpu.yaml", "  - tsm_r50_8f_ssv1\n", "", "gpu/graph.yaml"),
        ("gpu", "dvc.yaml", "score ${key}", "score  ${key}", "gpu/dvc.yaml"),
        ("mini", "manifests/experiments.yaml", "tdn_r50_8f_ssv1_none:", "t:", "mini/graph.yaml"),
    ],
)
def test_plan_refuses_a_graph_that_its_sources_have_left_behind(
    tmp_path: Path, profile: str, source: str, before: str, after: str, left_behind: str
) -> None:
    checkout = copy_to(tmp_path)
    work = Workspace(checkout.root, profile)
    path = checkout.root / source
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")
    with pytest.raises(UsageError) as caught:
        plan.run(work)
    assert caught.value.where == f"manifests/profiles/{left_behind}"
    assert f"tdn profile use {profile}" in caught.value.do
    assert not (work.data / "plan").exists()
    plan.run(work, wanted=("train", "tdn_r50_8f_ssv1"))  # one row by name needs no graph
    profile_graph.use(work)
    profile_graph.check(work)


def test_a_profile_without_a_graph_is_planned(tmp_path: Path) -> None:
    checkout = copy_to(tmp_path)
    for path in profile_graph.derived(Workspace(checkout.root, "gpu")):
        path.unlink()
    assert plan.run(Workspace(checkout.root, "gpu")) > 0


def test_unknown_profile_names_the_nearest(checkout: Path) -> None:
    with pytest.raises(UsageError) as caught:
        profile_graph.use(Workspace(checkout, "papre"))
    assert "paper" in caught.value.do


def test_the_default_profile_cannot_be_switched_off(checkout: Path) -> None:
    with pytest.raises(UsageError, match="always on"):
        profile_graph.drop(Workspace(checkout))
