"""Stage `tables`: the papers' tables, regenerated from the metrics at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.core.files import read_json, write_atomic, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage import root
from pipeline.lineage.evidence import Evidence
from pipeline.reporting.build_tables import Table, build_tables, frame
from pipeline.reporting.combine import add_combinations
from pipeline.reporting.prose import judge_prose, share_of_draws
from pipeline.reporting.results import Results, load_results, orphans
from pipeline.reporting.writers import Footing, to_csv, to_latex, to_markdown
from pipeline.schema.plan_models import TablesPlan
from pipeline.schema.table_layouts import LAID_OUT_BY, load_all

SCHEMA = "tdn.cells/1"
SMOKE_REMARK = (
    "Smoke: accuracies are measured on miniature data and never compared with the claims; "
    "operations are counted at the paper's size and are."
)


def run(work: Workspace, key: str, plan: TablesPlan) -> None:
    """Write `reports/P/tables/`: `<document>/<table>.{csv,md,tex}` and four JSON files.

    cells.json has every cell with its lineage, combinations.json what was made from several runs,
    prose.json the verdicts on sentences, summary.json one number per row. `reports/P/root.json` is
    the digest of all that the tables rest on; every table carries it.

    Works with no result at all: every number of ours is then 'not-run'. Names orphaned metrics on
    stdout and removes tables whose layout is gone.
    """
    manifests = load_all(work.manifests)
    results = load_results(work, plan.rows)
    combined = add_combinations(work, results, manifests.combinations)
    evidence = root.compute(Evidence(work), _read_by(work, results))
    tables = build_tables(manifests.layouts, manifests.claims, results)
    cells = {c.cell_id: c.as_json() for table in tables for c in table.cells.values()}
    verdicts = judge_prose(manifests.prose, cells, share_of_draws(cells, results))
    folder = work.reports / "tables"
    remark = SMOKE_REMARK if plan.smoke else ""
    footing = Footing(remark, evidence["root"])
    written = {
        path
        for table in tables
        for path in _write(folder, table, replace(footing, notes=table.notes))
    }
    heading = {"profile": plan.profile, "smoke": plan.smoke}
    documents = {key: document.model_dump() for key, document in manifests.documents.items()}
    write_json(
        folder / "cells.json",
        {
            "schema": SCHEMA,
            **heading,
            "documents": documents,
            "cells": cells,
            "tables": [table.as_json() for table in tables],
        },
    )
    write_json(folder / "combinations.json", combined)
    write_json(folder / "summary.json", _summary(work, plan.rows))
    write_json(
        folder / "prose.json", {**heading, "verdicts": [verdict.as_json() for verdict in verdicts]}
    )
    _remove_others(folder, written)
    write_json(root.root_path(work), evidence)
    for orphan in orphans(work, plan.rows):
        print(f"orphan: {orphan} belongs to no row of this profile; not shown")


def _summary(work: Workspace, rows: list[str]) -> dict[str, float]:
    """Accuracy in percent (mean average precision where that is the metric) of every scored row
    under its first protocol: what `dvc metrics diff` compares."""
    summary = {}
    for row in rows:
        path = work.metrics(row)
        metrics = read_json(path) if path.is_file() else {"protocols": {}}
        for scored in list(metrics["protocols"].values())[:1]:
            value = scored.get(f"{metrics['metric']}_pct")
            if value is not None:
                summary[row] = value
    return summary


def _read_by(work: Workspace, results: Results) -> list[str]:
    """Relative paths of the measurements and manifests that the tables are made from."""
    sources = [source for run in results.runs.values() for source in run.sources]
    sources += [s for s in (results.cost_source, results.timing_source) if s is not None]
    layouts = sorted((work.manifests / "tables").glob("*.yaml"))
    manifests = [work.manifests / name for name in LAID_OUT_BY] + layouts
    return sorted({source.path for source in sources} | {work.relative(p) for p in manifests})


def _remove_others(folder: Path, written: set[Path]) -> None:
    for document in sorted(path for path in folder.iterdir() if path.is_dir()):
        for stale in sorted(set(document.iterdir()) - written):
            stale.unlink()
        if not any(document.iterdir()):
            document.rmdir()


def _write(folder: Path, table: Table, footing: Footing) -> list[Path]:
    layout, data = table.layout, frame(table)
    texts = {
        "csv": to_csv(data),
        "md": to_markdown(data, layout, table.orders, footing),
        "tex": to_latex(data, layout, table.orders, footing),
    }
    paths = {folder / layout.document / f"{layout.table}.{name}": t for name, t in texts.items()}
    for path, text in paths.items():
        write_atomic(path, text.encode("utf-8"))
    return list(paths)
