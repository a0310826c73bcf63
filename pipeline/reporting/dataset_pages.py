"""One page per data set: its videos by split and class, those that failed and why, some frames.

`trace/data/NAME.html`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.core.errors import AbsentData
from pipeline.core.workspace import Workspace
from pipeline.reporting.anchors import beside, dataset_page
from pipeline.reporting.figures.figures_view import read_figures
from pipeline.reporting.html_pages import render_page
from pipeline.schema.plan_models import ReportPlan
from pipeline.schema.status import FAILED
from pipeline.store.index import FrameIndex, Video, read_index

SHOWN = 200
"""Failed videos that are listed."""


def render_datasets(work: Workspace, plan: ReportPlan) -> dict[str, str]:
    """{path below `reports/P/trace/`: text}, one for each data set whose frames are here."""
    pages = {}
    drawn = {entry["numbers"].get("dataset"): entry for entry in read_figures(work)}
    for name, about in plan.datasets.items():
        try:
            index = read_index(work.frames(name))
        except AbsentData:
            continue
        incomplete = [v for v in index.videos if v.status in FAILED or v.status == "partial"]
        pages[beside(dataset_page(name))] = render_page(
            "dataset",
            style="../style.css",
            profile=plan.profile,
            name=name,
            title=about.title,
            generated=about.miniature is not None,
            subset=about.subset,
            policy=index.about["policy"],
            frames=drawn.get(name),
            splits=_splits(index.videos),
            classes=_classes(index),
            incomplete=[{"video": v, "splits": ", ".join(v.splits)} for v in incomplete[:SHOWN]],
            n_incomplete=len(incomplete),
            rows={
                row: work.metrics(row).is_file()
                for row, planned in plan.rows.items()
                if planned.dataset == name
            },
        )
    return pages


def _splits(videos: Sequence[Video]) -> list[dict[str, Any]]:
    """Videos of each split by status."""
    counts: dict[str, Counter[str]] = {}
    for video in videos:
        for split in video.splits:
            counts.setdefault(split, Counter())[video.status] += 1
    return [
        {"name": split, "listed": found.total(), "statuses": sorted(found.items())}
        for split, found in sorted(counts.items())
    ]


def _classes(index: FrameIndex) -> list[tuple[str, list[int]]]:
    """Each class with its usable videos in every split."""
    splits = sorted({split for video in index.videos for split in video.splits})
    counts = Counter(
        (label, split)
        for video in index.videos
        if video.usable
        for label in video.labels
        for split in video.splits
    )
    return [
        (name, [counts[label, split] for split in splits])
        for label, name in enumerate(index.classes)
    ]
