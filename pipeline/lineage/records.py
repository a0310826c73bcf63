"""Run records: what a stage was given and what it made, in two files.

`<key>.json` is the identity: deterministic, the same on every honest re-run, hashed.
`<key>.observed.json` is what was true once: machine, times, versions. No stage depends on it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.core.errors import RecordError
from pipeline.core.files import (
    files_below,
    json_bytes,
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
            f"{role} is missing after the stage",
            where=work.relative(path),
            do="run the stage again; if this repeats, report it",
        )
    return {"role": role, "path": work.relative(path), "sha256": digest, "bytes": size}


def write_record(
    work: Workspace,
    stage: str,
    key: str,
    *,
    plan: dict[str, Any],
    inputs: dict[str, Path],
    outputs: dict[str, Path],
    observed: dict[str, Any],
) -> None:
    """Write both files of a run record atomically; the identity first.

    Raises RecordError when an input or output is missing or the disk refuses.
    """
    record = _record(work, stage, key, plan, inputs, outputs)
    path, kept = work.record(stage, key), _kept(work, stage, key, record)
    about = {"schema": SCHEMA, **observed}
    planned, code = (place(plan["code"]["digest"]) for place in (work.planned_code, work.code))
    try:
        if planned.is_file() and not code.is_file():
            write_atomic(code, planned.read_bytes())
        write_json(kept, {"record": record, "observed": about})
        write_json(path, record)
        write_json(path.with_suffix(OBSERVED), about)
    except OSError as error:
        raise RecordError(
            f"cannot write the run record: {error.strerror}",
            where=work.relative(path),
            do="make room or mend the permissions, then run the stage again",
        ) from error


def put_back(
    work: Workspace,
    stage: str,
    key: str,
    *,
    plan: dict[str, Any],
    inputs: dict[str, Path],
    outputs: dict[str, Path],
) -> bool:
    """Give outputs that DVC took from its run cache the record of the run that made them.

    DVC restores the outputs of an earlier run without running anything, so the record that lies
    there tells of another run. Returns whether a record was put back; it is when this machine kept
    one that fits plan, inputs and outputs to the byte.
    """
    if not all(path.exists() for path in (*inputs.values(), *outputs.values())):
        return False
    record = _record(work, stage, key, plan, inputs, outputs)
    path, kept = work.record(stage, key), _kept(work, stage, key, record)
    if not kept.is_file() or (path.is_file() and path.read_bytes() == json_bytes(record)):
        return False
    try:
        observed = read_json(kept)["observed"]
    except (ValueError, KeyError):
        return False
    write_json(path, record)
    write_json(path.with_suffix(OBSERVED), observed)
    return True


def _record(
    work: Workspace,
    stage: str,
    key: str,
    plan: dict[str, Any],
    inputs: dict[str, Path],
    outputs: dict[str, Path],
) -> dict[str, Any]:
    """The identity half of a record, of what is on disk now."""
    identity = {
        "stage": stage,
        "key": key,
        "profile": work.profile,
        "inputs": [describe(work, role, path) for role, path in sorted(inputs.items())],
        "params": plan["params"],
        "params_sha256": sha256_json(plan["params"]),
        "code": plan["code"],
    }
    made = [describe(work, role, path) for role, path in sorted(outputs.items())]
    record = {"schema": SCHEMA, "identity": identity, "outputs": made}
    record["identity_sha256"] = sha256_json(identity)
    record["record_sha256"] = sha256_json(record)
    return record


def _kept(work: Workspace, stage: str, key: str, record: dict[str, Any]) -> Path:
    """Where this machine keeps a copy of a record, whatever is run later."""
    name = f"{stage}.{key}.{record['record_sha256'][:16]}.json"
    return work.root / ".tdn" / "records" / work.profile / name


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
