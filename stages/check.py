"""Stage `check`: lists against files, the ledger of sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CheckPlan
from pipeline.sources.ledger import check, read_ledger, refuse_if_bad
from pipeline.sources.problems import (
    Problem,
    list_problems,
    probe,
    read_problems,
    write_problems,
)

Progress = Callable[[int, int], None]


def run(
    work: Workspace,
    key: str,
    plan: CheckPlan,
    *,
    record_absent: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write the ledger of a data set and, beside it, `<data set>.problems.csv`: what to mend."""
    summary = work.sources(key)
    try:
        check(
            plan.dataset,
            work.raw(key, generated=plan.generated),
            summary,
            cache=work.root / ".tdn" / "hashes" / f"{work.profile}.{key}.parquet",
            record_absent=record_absent,
            progress=progress,
        )
    finally:  # the list is wanted most when too much is wrong
        if summary.is_file():
            write_problems(_list(work, key), _problems(work, key))


def look_inside(
    work: Workspace, key: str, plan: CheckPlan, *, progress: Progress | None = None
) -> None:
    """Decode the first frames of every video of the ledger and add to the list what cannot be
    opened or is too short. Raises DataError when that makes too many unusable videos."""
    rows = read_ledger(work.sources(key).with_suffix(".parquet"))
    raw = work.raw(key, generated=plan.generated)
    bad = probe(plan.dataset, raw, rows, cores(), progress)
    write_problems(_list(work, key), _problems(work, key) + bad)
    seen = {finding.video_id: (finding.status, finding.reason) for finding in bad}
    judged = [
        (row.video_id or "", *seen.get(row.video_id or "", (row.status, row.reason)))
        for row in rows
    ]
    refuse_if_bad(plan.dataset, "check", judged)


def _list(work: Workspace, key: str) -> Path:
    return work.sources(key).with_suffix(".problems.csv")


def _problems(work: Workspace, key: str) -> list[Problem]:
    summary = work.sources(key)
    problems = read_json(summary).get("problems", [])
    return list_problems(problems, read_ledger(summary.with_suffix(".parquet")))


def list_lines(work: Workspace, key: str) -> list[str]:
    """Where the list is and how much of what is in it."""
    found = read_problems(_list(work, key))
    counts = Counter(finding.status for finding in found)
    words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return [f"  to mend: {words}; see {work.relative(_list(work, key))}"] if found else []


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
    return found + remark_lines(summary)


def remark_lines(summary: dict[str, Any]) -> list[str]:
    """Remarks by kind, each with its count and its first examples."""
    found = []
    for kind, about in summary["remarks"].items():
        more = about["count"] - len(about["examples"])
        rest = f"; and {more} more" if more else ""
        found.append(f"    {about['count']} × {kind}: {'; '.join(about['examples'])}{rest}")
    return ["  remarks:", *found] if found else ["  remarks: none"]
