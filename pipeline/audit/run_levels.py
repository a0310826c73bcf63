"""An audit: levels in order, over everything or over what one cell or table comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.audit import level0_records as declared
from pipeline.audit import level1_hashes as hashing
from pipeline.audit import level2_recompute as recompute
from pipeline.audit import level3_replay as replay
from pipeline.audit.committed import auditor
from pipeline.audit.context import Context, Tools, open_context
from pipeline.audit.links import Level, Link, Status, counts, limits, worst, worst_of
from pipeline.audit.replay_sample import Sample
from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.schema.base import nearest

SCHEMA = "tdn.audit/2"
_ROW_LEVELS = {
    Level.RECOMPUTE: "scored again",
    Level.REPLAY: "replayed",
    Level.RERUN: "rerun",
}


@dataclass(frozen=True)
class Result:
    """What an audit found. `cells`: {cell id: status} of the cells with a number of ours; `prose`:
    {prose id: status} of the sentences with a rule, whatever numbers decide them."""

    context: Context
    level: Level
    links: tuple[Link, ...]
    cells: Mapping[str, Status]
    prose: Mapping[str, Status]

    @property
    def broken(self) -> list[Link]:
        return [link for link in self.links if link.broken]

    @property
    def to_raw(self) -> frozenset[str]:
        """The cells whose walk was made at this level to the end: raw files that were read."""
        read = {link.source for link in self.links if link.relation == "lists"}
        read = {source for source in read if source.startswith("record:")}
        bad = {link.source for link in self.links if link.status is not Status.OK}
        ledgers = {
            name
            for name, run in self.context.evidence.runs.items()
            if any(made.role == "ledger" for made in run.outputs)
        }
        found = set()
        for cell in self.context.measured():
            behind = self.context.behind(cell) & ledgers
            if behind and all(f"record:{name}" in read - bad for name in behind):
                found.add(str(cell["cell_id"]))
        return frozenset(found)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows there are, and how many were scored again, replayed and rerun."""
        rows = [run for run in self.context.runs() if run.stage == "score"]
        found = {"rows": len(rows)}
        for level, word in _ROW_LEVELS.items():
            good = {
                link.source.rpartition("/")[2]
                for link in self.links
                if link.level == level and link.status is Status.OK
            }
            found[word] = sum(run.key in good for run in rows)
        return found

    @property
    def verdict(self) -> str:
        """'broken'; 'incomplete' when nothing is, but something to look at is absent; 'clean'."""
        if self.broken:
            return "broken"
        absent = any(link.status is Status.UNAVAILABLE for link in self.links)
        return "incomplete" if absent else "clean"

    def as_json(self) -> dict[str, Any]:
        """The whole output, links included, as plain values."""
        stated = read_root(self.context.work)
        return {
            "schema": SCHEMA,
            "profile": self.context.work.profile,
            "level": int(self.level),
            "verdict": self.verdict,
            "root": stated["root"] if stated is not None else None,
            "counts": counts(self.links),
            "auditor": auditor(self.context.work.root)[0],
            "everything": self.context.everything["root"],
            "rows": self.rows,
            "cells": {cell: status.value for cell, status in self.cells.items()},
            "prose": {name: status.value for name, status in self.prose.items()},
            "limits": limits(self.level),
            "links": [link.as_json() for link in self.links],
        }


def find(
    work: Workspace, tools: Tools, *, cell: str | None = None, table: str | None = None
) -> Context:
    """What an audit of everything, of one cell or of one table works from.

    Raises UsageError when nothing was recorded yet or there is no such cell or table.
    """
    context = open_context(work, tools)
    if not context.evidence.runs:
        raise UsageError(
            f"profile {work.profile} has no run records here",
            where=work.relative(work.reports / "records"),
            do=f"make repro PROFILE={work.profile}",
        )
    if cell is None and table is None:
        return context
    if cell is not None:
        if cell not in context.cells:
            raise UsageError(f"no cell '{cell}'", do=nearest(cell, list(context.cells)))
        cells = {cell: context.cells[cell]}
    else:
        names = [f"{t['document']}/{t['table']}" for t in context.tables]
        if table not in names:
            raise UsageError(f"no table '{table}'", do=nearest(str(table), names))
        wanted = f"{table}/"
        cells = {name: c for name, c in context.cells.items() if name.startswith(wanted)}
    shown = {"/".join(name.split("/")[:2]) for name in cells}
    tables = [t for t in context.tables if f"{t['document']}/{t['table']}" in shown]
    scope = {run for found in cells.values() for run in context.behind(found)}
    # A printed number also needs the run that printed it.
    cells_json = work.relative(work.reports / "tables" / "cells.json")
    if (printer := context.evidence.maker(cells_json)) is not None:
        scope.add(printer)
    return replace(context, cells=cells, tables=tuple(tables), prose={}, scope=frozenset(scope))


def audit(
    context: Context,
    level: Level = Level.RECOMPUTE,
    *,
    published: Mapping[str, Any] | None = None,
    signers: Path | None = None,
    sample: Sample = Sample(),
    seed: int = 0,
) -> Result:
    """Check every link up to `level`.

    `published` is a root that the evidence must have and `signers` names who may have signed (both
    as of level 0); `sample` videos of each row, drawn by
    `seed`, are replayed at level 3.
    """
    links = list(_links(context, level, published, signers))
    if level >= Level.REPLAY:
        links += replay.check(context, sample, seed)
    if level >= Level.RERUN:
        from pipeline.audit import level4_rerun as rerun

        links += rerun.check(context)
    return judge(context, level, links)


def judge(context: Context, level: Level, links: Iterable[Link]) -> Result:
    """The links together with what they mean for every cell."""
    found = tuple(links)
    printed = context.work.relative(context.work.reports / "tables" / "cells.json")
    # What is wrong with one cell is that cell's; what is wrong with the file is every cell's.
    whole = (link for link in found if not link.source.startswith("cell:"))
    shared = [link for link in whole if link.path == printed]
    by_run: dict[str, list[Link]] = {}
    for link in found:
        kind, _, name = link.source.partition(":")
        if kind in ("record", "cell"):
            by_run.setdefault(f"{kind}:{name}", []).append(link)
    cells = {}
    for cell in context.measured():
        name = str(cell["cell_id"])
        sources = [f"record:{run}" for run in context.behind(cell)] + [f"cell:{name}"]
        own = [link for source in sources for link in by_run.get(source, [])]
        cells[name] = worst([*own, *shared])
    return Result(context, level, found, cells, _prose(context, found, cells))


def _prose(
    context: Context, links: Sequence[Link], cells: Mapping[str, Status]
) -> dict[str, Status]:
    """What the links mean for every verdict: its own, its file's, and its cells'."""
    own = {link.source: link.status for link in links if link.source.startswith("prose:")}
    path = context.work.relative(context.work.reports / "tables" / "prose.json")
    shared = [link.status for link in links if link.path == path and link.source not in own]
    found = {}
    for name, verdict in context.prose.items():
        if verdict.get("rule") or verdict.get("ours_rule"):
            numbers = [cells[cell] for cell in verdict.get("ours_cells", []) if cell in cells]
            found[name] = worst_of([own.get(f"prose:{name}", Status.UNREADABLE), *numbers, *shared])
    return found


def _links(
    context: Context, level: Level, published: Mapping[str, Any] | None, signers: Path | None
) -> Iterator[Link]:
    yield from declared.check(context, published, signers)
    if level >= Level.HASH:
        yield from hashing.check(context)
    if level >= Level.RECOMPUTE:
        yield from recompute.check(context)
