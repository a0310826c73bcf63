"""The page about a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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


def test_a_long_list_of_failed_videos_is_cut_and_says_so(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_pages, "SHOWN", 0)
    assert "1 in all, the first 0" in re.sub(r"\s+", " ", page(store, False))
