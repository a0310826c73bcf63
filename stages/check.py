"""Stage `check`: lists against files, the ledger of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.manifest_dataset import Dataset
from pipeline.sources import check
from pipeline.workspace import Workspace


def run(
    work: Workspace,
    key: str,
    *,
    params: dict[str, Any],
    record_absent: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the ledger of a data set; `params["dataset"]` is its resolved manifest."""
    check(
        Dataset.model_validate(params["dataset"]),
        work.raw(key),
        work.sources(key),
        cache=work.root / ".tdn" / "hashes" / f"{work.profile}.{key}.parquet",
        record_absent=record_absent,
        progress=progress,
    )


def lines(summary: dict[str, Any]) -> list[str]:
    """The summary as a user reads it: counts, splits against the official numbers, problems."""
    if summary["status"] == "absent":
        return [f"{summary['dataset']} is absent: {summary['reason']}"]
    counts = ", ".join(f"{count} {status}" for status, count in summary["counts"].items())
    found = [f"{summary['dataset']}: {summary['listed']} listed videos: {counts}"]
    found.append(f"  {'split':<16} {'listed':>8} {'expected':>9} {'usable':>8}")
    for name, split in summary["splits"].items():
        expected = split.get("expected")
        note = "" if expected in (None, split["listed"]) else "  differs"
        shown = "-" if expected is None else f"{expected}"
        found.append(f"  {name:<16} {split['listed']:>8} {shown:>9} {split['usable']:>8}{note}")
    found += [f"  {problem}" for problem in summary["problems"]]
    return found
