"""What the report shows of tables, data sets and runs, as plain values that its template prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from pipeline.reporting.anchors import (
    TRACE,
    anchor,
    cell_link,
    data_link,
    linked,
    run_link,
    table_page,
)
from pipeline.reporting.build_tables import number
from pipeline.reporting.cells import MEANING, Status
from pipeline.reporting.writers import UNIT_TEXT

SYMBOL = {
    "verified": "✓",
    "differs": "≠",
    "measured": "●",
    "smoke": "≈",
    "cited": "“",
    "not-run": "○",
    "partial": "◐",
    "claim-conflict": "⇄",
    "holds": "✓",
    "fails": "✗",
    "undecided": "?",
    "setting": "·",
}
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
SHORT_DIGEST = 12


@dataclass(frozen=True)
class Scale:
    """The axis of an interval plot, in the numbers' unit; positions are percent of its width."""

    low: float
    high: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        return round(100 * (value - self.low) / span, 2) if span else 50.0


def axis(values: Iterable[float], step: float = 5.0) -> Scale | None:
    """An axis from 0 to 100 at most that holds all values, ending on multiples of `step`."""
    found = list(values)
    if not found:
        return None
    low, high = step * floor(min(found) / step), step * ceil(max(found) / step)
    return Scale(max(0.0, low), high if high > low else low + step)


def plot(
    scale: Scale | None, value: float | None, low: float | None, high: float | None
) -> dict[str, float] | None:
    """Positions of a dot with its interval; None when there is nothing to draw."""
    if scale is None or value is None or low is None or high is None:
        return None
    left = scale.at(low)
    return {"dot": scale.at(value), "left": left, "width": round(scale.at(high) - left, 2)}


