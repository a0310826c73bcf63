from __future__ import annotations

import json
from pathlib import Path
from threading import Event, Thread

import pytest

from pipeline.core.workspace import Workspace
from stages import train
from stages.trainer import training_log
from stages.trainer.training_log import LOG, TrainingLog, follow
from tests.stages.conftest import train_plan


def test_without_a_terminal_a_line_says_how_it_fares(
    work: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_log, "EVERY_S", 0.0)
    train.run(work, "row", train_plan(epochs=2))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "row: epoch 0, step 1/4, loss 0." in lines[0]
    assert "clips/s" in lines[0] and "waiting for data" in lines[0] and "left" in lines[0]
    logged = [json.loads(line) for line in (work.run("row") / LOG).read_text().splitlines()]
    assert [values["step"] for values in logged] == [1, 2, 3, 4]
    assert all(0 <= values["waiting_pct"] <= 100 for values in logged)


def test_a_bar_on_a_terminal_takes_the_place_of_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_log, "EVERY_S", 0.0)
    shown: list[tuple[int, int]] = []
    log = TrainingLog(tmp_path, {"row": "r"}, 9, progress=lambda *at: shown.append(at))
    log.step(1, 4, 0.1)
    log.line(1, 0, 0.7, 0.01)
    assert shown == [(1, 9)] and capsys.readouterr().err == ""
    assert (tmp_path / LOG).is_file()


def test_a_worker_that_logs_nothing_never_asks_the_device_for_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_log, "EVERY_S", 0.0)
    assert TrainingLog(tmp_path, {}, 9).due()
    assert not TrainingLog(tmp_path, {}, 9, quiet=True).due()


def test_what_other_processes_log_is_shown(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("of an earlier run\n")
    over, found, shown = Event(), Event(), []

    def progress(step: int, steps: int) -> None:
        shown.append((step, steps))
        found.set()

    thread = Thread(target=follow, args=(tmp_path, progress, over))
    thread.start()
    while not thread.is_alive():
        pass
    assert not found.wait(0.2)
    TrainingLog(tmp_path, {"row": "r"}, 9).line(3, 0, 0.7, 0.01)
    assert found.wait(30)
    over.set()
    thread.join()
    assert shown == [(3, 9)]
