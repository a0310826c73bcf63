"""Files among a profile's results that no run record accounts for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status
from pipeline.core.files import is_scratch
from pipeline.core.workspace import Workspace
from pipeline.lineage import root
from pipeline.lineage.evidence import TRIAL


def check(context: Context) -> Iterator[Link]:
    """One link per file that no record accounts for; a folder stands for all inside it."""
    work = context.work
    known = {made.path for run in context.evidence.runs.values() for made in run.outputs}
    known |= {
        work.relative(work.data / "plan"),
        work.relative(work.data / "raw"),
        work.relative(work.data / "code"),
        work.relative(work.reports / "code"),
        work.relative(work.reports / "records"),
        work.relative(root.root_path(work)),
        work.relative(root.signed_path(work)),
        *(work.relative(path) + ".sig" for path in (root.root_path(work), root.signed_path(work))),
    }
    parents = {"/".join(path.split("/")[:n]) for path in known for n in range(1, 9)}
    for base in (work.data, work.run("x").parent, work.reports):
        for place in _unknown(work, base, known, parents) if base.is_dir() else []:
            do = "remove it, or restore the record of the run that made it"
            yield Link(
                Level.LOCK,
                "records",
                "account for",
                place,
                Status.ORPHAN,
                detail="no record names it",
                do=do,
            )


def _unknown(work: Workspace, base: Path, known: set[str], parents: set[str]) -> Iterator[str]:
    todo = [base]
    while todo:
        for path in sorted(todo.pop().iterdir()):
            place = work.relative(path)
            if place in known or _scratch(path.name):
                continue
            if path.is_dir() and place in parents:
                todo.append(path)
            elif path.is_file() or any(
                p.is_file() and not _scratch(p.name) for p in path.rglob("*")
            ):
                yield place


def _scratch(name: str) -> bool:
    """What stages leave while they work, and lists and logs for a person that no stage reads."""
    ours = TRIAL in name or name.startswith(".") or name.endswith((".lock", ".problems.csv"))
    ours |= name in ("resume", "log.jsonl")
    return ours or is_scratch(name)
