"""The page about a data set."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting import dataset_pages
from pipeline.reporting.dataset_pages import render_datasets
from pipeline.schema.plan_models import ReportPlan
from tests.stages.conftest import LABELS, store

__all__ = ["store"]  # a fixture


def page(store: Path, generated: bool) -> str:
    bound = {"order_blind_bound_pct": 50.0, "order_blind_reason": ""} if generated else None
    about: dict[str, Any] = {"title": "Something"} | ({"miniature": bound} if generated else {})
    row = {"dataset": "ssv1", "fold": "default", "architecture": "tsn"}
    plan = ReportPlan.model_validate(
        {
            "profile": "mini",
            "title": "",
            "smoke": generated,
            "datasets": {"ssv1": about, "absent": {"title": "Not here"}},
            "rows": {"tsn_row": row},
        }
    )
    pages = render_datasets(Workspace(store), plan)
    assert set(pages) == {"data/ssv1.html"}, "none of a data set without frames"
    return pages["data/ssv1.html"]


def test_it_counts_videos_and_names_those_that_failed(store: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page(store, True)))
    assert "train 9 9 ok" in text and re.search(r"validation 4 1 \w+ ?, 3 ok", text)
    assert re.search(r"1 in all.* 112 validation \w+ \w", text)
    for name, train in ((LABELS[0], 5), (LABELS[1], 4)):
        assert re.search(rf"{name} {train} \d", text)
    assert "tsn_row" in text


def test_it_shows_the_frames_that_were_drawn(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store / "data", tmp_path / "data")
    video = {"video_id": "110", "class": LABELS[1], "frame": 9, "width_px": 64, "height_px": 48}
    drawn = {"dataset": "ssv1", "videos": [{**video, "file": "frames_ssv1.1.jpg"}]}
    entry = {"key": "frames_ssv1", "caption": "Middle frames.", "numbers": drawn}
    others = [{"numbers": {}}, {"numbers": {**drawn, "dataset": "ssv2"}}]
    figures = Workspace(tmp_path).reports / "figures" / "figures.json"
    write_json(figures, {"figures": [*others, entry]})
    text = page(tmp_path, True)
    (image,) = re.findall(r"<img[^>]*>", text)
    assert 'src="../../figures/frames_ssv1.1.jpg" width="64" height="48"' in image
    assert f'alt="Frame 9 of video 110: {LABELS[1]}"' in image
    assert "Middle frames." in text and "#figure-frames-ssv1" in text


def test_a_long_list_of_failed_videos_is_cut_and_says_so(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_pages, "SHOWN", 0)
    assert "1 in all, the first 0" in re.sub(r"\s+", " ", page(store, False))
