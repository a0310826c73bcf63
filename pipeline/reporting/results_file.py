"""A profile's results as one file of data: every number with what it covers and where it is from.

`schema()` is its JSON Schema, published as `docs/results.schema.json`. `tables_of` makes the tables
again from the file alone, so that it is known to hold all that they print.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.reporting.anchors import cell_link
from pipeline.reporting.build_tables import Table
from pipeline.reporting.cells import Cell, IntervalOver, Lineage, Source, Status
from pipeline.reporting.ordering import Ordering, Pair, PairOfMeans
from pipeline.reporting.system import SYSTEM_FIELDS, describe_system, trained_rows
from pipeline.reporting.training_order import RowMean, TrainingOrder
from pipeline.schema.base import Strict
from pipeline.schema.table_layouts import Layout
from pipeline.scores.statistics import LEVEL_PCT

FORMAT = "tdn.results/1"


class File(Strict):
    """A file that a number was read from, relative to the project's top."""

    path: str
    sha256: str


class Range(Strict):
    """An interval, in the number's unit."""

    low: float
    high: float
    level_pct: float
    over: IntervalOver
    """What would be drawn again: other videos of the kind, or these and another training."""


class Videos(Strict):
    """How many videos a number is of."""

    expected: int
    scored: int
    failed: int
    partial: int
    """Of those scored: with a part of their frames."""
    clusters: int | None
    """Groups of scored videos that came about together; null where several runs are combined."""


class Claim(Strict):
    """What the text prints in this place."""

    claim_id: str
    printed: str


class Number(Strict):
    """One cell of a table."""

    row: str
    column: str
    unit: str
    status: str
    reason: str
    note: str
    value: float | None
    interval: Range | None
    videos: Videos | None
    trainings: list[float]
    """The value of each training of the run, in percent; empty for counts and combinations."""
    claim: Claim | None
    smoke: bool
    run: str | None
    runs: list[str]
    rule: str | None
    protocol: str | None
    metric: str | None
    dataset: str | None
    sources: list[File]
    trace: str
    """The page, beside `index.html`, that walks to the raw files."""


class ResultsFile(Strict):
    """All results of a profile."""

    format: Literal["tdn.results/1"]
    profile: str
    smoke: bool
    root: str
    """Digest of all that the tables rest on: `tdn audit --against` checks it."""
    system: dict[str, str]
    """MLPerf's system description; `n/a` with the reason where it was not recorded."""
    documents: dict[str, Any]
    tables: list[dict[str, Any]]
    numbers: dict[str, Number]


def schema() -> dict[str, Any]:
    """The file's JSON Schema."""
    found = ResultsFile.model_json_schema()
    found["properties"]["system"]["required"] = list(SYSTEM_FIELDS)
    return found


def collect(work: Workspace) -> ResultsFile:
    """The results of a profile whose tables were made.

    Raises FileNotFoundError without `reports/P/tables/cells.json`.
    """
    content = read_json(work.reports / "tables" / "cells.json")
    metrics: dict[str, Mapping[str, Any]] = {}
    numbers = {
        key: _number(key, cell, _scored(work, cell["lineage"], metrics))
        for key, cell in content["cells"].items()
    }
    return ResultsFile.model_validate(
        {
            "format": FORMAT,
            "profile": content["profile"],
            "smoke": content["smoke"],
            "root": (read_root(work) or {"root": ""})["root"],
            "system": describe_system(work, trained_rows(work)),
            "documents": content["documents"],
            "tables": content["tables"],
            "numbers": numbers,
        }
    )


