"""`dvc.lock` as DVC left it, read as YAML; DVC's own state database and cache are not looked at."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pipeline.core.errors import ManifestError
from pipeline.lineage.evidence import UNREADABLE, Run
from pipeline.schema.base import read_yaml
from pipeline.schema.quick_yaml import parse_lock


@dataclass(frozen=True)
class LockEntry:
    """What DVC knows of one file or folder."""

    path: str
    md5: str
    bytes: int | None

    @property
    def folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class LockedStage:
    """One stage of the lock, paths relative to the project."""

    name: str
    deps: dict[str, LockEntry]
    outs: dict[str, LockEntry]
    command: str


def read_commands(path: Path) -> dict[str, re.Pattern[str]]:
    """What the command of each stage of a dvc.yaml may read like once its variables are filled in.

    ManifestError when it does not parse.
    """
    found = {}
    for name, stage in read_yaml(path).get("stages", {}).items():
        parts = re.split(r"\$\{.*?\}", str(stage.get("do", stage)["cmd"]))
        found[name] = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return found


def read_lock(path: Path) -> dict[str, LockedStage]:
    """The stages of a lock file by name; ManifestError when it is missing or does not parse."""
    do = "`make repro`, or restore it from git"
    try:
        value = parse_lock(path.read_bytes())
        stages = value.get("stages", {}) if isinstance(value, dict) else {}
        return {
            name: LockedStage(
                name,
                _entries(stage.get("deps")),
                _entries(stage.get("outs")),
                str(stage.get("cmd", "")),
            )
            for name, stage in stages.items()
        }
    except FileNotFoundError:
        raise ManifestError(f"there is no {path.name}", do=do) from None
    except UNREADABLE as error:
        raise ManifestError(f"not readable as YAML: {error}", do=do) from None


def find_stage(lock: dict[str, LockedStage], run: Run) -> LockedStage | None:
    """The stage of a run: 'train@row', or 'cost' for a stage without a key."""
    return lock.get(f"{run.stage}@{run.key}") or lock.get(run.stage)


class Ignored:
    """What `.dvcignore` leaves out of folders: names, and places anchored with a slash."""

    def __init__(self, root: Path) -> None:
        try:
            lines = (root / ".dvcignore").read_text(encoding="utf-8").split("\n")
        except OSError:
            lines = []
        lines = [line.strip() for line in lines]
        rules = [line.rstrip("/") for line in lines if line[:1] not in ("", "#", "!")]
        self._root = root
        self._names = [rule for rule in rules if not rule.startswith("/")]
        self._places = [rule[1:].split("/") for rule in rules if rule.startswith("/")]

    def __call__(self, path: Path) -> bool:
        parts = path.relative_to(self._root).parts
        if any(fnmatch(part, name) for part in parts for name in self._names):
            return True
        return any(
            len(parts) >= len(place) and all(map(fnmatch, parts, place)) for place in self._places
        )


def md5_of(path: Path, ignored: Ignored) -> str:
    """A file's md5, or a folder's as DVC forms it."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    files = [p for p in path.rglob("*") if p.is_file() and not ignored(p)]
    listing = [
        {"md5": md5_of(p, ignored), "relpath": p.relative_to(path).as_posix()} for p in files
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listing, sort_keys=True).encode("utf-8")
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def _entries(items: list[dict[str, Any]] | None) -> dict[str, LockEntry]:
    # A derived graph lies deeper; its paths are still relative to the project (`wdir`).
    found = {}
    for item in items or []:
        place = str(item["path"])
        found[place] = LockEntry(place, str(item.get("md5", "")), item.get("size"))
    return found
