"""Data and runs on other disks."""

from __future__ import annotations

import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from stages.cli.user_links import arrange
from tests.checkout import ROOT


def test_data_raw_is_the_folder_that_the_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "ssv2").mkdir(parents=True)
        monkeypatch.setenv("TDN_DATA_ROOT", str(tmp_path / name))
        arrange(tmp_path / "checkout")
        assert (tmp_path / "checkout/data/raw/ssv2").samefile(tmp_path / name / "ssv2")
    monkeypatch.setenv("TDN_DATA_ROOT", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="which is no folder"):
        arrange(tmp_path / "checkout")
    monkeypatch.delenv("TDN_DATA_ROOT")
    arrange(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_raw_folder_with_data_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout/data/raw/mine").mkdir(parents=True)
    monkeypatch.setenv("TDN_DATA_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match="holds data of its own"):
        arrange(tmp_path / "checkout")
    (tmp_path / "checkout/data/raw/mine").rmdir()
    arrange(tmp_path / "checkout")
    assert (tmp_path / "checkout/data/raw").is_symlink()


def test_linked_data_and_runs_are_ignored_by_git_and_recorded_by_dvc(tmp_path: Path) -> None:
    root, disk = tmp_path / "checkout", tmp_path / "disk"
    root.mkdir()

    def call(*words: str) -> str:
        env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("git", "init", "-q")
    call(sys.executable, "-m", "dvc", "init", "-q")
    (root / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    (root / "dvc.yaml").write_text(
        "stages:\n  a:\n    cmd: echo 1 > runs/weights\n    outs:\n      - runs/weights\n"
    )
    for name in ("data", "runs"):
        (disk / name).mkdir(parents=True)
        (root / name).symlink_to(disk / name)
    arrange(root)
    call(sys.executable, "-m", "dvc", "repro")
    assert (disk / "runs/weights").read_text() == "1\n"
    untracked = call("git", "status", "--porcelain", "--untracked-files=all").split()
    assert not {"data", "runs", ".dvc/config.local"} & set(untracked)


def test_where_there_are_own_manifests_dvc_leaves_git_alone_and_keeps_its_settings(
    tmp_path: Path,
) -> None:
    (tmp_path / "my/profiles").mkdir(parents=True)
    local = tmp_path / ".dvc/config.local"
    local.parent.mkdir()
    local.write_text("['remote \"lab\"']\n    url = /somewhere\n", "utf-8")
    arrange(tmp_path)
    config = ConfigParser()
    config.read(local)
    assert config["core"]["no_scm"] == "true"
    assert config["'remote \"lab\"'"]["url"] == "/somewhere"
    before = local.read_bytes()
    arrange(tmp_path)
    assert local.read_bytes() == before
