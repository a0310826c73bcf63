"""Stage `report`: one page over everything a profile measured."""

from __future__ import annotations

from pipeline.core.errors import AbsentData
from pipeline.core.files import write_atomic
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.reporting.build_report import render
from pipeline.reporting.dataset_pages import render_datasets
from pipeline.reporting.results import load_results
from pipeline.reporting.row_pages import render_rows
from pipeline.reporting.trace_pages import render_traces
from pipeline.schema.plan_models import ReportPlan


def run(work: Workspace, key: str, plan: ReportPlan) -> None:
    """Write `reports/P/index.html` and `reports/P/trace/`, which its numbers and rows link to.

    Raises AbsentData when the tables were not made.
    """
    if not (work.reports / "tables" / "cells.json").is_file():
        raise AbsentData(
            "there are no tables to report",
            where=work.relative(work.reports / "tables"),
            do=f"run `tdn tables --profile {work.profile}`",
        )
    folder = work.reports / "trace"
    results, evidence = load_results(work, list(plan.rows)), Evidence(work)
    texts = (
        render_traces(work, plan, results, evidence)
        | render_rows(work, plan, results, evidence)
        | render_datasets(work, plan)
    )
    pages = {folder / name: text for name, text in texts.items()}
    for path, text in pages.items():
        write_atomic(path, text.encode("utf-8"))
    for stale in [path for path in folder.rglob("*") if path.is_file() and path not in pages]:
        stale.unlink()
    write_atomic(work.reports / "index.html", render(work, plan, results).encode("utf-8"))
