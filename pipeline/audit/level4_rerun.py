"""Level 4: everything behind a number made again in a clean clone of the last commit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence, Run, environment

EVERYWHERE = ("costs", "ledger", "generated")
"""Roles of files that are the same on every machine: counted, listed or drawn, never trained."""


def check(context: Context) -> Iterator[Link]:
    """Run what the scope's cells come from, in order, in a clone, and compare what comes out.

    Raises UsageError without git or a command to run stages with.
    """
    if not any(True for _ in context.measured()):
        raise UsageError(
            "nothing to run again: no number of ours is asked for",
            do="name a cell that has one; `tdn trace CELL` shows what a cell rests on",
        )
    wanted = {name for cell in context.measured() for name in context.behind(cell)}
    names = context.evidence.in_order(wanted)
    with tempfile.TemporaryDirectory(prefix="tdn-rerun-") as folder:
        clone = Workspace(Path(folder) / "clone", context.work.profile)
        _clone(context, clone)
        for name in names:
            run = context.evidence.runs[name]
            failed = _run(context, clone, run)
            if failed:
                yield _link(
                    run, run.path, Status.UNREADABLE, f"it fails in a clean clone: {failed}"
                )
                return
        again = Evidence(clone)
        for name in names:
            yield from _compare(context, clone, again, context.evidence.runs[name])


def _clone(context: Context, clone: Workspace) -> None:
    words = ["git", "clone", "--quiet", str(context.work.root), str(clone.root)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(
            f"cannot clone this checkout: {(done.stderr.strip().splitlines() or ['no git'])[-1]}",
            do="level 4 needs git and a commit",
        )
    for run in context.evidence.runs.values():
        ledger = any(made.role == "ledger" for made in run.outputs)
        if ledger and not run.inputs:  # given by the user, not generated
            raw = context.work.raw(run.key, generated=False)
            place = clone.raw(run.key, generated=False)
            if raw.is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(raw, target_is_directory=True)
    weights = context.work.root / "data" / "weights"
    if weights.is_dir():
        (clone.root / "data").mkdir(exist_ok=True)
        (clone.root / "data" / "weights").symlink_to(weights, target_is_directory=True)


def _run(context: Context, clone: Workspace, run: Run) -> str:
    """Run one stage in the clone; '' or why it failed."""
    words = [*context.tools.command, run.stage]
    words += [] if run.key == "all" else [run.key]
    env = {**os.environ, "PYTHONPATH": str(clone.root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*words, "--profile", clone.profile],
        cwd=clone.root,
        env=env,
        capture_output=True,
        text=True,
    )
    if not done.returncode:
        return ""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[0] if lines else f"exit {done.returncode}"


def _compare(context: Context, clone: Workspace, again: Evidence, run: Run) -> Iterator[Link]:
    """Bit for bit on the same kind of machine; else numbers within their recorded intervals."""
    other = again.runs.get(run.name)
    if other is None:
        yield _link(run, run.path, Status.UNRECORDED, "the clone left no record")
        return
    before = environment(context.evidence.observed(run.name) or {})
    after = environment(again.observed(run.name) or {})
    alike = before == after
    found = {made.path: made for made in other.outputs}
    for made in run.outputs:
        now = found.get(made.path)
        if now is not None and now.sha256 == made.sha256:
            yield _link(run, made.path, Status.OK, "bit for bit")
        elif alike or made.role in EVERYWHERE:
            detail = "other bytes on the same kind of machine"
            if not alike:
                detail = "other bytes, where the machine makes no difference"
            yield _link(run, made.path, Status.RERUN_MISMATCH, detail)
        elif made.role == "metrics":
            yield _within(context, clone, run, made.path)
        else:
            detail = f"other bytes on another kind of machine ({_differing(before, after)})"
            yield _link(run, made.path, Status.OK, detail)


def _within(context: Context, clone: Workspace, run: Run, path: str) -> Link:
    """Are the accuracies within the intervals that were recorded?"""
    old, new = read_json(context.place(path)), read_json(clone.root / path)
    wrong = []
    for protocol, values in old["protocols"].items():
        for name, interval in values.items():
            if not name.endswith("_ci95_pct") or interval is None:
                continue
            metric = name.replace("_ci95_pct", "_pct")
            value = _value(new, protocol, metric)
            if value is None or not interval[0] <= value <= interval[1]:
                wrong.append(f"{protocol} {metric} {values[metric]}, again {value}")
    status = Status.RERUN_MISMATCH if wrong else Status.OK
    detail = "; ".join(wrong) or "within the recorded intervals, on another kind of machine"
    return _link(run, path, status, detail)


def _value(metrics: dict[str, Any], protocol: str, name: str) -> float | None:
    value = metrics["protocols"].get(protocol, {}).get(name)
    return None if value is None else float(value)


def _differing(before: dict[str, str], after: dict[str, str]) -> str:
    names = sorted({*before, *after})
    return ", ".join(
        f"{n} {before.get(n)} → {after.get(n)}" for n in names if before.get(n) != after.get(n)
    )


def _link(run: Run, path: str, status: Status, detail: str) -> Link:
    do = "look at both records: what differs?" if status is Status.RERUN_MISMATCH else ""
    return Link(Level.RERUN, f"record:{run.name}", "rerun", path, status, detail=detail, do=do)
