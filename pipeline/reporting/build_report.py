"""Tables, runs and data sets → one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.files import read_json, sha256_file
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.reporting.figures import figures_view
from pipeline.reporting.html_pages import render_page, script, style_sheet
from pipeline.reporting.overview import data_counts, headline, orders, sentences
from pipeline.reporting.prose_view import CellTexts, prose_view
from pipeline.reporting.report_view import (
    VERDICT,
    choices,
    dataset_view,
    run_views,
    status_counts,
    table_view,
    tolerances,
)
from pipeline.reporting.results import Results
from pipeline.schema.plan_models import ReportPlan
from pipeline.scores.statistics import LEVEL_PCT, N_RESAMPLES, SEED


def render(work: Workspace, plan: ReportPlan, results: Results) -> str:
    """The page of one profile, from `reports/P/tables/` and the metrics of the manifest's rows."""
    folder = work.reports / "tables"
    content = read_json(folder / "cells.json")
    combined = read_json(folder / "combinations.json")
    scored = {key for key, run in results.runs.items() if run.metrics is not None} | set(combined)
    documents: dict[str, list[dict[str, Any]]] = {}
    for table in content["tables"]:
        view = table_view(table, content["cells"])
        documents.setdefault(table["document"], []).append(view)
    datasets = [
        dataset_view(
            name,
            about.model_dump(),
            decode_counts(work, name),
            _runs(name, plan, results, combined),
        )
        | {"page": (work.frames(name) / "index.json").is_file()}
        for name, about in plan.datasets.items()
    ]
    verdicts = read_json(folder / "prose.json")["verdicts"]
    statuses = [(results.runs[row].metrics or {"status": "not-run"})["status"] for row in plan.rows]
    return render_page(
        "report",
        style=style_sheet(),
        script=script(),
        choices=choices(view for views in documents.values() for view in views),
        verdicts=VERDICT,
        profile=plan.profile,
        title=plan.title,
        smoke=plan.smoke,
        statuses=status_counts(content["cells"]),
        n_cells=len(content["cells"]),
        n_runs=len(plan.rows),
        n_scored=len(statuses) - statuses.count("not-run"),
        trainings=_trainings(results),
        headline=headline(content["tables"], content["cells"]),
        orders=orders(content["tables"]),
        sentences=sentences(verdicts) if verdicts else {},
        videos=data_counts(datasets),
        documents=documents,
        prose=prose_view(verdicts, CellTexts(content)),
        about=content["documents"],
        tolerances=tolerances(content["tables"]),
        datasets=datasets,
        pages={key for key, run in results.runs.items() if run.metrics is not None},
        figures=figures_view.figures_section(work, scored),
        cells_digest=sha256_file(folder / "cells.json"),
        root=(read_root(work) or {"root": "none"})["root"],
        method={"level": round(LEVEL_PCT), "resamples": N_RESAMPLES, "seed": SEED},
    )


def _trainings(results: Results) -> str:
    """How often the rows were trained, in words."""
    counts = {
        len(scored.get("trainings", [0]))
        for run in results.runs.values()
        for scored in (run.metrics or {}).get("protocols", {}).values()
    }
    least, most = min(counts, default=1), max(counts, default=1)
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{count} training{'' if most == 1 else 's'} each"


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
    """What became of the listed videos: `splits` (listed, usable, failed, partial), `statuses`
    in words, `by_status` in numbers;
    `reason` says why there are no frames.
    """
    path = work.decoded(dataset)
    if not path.is_file():
        return {"splits": [], "statuses": [], "by_status": {}, "reason": "not decoded here"}
    outcome = read_json(path)
    if outcome["status"] != "ok":
        return {"splits": [], "statuses": [], "by_status": {}, "reason": outcome["reason"]}
    splits = [
        {"name": name, "partial": 0, **found, "failed": found["listed"] - found["usable"]}
        for name, found in outcome["splits"].items()
    ]
    statuses = [f"{count} {status}" for status, count in sorted(outcome["counts"].items())]
    by_status = dict(outcome["counts"])
    return {"splits": splits, "statuses": statuses, "by_status": by_status, "reason": ""}
