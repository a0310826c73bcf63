"""Level 4: everything behind a number made again in a clean clone of the last commit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status
from pipeline.audit.shadow import link_in
from pipeline.core.errors import UsageError
from pipeline.core.files import read_strict_json
from pipeline.core.workspace import OWN, Workspace
from pipeline.lineage.evidence import Evidence, Run, environment
from pipeline.reporting.results import headline
from pipeline.scores.reference import bounds, read_results, reference_path

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
    for given in ("data/weights", OWN):  # the user's files, in no commit
        link_in(context.work.root / given, clone.root / given)


def _run(context: Context, clone: Workspace, run: Run) -> str:
    """Run one stage in the clone; '' or why it failed."""
    words = [*context.tools.command, run.stage]
    words += [] if run.key == "all" else [run.key]
    env = {**os.environ, "PYTHONPATH": str(clone.root)}
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
    """Bit for bit on the same kind of machine; else numbers where the reference has them."""
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
    """Do the accuracies lie where trainings lie that differ in their seeds alone?

    Intervals over videos do not tell: training again moves a number as well.
    """
    old, new = read_strict_json(context.place(path)), read_strict_json(clone.root / path)
    name = headline(new)
    known = read_results(reference_path(context.work.root, context.work.profile))
    said: dict[Status, list[str]] = {}
    for protocol, scored in new["protocols"].items():
        kind = new.get("identity", ""), protocol, name
        values = {one.predictions: one.value_pct for one in known if one.kind == kind}
        found = bounds({kind: ([*values.values()], scored["n_scored"])}).get(kind)
        before = old["protocols"].get(protocol, {}).get(name)
        words = f"{protocol} {name} {before}, again {scored.get(name)}"
        if found is None:
            said.setdefault(Status.UNAVAILABLE, []).append(words)
        elif scored.get(name) is None or not found.holds(scored[name]):
            far = f"{found.low_pct:.1f} to {found.high_pct:.1f}"
            said.setdefault(Status.RERUN_MISMATCH, []).append(f"{words}, outside {far}")
    if wrong := said.get(Status.RERUN_MISMATCH):
        return _link(run, path, Status.RERUN_MISMATCH, "; ".join(wrong))
    if unknown := said.get(Status.UNAVAILABLE):
        detail = "; ".join(unknown)
        detail += "; no reference tells how far trainings lie apart"
        return _link(run, path, Status.UNAVAILABLE, detail)
    return _link(run, path, Status.OK, "within the reference, on another kind of machine")


def _differing(before: dict[str, str], after: dict[str, str]) -> str:
    names = sorted({*before, *after})
    return ", ".join(
        f"{n} {before.get(n)} → {after.get(n)}" for n in names if before.get(n) != after.get(n)
    )


def _link(run: Run, path: str, status: Status, detail: str) -> Link:
    do = {
        Status.RERUN_MISMATCH: "look at both records: what differs?",
        Status.UNAVAILABLE: "make a reference: `make repro SEED=1`, `tdn reference`, and so on",
    }.get(status, "")
    return Link(Level.RERUN, f"record:{run.name}", "rerun", path, status, detail=detail, do=do)
