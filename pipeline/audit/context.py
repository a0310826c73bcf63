"""What every level of an audit works from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.audit.committed import Commit
from pipeline.audit.dvc_lock import LockedStage, read_commands, read_lock
from pipeline.audit.links import Level, Link, Status
from pipeline.core.errors import ManifestError, TdnError, stage_command
from pipeline.core.files import canonical_json, read_strict_json
from pipeline.core.workspace import Workspace
from pipeline.lineage import root
from pipeline.lineage.evidence import UNREADABLE, Evidence, Run, nearest_above
from pipeline.schema.stored import Tables, Verdicts

Plans = dict[str, dict[str, Any]]
Again = Callable[[Workspace, str, str, dict[str, Any]], None]
"""Runs a stage (name, key, parameters) in another workspace."""


@dataclass(frozen=True)
class Files:
    """What a run may read and must make, {role: path}, as the graph's table has it.

    `optional` names the inputs that the run lists only where they were there.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    optional: frozenset[str]


@dataclass(frozen=True)
class Tools:
    """What an audit needs of the stages, which this package never imports.

    `plans` resolves the manifests into {'stage/key': plan}. `files` tells what a stage reads and
    makes for a key and parameters; None for no stage, or for parameters of another version.
    `stages` names all; `pure` those that `again` makes again in seconds from what their records
    list, without torch; `sampled` those that work video by video, which it makes again for a few
    videos. `command` starts the command line.
    """

    plans: Callable[[Workspace], Plans]
    lock: Path
    files: Callable[[Workspace, str, str, Mapping[str, Any]], Files | None] = lambda *_: None
    stages: frozenset[str] = frozenset()
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
    problem: str = ""
    """Why the cells cannot be read; '' where they can."""
    cached: bool = False
    """Whether digests from before are believed of files whose inode, size and times have stayed."""

    @cached_property
    def plans(self) -> Plans | TdnError:
        """Every plan as the manifests and the code have it now, or why there is none."""
        try:
            found = self.tools.plans(self.work)
        except TdnError as error:
            return error
        except UNREADABLE as error:
            return ManifestError(f"the manifests cannot be read: {error!r}", where="manifests")
        return {name: json.loads(canonical_json(plan)) for name, plan in found.items()}

    @cached_property
    def _planned_files(self) -> dict[str, Files | None]:
        plans = {} if isinstance(self.plans, TdnError) else self.plans
        found = {}
        for name, plan in plans.items():
            stage, _, key = name.partition("/")
            found[name] = self.tools.files(self.work, stage, key, plan["params"])
        return found

    @cached_property
    def products(self) -> dict[str, str]:
        """{path: name of the run that makes it} of all that the manifests ask for."""
        planned = self._planned_files.items()
        return {path: n for n, files in planned if files for path in files.outputs.values()}

    def files(self, run: Run) -> Files | None:
        """What a run may read and must make, by the parameters that its record states."""
        if not isinstance(self.plans, TdnError):
            plan = self.plans.get(run.name)
            if plan is not None and plan["params"] == run.params:
                return self._planned_files[run.name]
        return self.tools.files(self.work, run.stage, run.key, run.params)

    def is_there(self, path: str) -> bool:
        """Whether a file is here, or some run says that it made it."""
        return self.place(path).exists() or self.evidence.maker(path) is not None

    def product_of(self, path: str) -> str | None:
        """The planned run that makes a file, or the folder that it lies in."""
        return nearest_above(path, self.products)

    @cached_property
    def lock(self) -> dict[str, LockedStage] | TdnError:
        try:
            return read_lock(self.tools.lock)
        except TdnError as error:
            return error

    @cached_property
    def commands(self) -> dict[str, re.Pattern[str]]:
        """What the commands of the graph's stages read like."""
        return read_commands(self.tools.lock.with_name("dvc.yaml"))

    @cached_property
    def everything(self) -> dict[str, Any]:
        """The root over all results, as they are now."""
        return root.everything(self.evidence)

    @cached_property
    def commit(self) -> Commit | None:
        """The last commit of the project; None without git."""
        return Commit.of(self.work.root)

    def runs(self) -> Iterator[Run]:
        """The runs that this audit is about, by name; no leftovers."""
        for name, run in self.evidence.runs.items():
            if (self.scope is None or name in self.scope) and not self.is_leftover(name):
                yield run

    def is_leftover(self, name: str) -> bool:
        """Whether no manifest asks for a run any more (a stage that does not exist is no such)."""
        if isinstance(self.plans, TdnError) or name in self.plans:
            return False
        return name.partition("/")[0] in self.tools.stages

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
        all of a data set's, are absent, a file of theirs is unavailable rather than missing. So is
        a file of weights.
        """
        roots = [self.work.relative(self.work.data), self.work.relative(self.work.run("x").parent)]
        parts = path.split("/")
        if parts[0] == "data" and not path.endswith(".generated.json"):
            depth = 3 if parts[1] == "raw" else 4
            if len(parts) >= depth and {"raw", "frames", "flow"} & set(parts[:3]):
                roots.append("/".join(parts[:depth]))
            if parts[1] == "weights":  # each is its authors', to be put there one by one
                roots.append(path)
        for place in roots:
            if (path == place or path.startswith(place + "/")) and not self.place(place).exists():
                return place
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
        found = read_strict_json(folder / "cells.json")
        Tables.model_validate(found)
        if strange := [name for name, cell in found["cells"].items() if cell["cell_id"] != name]:
            raise ValueError(f"the cell {strange[0]} is named otherwise")
        context = Context(work, tools, evidence, found["cells"], tuple(found["tables"]))
    except UNREADABLE as error:
        return Context(work, tools, evidence, problem=f"the cells cannot be read: {error}")
    try:
        verdicts = read_strict_json(folder / "prose.json")["verdicts"]
        Verdicts.model_validate({"verdicts": verdicts})
        return replace(context, prose={verdict["prose_id"]: verdict for verdict in verdicts})
    except UNREADABLE:
        return context
