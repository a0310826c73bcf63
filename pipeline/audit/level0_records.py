"""Level 0: do records, plans, `dvc.lock`, cells and each other's digests tell one story?

Reads no data; the manifests and the code are read to resolve the plans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.audit import materials, orphans, quoted, signatures, statements
from pipeline.audit.committed import auditor, changed_code, changed_manifests
from pipeline.audit.context import Context, Plans
from pipeline.audit.differ import plan_changes
from pipeline.audit.dvc_lock import LockedStage, find_stage
from pipeline.audit.links import Level, Link, Status, checked, some
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import json_bytes, sha256_file
from pipeline.core.workspace import OWN, is_own
from pipeline.lineage import root
from pipeline.lineage.evidence import Artefact, Run, environment
from pipeline.reporting.prose import COUNTED

OWN_MANIFESTS = "own manifests"
_COMPARED = ("verified", "within-tolerance", "differs")


def check(
    context: Context, published: Mapping[str, Any] | None = None, signers: Path | None = None
) -> Iterator[Link]:
    """Every link of level 0.

    `published` is a root that the evidence must have (`root`, and what it covers where that is
    known); `signers` a file of the keys that may have signed, as of `ssh-keygen`.
    """
    yield from _foundations(context)
    for run in context.runs():
        yield from _run(context, run)
    if context.scope is None:
        yield from materials.leftovers(context)
    yield from materials.unrecorded(context)
    yield from _definitions(context)
    yield from _own(context)
    yield from _code(context)
    yield from _environments(context)
    for cell in context.measured():
        yield _cell(context, cell)
    if context.scope is None:
        yield from orphans.check(context)
        yield from statements.check(context)
        yield from quoted.check(context)
    yield _root(context, published)
    yield from signatures.check(context, signers)


def _foundations(context: Context) -> Iterator[Link]:
    """What everything else is held against: it must parse."""
    for name, found in (("manifests", context.plans), ("dvc.lock", context.lock)):
        if isinstance(found, TdnError):
            where = found.where or context.work.relative(context.tools.lock)
            path = where.partition(",")[0]
            yield Link(
                Level.LOCK, name, "says", path, Status.UNREADABLE, detail=found.what, do=found.do
            )
    if context.problem:
        path = context.work.relative(context.work.reports / "tables" / "cells.json")
        detail, do = context.problem, "make the tables again: `make repro`"
        yield Link(Level.LOCK, "cells", "says", path, Status.UNREADABLE, detail=detail, do=do)


def _run(context: Context, run: Run) -> Iterator[Link]:
    source = f"record:{run.name}"
    if run.problem:
        status = Status.RECORD_TAMPERED if run.tampered else Status.UNREADABLE
        do = f"restore it from git, or run {stage_command(run.stage, run.key)} again"
        yield Link(Level.LOCK, source, "is", run.path, status, detail=run.problem, do=do)
    else:
        yield Link(Level.LOCK, source, "is", run.path, declared=run.sha256, actual=run.sha256)
    if not run.plan:
        return
    yield from _planned(context, run, source)
    yield from materials.check(context, run)
    if not isinstance(context.lock, TdnError):
        yield _locked(context, run, find_stage(context.lock, run), source)
    for read in run.inputs:
        yield from _read(context, run, read, source)


def _planned(context: Context, run: Run, source: str) -> Iterator[Link]:
    """Is the run still what the manifests and the code ask for?"""
    if isinstance(context.plans, TdnError):
        return
    plan = context.plans.get(run.name)
    if plan is None:
        return  # a stage that does not exist: see `materials`
    found = plan_changes(run.plan, plan, run.code)
    if _not_here(context.plans, run, found):
        detail = "the user's files that it was made from are not on this machine"
        yield Link(Level.LOCK, source, "planned by", run.path, Status.UNAVAILABLE, detail=detail)
        return
    path, do = context.work.plan(run.stage, run.key), "`make repro`, or take the edit back"
    place = context.work.relative(path)
    yield checked(Level.LOCK, source, "planned by", place, found, Status.STALE_INPUT, do)


def _not_here(plans: Plans, run: Run, changes: list[str]) -> bool:
    """Whether nothing differs but that files which a user puts there are not here."""
    given = ("raw ", "checkpoint.sha256 ", "checkpoint.class_names_sha256 ")
    absent = [text for text in changes if text.startswith(given) and text.endswith("→ nothing")]
    if len(changes) == 1 and changes[0].startswith("identity "):  # of a row, from its files
        train = plans.get(f"train/{run.key}", {}).get("params", {})
        data = plans.get(f"check/{run.params.get('dataset')}", {}).get("params", {})
        imported = train.get("checkpoint", {"sha256": ""})["sha256"] is None
        return imported or (data.get("raw") is None and not data.get("generated", True))
    return bool(changes) and absent == changes


def _locked(context: Context, run: Run, stage: LockedStage | None, source: str) -> Link:
    path = context.work.relative(context.tools.lock)
    if stage is None:
        detail = "dvc.lock does not know this run: it was made outside the graph"
        do = "`make repro` runs what the graph does not know"
        return Link(Level.LOCK, source, "locked by", path, Status.UNRECORDED, detail=detail, do=do)
    wrong = []
    plan = context.work.relative(context.work.plan(run.stage, run.key))
    known = stage.deps.get(plan)
    text = json_bytes(run.plan)
    if known is not None and known.md5 != hashlib.md5(text, usedforsecurity=False).hexdigest():
        wrong.append(f"{plan} is another")
    pairs = [(item, stage.deps) for item in run.inputs] + [(i, stage.outs) for i in run.outputs]
    for item, entries in pairs:
        entry = entries.get(item.path)
        if entry is not None and entry.bytes is not None and entry.bytes != item.bytes:
            wrong.append(f"{item.path} has {entry.bytes} bytes there, {item.bytes} in the record")
    do = f"`make repro`, or restore {path} and the record from git"
    return checked(Level.LOCK, source, "locked by", path, wrong, Status.LOCK_MISMATCH, do)


def _read(context: Context, run: Run, read: Artefact, source: str) -> Iterator[Link]:
    """Did the run see what the maker of its input wrote?"""
    made = context.evidence.made(read.path)
    if made is None:
        if context.product_of(read.path) is not None:
            yield Link(
                Level.LOCK,
                source,
                "read",
                read.path,
                Status.UNRECORDED,
                detail="no record says what made it: the chain ends here",
                do="restore the record from git, or run the stage that makes it again",
            )
        return
    if made.path == read.path:
        declared: str | None = made.sha256
    else:
        declared = made.files.get(read.path[len(made.path) + 1 :])
    if declared is None:
        return
    maker = context.evidence.maker(read.path) or ""
    wrong = [f"it saw another file than {maker} made"] if declared != read.sha256 else []
    do = f"run {stage_command(run.stage, run.key)} again"
    yield checked(
        Level.LOCK, source, "read", read.path, wrong, Status.STALE_INPUT, do, declared, read.sha256
    )


def _definitions(context: Context) -> Iterator[Link]:
    """The files that say which definitions a code digest stands for."""
    runs = {run.code_path: run for run in context.runs() if run.code_path}
    for path, run in sorted(runs.items()):
        digest = str(run.plan["code"]["digest"])
        wrong = [f"{run.code_problem}: it lists the definitions that {run.name} ran"]
        status = Status.MISSING if run.code_problem == "missing" else Status.HASH_MISMATCH
        do = f"restore it from git, or run {stage_command(run.stage, run.key)} again"
        wrong = wrong if run.code_problem else []
        yield checked(Level.LOCK, "code", "lists", path, wrong, status, do, declared=digest)


def _code(context: Context) -> Iterator[Link]:
    """Code of runs and of this audit, and manifests, that no commit holds."""
    if context.commit is None:
        detail = "no git here: cannot say whether code and manifests are in a commit"
        yield Link(Level.LOCK, "code", "committed", ".git", Status.UNAVAILABLE, detail=detail)
        return
    beside = {path for run in context.runs() for path in run.code if not path.endswith(".py")}
    _, own = auditor(context.work.root)
    for path, labels in changed_code(context.commit, beside).items():
        users = [r.name for r in context.runs() if labels & {*map(_plain, r.code.get(path, ()))}]
        users += ["this audit itself"] if path in own else []
        if users:
            shown = f"{some(sorted(labels))}: in no commit, and used by {some(users)}"
            do = "commit it; what it ran need not run again"
            yield Link(
                Level.LOCK, "code", "committed", path, Status.DIRTY_CODE, detail=shown, do=do
            )
    for path in changed_manifests(context.commit):
        detail, do = "what it says is in no commit", "commit it, or take the edit back"
        yield Link(
            Level.LOCK, "manifests", "committed", path, Status.DIRTY_CODE, detail=detail, do=do
        )


def _own(context: Context) -> Iterator[Link]:
    """The user's own manifests that the results rest on: named, and held against no commit."""
    folder, profile = context.work.root / OWN, context.work.profile
    plans = {} if isinstance(context.plans, TdnError) else context.plans
    keys = [key for stage, _, key in (name.partition("/") for name in plans) if stage == "check"]
    paths = [folder / "datasets" / f"{key}.yaml" for key in keys]
    if is_own(profile):
        paths += [folder / "profiles" / f"{profile}.yaml", *(folder / "tables").glob("*.yaml")]
        paths += [*folder.glob("*.csv"), *folder.glob("*.yaml")]
    if named := sorted(context.work.relative(path) for path in paths if path.is_file()):
        detail = f"your own manifests, in no commit: {', '.join(named)}"
        yield Link(Level.LOCK, OWN_MANIFESTS, "are", OWN, detail=detail)


