"""The report's section of figures: `reports/P/figures/figures.json` → HTML."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from markupsafe import Markup

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.anchors import linked, named, trace_link
from pipeline.reporting.html_pages import render_page

PICTURES = ("cam", "gradcam")
"""Kinds that show frames: as PNG. The others are lines and text: as SVG."""
KINDS = {
    "architecture": "Networks",
    "curves": "Training",
    "cost": "Accuracy and cost",
    "ordering": "Order of the rows",
    "reversal": "Classes",
    "gains": "Classes",
    "cam": "Where networks look",
    "gradcam": "Where networks look",
    "kernels": "Kernels along time",
}


def read_figures(work: Workspace) -> list[Mapping[str, Any]]:
    """The entries of `reports/P/figures/figures.json`; none when no figures were made."""
    path = work.reports / "figures" / "figures.json"
    entries: list[Mapping[str, Any]] = read_json(path)["figures"] if path.is_file() else []
    return entries


def caption_links(entry: Mapping[str, Any], runs: Container[str]) -> Markup:
    """A figure's caption: measured numbers lead to the figure's trace, rows in `runs` to theirs."""
    rows = {row: trace_link("run", row) for row in entry["rows"] if row in runs}
    parts = entry["caption"], "", ""
    before, numbers, after = parts[0].partition(entry["found"]) if entry["found"] else parts
    link = trace_link("figure", entry["key"])
    return named(before, rows) + linked(numbers, link) + named(after, rows)


def figures_section(work: Workspace, runs: Container[str]) -> Markup:
    """The section with heading and every figure but those of data sets, which their pages show;
    empty when none were made.

    Pictures are referenced relative to the report, `figures/x.png`. `runs` are those that have a
    place on the trace page of runs.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in read_figures(work):
        source = entry["files"].get("png" if entry["kind"] in PICTURES else "svg", "")
        shown = {**entry, "source": source, "linked_caption": caption_links(entry, runs)}
        if entry["kind"] in KINDS:
            groups.setdefault(KINDS[entry["kind"]], []).append(shown)
    return Markup(render_page("figures", groups=groups)) if groups else Markup()
