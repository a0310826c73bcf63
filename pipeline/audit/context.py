"""What every level of an audit works from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.audit.dvc_lock import LockedStage, read_lock
from pipeline.audit.links import Level, Link, Status
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import canonical_json, read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.code_definitions import PACKAGES
from pipeline.lineage.evidence import Evidence, Run

Plans = dict[str, dict[str, Any]]
Again = Callable[[Workspace, str, str, dict[str, Any]], None]
"""Runs a stage (name, key, parameters) in another workspace."""


@dataclass(frozen=True)
class Tools:
    """What an audit needs of the stages, which this package never imports.

    `plans` resolves the manifests into {'stage/key': plan}. `pure` names the stages that `again`
    makes again in seconds from what their records list, without torch; `sampled` those that work
    video by video, which it makes again for a few videos. `command` starts the command line.
    """

    plans: Callable[[Workspace], Plans]
    lock: Path
    pure: frozenset[str] = frozenset()
    sampled: frozenset[str] = frozenset()
    again: Again | None = None
    command: tuple[str, ...] = ()


@dataclass
class Context:
    """One audit: the evidence, and which runs and cells it is about (None: all).

    `prose`: the verdicts on sentences by id; an audit of one cell or table has none.
    """

    work: Workspace
    tools: Tools
    evidence: Evidence
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: tuple[Mapping[str, Any], ...] = ()
    prose: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scope: frozenset[str] | None = None
    cached: bool = False
    """Whether digests from before are believed of files whose inode, size and times have stayed."""

    @cached_property
    def plans(self) -> Plans | TdnError:
        """Every plan as the manifests and the code have it now, or why there is none."""
        try:
            found = self.tools.plans(self.work)
        except TdnError as error:
            return error
        return {name: json.loads(canonical_json(plan)) for name, plan in found.items()}

    @cached_property
    def lock(self) -> dict[str, LockedStage] | TdnError:
        try:
            return read_lock(self.tools.lock)
        except TdnError as error:
            return error

    @cached_property
    def uncommitted(self) -> frozenset[str] | None:
        """Source files that differ from the last commit or are in none; None without git."""
        try:
            words = ["status", "--porcelain", "--no-renames", "-z", "-uall", "--", *PACKAGES]
            done = subprocess.run(
                ["git", "-C", str(self.work.root), *words],
                capture_output=True,
                text=True,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        return frozenset(item[3:] for item in done.stdout.split("\0") if len(item) > 3)

    def runs(self) -> Iterator[Run]:
        """The runs that this audit is about, by name."""
        for name, run in self.evidence.runs.items():
            if self.scope is None or name in self.scope:
                yield run

    def params(self, run: Run) -> Mapping[str, Any]:
        """What the manifests ask of a run; what its record says where they ask for none."""
        plan = self.plans.get(run.name) if isinstance(self.plans, dict) else None
        params: Mapping[str, Any] = (plan or run.plan)["params"]
        return params

    def cache(self, name: str) -> Path | None:
        """Where digests of a data set, or of results, are kept; None where none are believed."""
        path = self.work.root / ".tdn" / "hashes" / f"{self.work.profile}.{name}.parquet"
        return path if self.cached else None

    @property
    def cells_in_order(self) -> dict[str, Mapping[str, Any]]:
        """The cells in the order of the tables, which is that of the printed ones."""
        addresses = (
            f"{table['document']}/{table['table']}/{row['row']}/{column}"
            for table in self.tables
            for row in table["rows"]
            for column in row["cells"]
        )
        return {address: self.cells[address] for address in addresses if address in self.cells}

    def measured(self) -> Iterator[Mapping[str, Any]]:
        """The cells with a number of ours that this audit is about."""
        for cell in self.cells.values():
            if cell.get("measured") is not None:
                yield cell

    def behind(self, cell: Mapping[str, Any]) -> set[str]:
        """The runs that a cell's number comes from."""
        return self.evidence.behind(source["path"] for source in cell["lineage"]["sources"])

    def observed_end(self, name: str) -> str | None:
        """When a run ended, as its record observed it."""
        about = self.evidence.observed(name) or {}
        return about.get("ended")

    def place(self, path: str) -> Path:
        return self.work.root / path

    def absent_place(self, path: str) -> str | None:
        """The whole place that is absent here and that a path lies in; None: it should be there.

        Data and runs are not part of a clone, and raw data may be licensed: where all of them, or
        all of a data set's, are absent, a file of theirs is unavailable rather than missing.
        """
        roots = [self.work.relative(self.work.data), self.work.relative(self.work.run("x").parent)]
        parts = path.split("/")
        if parts[0] == "data" and not path.endswith(".generated.json"):
            depth = 3 if parts[1] == "raw" else 4
            if len(parts) >= depth and {"raw", "frames", "flow"} & set(parts[:3]):
                roots.append("/".join(parts[:depth]))
        for root in roots:
            if (path == root or path.startswith(root + "/")) and not self.place(root).exists():
                return root
        return None

    def absent(self, level: Level, source: str, path: str, declared: str | None) -> Link:
        """The link to a file that is not there: unavailable or missing."""
        place = self.absent_place(path)
        if place is not None:
            detail = f"{place} is not on this machine"
            return Link(level, source, "holds", path, Status.UNAVAILABLE, declared, detail=detail)
        stage, _, key = source.removeprefix("record:").partition("/")
        return Link(
            level,
            source,
            "holds",
            path,
            Status.MISSING,
            declared,
            detail="the record names it and it is not there",
            do=f"restore it, or run {stage_command(stage, key)} again",
        )


def open_context(work: Workspace, tools: Tools) -> Context:
    """The records, cells and verdicts of a profile; an unreadable cells.json leaves it without
    cells, an unreadable prose.json without verdicts."""
    evidence = Evidence(work)
    folder = work.reports / "tables"
    try:
        found = read_json(folder / "cells.json")
        context = Context(work, tools, evidence, found["cells"], tuple(found["tables"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Context(work, tools, evidence)
    try:
        verdicts = read_json(folder / "prose.json")["verdicts"]
        return replace(context, prose={verdict["prose_id"]: verdict for verdict in verdicts})
    except (OSError, ValueError, KeyError, TypeError):
        return context
