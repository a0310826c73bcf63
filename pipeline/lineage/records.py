"""Run records: what a stage was given and what it made, in two files.

`<key>.json` is the identity: deterministic, the same on every honest re-run, hashed.
`<key>.observed.json` is what was true once: machine, times, versions. No stage depends on it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.core.errors import RecordError
from pipeline.core.files import (
    files_below,
    read_json,
    sha256_bytes,
    sha256_file,
    sha256_json,
    write_atomic,
    write_json,
)
from pipeline.core.machine import accelerators, cpu_model
from pipeline.core.workspace import Workspace

SCHEMA = "tdn.run/1"
OBSERVED = ".observed.json"
"""How the observed half of a record is called."""
_PACKAGES = ("torch", "torchvision", "ray", "lmdb", "pyarrow", "numpy", "pandas", "dvc")


def describe(work: Workspace, role: str, path: Path) -> dict[str, Any]:
    """A file as a record names it: role, relative path, bytes and sha256.

    A directory counts as the digest over its files' relative names and digests, and lists them.
    """
    if path.is_dir():
        files = files_below(path)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            digests = list(pool.map(sha256_file, files))
        names = [p.relative_to(path).as_posix() for p in files]
        sizes = [p.stat().st_size for p in files]
        listing = dict(zip(names, digests, strict=True))
        about = {n: {"sha256": listing[n], "bytes": b} for n, b in zip(names, sizes, strict=True)}
        facts = {"sha256": sha256_json(listing), "bytes": sum(sizes), "files": about}
        return {"role": role, "path": work.relative(path), **facts}
    if path.is_file():
        size, digest = path.stat().st_size, sha256_file(path)
    else:
        raise RecordError(
            f"{role} is missing",
            where=work.relative(path),
            do="run the stage again; if this repeats, report it",
        )
    return {"role": role, "path": work.relative(path), "sha256": digest, "bytes": size}


@dataclass(frozen=True)
class Reading:
    """An input as a record names it, and what its files looked like when it was read."""

    path: Path
    entry: dict[str, Any]
    stats: dict[str, tuple[int, int, int]]
    """{path: (bytes, time of last change in ns, inode)}: while these stay, so does the content."""


def read_inputs(work: Workspace, inputs: dict[str, Path]) -> list[Reading]:
    """The inputs of a stage, sorted by role, as they are now; of a missing one only the role."""
    found = []
    for role, path in sorted(inputs.items()):
        stats = _stats(path)  # first: what changes while it is hashed has changed
        entry = describe(work, role, path) if path.exists() else {"role": role}
        found.append(Reading(path, entry, stats))
    return found


def check_unchanged(work: Workspace, readings: list[Reading]) -> None:
    """Raise RecordError naming the first input that is missing or no longer what was read."""
    for reading in readings:
        role = reading.entry["role"]
        if reading.stats and _stats(reading.path) == reading.stats:
            continue
        now = describe(work, role, reading.path)
        if now != reading.entry:
            changed = _changed_file(reading.entry, now) or work.relative(reading.path)
            raise RecordError(
                f"the input '{role}' changed while the stage ran, so its result is not recorded",
                where=changed,
                do="let nothing else write there, then run the same command again",
            )


def _stats(path: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for file in [path] if path.is_file() else files_below(path):
        with suppress(OSError):
            about = file.stat()
            found[str(file)] = (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


def _changed_file(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first file of a folder that differs; empty for a file, or when nothing is there."""
    old, new = before.get("files", {}), now.get("files", {})
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return f"{now['path']}/{names[0]}" if names else ""


def write_record(
    work: Workspace,
    stage: str,
    key: str,
    *,
    plan: dict[str, Any],
    inputs: list[Reading],
    outputs: dict[str, Path],
    observed: dict[str, Any],
) -> None:
    """Write both files of a run record atomically; the identity first.

    Raises RecordError when an input has changed since it was read, when an output is missing or
    when the disk refuses.
    """
    check_unchanged(work, inputs)
    entries = [reading.entry for reading in inputs]
    record = _record(work, stage, key, plan, entries, outputs)
    path = work.record(stage, key)
    about = {"schema": SCHEMA, **observed}
    planned, code = (place(plan["code"]["digest"]) for place in (work.planned_code, work.code))
    try:
        if planned.is_file() and not code.is_file():
            write_atomic(code, planned.read_bytes())
        write_json(path, record)
        write_json(path.with_suffix(OBSERVED), about)
    except OSError as error:
        raise RecordError(
            f"cannot write the run record: {error.strerror}",
            where=work.relative(path),
            do="make room or mend the permissions, then run the stage again",
        ) from error


def is_up_to_date(
    work: Workspace,
    stage: str,
    key: str,
    *,
    plan: dict[str, Any],
    inputs: dict[str, Path],
    outputs: dict[str, Path],
) -> bool:
    """Whether the stage's record fits its plan and, to the byte, its inputs and outputs on disk."""
    try:
        record: dict[str, Any] = read_json(work.record(stage, key))
        identity = record["identity"]
        if any(identity[name] != plan[name] for name in ("params", "code")):
            return False
        entries = [reading.entry for reading in read_inputs(work, inputs)]
        return entries == identity["inputs"] and record == _record(
            work, stage, key, plan, entries, outputs
        )
    except (RecordError, OSError, ValueError, KeyError, TypeError):
        return False


def _record(
    work: Workspace,
    stage: str,
    key: str,
    plan: dict[str, Any],
    inputs: list[dict[str, Any]],
    outputs: dict[str, Path],
) -> dict[str, Any]:
    """The identity half of a record: its inputs as given, its outputs as they are on disk."""
    identity = {
        "stage": stage,
        "key": key,
        "profile": work.profile,
        "inputs": inputs,
        "params": plan["params"],
        "params_sha256": sha256_json(plan["params"]),
        "code": plan["code"],
    }
    made = [describe(work, role, path) for role, path in sorted(outputs.items())]
    record = {"schema": SCHEMA, "identity": identity, "outputs": made}
    record["identity_sha256"] = sha256_json(identity)
    record["record_sha256"] = sha256_json(record)
    return record


def observe(work: Workspace, started: datetime, argv: list[str]) -> dict[str, Any]:
    """What is true of this run alone: times, machine, versions, state of the checkout."""
    ended = datetime.now(UTC)
    commit, dirty = _git(work.root)
    return {
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 1),
        "argv": argv,
        "commit": commit,
        "dirty": dirty,
        "host": sha256_bytes(platform.node().encode())[:16],
        "os": f"{platform.system()} {platform.release()}",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "accelerators": accelerators(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path) -> tuple[str | None, bool | None]:
    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    state = ask("status", "--porcelain", "--untracked-files=no", "--", "*.py", "manifests")
    return commit, None if state is None else bool(state)
