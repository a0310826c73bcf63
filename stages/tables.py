"""Stage `tables`: the papers' tables, regenerated from the metrics at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.digests import write_atomic, write_json
from pipeline.errors import ManifestError
from pipeline.manifest_tables import (
    check_placement,
    load_claims,
    load_combinations,
    load_layouts,
)
from pipeline.reporting.combine import add_combinations
from pipeline.reporting.results import load_results, orphans
from pipeline.reporting.tables import Table, build_tables, frame
from pipeline.reporting.writers import to_csv, to_latex, to_markdown
from pipeline.workspace import Workspace

SCHEMA = "tdn.cells/1"
SMOKE_REMARK = (
    "Smoke results: measured on miniature data, never compared with the claims. "
    "Columns that depend on no data are."
)


def run(work: Workspace, key: str, *, params: dict[str, Any]) -> None:
    """Write `reports/P/tables/`: `<document>/<table>.{csv,md,tex}`, cells.json, combinations.json.

    Works with no result at all: every number of ours is then 'not-run'. Names orphaned metrics on
    stdout and removes tables whose layout is gone.
    """
    claims = load_claims(work.manifests / "claims.csv")
    layouts = load_layouts(work.manifests / "tables", work.profile)
    results = load_results(work, params["rows"])
    combined = add_combinations(
        work, results, load_combinations(work.manifests / "combinations.yaml")
    )
    tables = build_tables(layouts, claims, results)
    folder = work.reports / "tables"
    remark = SMOKE_REMARK if params["smoke"] else ""
    written = {path for table in tables for path in _write(folder, table, remark)}
    _write_cells(folder, tables, params)
    write_json(folder / "combinations.json", combined)
    for stale in sorted(set(folder.glob("*/*")) - written):
        stale.unlink()
    for orphan in orphans(work, params["rows"]):
        print(f"orphan: {orphan} belongs to no row of this profile; not shown")


def check(work: Workspace) -> int:
    """How many claims are placed; a ManifestError listing those placed nowhere or twice."""
    claims = load_claims(work.manifests / "claims.csv")
    problems = check_placement(load_layouts(work.manifests / "tables"), claims)
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ManifestError(
            f"{len(problems)} claims or layouts do not fit:\n  {shown}{more}",
            where="manifests/claims.csv, manifests/tables/",
            do="give every claim exactly one row and column of one layout",
        )
    return len(claims)


def _write(folder: Path, table: Table, remark: str) -> list[Path]:
    layout = table.layout
    data = frame(table)
    stem = folder / layout.document / layout.table
    texts = {
        ".csv": to_csv(data),
        ".md": to_markdown(data, layout, table.orderings, remark),
        ".tex": to_latex(data, layout, table.orderings, remark),
    }
    paths = []
    for suffix, text in texts.items():
        path = stem.with_name(stem.name + suffix)
        write_atomic(path, text.encode("utf-8"))
        paths.append(path)
    return paths


def _write_cells(folder: Path, tables: tuple[Table, ...], params: dict[str, Any]) -> None:
    cells = {cell.cell_id: cell.as_json() for table in tables for cell in table.cells.values()}
    write_json(
        folder / "cells.json",
        {
            "schema": SCHEMA,
            "profile": params["profile"],
            "smoke": params["smoke"],
            "cells": cells,
            "tables": [table.as_json() for table in tables],
        },
    )
