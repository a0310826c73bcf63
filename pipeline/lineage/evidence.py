"""Everything that records say: runs, what they read and made, and the walk from a file backwards.

Driven by the records' own inputs and outputs; no stage is known by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.errors import ManifestError
from pipeline.core.files import read_strict_json, sha256_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.code_digest import Parts, code_digest
from pipeline.lineage.records import OBSERVED, SCHEMA
from pipeline.schema.base import validate
from pipeline.schema.stored import Entry, Record

TRIAL = "@"
"""In the key of a row that was run with other values than its own: evidence of no number."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a file raises that was made for it, or that somebody made unreadable."""


@dataclass(frozen=True)
class Artefact:
    """A file or folder as a record names it; `files` ({name below it: sha256}) for folders."""

    role: str
    path: str
    sha256: str
    bytes: int
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run record. `problem` says why it cannot be believed ('' when it can)."""

    stage: str
    key: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    code: Parts = field(default_factory=dict)
    """The definitions behind its code digest; empty when their file is missing or damaged."""
    inputs: tuple[Artefact, ...] = ()
    outputs: tuple[Artefact, ...] = ()
    sha256: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    tampered: bool = False
    code_path: str = ""
    """Where the definitions behind its code digest are listed."""
    code_problem: str = ""
    """Why that file does not tell them: 'missing' or 'damaged'; '' when it does."""

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.key}"


class Evidence:
    """The run records of a profile, by name ('train/row') and by what they made."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.runs: dict[str, Run] = {}
        known: dict[str, tuple[Parts, str]] = {}
        folder = work.reports / "records"
        for path in sorted(folder.glob("*/*.json")):
            if not path.name.endswith(OBSERVED) and TRIAL not in path.name:
                run = _read(work, path, known)
                self.runs[run.name] = run
        self._makers: dict[str, str] = {}
        for run in self.runs.values():
            for made in run.outputs:
                # A file of its own wins over the folder that also holds it.
                self._makers[made.path] = run.name

    def maker(self, path: str) -> str | None:
        """The run that made a file: it, or the nearest folder above it, is among its outputs."""
        return nearest_above(path, self._makers)

    def made(self, path: str) -> Artefact | None:
        """The output that is, or is the nearest above, a path."""
        name = self.maker(path)
        if name is None:
            return None
        above = [m for m in self.runs[name].outputs if path == m.path or _below(path, m.path)]
        return max(above, key=lambda made: len(made.path))

    def behind(self, paths: Iterable[str]) -> set[str]:
        """Names of every run that files at `paths` come from."""
        found: set[str] = set()
        todo = [name for path in paths if (name := self.maker(path)) is not None]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            inputs = (self.maker(read.path) for read in self.runs[name].inputs)
            todo += [maker for maker in inputs if maker is not None and maker != name]
        return found

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Runs so that each comes after what it reads."""
        wanted, done = set(names), dict[str, None]()

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in done or name in trail:
                return
            for read in self.runs[name].inputs:
                maker = self.maker(read.path)
                if maker is not None and maker in wanted:
                    visit(maker, (*trail, name))
            done[name] = None

        for name in sorted(wanted):
            visit(name, ())
        return list(done)

    def observed(self, name: str) -> dict[str, Any] | None:
        """The observed half of a record; None when it is missing or unreadable."""
        run = self.runs[name]
        path = (self.work.root / run.path).with_suffix(OBSERVED)
        try:
            value = read_strict_json(path)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def smoke(self, names: Iterable[str]) -> str | None:
        """The first of these runs that depends on generated or reduced data; None: none does."""
        for name in sorted(names):
            params = self.runs[name].params
            data = params.get("data")
            inner = isinstance(data, Mapping) and data.get("generated")
            if params.get("smoke") or params.get("generated") or inner or params.get("miniature"):
                return name
        return None


def environment(observed: Mapping[str, Any]) -> dict[str, str]:
    """What results may depend on: versions and the processor, from an observed record; nothing
    where it does not parse."""
    try:
        return _environment(observed)
    except UNREADABLE:
        return {}


def _environment(observed: Mapping[str, Any]) -> dict[str, str]:
    packages = observed.get("packages") or {}
    found = {n: str(packages[n]) for n in ("torch", "torchvision", "numpy") if packages.get(n)}
    devices = observed.get("accelerators") or []
    names = sorted({str(device["name"]) for device in devices})
    processor = ", ".join(names) or str(observed.get("cpu") or "")
    return {**found, **({"processor": processor} if processor else {})}


def nearest_above(path: str, known: Mapping[str, str]) -> str | None:
    """What is known of a path, or of the nearest folder above it."""
    place = path
    while place:
        if place in known:
            return known[place]
        place = place.rpartition("/")[0]
    return None


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _read(work: Workspace, path: Path, known: dict[str, tuple[Parts, str]]) -> Run:
    stage, key = path.parent.name, path.stem
    place = work.relative(path)
    try:
        value = read_strict_json(path)
        _check_version(value["schema"])
        record = validate(Record, value, where=place)
        wrong = _contradictions(work, value, record)
    except UNREADABLE as error:
        return Run(stage, key, place, problem=f"does not parse as a run record: {error}")
    except ManifestError as error:
        return Run(stage, key, place, problem=f"is no run record: {error.what}")
    identity = record.identity
    digest = identity.code.digest
    if digest not in known:
        known[digest] = _parts(work, digest)
    if (identity.stage, identity.key) != (stage, key):
        wrong.append(f"it is the record of {identity.stage}/{identity.key}")
    return Run(
        stage,
        key,
        path=place,
        params=identity.params,
        code=known[digest][0],
        code_path=work.relative(work.code(digest)),
        code_problem=known[digest][1],
        inputs=tuple(map(_artefact, identity.inputs)),
        outputs=tuple(map(_artefact, record.outputs)),
        sha256=record.record_sha256,
        plan={"params": identity.params, "code": {"digest": digest}},
        problem="; ".join(wrong),
        tampered=bool(wrong),
    )


def _check_version(schema: object) -> None:
    name, _, number = SCHEMA.partition("/")
    if isinstance(schema, str) and schema.startswith(f"{name}/") and schema != SCHEMA:
        raise ValueError(f"it is written as {schema}, and this version reads {name}/{number}")


def _parts(work: Workspace, digest: str) -> tuple[Parts, str]:
    """The definitions behind a code digest, and why there are none ('' where there are)."""
    try:
        parts: Parts = read_strict_json(work.code(digest))
        return (parts, "") if code_digest(parts) == digest else ({}, "damaged")
    except FileNotFoundError:
        return {}, "missing"
    except UNREADABLE:
        return {}, "damaged"


def _contradictions(work: Workspace, value: dict[str, Any], record: Record) -> list[str]:
    """In which of its own digests, and in what else, a record is wrong."""
    identity = value["identity"]
    unsealed = {name: about for name, about in value.items() if name != "record_sha256"}
    checks = {
        "record_sha256": record.record_sha256 == sha256_json(unsealed),
        "identity_sha256": record.identity_sha256 == sha256_json(identity),
        "params_sha256": record.identity.params_sha256 == sha256_json(identity["params"]),
        "schema": record.schema_name == SCHEMA,
        "profile": record.identity.profile == work.profile,
    }
    wrong = [f"its {name} does not fit" for name, fits in checks.items() if not fits]
    for item in (*record.identity.inputs, *record.outputs):
        if item.files is not None:
            listed = sha256_json({name: about.sha256 for name, about in item.files.items()})
            size = sum(about.bytes for about in item.files.values())
            if (item.sha256, item.bytes) != (listed, size):
                wrong.append(f"its digest of {item.path} is not that of the files it lists there")
    return wrong


def _artefact(item: Entry) -> Artefact:
    files = {name: about.sha256 for name, about in (item.files or {}).items()}
    return Artefact(item.role, item.path, item.sha256, item.bytes, files)
