"""Level 1: every file that a record or a ledger names, digested again from its bytes.

Files are digested side by side (hashlib lets go of the interpreter); a ledger is streamed, so that
memory does not grow with the number of videos.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.context import Context
from pipeline.audit.dvc_lock import Ignored, LockEntry, find_stage, md5_of
from pipeline.audit.links import Level, Link, Status, checked
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import files_below, read_json, sha256_file, sha256_json
from pipeline.lineage.evidence import Artefact, Run
from pipeline.sources.ledger import sha256_frames
from pipeline.video.frame_folder import frame_files

_BATCH = 1024
_SMALL = ("reports/", "manifests/")
T = TypeVar("T")
R = TypeVar("R")


def check(context: Context) -> Iterator[Link]:
    """Every link of level 1."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from _artefacts(context, pool)
        yield from _locked(context)
        for run in context.runs():
            yield from _sources(context, run, pool)


def stream(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`pool.map` in order, with a bounded number of items under way."""
    waiting: deque[Future[R]] = deque()
    source = iter(items)
    for item in islice(source, 64):
        waiting.append(pool.submit(work, item))
    while waiting:
        done = waiting.popleft().result()
        for item in islice(source, 1):
            waiting.append(pool.submit(work, item))
        yield done


def _artefacts(context: Context, pool: ThreadPoolExecutor) -> Iterator[Link]:
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
    digests = _Digests(pool)
    folders = {item.path: digests.add(context.place(item.path)) for _, item, _ in jobs}
    for source, item, own in jobs:
        yield from _compare(context, source, item, digests.of(folders[item.path]), own)


Listed = Path | dict[str, Path] | None
"""A file, the files of a folder by name, or nothing."""


class _Digests:
    """sha256 of files, each read once, however many artefacts hold it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
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
            self._running[file] = self._pool.submit(_try_sha256, file)


def _try_sha256(path: Path) -> str:
    try:
        return sha256_file(path)
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


def _sources(context: Context, run: Run, pool: ThreadPoolExecutor) -> Iterator[Link]:
    """The raw files that a ledger names, and the annotation that its summary names."""
    made = {item.role: item for item in run.outputs}
    ledger = made.get("ledger")
    if ledger is None or not context.place(ledger.path).is_file():
        return
    source = f"record:{run.name}"
    raw = context.work.raw(run.key, generated=bool(run.params.get("generated")))
    relative = context.work.relative(raw)
    options = run.params.get("dataset", {}).get("options", {})
    prefix = options.get("frame_prefix")
    yield from _annotations(context, source, made.get("summary"), raw)
    total, bad, shown = 0, 0, relative
    try:
        rows = _rows(context.place(ledger.path))
        checked = stream(pool, lambda row: (row, _raw_digest(raw, row, prefix)), rows)
        for row, actual in checked:
            total += 1
            if actual == row["sha256"]:
                continue
            bad += 1
            path, declared = f"{relative}/{row['relpath']}", str(row["sha256"])
            if not raw.is_dir():
                shown = path
                break
            if actual is None:
                yield context.absent(Level.HASH, source, path, declared)
            else:
                yield _changed(source, "holds", path, declared, actual, True)
    except (pa.ArrowException, OSError) as error:
        yield Link(
            Level.HASH,
            source,
            "holds",
            ledger.path,
            Status.UNREADABLE,
            detail=f"does not parse: {str(error).splitlines()[0]}",
            do=f"run {stage_command(run.stage, run.key)} again",
        )
        return
    if bad and not raw.is_dir():
        yield context.absent(Level.HASH, source, shown, None)
    elif total:
        detail = f"{total - bad} of {total} sources as in the ledger"
        yield Link(Level.HASH, source, "names", relative, Status.OK, detail=detail)


def _rows(ledger: Path) -> Iterator[Mapping[str, Any]]:
    file = pq.ParquetFile(ledger)
    for batch in file.iter_batches(_BATCH, columns=["relpath", "sha256", "status", "files"]):
        for row in batch.to_pylist():
            if row["sha256"] is not None:
                yield row


def _raw_digest(raw: Path, row: Mapping[str, Any], prefix: str | None) -> str | None:
    path = raw / row["relpath"]
    try:
        if path.is_dir():
            return sha256_frames(path, frame_files(path, prefix))
        return sha256_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _annotations(
    context: Context, source: str, summary: Artefact | None, raw: Path
) -> Iterator[Link]:
    if summary is None or not raw.is_dir():
        return
    try:
        named = read_json(context.place(summary.path)).get("annotations", {})
    except (OSError, ValueError):
        return  # reported where the summary itself is digested
    for name, declared in sorted(named.items()):
        path = raw / name
        place = context.work.relative(path)
        if not path.is_file():
            yield context.absent(Level.HASH, source, place, declared)
            continue
        actual = sha256_file(path)
        if actual != declared:
            yield _changed(source, "holds", place, declared, actual, True)
        else:
            yield Link(Level.HASH, source, "holds", place, Status.OK, declared, actual)
