"""`tdn bench timings` at a tiny size: the rows that tables print, through the real clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from stages.bench import running_time

ROOT = Path(__file__).resolve().parents[3]


def setting(**changes: Any) -> running_time.Setting:
    given = {"batch": (2,), "rounds": 1, "side": 48, "width": 8, **changes}
    return running_time.Setting(**given)


def test_the_layouts_say_which_rows_are_timed() -> None:
    rows = dict(running_time.wanted(Workspace(ROOT, "paper")))
    assert rows["tdn_r50_8f_ssv1"] == "center_1x1"
    assert rows["i3d_r50_32f_ssv1"] == "spans_3x2"
    assert len(rows) >= 7


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="no row to time"):
        running_time.wanted(Workspace(ROOT, "paper"), ("nothing",))


def test_a_row_is_timed_with_and_without_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    row = "tdn_r50_8f_ssv1"
    spec = {
        "architecture": "tdn", "backbone": "resnet50", "segments": 4, "options": {},
        "num_classes": 5,
    }  # fmt: skip
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(running_time, "networks_of_rows", lambda work: {row: spec})
    report = running_time.run(setting(only=(row,)), lambda line: None)
    assert report.name == "timings.cpu"
    assert {timed["way"] for timed in report.rows} >= {running_time.PREDICTED, "as trained"}
    for timed in report.rows:
        assert (timed["row"], timed["batch"], timed["views"]) == (row, 2, 1)
        assert timed["ms per video"] > 0 and timed["ms per video, loading included"] > 0
        assert not timed["in tables"]  # a narrow network on small frames is a trial


def test_only_full_size_networks_reach_the_tables() -> None:
    assert setting(side=None, width=None).full_size
    assert not setting(side=None).full_size
