"""`tdn audit`, `tdn trace`, `tdn why`: what the audit needs of the stages, handed to it."""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.audit.audit import Result, audit, find
from pipeline.audit.context import Plans, Tools
from pipeline.audit.links import REMARKS, Level, counts
from pipeline.plan import resolve
from pipeline.workspace import Workspace
from stages.catalogue import Catalogue
from stages.harness import STAGES
from stages.profiles import graph_path


def tools(work: Workspace) -> Tools:
    """How to resolve plans, where the lock is, which stages are made again and how."""
    pure = frozenset(name for name, stage in STAGES.items() if stage.pure)
    return Tools(_plans, graph_path(work).with_name("dvc.lock"), pure, _again)


def run(
    work: Workspace,
    *,
    level: int = int(Level.RECOMPUTE),
    cell: str | None = None,
    table: str | None = None,
    sample: int = 4,
    seed: int = 0,
    published: str | None = None,
) -> Result:
    """Audit a profile, a table or a cell; changes nothing.

    `sample` videos of each row are replayed at level 3. Raises UsageError when there is nothing to
    audit or no such cell or table.
    """
    context = find(work, tools(work), cell=cell, table=table)
    result = audit(context, Level(min(level, Level.RECOMPUTE)), published=published)
    if level <= Level.RECOMPUTE:
        return result
    from stages import audit_replay

    return audit_replay.go_on(result, Level(level), sample, seed)


def closing(work: Workspace) -> tuple[bool, str]:
    """Whether a finished `repro` passes level 2, and the line that says so."""
    result = run(work)
    failing = [link for link in result.broken if link.status not in REMARKS]
    remarks = counts(link for link in result.broken if link.status in REMARKS)
    said = "; ".join(f"{n} {status}" for status, n in remarks.items())
    intact = sum(not status_broken(status) for status in result.cells.values())
    line = f"audit: {len(result.links) - len(result.broken)} of {len(result.links)} links hold, "
    line += f"{intact} of {len(result.cells)} numbers trace back"
    if said:
        line += f" ({said}: see `tdn audit`)"
    for link in failing[:5]:
        line += f"\n  {link.status}: {link.path}: {link.detail}"
    return not failing, line


def status_broken(status: str) -> bool:
    return status not in ("ok", "unavailable")


def _plans(work: Workspace) -> Plans:
    found = resolve(work, Catalogue(work.root))
    return {f"{stage}/{key}": plan for (stage, key), plan in found.items()}


def _again(work: Workspace, stage: str, key: str, params: dict[str, Any]) -> None:
    importlib.import_module(f"stages.{stage}").run(work, key, params=params)