def _scored(
    work: Workspace, lineage: Mapping[str, Any], known: dict[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The metrics of a number's run under its protocol; nothing where it is of no single run."""
    run, protocol = lineage["run"], lineage["protocol"]
    if run is None or lineage["rule"] is not None:
        return {}
    if run not in known:
        path = work.metrics(run)
        known[run] = read_json(path)["protocols"] if path.is_file() else {}
    found: Mapping[str, Any] = known[run].get(protocol, {})
    return found


def _number(cell_id: str, cell: Mapping[str, Any], scored: Mapping[str, Any]) -> Number:
    lineage = cell["lineage"]
    interval = videos = claim = None
    if cell["ci_low"] is not None:
        interval = Range(
            low=cell["ci_low"],
            high=cell["ci_high"],
            level_pct=LEVEL_PCT,
            over=cell["interval_over"],
        )
    if cell["n_expected"] is not None:
        names = ("expected", "scored", "failed", "partial")
        counts = {name: cell[f"n_{name}"] for name in names}
        videos = Videos(**counts, clusters=scored.get("n_clusters"))
    if cell["claim_id"] is not None:
        claim = Claim(claim_id=cell["claim_id"], printed=cell["claimed"])
    headline = lineage["metric"] in ("top1_pct", "map_pct")
    return Number(
        **{name: cell[name] for name in ("row", "column", "unit", "status", "reason", "note")},
        **{name: lineage[name] for name in ("run", "runs", "rule", "protocol", "metric")},
        dataset=lineage["dataset"],
        sources=[File(**source) for source in lineage["sources"]],
        value=cell["measured"],
        interval=interval,
        videos=videos,
        trainings=list(scored.get("trainings", [])) if headline else [],
        claim=claim,
        smoke=cell["smoke"],
        trace=cell_link(cell_id),
    )


def tables_of(results: ResultsFile) -> list[Table]:
    """The tables, from the file alone: `reporting.writers` prints them byte for byte as before."""
    return [_table(about, results.numbers) for about in results.tables]


def _table(about: Mapping[str, Any], numbers: Mapping[str, Number]) -> Table:
    table_id = f"{about['document']}/{about['table']}"
    heading = ("document", "table", "caption", "place", "note", "label_title", "headline")
    layout = Layout.model_validate(
        {
            **{name: about[name] for name in heading},
            "settings": {setting["key"]: setting["label"] for setting in about["settings"]},
            "columns": {column["key"]: _column(column) for column in about["columns"]},
            "rows": {
                row["row"]: {"label": row["label"], "settings": row["settings"]}
                for row in about["rows"]
            },
            "ordering": list(dict.fromkeys(o["column"] for o in about["orderings"])),
        }
    )
    cells = {
        (row["row"], column): _cell(f"{table_id}/{row['row']}/{column}", numbers)
        for row in about["rows"]
        for column in row["cells"]
    }
    orderings = [
        Ordering(**{**ordering, "pairs": tuple(Pair(**pair) for pair in ordering["pairs"])})
        for ordering in about["orderings"]
    ]
    means = [
        TrainingOrder(
            **{
                **order,
                "rows": tuple(RowMean(**row) for row in order["rows"]),
                "pairs": tuple(PairOfMeans(**pair) for pair in order["pairs"]),
            }
        )
        for order in about["means"]
    ]
    return Table(layout, cells, tuple(orderings), tuple(means))


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: column[name] for name in ("label", "unit", "decimals", "tolerance")}
    return {**values, "measure": {name: column[name] for name in ("kind", "name", "protocol")}}


def _cell(cell_id: str, numbers: Mapping[str, Number]) -> Cell:
    number = numbers[cell_id]
    names = ("rule", "protocol", "metric", "dataset", "run")
    lineage = Lineage(
        **{name: getattr(number, name) for name in names},
        runs=tuple(number.runs),
        sources=tuple(Source(file.path, file.sha256) for file in number.sources),
    )
    known: dict[str, Any] = {"claim_id": None, "claimed": None}
    if number.interval is not None:
        ends = number.interval
        known |= {"ci_low": ends.low, "ci_high": ends.high, "interval_over": ends.over}
    if number.videos is not None:
        counts = number.videos.model_dump(exclude={"clusters"})
        known |= {f"n_{name}": count for name, count in counts.items()}
    if number.claim is not None:
        known |= {"claim_id": number.claim.claim_id, "claimed": number.claim.printed}
    return Cell(
        cell_id=cell_id,
        **{name: getattr(number, name) for name in ("row", "column", "unit", "note", "reason")},
        status=Status(number.status),
        smoke=number.smoke,
        measured=number.value,
        lineage=lineage,
        **known,
    )


def read_results(path: Path) -> ResultsFile:
    """A results file; pydantic's ValidationError names what does not fit the schema."""
    return ResultsFile.model_validate(read_json(path))
