"""One page per row: what it is, what it measured class by class, how it was trained, what it cost.

`trace/rows/ROW.html`, beside the pages that say where its numbers come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.reporting.anchors import anchor, beside, cell_link, row_page
from pipeline.reporting.figures.reversal import count_pair
from pipeline.reporting.html_pages import render_page
from pipeline.reporting.report_view import run_views
from pipeline.reporting.results import Results
from pipeline.schema.plan_models import ReportPlan
from pipeline.scores.video_scores import Outcomes

CURVE_PX = (480, 120)
"""Width and height of a training curve."""


def render_rows(
    work: Workspace, plan: ReportPlan, results: Results, evidence: Evidence
) -> dict[str, str]:
    """{path below `reports/P/trace/`: text}, one for each row that was scored."""
    cells = read_json(work.reports / "tables" / "cells.json")["cells"]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for cell in cells.values():
        by_run.setdefault(cell["lineage"]["run"] or "", []).append(cell)
    pages = {}
    for row, about in plan.rows.items():
        metrics = results.runs[row].metrics
        if metrics is not None:
            pages[beside(row_page(row))] = render_page(
                "row",
                style="../style.css",
                profile=plan.profile,
                smoke=bool(metrics["smoke"]),
                row=row,
                about=about,
                title=plan.datasets[about.dataset].title,
                metrics=metrics,
                numbers=run_views(row, metrics, about.model_dump(), ""),
                tests=[*_tests(work, plan, row, results)],
                trainings=_trainings(results, row),
                printed=[_printed(cell) for cell in by_run.get(row, ())],
                curve=_curve(work, row),
                cost=results.costs.get(row),
                values=_values(evidence, row),
            )
    return pages


def _printed(cell: Mapping[str, Any]) -> dict[str, Any]:
    document, table, *_ = cell["cell_id"].split("/")
    return {**cell, "link": beside(cell_link(cell["cell_id"])), "table": anchor(document, table)}


def _tests(
    work: Workspace, plan: ReportPlan, row: str, results: Results
) -> Iterator[dict[str, Any]]:
    """Classes and pairs of the row's first protocol whose videos are known one by one."""
    about = plan.rows[row]
    index = work.frames(about.dataset) / "index.json"
    if not index.is_file():
        return
    classes = list(read_json(index).get("classes", ()))  # none of an absent data set
    miniature = plan.datasets[about.dataset].miniature
    for (key, protocol), outcomes in results.outcomes.items():
        if key == row and outcomes.predicted.size:
            scored = (results.runs[row].metrics or {})["protocols"].get(protocol, {})
            pairs = [] if miniature is None else miniature.pairs
            yield {
                "protocol": protocol,
                "trainings": len(scored.get("trainings", [0])),
                "classes": _classes(outcomes, classes),
                "pairs": [
                    {**pair.model_dump(), **_shares(count_pair(outcomes, *places))}
                    for pair in pairs
                    if {pair.forward, pair.backward} <= {*classes}
                    for places in [(classes.index(pair.forward), classes.index(pair.backward))]
                ],
            }
            return


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = max(1, sum(counts.values()))
    return {name: 100 * count / total for name, count in counts.items()}


def _classes(outcomes: Outcomes, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each tested class in the first training: videos, percent right, what it is taken for most."""
    found = []
    for label in np.unique(outcomes.labels):
        inside = outcomes.labels == label
        answers = outcomes.predicted[inside]
        wrong = np.bincount(answers[answers != label], minlength=len(names))
        found.append(
            {
                "name": names[label],
                "videos": int(inside.sum()),
                "right": 100 * float((answers == label).mean()),
                "taken_for": names[int(wrong.argmax())] if wrong.any() else "",
                "times": int(wrong.max()),
            }
        )
    return found


def _trainings(results: Results, row: str) -> list[dict[str, Any]]:
    """What is known of the row's trainings, by protocol."""
    return [
        {"protocol": protocol, "known": trainings.known}
        for (key, protocol, _), trainings in results.trainings.items()
        if key == row
    ]


def _curve(work: Workspace, row: str) -> dict[str, Any]:
    """Loss and accuracy on the training clips by epoch, as points of two lines; {} without."""
    path = work.run(row) / "train" / "history.json"
    history = read_json(path) if path.is_file() else []
    if len(history) < 2:
        return {}
    losses = [epoch["loss"] for epoch in history]
    shares = [epoch.get("top1_pct") for epoch in history]
    width, height = CURVE_PX

    def points(values: Sequence[float], most: float) -> str:
        places = enumerate(values)
        return " ".join(
            f"{width * x / (len(values) - 1):.1f},{height * (1 - y / most):.1f}" for x, y in places
        )

    known = all(isinstance(share, int | float) for share in shares)
    return {
        "width": width,
        "height": height,
        "epochs": len(history),
        "loss": points(losses, max(losses) or 1.0),
        "losses": (losses[0], losses[-1]),
        "accuracy": points(shares, 100.0) if known else "",
        "last_pct": shares[-1] if known else None,
    }


def _values(evidence: Evidence, row: str) -> list[tuple[str, str]]:
    """What training and prediction were told, from their records: dotted name and value."""
    found: dict[str, str] = {}
    for stage in ("train", "predict"):
        if (run := evidence.runs.get(f"{stage}/{row}")) is not None:
            found |= dict(_flat(stage, run.params))
    return sorted(found.items())


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value not in (None, "", [], {}):
        yield name, str(value)
