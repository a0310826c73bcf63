"""What a machine lacks is named, with a command or an edit that helps."""

from __future__ import annotations

import json
import resource
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from stages.cli.main import app
from stages.commands import doctor
from stages.commands.doctor import OK, PROBLEM, WARNING
from tests.checkout import copy_to

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(copy_to(tmp_path).root, "paper")


def outcomes(work: Workspace) -> dict[str, tuple[str, str]]:
    return {one.about: (one.outcome, one.do) for one in doctor.run(work)}


def test_a_working_machine_has_no_problem(work: Workspace) -> None:
    found = doctor.run(work)
    assert [one for one in found if one.outcome == PROBLEM] == []
    assert all(one.do for one in found if one.outcome != OK)


def test_what_is_missing_is_named_with_what_helps(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 2**20))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    monkeypatch.setenv("TDN_FFMPEG", "/nowhere/ffmpeg")
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = outcomes(work)
    assert found["disk"][0] == PROBLEM
    assert found["ffmpeg"] == (PROBLEM, "set it to an ffmpeg binary, or unset it")
    assert found["open files"] == (WARNING, "raise the limit: ulimit -n 1024")
    assert found["/dev/shm"][0] == found["HOME"][0] == WARNING
    assert "10.0.0.1" in next(o.what for o in doctor.run(work) if o.about == "RAY_ADDRESS")


def test_data_sets_are_told_where_they_stand(work: Workspace) -> None:
    assert "videos_train" in outcomes(work)["data set kinetics400"][1]
    raw = work.raw("ssv1", generated=False)
    raw.mkdir(parents=True)
    (raw / "something").touch()
    assert outcomes(work)["data set ssv1"] == (OK, "`tdn check ssv1 --profile paper`")
    write_json(work.decoded("ssv1"), {})
    assert outcomes(work)["data set ssv1"] == (OK, "")


def test_the_command_ends_with_one_where_there_is_a_problem(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work.root)

    def told() -> tuple[int, list[dict[str, Any]]]:
        result = CliRunner().invoke(app, ["doctor", "--profile", "paper", "--json"])
        return result.exit_code, json.loads(result.stdout)

    assert told()[0] == 0
    monkeypatch.setenv("TDN_FFMPEG", "/nowhere/ffmpeg")
    code, findings = told()
    assert code == 1
    assert {"about", "outcome", "what", "do"} == set(findings[0])
