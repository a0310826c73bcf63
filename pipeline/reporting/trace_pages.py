"""One page per table, and one each for runs, sentences and figures: where each number comes from.

Static pages beside `index.html`; every number there links to its place here. They show what the
records say and verify nothing: that is `tdn audit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.root import read_root
from pipeline.lineage.trace import claim_of, walk
from pipeline.reporting.anchors import FIGURES, PROSE, RUNS, anchor, table_page
from pipeline.reporting.build_tables import number
from pipeline.reporting.figures.section import read_figures
from pipeline.reporting.html_pages import render_page, style_sheet
from pipeline.reporting.prose_view import CellTexts
from pipeline.reporting.results import Results, load_results
from pipeline.reporting.trace_items import figure_items, item, line, prose_items
from pipeline.reporting.view import SHORT_DIGEST
from pipeline.schema.plan_models import ReportPlan

SHEET = "style.css"

WALKS = (
    "Every line is a file with the start of its sha256 and the run that made it; below it, what "
    "that run read."
)
CELLS = (
    "Every verdict stands with its rule, the numbers in their place, and the cells that they are "
    "in; a cell leads on to its files."
)
FIGURES_READ = (
    "Every figure stands with its files and the runs and cells that it was drawn from; each of "
    "them leads on to its files."
)


def render_traces(work: Workspace, plan: ReportPlan) -> dict[str, str]:
    """{path below `reports/P/trace/`: text}: '<document>/<table>.html' each, RUNS, PROSE where a
    sentence has a rule, FIGURES where there are any, their SHEET."""
    evidence = Evidence(work)
    found = read_json(work.reports / "tables" / "cells.json")
    stated = read_root(work)
    root = stated["root"] if stated is not None else "none"
    shared = {"short": SHORT_DIGEST, "profile": plan.profile, "root": root, "style": SHEET}
    shared |= {"up": "../", "back": "", "how": "", "reading": WALKS}
    pages = {SHEET: style_sheet()}
    for table in found["tables"]:
        name = f"{table['document']}/{table['table']}"
        above = {"style": f"../{SHEET}", "up": "../../", "title": name, "how": f" --table {name}"}
        back = f"#{anchor(table['document'], table['table'])}"
        items = list(_cells(evidence, found, table))
        pages[table_page(name)] = render_page(
            "trace", **shared | above | {"back": back, "items": items}
        )
    results = load_results(work, list(plan.rows))
    combined = read_json(work.reports / "tables" / "combinations.json")
    said = _said_of_runs(results, combined)
    runs = _runs(evidence, results, combined, said)
    items = [*runs, *_datasets(work, evidence, plan.datasets)]
    pages[RUNS] = render_page("trace", **shared | {"title": "runs and data sets", "items": items})
    texts = CellTexts(found)
    verdicts = read_json(work.reports / "tables" / "prose.json")["verdicts"]
    if items := list(prose_items(verdicts, texts)):
        about = {"title": "claims in prose", "back": "#prose", "reading": CELLS, "items": items}
        pages[PROSE] = render_page("trace", **shared | about)
    if items := list(figure_items(evidence, read_figures(work), said, texts)):
        about = {"title": "figures", "back": "#figures", "reading": FIGURES_READ, "items": items}
        pages[FIGURES] = render_page("trace", **shared | about)
    return pages


def _cells(
    evidence: Evidence, found: Mapping[str, Any], table: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    decimals = {column["key"]: column["decimals"] for column in table["columns"]}
    for row in table["rows"]:
        for column in row["cells"]:
            cell = found["cells"][f"{table['document']}/{table['table']}/{row['row']}/{column}"]
            measured = number(cell["measured"], decimals[column])
            text = f"measured {measured} {cell['unit']}" if measured else ""
            yield item(
                anchor("trace", cell["cell_id"]),
                cell["cell_id"],
                [line(text, cell["status"], _reason(cell))],
                claim=claim_of(cell, found["documents"]),
                steps=walk(evidence, cell["lineage"]["sources"]),
            )


def _reason(cell: Mapping[str, Any]) -> str:
    lineage = cell["lineage"]
    parts = [str(cell["reason"])]
    if cell["note"] and cell["note"] != cell["reason"]:
        parts.append(f"({cell['note']})")
    if lineage["rule"]:
        parts.append(f"{lineage['rule']} of {', '.join(lineage['runs'])}")
    if lineage["protocol"]:
        parts.append(f"under {lineage['protocol']}")
    if cell["n_expected"] is not None:
        parts.append(f"{cell['n_scored']} of {cell['n_expected']} videos")
    return ", ".join(parts)


def _said_of_runs(results: Results, combined: Mapping[str, Any]) -> dict[str, str]:
    """What every run, and every combination of runs, measured."""
    runs = {key: r.metrics for key, r in results.runs.items() if r.metrics is not None}
    found = {key: _said(metrics) for key, metrics in runs.items()}
    return found | {
        key: f"{metrics['rule']} of {', '.join(metrics['members'])}: {_said(metrics)}"
        for key, metrics in combined.items()
    }


def _runs(
    evidence: Evidence, results: Results, combined: Mapping[str, Any], said: Mapping[str, str]
) -> Iterable[dict[str, Any]]:
    for key, text in said.items():
        members = combined[key]["members"] if key in combined else [key]
        behind = [results.runs[member] for member in members if member in results.runs]
        sources = [{"path": s.path, "sha256": s.sha256} for run in behind for s in run.sources]
        yield item(anchor("run", key), key, [line(text)], steps=walk(evidence, sources))


def _said(metrics: Mapping[str, Any]) -> str:
    found = []
    for protocol, values in metrics["protocols"].items():
        name = "map" if metrics["metric"] == "map" else "top1"
        found.append(f"{name} {number(values.get(f'{name}_pct'), 2)} % under {protocol}")
    return ", ".join(found) or str(metrics["reason"])


def _datasets(
    work: Workspace, evidence: Evidence, datasets: Iterable[str]
) -> Iterable[dict[str, Any]]:
    for name in datasets:
        path = work.relative(work.decoded(name))
        made = evidence.made(path)
        found = [] if made is None else [{"path": path, "sha256": made.sha256}]
        text = "videos listed and decoded" if found else "no record says how it was decoded"
        yield item(anchor("data", name), name, [line(text)], steps=walk(evidence, found))