def _plain(label: str) -> str:
    """A definition's own label, without what `code_digest` adds where a name is there twice."""
    return label.partition(" →")[0].rstrip("'")


def _environments(context: Context) -> Iterator[Link]:
    """Were the rows of each table made with the same versions on the same kind of processor?"""
    for table in context.tables:
        name = f"{table['document']}/{table['table']}"
        cells = [c for c in context.measured() if c["cell_id"].split("/")[:2] == name.split("/")]
        cells = [cell for cell in cells if cell["lineage"]["dataset"]]
        behind = {run for cell in cells for run in context.behind(cell)}
        seen: dict[tuple[str, str], dict[str, list[str]]] = {}
        for run in sorted(behind):
            about = context.evidence.observed(run)
            for what, value in environment(about or {}).items():
                place = seen.setdefault((context.evidence.runs[run].stage, what), {})
                place.setdefault(value, []).append(run)
        mixed = [
            f"{stage}: {what} " + " / ".join(f"{v} ({some(r, 2)})" for v, r in values.items())
            for (stage, what), values in seen.items()
            if len(values) > 1
        ]
        path = context.work.relative(context.work.reports / "tables" / f"{name}.csv")
        do = "make the rows of one table on one kind of machine"
        yield checked(Level.LOCK, f"table:{name}", "made in", path, mixed, Status.MIXED_ENV, do)


