"""The ledger of sources: every listed video with its file's size and sha256, before any decoding.

`check` reconciles a data set's lists with its files and writes two files: the ledger (Parquet, one
row per listed video and one per file that no list names) and a summary (JSON) whose digest covers
classes, labels, splits and file contents. Decoding depends on the summary, never on the raw folder.
"""

from __future__ import annotations

import hashlib
import os
import stat as modes
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.digest_cache import DigestCache, stamp
from pipeline.core.errors import AbsentData, DataError
from pipeline.core.files import sha256_file, sha256_json, write_json
from pipeline.core.parquet import write_table
from pipeline.schema.dataset import Dataset, declared_subset
from pipeline.schema.status import FAILED, NOT_WANTED
from pipeline.sources.archives import unpack_parts, unpack_replacements
from pipeline.sources.lister import Listing
from pipeline.sources.readers import read
from pipeline.sources.remarks import refuse_shared, remarks_on
from pipeline.sources.source import Remark, Source
from pipeline.video.frame_folder import list_frames, missing_frames, why_empty

SCHEMA = "tdn.sources/1"
THREADS = 4
_MOST_SHOWN = 20
_MOST_PROBLEMS = 1000
_MOST_EXAMPLES = 3

Progress = Callable[[int, int], None]

LEDGER = pa.schema(
    [
        ("video_id", pa.string()),  # null: a file that no list names
        ("relpath", pa.string()),  # below the raw folder; null when there is no file
        ("labels", pa.list_(pa.int32())),
        ("splits", pa.list_(pa.string())),
        ("files", pa.int32()),  # 1, or the number of frames of a frame folder
        ("bytes", pa.int64()),
        ("sha256", pa.string()),  # of the file; of names, sizes and contents for a folder
        ("status", pa.string()),
        ("reason", pa.string()),
        ("frames_listed", pa.int32()),  # what the list states; null where it states nothing
    ]
)


