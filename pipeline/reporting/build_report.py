"""Tables, runs and data sets → one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.files import read_json, sha256_file
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.reporting.figures import figures_view
from pipeline.reporting.html_pages import render_page, style_sheet
from pipeline.reporting.prose_view import CellTexts, prose_view
from pipeline.reporting.report_view import (
    SYMBOL,
    dataset_view,
    run_views,
    status_counts,
    table_view,
    tolerances,
)
from pipeline.reporting.results import Results, load_results
from pipeline.schema.plan_models import ReportPlan
from pipeline.scores.statistics import LEVEL_PCT, N_RESAMPLES, SEED


def render(work: Workspace, plan: ReportPlan) -> str:
    """The page of one profile, from `reports/P/tables/` and the metrics of the manifest's rows."""
    folder = work.reports / "tables"
    cells_path = folder / "cells.json"
    found = read_json(cells_path)
    combined = read_json(folder / "combinations.json")
    results = load_results(work, list(plan.rows))
    runs = results.runs.values()
    scored = {key for key, run in results.runs.items() if run.metrics is not None} | set(combined)
    tables = [table_view(table, found["cells"]) for table in found["tables"]]
    documents: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        documents.setdefault(table["document"], []).append(table)
    datasets = [
        dataset_view(
            name,
            about.model_dump(),
            decode_counts(work, name),
            _runs(name, plan, results, combined),
        )
        for name, about in plan.datasets.items()
    ]
    return render_page(
        "report",
        style=style_sheet(),
        symbols=SYMBOL,
        profile=plan.profile,
        title=plan.title,
        smoke=plan.smoke,
        statuses=status_counts(found["cells"]),
        n_cells=len(found["cells"]),
        n_runs=len(plan.rows),
        n_scored=sum(r.metrics is not None and r.metrics["status"] != "not-run" for r in runs),
        documents=documents,
        prose=prose_view(read_json(folder / "prose.json")["verdicts"], CellTexts(found)),
        about=found["documents"],
        tolerances=tolerances(found["tables"]),
        datasets=datasets,
        figures=figures_view.figures_section(work, scored),
        cells_digest=sha256_file(cells_path),
        root=stated["root"] if (stated := read_root(work)) is not None else "none",
        method={"level": round(LEVEL_PCT), "resamples": N_RESAMPLES, "seed": SEED},
    )


def _runs(
    dataset: str, plan: ReportPlan, results: Results, combined: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every row of a data set, then what was combined from them."""
    lines: list[dict[str, Any]] = []
    for row, planned in plan.rows.items():
        if planned.dataset == dataset:
            result = results.runs[row]
            lines += run_views(row, result.metrics, planned.model_dump(), result.missing)
    for key, metrics in combined.items():
        if metrics["dataset"] == dataset:
            about = {"architecture": metrics["rule"], "members": metrics["members"]}
            lines += run_views(key, metrics, about, "")
    return lines


def decode_counts(work: Workspace, dataset: str) -> dict[str, Any]:
    """What became of the listed videos: `splits` (listed, usable, failed, partial), `statuses`;
    `reason` says why there are no frames.
    """
    path = work.decoded(dataset)
    if not path.is_file():
        return {"splits": [], "statuses": [], "reason": "not decoded here"}
    about = read_json(path)
    if about["status"] != "ok":
        return {"splits": [], "statuses": [], "reason": about["reason"]}
    splits = [
        {"name": name, "partial": 0, **found, "failed": found["listed"] - found["usable"]}
        for name, found in about["splits"].items()
    ]
    statuses = [f"{count} {status}" for status, count in sorted(about["counts"].items())]
    return {"splits": splits, "statuses": statuses, "reason": ""}
