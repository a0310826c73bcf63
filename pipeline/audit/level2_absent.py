"""Level 2 where results are absent: what is still here must agree with itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, checked
from pipeline.core.errors import stage_command
from pipeline.core.files import read_strict_json
from pipeline.lineage.evidence import Run

_DECIMALS = 1e-4
"""Metrics are rounded to as many digits of a percentage."""


def check(context: Context, run: Run) -> Iterator[Link]:
    """The outputs of a run that cannot be made again: metrics by their own counts, cells by the
    metrics and costs that they name."""
    for made in run.outputs:
        path = made.path
        try:
            if made.role == "metrics":
                wrong = list(_metrics(read_strict_json(context.place(path))))
            elif made.role == "tables":
                path += "/cells.json"
                wrong = [text for cell in context.measured() for text in _cell(context, cell)]
            else:
                continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # reported where the file is digested
        do = f"run {stage_command(run.stage, run.key)} again, where what it reads is"
        source, status = f"record:{run.name}", Status.RECOMPUTE_MISMATCH
        yield checked(Level.RECOMPUTE, source, "agrees with itself", path, wrong, status, do)


def _metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Counts that do not add up, and percentages that no number of right videos gives."""
    for protocol, found in metrics["protocols"].items():
        scored = found["n_scored"]
        if scored + found["n_failed"] != found["n_expected"]:
            yield f"{protocol}: {scored} scored and {found['n_failed']} failed videos are not all"
        for name in ("top1_pct", "top5_pct"):
            value = found.get(name)
            if value is None:
                continue
            right = value * scored / 100
            if not 0 <= right <= scored or abs(right - round(right)) > _DECIMALS * scored:
                yield f"{protocol}: {name} {value} is no share of {scored} videos"
            low, high = found.get(name.replace("_pct", "_ci95_pct")) or (value, value)
            if not low <= value <= high:
                yield f"{protocol}: {name} {value} is outside its interval {low} to {high}"


def _cell(context: Context, cell: Mapping[str, Any]) -> Iterator[str]:
    """Another number, count or interval than the one place that a cell was read from has."""
    about = cell["lineage"]
    if about["rule"] or not about["dataset"] or len(about["sources"]) != 1:
        return
    path = context.place(about["sources"][0]["path"])
    scored = read_strict_json(path)["protocols"][about["protocol"]]
    names = ("n_expected", "n_scored", "n_failed", "n_partial")
    pairs = {name: (cell[name], scored[name]) for name in names}
    pairs["value"] = (cell["measured"], scored[about["metric"]])
    if cell["interval_over"] == "videos":
        interval = scored[about["metric"].replace("_pct", "_ci95_pct")]
        pairs["interval"] = ([cell["ci_low"], cell["ci_high"]], interval)
    for name, (own, found) in pairs.items():
        if own != found:
            yield f"{cell['cell_id']} has {name} {own}, {path.name} has {found}"
