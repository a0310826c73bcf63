from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UsageError
from pipeline.workspace import Workspace
from stages import profiles

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
    path = checkout / profiles.use(Workspace(checkout, "paper"))
    assert set(graph(path)) == set(graph(checkout / "dvc.yaml")) - {"mini"}


def test_every_derived_stage_works_from_the_root(checkout: Path) -> None:
    path = checkout / profiles.use(Workspace(checkout, "local"))
    for name, stage in graph(path).items():
        body = stage.get("do", stage)
        assert isinstance(body, dict)
        assert body["wdir"] == "../../..", name
        assert not [dep for dep in body["deps"] if "stamp" in dep], name


def test_derived_graph_takes_its_own_profile_and_rows(checkout: Path) -> None:
    text = (checkout / profiles.use(Workspace(checkout, "local"))).read_text()
    body = yaml.safe_load(text)
    assert body["vars"] == ["../local.yaml", "../../experiments_local.yaml"]
    assert "manifests/experiments.yaml" not in text


def test_a_profile_of_some_rows_has_those_in_its_graph_and_the_generator(checkout: Path) -> None:
    work = Workspace(checkout, "gpu")
    body = yaml.safe_load((checkout / profiles.use(work)).read_text())
    file, rows = body["vars"]
    assert file == "../gpu.yaml"
    chosen = profiles.load_profile(work.manifests, "gpu").rows
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
    path = checkout / profiles.use(work)
    switch = path.with_name(".dvcignore")
    assert switch.is_file()
    before = path.read_bytes()
    profiles.drop(work)
    assert not switch.exists()
    assert path.read_bytes() == before
    assert dict((n, on) for n, on, _ in profiles.listing(work))["local"] is False


def test_the_committed_graphs_are_the_derived_ones() -> None:
    for path in sorted((ROOT / "manifests" / "profiles").glob("*/dvc.yaml")):
        name = path.parent.name
        profile = profiles.load_profile(ROOT / "manifests", name)
        rows = profiles.load_experiments(ROOT / "manifests", profile)
        text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
        derived = profiles.derive(text, profile, rows)
        assert path.read_text(encoding="utf-8") == derived, f"run `tdn profile use {name}`"


def test_unknown_profile_names_the_nearest(checkout: Path) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.use(Workspace(checkout, "papre"))
    assert "paper" in caught.value.do


def test_the_default_profile_cannot_be_switched_off(checkout: Path) -> None:
    with pytest.raises(UsageError, match="always on"):
        profiles.drop(Workspace(checkout))
