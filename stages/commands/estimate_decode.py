"""`tdn decode DATASET --dry-run`: what decoding will cost, from a sample, before any work."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import DecodePlan
from pipeline.sources.ledger import read_ledger
from pipeline.store.estimate import estimate, finished, unchecked

CORES = (1, 4, 16, 64, 256)


def run(
    work: Workspace, key: str, plan: DecodePlan, *, workers: int | None, sample: int
) -> dict[str, Any]:
    """The expected cost of decoding a data set, as JSON values; writes nothing.

    Takes the ledger of `check` where there is one, and else lists the files without reading them
    all. `wall_s` maps numbers of cores to seconds. Raises AbsentData when nothing is there.
    """
    dataset, raw = plan.dataset, work.raw(key, generated=plan.generated)
    folder, summary = work.frames(key), work.sources(key)
    checked = summary.is_file() and read_json(summary)["status"] == "ok"
    ledger = summary.with_suffix(".parquet")
    rows = read_ledger(ledger) if checked else unchecked(dataset, raw)
    here = max(1, cores() if workers is None else workers)
    cost = estimate(dataset, raw, rows, workers=here, sample=sample)
    return {
        "dataset": key,
        "checked": checked,
        **asdict(cost),
        "wall_s": {str(n): round(cost.wall_on(n), 3) for n in sorted({*CORES, here})},
        "shards_finished": finished(dataset, rows, folder) if checked else 0,
        "free_bytes": shutil.disk_usage(_existing(folder)).free,
    }


def table(cost: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What `run` found as a user reads it: quantity, value, remark."""
    finished = f"{cost['shards_finished']} of them finished"
    rows = [
        ("frames", f"{cost['frames']:,}", ""),
        (
            "store",
            _size(cost["store_bytes"]),
            _percent(cost["store_bytes_error"], cost["store_bytes"]),
        ),
        ("disk, free", _size(cost["free_bytes"]), ""),
        ("shards", str(cost["shards"]), finished),
        ("processor", _time(cost["cpu_s"]), _percent(cost["cpu_s_error"], cost["cpu_s"])),
    ]
    for count, wall_s in cost["wall_s"].items():
        asked = "as asked" if int(count) == cost["workers"] else ""
        rows.append((f"time on {count} cores", _time(wall_s), asked))
    return rows


def remarks(cost: dict[str, Any]) -> list[str]:
    """What a user should know besides the numbers."""
    lines = []
    if not cost["checked"]:
        lines.append("not checked yet: damaged and missing videos may lower these numbers")
    if cost["store_bytes"] > cost["free_bytes"]:
        lines.append(f"the disk is too small: {_size(cost['store_bytes'])} wanted")
    return lines


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def _percent(error: float, value: float) -> str:
    return f"± {100 * error / value:.0f} %" if value else ""


def _size(count: int) -> str:
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
