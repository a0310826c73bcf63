"""Rows that are being trained, as `tdn watch` shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.core.workspace import Workspace
from stages.cli.main import app
from stages.commands.watch_rows import SILENT_S, as_cells, running
from stages.trainer.training_log import LOG, TrainingLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def log(work: Workspace, row: str, age_s: float, **values: Any) -> None:
    """A row's log with one line of that age."""
    line = {
        "time": (NOW - timedelta(seconds=age_s)).isoformat(), "row": row, "seed": 0, "epoch": 3,
        "step": 40, "steps": 90, "loss": 0.5, "lr": 0.1, "clips_per_s": 60.0, "waiting_pct": 1.0,
        "eta_s": 300, **values,
    }  # fmt: skip
    path = work.run(row) / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("an older line\n" + json.dumps(line) + "\n" + '{"cut', encoding="utf-8")


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "manifests").mkdir()
    return Workspace(tmp_path)


def test_rows_that_log_are_shown_and_finished_or_silent_ones_are_not(work: Workspace) -> None:
    log(work, "runs", 60.0)
    log(work, "finished", 1.0, step=90)
    log(work, "stopped", SILENT_S + 1)
    log(work, "odd", 1.0)
    (work.run("odd") / LOG).write_text("[1]\n", encoding="utf-8")
    (work.run("empty")).mkdir()
    (work.run("empty") / LOG).touch()
    (found,) = running(work, NOW)
    assert (found.row, found.step, found.age_s) == ("runs", 40, 60.0)
    assert as_cells([found]) == [
        ("runs", "0", "3", "40/90", "0.5000", "60.0", "1 %", "4 min")  # 300 s less 60 s
    ]


def test_it_reads_what_a_training_writes(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work.root)
    assert "no row is being trained" in CliRunner().invoke(app, ["watch"]).output
    training = TrainingLog(work.run("row"), {"row": "row", "seed": 2}, 9)
    training.step(3, 8, 0.0)
    training.line(3, 0, 0.7, 0.01)
    shown = CliRunner().invoke(app, ["watch", "--once"])
    assert "3/9" in shown.output and "0.7000" in shown.output
    (told,) = json.loads(CliRunner().invoke(app, ["watch", "--json"]).output)
    assert (told["row"], told["seed"], told["steps"]) == ("row", 2, 9)
