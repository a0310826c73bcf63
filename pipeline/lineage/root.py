"""One digest for everything that a profile's tables rest on.

The root covers the run records behind the files that the tables read (through their digests:
sources, frames, weights, predictions, metrics, parameters, code) and the manifests that lay the
tables out. The tables themselves follow from these by recomputing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.files import files_below, read_strict_json, sha256_file, sha256_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import UNREADABLE, Evidence
from pipeline.schema.stored import Root

SCHEMA = "tdn.root/1"
SHORT = 12


def root_path(work: Workspace) -> Path:
    """Where the root lies; a signature of it lies beside it."""
    return work.reports / "root.json"


def compute(evidence: Evidence, reads: Iterable[str]) -> dict[str, Any]:
    """The root over files at the relative paths `reads`: {schema, profile, reads, runs, files,
    root}. A file that no run made counts with its own sha256, an absent one with none."""
    places = sorted(set(reads))
    runs = {name: evidence.runs[name].sha256 for name in sorted(evidence.behind(places))}
    files: dict[str, str | None] = {}
    for place in places:
        if evidence.maker(place) is None:
            path = evidence.work.root / place
            files[place] = sha256_file(path) if path.is_file() else None
    body = {
        "schema": SCHEMA,
        "profile": evidence.work.profile,
        "reads": places,
        "runs": runs,
        "files": files,
    }
    return {**body, "root": sha256_json(body)}


def signed_path(work: Workspace) -> Path:
    """Where `tdn sign` writes the root of all results; its signature lies beside it."""
    return work.reports / "signed.json"


def everything(evidence: Evidence) -> dict[str, Any]:
    """The root over all results: every file that a run made or read, the tables, figures, costs
    and pages among them; through the records also all code and data."""
    items = (item for run in evidence.runs.values() for item in (*run.inputs, *run.outputs))
    places = {item.path for item in items}
    folders = {place for place in places if (evidence.work.root / place).is_dir()}
    for folder in folders:  # manifests: what no run made counts file by file
        if evidence.maker(folder) is None:
            below = files_below(evidence.work.root / folder)
            places |= {evidence.work.relative(path) for path in below}
            places.discard(folder)
    return compute(evidence, places)


def read_root(work: Workspace) -> dict[str, Any] | None:
    """`root.json` as it stands; None when it is missing or unreadable."""
    return read_root_file(root_path(work))


def read_root_file(path: Path) -> dict[str, Any] | None:
    """A root as it was written; None when it is missing or unreadable."""
    try:
        value: dict[str, Any] = read_strict_json(path)
        Root.model_validate(value)
    except UNREADABLE:
        return None
    return value


def root_holds(work: Workspace) -> bool:
    """Whether the published root is that of the run records and files as they are now."""
    published = read_root(work)
    if published is None:
        return False
    now = compute(Evidence(work), published.get("reads", []))
    return bool(now["root"] == published["root"])


def differences(published: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which runs and files make two roots differ."""
    words = []
    for kind in ("runs", "files"):
        before, after = published.get(kind, {}), found.get(kind, {})
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                words.append(name)
    return words