def _cell(context: Context, cell: Mapping[str, Any]) -> Link:
    """Do a cell's sources fit the records, and may it claim what it claims?"""
    source, path = f"cell:{cell['cell_id']}", f"reports/{context.work.profile}/tables/cells.json"
    wrong = []
    for item in cell["lineage"]["sources"]:
        made = context.evidence.made(item["path"])
        if made is not None and context.is_leftover(context.evidence.maker(item["path"]) or ""):
            wrong.append(f"no manifest asks for the run that made {item['path']}")
        if made is None:
            # Measured outside the graph: a time, say.
            place = context.place(item["path"])
            if not place.is_file() or sha256_file(place) != item["sha256"]:
                wrong.append(f"it was made from another {item['path']}")
        elif made.path == item["path"] and made.sha256 != item["sha256"]:
            wrong.append(f"it was made from another {item['path']}")
    false = []
    if cell["unit"] == "percent" and not 0 <= cell["measured"] <= 100:
        false.append(f"{cell['measured']:g} is no percentage")
    smoke = context.evidence.smoke(context.behind(cell)) if cell["unit"] not in COUNTED else None
    if smoke is not None and cell["status"] in _COMPARED:
        false.append(f"it is '{cell['status']}' and depends on miniature data ({smoke})")
    do = "make the tables again: `tdn tables`"
    if false:
        return checked(Level.LOCK, source, "claims", path, false, Status.RECOMPUTE_MISMATCH, do)
    return checked(Level.LOCK, source, "measured from", path, wrong, Status.STALE_INPUT, do)


def _root(context: Context, published: Mapping[str, Any] | None) -> Link:
    """Is the root digest what the records give, and is it, or that of all results, published?"""
    path = context.work.relative(root.root_path(context.work))
    stated = root.read_root(context.work)
    if stated is None:
        detail, do = "it is missing or does not parse", "make the tables again: `make repro`"
        return Link(Level.LOCK, "root", "covers", path, Status.MISSING, detail=detail, do=do)
    found = root.compute(context.evidence, stated.get("reads", []))
    actual = found["root"]
    words, do = [], ""
    if stated["root"] != actual:
        do = "make the tables again: `make repro`"
        words = root.differences(stated, found) or ["what it says it covers was edited"]
    declared = stated["root"]
    if published is not None:
        declared = published["root"]
        if declared not in (actual, context.everything["root"]):
            now = root.compute(context.evidence, published.get("reads", []))
            others = root.differences(published, now) if "reads" in published else []
            words.append(f"published {declared}" + (f": other {some(others)}" if others else ""))
    return checked(
        Level.LOCK, "root", "covers", path, words, Status.ROOT_MISMATCH, do, declared, actual
    )
