"""Stages run again by several processes, also where one of these is killed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.audit import stage_runner
from pipeline.audit.stage_runner import StageRunner
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run


def again(shadow: Workspace, stage: str, key: str, params: dict[str, Any]) -> None:
    """A stage that ends its process, or writes who ran it."""
    if key == "kills" and os.getpid() != params["here"]:
        os._exit(9)
    if key == "fails":
        raise ValueError("forged")
    (shadow.root / key).write_text(str(os.getpid()))


def run(key: str) -> Run:
    return cast(Run, SimpleNamespace(stage="score", key=key))


def test_a_stage_whose_process_was_killed_runs_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_runner, "cores", lambda: 2)
    shadow, params = Workspace(tmp_path), {"here": os.getpid()}
    keys = ["a", "kills", "b", "fails", "c"]
    with StageRunner(again, stage_runner.MANY) as runner:
        started = [(key, runner.submit(shadow, run(key), params)) for key in keys]
        errors = {key: runner.outcome(done, shadow, run(key), params) for key, done in started}
        assert runner.outcome(runner.submit(shadow, run("d"), params), shadow, run("d"), {}) is None
    assert [key for key, error in errors.items() if error is not None] == ["fails"]
    assert isinstance(errors["fails"], ValueError)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d", "kills"}


def test_few_stages_run_in_this_process(tmp_path: Path) -> None:
    with StageRunner(again, stage_runner.MANY - 1) as runner:
        runner.submit(Workspace(tmp_path), run("a"), {}).result()
    assert (tmp_path / "a").read_text() == str(os.getpid())