def check(
    dataset: Dataset,
    raw: Path,
    summary: Path,
    *,
    cache: Path | None = None,
    record_absent: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the summary at `summary` and the ledger beside it; returns the summary.

    `cache` keeps sha256 by path, inode, size and times, so that a second check reads no file.
    Raises AbsentData when the data are not there (with `record_absent` a summary of status
    `absent` is written instead) and DataError when more than the manifest's fraction of the videos
    to decode cannot be used, or of the validation videos are in training; both files are written
    first.
    """
    ledger = summary.with_suffix(".parquet")
    try:
        if not raw.is_dir():
            raise AbsentData(
                f"{dataset.title} is not on this machine",
                where=f"the raw folder of {dataset.name}",
                do=dataset.obtain,
            )
        unpack_parts(raw, dataset.options.videos)
        if dataset.layout == "kinetics":
            unpack_replacements(raw)
        listing = read(dataset, raw)
        _fits(dataset, listing)
    except AbsentData as error:
        if not record_absent:
            raise
        record = {"schema": SCHEMA, "dataset": dataset.name, "status": "absent"}
        record |= {"reason": error.what, "digest": sha256_json(["absent", dataset.name])}
        write_table(ledger, _table([]))
        write_json(summary, record)
        return record
    rows, remarks = measure(listing, raw, dataset.options.frame_prefix, cache, progress)
    record = summarise(dataset, listing, raw, rows, remarks)
    write_table(ledger, _table(rows))
    write_json(summary, record)
    refuse_if_bad(dataset, "check", ((row.video_id or "", row.status, row.reason) for row in rows))
    refuse_shared(dataset, rows)
    return record


def read_ledger(path: Path) -> list[Source]:
    """The rows of a ledger, in its order: listed videos by id, then unlisted files."""
    return list(stream_ledger(path))


def stream_ledger(path: Path) -> Iterator[Source]:
    """The rows of a ledger as in `read_ledger`, some hundred of them in memory at a time."""
    with pq.ParquetFile(path, buffer_size=1 << 16) as file:
        for batch in file.iter_batches(512, use_threads=False):
            for row in batch.to_pylist():
                yield Source(**row)


def refuse_if_bad(dataset: Dataset, step: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """DataError with a list when too many of the (id, status, reason) rows have failed."""
    counted = failed = 0
    statuses = set()
    shown = []
    for name, status, reason in rows:
        counted += status not in NOT_WANTED
        if status in FAILED:
            failed += 1
            statuses.add(status)
            if failed <= _MOST_SHOWN:
                shown.append(f"{name}: {status}: {reason}")
    if failed <= dataset.max_failed_fraction * counted:
        return
    lines = [
        f"{failed} of {counted} videos cannot be used, "
        f"more than the allowed {100 * dataset.max_failed_fraction:g} %",
        *shown,
    ]
    if failed > _MOST_SHOWN:
        lines.append(f"… and {failed - _MOST_SHOWN} more")
    manifest = f"manifests/datasets/{dataset.name}.yaml"
    lists = "mend the lists" if "refused" in statuses else ""
    fetch = "fetch these videos again" if statuses - {"refused"} else ""
    raise DataError(
        f"{dataset.name}: " + "\n    ".join(lines),
        where=f"{step} {dataset.name}",
        do=f"{', '.join(filter(None, (lists, fetch)))}, or raise max_failed_fraction in {manifest}",
    )


def _fits(dataset: Dataset, listing: Listing) -> None:
    """DataError when the flip map or the declared subset names what the lists do not have."""
    named = {name for pair in dataset.flip_pairs for name in pair}
    unknown = sorted(named - set(listing.classes))
    if unknown:
        raise DataError(
            f"{dataset.name}: classes of flip_pairs are in no list: {', '.join(unknown[:4])}",
            where=f"manifests/datasets/{dataset.name}.yaml, flip_pairs",
            do="correct the names, or get the complete lists",
        )

    subset = declared_subset(dataset)
    wanted = set(subset.videos or ()) if subset else set()
    if odd := sorted(wanted - {str(row.video_id) for row in listing.rows}):
        raise DataError(
            f"{dataset.name}: {len(odd)} videos of its declared subset are in no list, {odd[0]} "
            "for example",
            where="subsets of the profile",
            do="write the ids as the lists of the data set have them",
        )


def _table(rows: list[Source]) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=LEDGER)


def summarise(
    dataset: Dataset, listing: Listing, raw: Path, rows: list[Source], remarks: list[Remark]
) -> dict[str, Any]:
    """The summary of measured rows, as it is written."""
    listed = [row for row in rows if row.video_id is not None]
    splits: dict[str, dict[str, int | None]] = {}
    for name in sorted({split for row in listed for split in row.splits} | set(dataset.expected)):
        inside = [row for row in listed if name in row.splits]
        splits[name] = {
            "listed": len(inside),
            "expected": dataset.expected.get(name),
            "usable": sum(row.status == "ok" for row in inside),
        }
    remarks = [*listing.remarks, *remarks]
    for name, count in splits.items():
        listed_count, official = count["listed"], count["expected"]
        if official is not None and listed_count != official:
            text = f"{name} lists {listed_count} videos, officially {official}"
            remarks.append(Remark("other than the official count", text))
    for name, fold in dataset.folds.items():
        for split in (fold.train, fold.val):
            if split not in splits:
                text = f"fold {name} uses the split {split}, in which no video is listed"
                remarks.append(Remark("fold without videos", text))
    remarks += remarks_on(dataset, listing.classes, rows)
    identity = [
        [row.video_id, row.relpath, row.labels, row.splits, row.sha256, row.status, row.reason]
        + ([] if row.frames_listed is None else [row.frames_listed])
        for row in listed
    ]
    return {
        "schema": SCHEMA,
        "dataset": dataset.name,
        "status": "ok",
        "digest": sha256_json([list(listing.classes), identity]),
        "classes": list(listing.classes),
        "label_order": dataset.label_order,
        "listed": len(listed),
        "counts": dict(sorted(Counter(row.status for row in rows).items())),
        "splits": splits,
        "files": sum(row.files for row in listed),
        "bytes": sum(row.bytes for row in listed),
        "problems": [remark.text for remark in remarks][:_MOST_PROBLEMS],
        "remarks": _by_kind(remarks),
        "annotations": {name: sha256_file(raw / name) for name in listing.annotations},
    }


def _by_kind(remarks: list[Remark]) -> dict[str, dict[str, Any]]:
    """Kind of remark → how many there are, and the first of them."""
    found: dict[str, dict[str, Any]] = {}
    for remark in remarks:
        kind = found.setdefault(remark.kind, {"count": 0, "examples": []})
        kind["count"] += 1
        if kind["count"] <= _MOST_EXAMPLES:
            kind["examples"].append(remark.text)
    return found


def measure(
    listing: Listing,
    raw: Path,
    prefix: str | None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[Source], list[Remark]]:
    """Ledger rows: listed videos in order, each file hashed or looked up, then unlisted files; and
    remarks on frame folders."""
    known = DigestCache(cache)
    total = len(listing.rows)
    remarks: list[Remark] = []

    def one(row: Source) -> Source:
        return _measured(row, raw, prefix, known, remarks)

    rows = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, row in enumerate(pool.map(one, listing.rows, chunksize=16), start=1):
            rows.append(row)
            if progress is not None and (done % 64 == 0 or done == total):
                progress(done, total)
    known.save()
    for name in listing.unlisted:
        rows.append(Source(None, name, [], [], 0, 0, None, "unlisted", "no list names it"))
    return rows, sorted(remarks, key=lambda remark: (remark.kind, remark.text))


def _measured(
    row: Source, raw: Path, prefix: str | None, known: DigestCache, remarks: list[Remark]
) -> Source:
    """A listed video with the size and digest of its file."""
    if row.status != "ok" or row.relpath is None:
        return row
    path = raw / row.relpath
    try:
        about = path.stat()
        if modes.S_ISDIR(about.st_mode):
            return _folder(row, path, prefix, known, remarks)
        if not modes.S_ISREG(about.st_mode):
            return replace(row, status="refused", reason="not a regular file")
        if about.st_size == 0:
            return replace(row, files=1, status="empty", reason="the file is empty")
        before = stamp([("", about)])
        digest = known.look_up(row.relpath, before) or sha256_file(path)
    except OSError as error:
        return replace(row, status="unreadable", reason=f"cannot be read: {error.strerror}")
    known.note(row.relpath, before, digest)
    return replace(row, files=1, bytes=about.st_size, sha256=digest)


def _folder(
    row: Source, path: Path, prefix: str | None, known: DigestCache, remarks: list[Remark]
) -> Source:
    """The row of a frame folder: its digest covers names, sizes and bytes of the frames alone."""
    frames = list_frames(path, prefix)
    names = [frame.name for frame in frames]
    if not names:
        return replace(row, status="empty", reason=why_empty(path, prefix))
    gap = missing_frames(frames, row.frames_listed)[1]
    if gap:
        text = f"{row.video_id} has {len(names)} frames: {gap}"
        remarks.append(Remark("frames missing in a folder", text))
    if row.frames_listed is not None and row.frames_listed < len(names):
        text = f"{row.video_id} has {len(names)} frames, its list states {row.frames_listed}"
        remarks.append(Remark("more frames in a folder than listed", text))
    abouts = [os.stat(path / name) for name in names]
    size = sum(about.st_size for about in abouts)
    before = stamp(zip(names, abouts, strict=True))
    relpath = str(row.relpath)
    digest = known.look_up(relpath, before) or sha256_frames(path, names)
    known.note(relpath, before, digest)
    return replace(row, files=len(names), bytes=size, sha256=digest)


def sha256_frames(path: Path, names: Iterable[str]) -> str:
    """Hexadecimal sha256 over the names, sizes and bytes of a folder's frames, in order."""
    content = hashlib.sha256()
    for name in names:
        with open(path / name, "rb") as file:
            data = file.read()
        content.update(f"{len(os.fsencode(name))} {len(data)}\n".encode() + os.fsencode(name))
        content.update(data)
    return content.hexdigest()


assert [field.name for field in fields(Source)] == LEDGER.names
