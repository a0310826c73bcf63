"""What the report shows of tables, data sets and runs, as plain values that its template prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from pipeline.reporting.cells import MEANING, Status
from pipeline.reporting.results import expected
from pipeline.reporting.writers import UNIT_TEXT

VERDICT = {
    "agrees": "as in the paper",
    "contradicts": "reversed",
    "supported": "apart",
    "undecided": "undecided",
}
_MEASURED = {
    "percent": "accuracies on the real data sets",
    "gflops": "operations",
    "params": "parameters",
    "views": "views",
    "ms": "times",
}
"""What a column's unit counts."""
_TOLERANCES = {
    "last_digit_units": "units of the last printed digit",
    "relative_pct": "%",
    "points": "points",
}


@dataclass(frozen=True)
class Scale:
    """The axis of an interval plot, in the numbers' unit; positions are percent of its width."""

    low: float
    high: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        return round(100 * (value - self.low) / span, 2) if span else 50.0

    def plot(self, value: float | None, low: float | None, high: float | None) -> dict[str, float]:
        """Positions of a dot with its interval; none without an interval."""
        if value is None or low is None or high is None:
            return {}
        left = self.at(low)
        return {"dot": self.at(value), "left": left, "width": round(self.at(high) - left, 2)}


def axis(values: Iterable[float | None], step: float = 5.0) -> Scale | None:
    """An axis from 0 to 100 at most that holds all values, ending on multiples of `step`."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = step * floor(min(known) / step), step * ceil(max(known) / step)
    return Scale(max(0.0, low), high if high > low else low + step)


def tolerances(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """How far a measurement may be from its claim, in words: one text per unit that has claims."""
    by_unit: dict[str, dict[str, None]] = {}
    for column in (column for table in tables for column in table["columns"]):
        given = column["tolerance"]
        words = [f"{given[name]:g} {unit}" for name, unit in _TOLERANCES.items() if given[name]]
        if words:
            by_unit.setdefault(_MEASURED[column["unit"]], {})[" or ".join(words)] = None
    return [f"{name} {', elsewhere '.join(words)}" for name, words in by_unit.items()]


def status_counts(cells: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int, str]]:
    """(status, how many cells have it, its meaning); zeros are left out."""
    counts = Counter(cell["status"] for cell in cells.values())
    return [(s.value, counts[s.value], MEANING[s]) for s in Status if s.value in counts]


def table_view(table: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One table of cells.json for the template: a row's `cells` are cells, None for no cell."""
    table_id = f"{table['document']}/{table['table']}"
    keys = [column["key"] for column in table["columns"]]
    rows: list[dict[str, Any]] = []
    for row in table["rows"]:
        shown = [cells.get(f"{table_id}/{row['row']}/{key}") for key in keys]
        runs = dict.fromkeys(cell["lineage"]["run"] for cell in shown if cell is not None)
        texts = [row["settings"].get(setting["key"], "") for setting in table["settings"]]
        label = _full_label(row, table)
        known = [cell for cell in shown if cell is not None]
        rows.append(
            {
                **row,
                "settings": texts,
                "cells": shown,
                "runs": runs,
                "full_label": label,
                "statuses": sorted({cell["status"] for cell in known}),
                "datasets": sorted({cell["lineage"]["dataset"] or "" for cell in known} - {""}),
            }
        )
    columns: list[dict[str, Any]] = []
    for number, column in enumerate(table["columns"]):
        own = [row["cells"][number] for row in rows if row["cells"][number] is not None]
        # One plot per table, of its first column that has intervals.
        drawn = column["kind"] == "metric" and all(c["scale"] is None for c in columns)
        scale = axis(cell[end] for cell in own if drawn for end in ("ci_low", "ci_high"))
        claimed, unit = any(cell["claimed"] for cell in own), UNIT_TEXT[column["unit"]]
        columns.append({**column, "claimed": claimed, "unit_text": unit, "scale": scale})
    return {
        **table,
        "table_id": table_id,
        "title": f"Table {table['table']}" if table["table"][0].isdigit() else "Table",
        "columns": columns,
        "column_labels": {column["key"]: column["label"] for column in columns},
        "rows": rows,
        "row_labels": {row["row"]: row["full_label"] for row in rows},
        "claimed": any(column["claimed"] for column in columns),
        "counted": any(row["n_failed"] != "" for row in rows),
    }


def choices(tables: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """What the tables can be filtered by: field, its title, its values in alphabetical order."""
    tables = list(tables)
    rows = [row for table in tables for row in table["rows"]]
    return [
        ("document", "Document", sorted({table["document"] for table in tables})),
        ("dataset", "Data set", sorted({name for row in rows for name in row["datasets"]})),
        ("status", "Status", sorted({name for row in rows for name in row["statuses"]})),
    ]


def _full_label(row: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """The printed label, with the ticked settings where the label alone is not unique."""
    if [other["label"] for other in table["rows"]].count(row["label"]) == 1:
        return str(row["label"])
    ticked = [s["label"].lower() for s in table["settings"] if row["settings"].get(s["key"])]
    return f"{row['label']} ({', '.join(ticked)})"


def dataset_view(
    name: str,
    about: Mapping[str, Any],
    counts: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """One data set: its decode counts, its order-blind bound and every run on it."""
    miniature = about.get("miniature") or {}
    bound = miniature.get("order_blind_bound_pct")
    ends = [end for run in runs for end in run["interval"]]
    scale = axis([*ends, bound] if any(end is not None for end in ends) else [])
    return {
        "name": name,
        "title": about["title"],
        "subset": about.get("subset", ""),
        "counts": counts,
        "bound": bound,
        "bound_reason": miniature.get("order_blind_reason", ""),
        "scale": scale,
        "runs": runs,
    }


def run_views(
    row: str, metrics: Mapping[str, Any] | None, about: Mapping[str, Any], missing: str
) -> list[dict[str, Any]]:
    """One line per protocol of a row, or one line saying why there is none."""
    line = {
        "row": row,
        "architecture": about.get("architecture", ""),
        "fold": about.get("fold", ""),
        "protocol": "",
        "status": "not-run",
        "reason": missing,
        "value": None,
        "interval": (None, None),
        "top5": None,
        "videos": "",
        "failed": "",
        "partial": "",
    }
    if metrics is None:
        return [line]
    line["status"] = metrics["status"]
    if metrics["status"] == "ok":
        line["status"] = "smoke" if metrics["smoke"] else "measured"
    line["reason"] = metrics["reason"]
    name = "map" if metrics["metric"] == "map" else "top1"
    return [
        {
            **line,
            "protocol": protocol,
            "value": scored.get(f"{name}_pct"),
            "interval": scored.get(f"{name}_ci95_pct") or (None, None),
            "top5": scored.get("top5_pct"),
            "videos": f"{scored['n_scored']:,} of {expected(metrics, scored):,}",
            "failed": scored["n_failed"],
            "partial": scored["n_partial"],
        }
        for protocol, scored in metrics["protocols"].items()
    ] or [line]