def tolerances(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """How far a measurement may be from its claim, in words: one text per unit that has claims."""
    found: dict[str, dict[str, None]] = {}
    for column in (column for table in tables for column in table["columns"]):
        given = column["tolerance"]
        words = [f"{given[name]:g} {unit}" for name, unit in _TOLERANCES.items() if given[name]]
        if words:
            found.setdefault(_MEASURED[column["unit"]], {})[" or ".join(words)] = None
    return [f"{name} {', elsewhere '.join(words)}" for name, words in found.items()]


def status_counts(cells: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many cells have each status, with its meaning; zeros are left out."""
    found = [cell["status"] for cell in cells.values()]
    return [
        {"status": s.value, "symbol": SYMBOL[s.value], "count": n, "meaning": MEANING[s]}
        for s in Status
        if (n := found.count(s.value))
    ]


def table_view(table: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One table of cells.json for the template."""
    table_id = f"{table['document']}/{table['table']}"
    columns: list[dict[str, Any]] = []
    for column in table["columns"]:
        key = column["key"]
        own = [cells[f"{table_id}/{r['row']}/{key}"] for r in table["rows"] if key in r["cells"]]
        drawn = [c for c in own if c["ci_low"] is not None and column["kind"] == "metric"]
        bounds = [bound for c in drawn for bound in (c["ci_low"], c["ci_high"])]
        first_metric = all(c["scale"] is None for c in columns)
        columns.append(
            {
                **column,
                "claimed": any(cell["claimed"] for cell in own),
                "unit_text": UNIT_TEXT[column["unit"]],
                "scale": axis(bounds) if first_metric else None,
            }
        )
    rows = []
    for row in table["rows"]:
        shown = [
            _cell_view(cells.get(f"{table_id}/{row['row']}/{column['key']}"), column)
            for column in columns
        ]
        texts = [row["settings"].get(setting["key"], "") for setting in table["settings"]]
        runs = list(dict.fromkeys(c["run"] for c in shown if c is not None and c["run"]))
        rows.append({**row, "settings": texts, "cells": shown, "runs": runs})
    counted = any(row["n_failed"] != "" for row in table["rows"])
    orderings = [_ordering_view(o, table) for o in table["orderings"]]
    return {
        **table,
        "id": anchor(table["document"], table["table"]),
        "trace": f"{TRACE}{table_page(table_id)}",
        "title": f"Table {table['table']}" if table["table"][0].isdigit() else "Table",
        "columns": columns,
        "rows": rows,
        "counted": counted,
        "orderings": orderings,
        "claimed": any(column["claimed"] for column in columns),
        "files": [f"tables/{table['document']}/{table['table']}.{s}" for s in ("csv", "md", "tex")],
    }


def _cell_view(cell: Mapping[str, Any] | None, column: Mapping[str, Any]) -> dict[str, Any] | None:
    if cell is None:
        return None
    decimals = column["decimals"]
    low, high = cell["ci_low"], cell["ci_high"]
    lineage = cell["lineage"]
    return {
        "id": cell["cell_id"],
        "trace": cell_link(cell["cell_id"]),
        "claimed": cell["claimed"] or "",
        "measured": number(cell["measured"], decimals),
        "interval": "" if low is None else f"{number(low, decimals)}–{number(high, decimals)}",
        "status": cell["status"],
        "symbol": SYMBOL[cell["status"]],
        "smoke": cell["smoke"],
        "reason": cell["reason"],
        "note": cell["note"],
        "plot": plot(column["scale"], cell["measured"], low, high),
        "run": lineage["run"],
    }


def _ordering_view(ordering: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    table_id = f"{table['document']}/{table['table']}"
    labels = {row["row"]: _full_label(row, table) for row in table["rows"]}
    titles = {column["key"]: column["label"] for column in table["columns"]}
    pairs = [
        {
            **pair,
            "first_label": labels[pair["first"]],
            "second_label": labels[pair["second"]],
            "claimed_text": signed(pair["claimed_difference"], 1),
            "measured_text": signed(pair["measured_difference"], 2),
            "interval": f"{signed(pair['ci_low'], 2)} to {signed(pair['ci_high'], 2)}",
            "p_text": p_text(pair["p_holm"]),
            "words": VERDICT[pair["verdict"]],
        }
        for pair in ordering["pairs"]
    ]
    label = titles[ordering["column"]]
    linked_words = linked(ordering["in_words"], f"{TRACE}{table_page(table_id)}")
    return {**ordering, "pairs": pairs, "label": label, "linked_words": linked_words}


def _full_label(row: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """The printed label, with the ticked settings where the label alone is not unique."""
    same = [other for other in table["rows"] if other["label"] == row["label"]]
    if len(same) == 1:
        return str(row["label"])
    ticked = [s["label"].lower() for s in table["settings"] if row["settings"].get(s["key"])]
    return f"{row['label']} ({', '.join(ticked)})"


def signed(value: float | None, decimals: int) -> str:
    """'+1.30', '−0.40', '' for none."""
    if value is None:
        return ""
    return f"{value:+.{decimals}f}".replace("-", "−")


def p_text(value: float) -> str:
    """A p value for people."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def dataset_view(
    name: str,
    about: Mapping[str, Any],
    counts: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """One data set: its decode counts, its order-blind bound and every run on it."""
    miniature = about.get("miniature") or {}
    bound = miniature.get("order_blind_bound_pct")
    bounds = [r[b] for r in runs for b in ("ci_low", "ci_high") if r[b] is not None]
    scale = axis([*bounds, *([bound] if bound is not None and bounds else [])])
    return {
        "name": name,
        "id": anchor("data", name),
        "trace": data_link(name),
        "title": about["title"],
        "counts": counts,
        "bound": bound,
        "bound_reason": miniature.get("order_blind_reason", ""),
        "scale": scale,
        "bound_at": None if bound is None or scale is None else scale.at(bound),
        "runs": [
            {**run, "plot": plot(scale, run["value"], run["ci_low"], run["ci_high"])}
            for run in runs
        ],
    }


def _run_status(metrics: Mapping[str, Any]) -> dict[str, str]:
    status = str(metrics["status"])
    if status == "ok":
        status = "smoke" if metrics["smoke"] else "measured"
    return {"status": status, "symbol": SYMBOL[status]}


def run_views(
    row: str, metrics: Mapping[str, Any] | None, about: Mapping[str, Any], missing: str
) -> list[dict[str, Any]]:
    """One line per protocol of a row, or one line saying why there is none."""
    base = {
        "row": row,
        "trace": run_link(row),
        "architecture": about.get("architecture", ""),
        "fold": about.get("fold", ""),
        "members": about.get("members", []),
        "value": None,
        "ci_low": None,
        "ci_high": None,
        "top5": "",
        "videos": "",
        "failed": "",
        "partial": "",
    }
    if metrics is None:
        return [{**base, "protocol": "", "status": "not-run", "symbol": "○", "reason": missing}]
    status = _run_status(metrics)
    lines = []
    for protocol, found in metrics["protocols"].items():
        name = "map" if metrics["metric"] == "map" else "top1"
        value, interval = found.get(f"{name}_pct"), found.get(f"{name}_ci95_pct") or (None, None)
        lines.append(
            {
                **base,
                **status,
                "protocol": protocol,
                "metric": "mAP" if name == "map" else "top-1",
                "value": value,
                "ci_low": interval[0],
                "ci_high": interval[1],
                "text": number(value, 2),
                "interval": ""
                if interval[0] is None
                else f"{number(interval[0], 2)}–{number(interval[1], 2)}",
                "top5": number(found.get("top5_pct"), 2),
                "videos": f"{found['n_scored']} of {found['n_expected']}",
                "failed": found["n_failed"],
                "partial": found["n_partial"],
                "reason": metrics["reason"],
            }
        )
    return lines or [{**base, **status, "protocol": "", "reason": metrics["reason"]}]
