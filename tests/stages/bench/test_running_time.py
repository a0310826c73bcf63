"""`tdn bench timings` at a tiny size: the rows that tables print, through the real clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from stages.bench import running_time

ROOT = Path(__file__).resolve().parents[3]
SPEC: dict[str, Any] = {
    "architecture": "tdn",
    "backbone": "resnet50",
    "segments": 4,
    "options": {},
    "num_classes": 5,
}


def setting(**changes: Any) -> running_time.Setting:
    given = {"batch": 2, "rounds": 1, "side_px": 48, "width": 8, **changes}
    return running_time.Setting(device=torch.device("cpu"), **given)


def test_the_layouts_say_which_rows_are_timed() -> None:
    rows = {entry.row: entry.protocol for entry in running_time.wanted(Workspace(ROOT, "paper"))}
    assert rows["tdn_r50_8f_ssv1"] == "center_1x1"
    assert rows["i3d_r50_32f_ssv1"] == "spans_3x2"
    assert len(rows) >= 7


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="no row to time"):
        running_time.wanted(Workspace(ROOT, "paper"), ("nothing",))


def test_a_row_is_timed_with_and_without_loading(tmp_path: Path) -> None:
    row = "tdn_r50_8f_ssv1"
    work = Workspace(ROOT, "paper")
    running_time.run(work, {row: SPEC}, setting(only=(row,)), tmp_path, lambda line: None)
    report = json.loads((tmp_path / "timings.cpu.json").read_text())
    assert {found["way"] for found in report["rows"]} >= {running_time.EVALUATED}
    for found in report["rows"]:
        assert (found["row"], found["batch"], found["views"]) == (row, 2, 1)
        assert found["ms per video"] > 0 and found["ms per video, loading included"] > 0
        assert not found["in tables"]  # a narrow network on small frames is a trial


def test_only_full_size_networks_reach_the_tables() -> None:
    assert setting(side_px=None, width=None).full_size
    assert not setting(side_px=None).full_size


def test_generated_videos_are_read_back(tmp_path: Path) -> None:
    videos, store = running_time.synthetic_store(tmp_path, 2)
    assert [store.n_frames(video.video_id) for video in videos] == [running_time.FRAMES] * 2
    assert store.jpegs(videos[0].video_id, [3])[0][:2] == b"\xff\xd8"
