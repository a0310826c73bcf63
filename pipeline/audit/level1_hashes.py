"""Level 1: every file that a record or a ledger names, digested again from its bytes.

Files are digested side by side (hashlib lets go of the interpreter). Where the context believes
digests from before, a file whose inode, size and times have stayed is not read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pipeline.audit import level1_sources, level1_stores
from pipeline.audit.context import Context
from pipeline.audit.dvc_lock import Ignored, LockEntry, find_stage, md5_of
from pipeline.audit.links import Level, Link, Status, checked
from pipeline.core.digest_cache import DigestCache
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import files_below, read_strict_json, sha256_json
from pipeline.core.workspace import OWN
from pipeline.lineage.evidence import Artefact

_SMALL = ("reports/", "manifests/", f"{OWN}/")


def check(context: Context) -> Iterator[Link]:
    """Every link of level 1."""
    cache = DigestCache(context.cache("results"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from _artefacts(context, _Digests(pool, cache))
    if context.scope is None:
        with suppress(OSError):  # a tree that may only be read
            cache.save()
    yield from _locked(context)
    yield from level1_sources.check(context)
    yield from level1_stores.check(context)


def _artefacts(context: Context, digests: _Digests) -> Iterator[Link]:
    """What runs made, and what they read that no run made."""
    found: dict[tuple[str, str], tuple[str, Artefact, bool]] = {}
    for run in context.runs():
        for made in run.outputs:
            found[made.path, run.name] = (f"record:{run.name}", made, True)
        for read in run.inputs:
            if context.evidence.maker(read.path) is None:
                found[read.path, run.name] = (f"record:{run.name}", read, False)
    # The largest first, so that the last thread has little left to do.
    jobs = sorted(found.values(), key=lambda job: -job[1].bytes)
    folders = {item.path: digests.add(context.place(item.path)) for _, item, _ in jobs}
    for source, item, own in jobs:
        yield from _compare(context, source, item, digests.of(folders[item.path]), own)
        if own:
            yield from _loose(context, source, item.path, folders[item.path])


Listed = Path | dict[str, Path] | None
"""A file, the files of a folder by name, or nothing."""


class _Digests:
    """sha256 of files, each read once, however many artefacts hold it."""

    def __init__(self, pool: ThreadPoolExecutor, cache: DigestCache) -> None:
        self._pool, self._cache = pool, cache
        self._running: dict[Path, Future[str]] = {}

    def add(self, path: Path) -> Listed:
        """Start on a file or on every file of a folder."""
        if path.is_dir():
            files = files_below(path)
            for file in sorted(files, key=lambda file: -file.stat().st_size):
                self._start(file)
            return {file.relative_to(path).as_posix(): file for file in files}
        if not path.is_file():
            return None
        self._start(path)
        return path

    def of(self, listed: Listed) -> str | dict[str, str] | None:
        """Wait for what `add` started."""
        if isinstance(listed, dict):
            return {name: self._running[file].result() for name, file in listed.items()}
        return None if listed is None else self._running[listed].result()

    def _start(self, file: Path) -> None:
        if file not in self._running:
            self._running[file] = self._pool.submit(self._try, file)

    def _try(self, path: Path) -> str:
        try:
            return self._cache.sha256(path)
        except OSError as error:
            return f"cannot be read: {error.strerror}"


def _compare(
    context: Context, source: str, item: Artefact, found: str | dict[str, str] | None, own: bool
) -> Iterator[Link]:
    """One link per artefact when all is well, one per file that is not."""
    relation = "holds" if own else "read"
    if found is None:
        yield context.absent(Level.HASH, source, item.path, item.sha256)
        return
    actual = found if isinstance(found, str) else sha256_json(found)
    if actual == item.sha256:
        yield Link(Level.HASH, source, relation, item.path, Status.OK, item.sha256, actual)
        return
    if isinstance(found, str) or not item.files:
        yield _changed(source, relation, item.path, item.sha256, actual, own)
        return
    for name in sorted({*item.files, *found}):
        declared, digest, path = item.files.get(name), found.get(name), f"{item.path}/{name}"
        if digest is None:
            yield context.absent(Level.HASH, source, path, declared)
        elif declared is None:
            detail = "the record of this folder does not name it"
            yield Link(Level.HASH, source, relation, path, Status.ORPHAN, None, digest, detail)
        elif digest != declared:
            yield _changed(source, relation, path, declared, digest, own)


def _loose(context: Context, source: str, place: str, listed: Listed) -> Iterator[Link]:
    """JSON of ours that says two things at once (a key twice, say), which readers take as one."""
    files = listed.values() if isinstance(listed, dict) else [listed] if listed else []
    for path in files:
        if path.suffix != ".json":
            continue
        try:
            read_strict_json(path)
        except OSError:
            continue  # told where it is digested
        except ValueError as error:
            name = context.work.relative(path)
            stage, _, key = source.removeprefix("record:").partition("/")
            do = f"restore it, or run {stage_command(stage, key)} again"
            yield Link(
                Level.HASH, source, "holds", name, Status.UNREADABLE, detail=str(error), do=do
            )


def _changed(source: str, relation: str, path: str, declared: str, actual: str, own: bool) -> Link:
    if actual.startswith("cannot"):
        return Link(Level.HASH, source, relation, path, Status.UNREADABLE, declared, detail=actual)
    stage, _, key = source.removeprefix("record:").partition("/")
    status = Status.HASH_MISMATCH if own else Status.STALE_INPUT
    detail = "not the file that was recorded" if own else "edited after the run that read it"
    do = f"restore it, or run {stage_command(stage, key)} again"
    return Link(Level.HASH, source, relation, path, status, declared, actual, detail, do)


def _locked(context: Context) -> Iterator[Link]:
    """Texts and manifests against the md5 in `dvc.lock`, each once."""
    if isinstance(context.lock, TdnError):
        return
    ignored = Ignored(context.work.root)
    entries: dict[str, LockEntry] = {}
    for run in context.runs():
        stage = find_stage(context.lock, run)
        for entry in [*stage.deps.values(), *stage.outs.values()] if stage is not None else []:
            if entry.path.startswith(_SMALL):
                entries[entry.path] = entry
    lock = context.work.relative(context.tools.lock)
    for path, entry in sorted(entries.items()):
        place = context.place(path)
        if place.exists():
            differs = md5_of(place, ignored) != entry.md5
            wrong = [f"its md5 is not the one in {lock}"] if differs else []
            do = "`make repro`, or restore it from git"
            yield checked(Level.HASH, "dvc.lock", "locks", path, wrong, Status.LOCK_MISMATCH, do)
