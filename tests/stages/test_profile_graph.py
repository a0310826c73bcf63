from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.experiments import load_experiments
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


def test_derived_graph_has_the_same_stages_without_the_generator(checkout: Path) -> None:
    path = checkout / profile_graph.use(Workspace(checkout, "paper"))
    assert set(graph(path)) == set(graph(checkout / "dvc.yaml")) - {"mini"}


def test_every_derived_stage_works_from_the_root(checkout: Path) -> None:
    path = checkout / profile_graph.use(Workspace(checkout, "local"))
    for name, stage in graph(path).items():
        body = stage.get("do", stage)
        assert isinstance(body, dict)
        assert body["wdir"] == "../../..", name
        assert not [dep for dep in body["deps"] if ".generated.json" in dep], name


def test_derived_graph_takes_its_own_profile_and_rows(checkout: Path) -> None:
    text = (checkout / profile_graph.use(Workspace(checkout, "local"))).read_text()
    body = yaml.safe_load(text)
    assert body["vars"] == ["../local.yaml", "../../experiments_local.yaml"]
    assert "manifests/experiments.yaml" not in text


def test_a_profile_of_some_rows_has_those_in_its_graph_and_the_generator(checkout: Path) -> None:
    work = Workspace(checkout, "gpu")
    body = yaml.safe_load((checkout / profile_graph.use(work)).read_text())
    file, rows = body["vars"]
    assert file == "../gpu.yaml"
    chosen = load_profile(work.manifests, "gpu").rows
    assert chosen is not None
    assert set(rows["experiments"]) == set(chosen)
    assert rows["experiments"]["tdn_r50_8f_ssv1"] == {
        "dataset": "ssv1",
        "input": "frames",
        "start": "images",
    }
    assert "mini" in body["stages"]
    assert "manifests/experiments.yaml" in body["stages"]["plan"]["deps"]


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


def test_the_committed_graphs_are_the_derived_ones() -> None:
    for path in sorted((ROOT / "manifests" / "profiles").glob("*/dvc.yaml")):
        name = path.parent.name
        profile = load_profile(ROOT / "manifests", name)
        rows = load_experiments(ROOT / "manifests", profile)
        text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
        derived = profile_graph.derive(text, profile, rows)
        assert path.read_text(encoding="utf-8") == derived, f"run `tdn profile use {name}`"


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("manifests/experiments.yaml", "start: scratch", "start: images"),
        ("manifests/profiles/gpu.yaml", "  - tsm_r50_8f_ssv1\n", ""),
        ("dvc.yaml", "score ${key}", "score  ${key}"),
    ],
)
def test_plan_refuses_a_graph_that_its_sources_have_left_behind(
    tmp_path: Path, source: str, before: str, after: str
) -> None:
    checkout = copy_to(tmp_path)
    work = Workspace(checkout.root, "gpu")
    plan.run(work)
    written = sorted((work.data / "plan").iterdir())
    path = checkout.root / source
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")
    with pytest.raises(UsageError) as caught:
        plan.run(work)
    assert caught.value.where == "manifests/profiles/gpu/dvc.yaml"
    assert "tdn profile use gpu" in caught.value.do
    assert source in caught.value.what
    assert sorted((work.data / "plan").iterdir()) == written
    plan.run(work, wanted=("train", "tdn_r50_8f_ssv1"))  # one row by name needs no graph
    profile_graph.sync(work)
    plan.run(work)


def test_a_profile_without_a_graph_is_planned(tmp_path: Path) -> None:
    checkout = copy_to(tmp_path)
    (checkout.root / "manifests/profiles/gpu/dvc.yaml").unlink()
    assert plan.run(Workspace(checkout.root, "gpu")) > 0


@pytest.mark.parametrize("name", ["gpu", "local", "long", "paper"])
def test_a_derived_graph_names_every_file_it_comes_from(checkout: Path, name: str) -> None:
    work = Workspace(checkout, name)
    header = (checkout / profile_graph.use(work)).read_text("utf-8").partition("vars:")[0]
    experiments = load_profile(work.manifests, name).experiments_file
    for source in ("dvc.yaml", f"manifests/profiles/{name}.yaml", f"manifests/{experiments}"):
        assert source in header


def test_unknown_profile_names_the_nearest(checkout: Path) -> None:
    with pytest.raises(UsageError) as caught:
        profile_graph.use(Workspace(checkout, "papre"))
    assert "paper" in caught.value.do


def test_the_default_profile_cannot_be_switched_off(checkout: Path) -> None:
    with pytest.raises(UsageError, match="always on"):
        profile_graph.drop(Workspace(checkout))
