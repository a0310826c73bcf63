"""One page per table, and one each for runs, sentences and figures: where each number comes from.

Static pages beside `index.html`; every number there links to its place here. They show the
records without verifying them, which `tdn audit` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.root import read_root
from pipeline.reporting.anchors import FIGURES, PROSE, RUNS, anchor, beside, table_link
from pipeline.reporting.build_tables import number
from pipeline.reporting.figures.figures_view import read_figures
from pipeline.reporting.html_pages import render_page, style_sheet
from pipeline.reporting.prose_view import CellTexts
from pipeline.reporting.results import Results
from pipeline.reporting.trace_items import (
    Section,
    cell_section,
    dataset_section,
    figure_section,
    prose_section,
    run_section,
)
from pipeline.schema.plan_models import ReportPlan

SHEET = "style.css"
SHORT_DIGEST = 12

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


def render_traces(
    work: Workspace, plan: ReportPlan, results: Results, evidence: Evidence
) -> dict[str, str]:
    """{path below `reports/P/trace/`: text}: '<document>/<table>.html' each, RUNS, PROSE where a
    sentence has a rule, FIGURES where there are any, their SHEET."""
    folder = work.reports / "tables"
    content = read_json(folder / "cells.json")
    texts = CellTexts(content)
    stated = read_root(work)
    shared = {
        "short": SHORT_DIGEST,
        "profile": plan.profile,
        "root": stated["root"] if stated is not None else "none",
    }

    def page(title: str, sections: Iterable[Section], **about: str) -> str:
        given = {"style": SHEET, "up": "../", "back": "", "how": "", "reading": WALKS, **about}
        return render_page("trace", **shared, **given, title=title, sections=list(sections))

    pages = {SHEET: style_sheet()}
    for table in content["tables"]:
        name = f"{table['document']}/{table['table']}"
        back = f"#{anchor(table['document'], table['table'])}"
        above = {"style": f"../{SHEET}", "up": "../../", "how": f" --table {name}", "back": back}
        own = [f"{name}/{row['row']}/{column}" for row in table["rows"] for column in row["cells"]]
        cells = (
            cell_section(evidence, content["cells"][c], texts, content["documents"]) for c in own
        )
        pages[beside(table_link(name))] = page(name, cells, **above)
    combined = read_json(folder / "combinations.json")
    measured = _measured(results, combined)
    sources = {key: _sources(results, combined, key) for key in measured}
    runs = [run_section(key, text, evidence, sources[key]) for key, text in measured.items()]
    datasets = [dataset_section(name, evidence) for name in plan.datasets]
    pages[RUNS] = page("runs and data sets", [*runs, *datasets])
    verdicts = read_json(folder / "prose.json")["verdicts"]
    ruled = [verdict for verdict in verdicts if verdict["rule"] or verdict["ours_rule"]]
    if sections := [prose_section(verdict, texts) for verdict in ruled]:
        pages[PROSE] = page("claims in prose", sections, back="#prose", reading=CELLS)
    figures = read_figures(work)
    if sections := [figure_section(evidence, entry, texts, measured) for entry in figures]:
        pages[FIGURES] = page("figures", sections, back="#figures", reading=FIGURES_READ)
    return pages


def _measured(results: Results, combined: Mapping[str, Any]) -> dict[str, str]:
    """What every run, and every combination of runs, measured, in words."""
    runs = {key: r.metrics for key, r in results.runs.items() if r.metrics is not None}
    texts = {key: _in_words(metrics) for key, metrics in runs.items()}
    return texts | {
        key: f"{metrics['rule']} of {', '.join(metrics['members'])}: {_in_words(metrics)}"
        for key, metrics in combined.items()
    }


def _sources(results: Results, combined: Mapping[str, Any], key: str) -> list[dict[str, str]]:
    """The metrics files of a run, or of the members of a combination."""
    members = combined[key]["members"] if key in combined else [key]
    runs = [results.runs[member] for member in members if member in results.runs]
    return [{"path": s.path, "sha256": s.sha256} for run in runs for s in run.sources]


def _in_words(metrics: Mapping[str, Any]) -> str:
    parts = []
    for protocol, values in metrics["protocols"].items():
        name = "map" if metrics["metric"] == "map" else "top1"
        counts = f"{values['n_failed']} failed, {values['n_partial']} partial"
        accuracy = number(values.get(f"{name}_pct"), 2)
        parts.append(f"{name} {accuracy} % under {protocol} ({counts})")
    return ", ".join(parts) or str(metrics["reason"])
