"""Level 1: what every store says of its videos, against what it was made from and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import pyarrow as pa

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import AbsentData, TdnError, stage_command
from pipeline.core.files import read_strict_json, sha256_json
from pipeline.lineage.evidence import Run
from pipeline.schema.status import USABLE
from pipeline.sources.ledger import stream_ledger
from pipeline.sources.source import Source
from pipeline.store.index import FrameIndex, Video, read_index
from pipeline.store.inspect_store import ShardReader, contradictions
from pipeline.store.lmdb_store import ShardFile
from pipeline.store.shard_record import read_record

_DECODED = (*USABLE, "short", "empty", "error")
"""What decoding or flow can make of a video that has a file, or frames."""


def check(context: Context) -> Iterator[Link]:
    """One link per store: all is well, or the first things that are not."""
    with ShardReader() as reader:
        yield from _each_store(context, reader)


def _each_store(context: Context, reader: ShardReader) -> Iterator[Link]:
    for run in context.runs():
        made = next((o for o in run.outputs if o.path.endswith("/index.json")), None)
        if made is None or not context.place(made.path).is_file():
            continue
        folder = context.place(made.path).parent
        path = context.work.relative(folder / "index.parquet")
        status, detail = Status.OK, ""
        try:
            index = read_index(folder)
            wrong = [
                *_against_its_source(context, run, index),
                *_against_itself(index),
                *_against_shards(index, None if context.cache("") is not None else reader),
            ]
            detail = f"{len(index.videos)} videos as in what the store was made from"
            if wrong:
                status, detail = Status.RECOMPUTE_MISMATCH, some(wrong, 4)
        except AbsentData:
            continue  # recorded as absent: there is nothing in it
        except (TdnError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            status, detail = Status.UNREADABLE, f"does not parse: {str(error).splitlines()[0]}"
        do = f"run {stage_command(run.stage, run.key)} again" if status is not Status.OK else ""
        source = f"record:{run.name}"
        yield Link(Level.HASH, source, "made from", path, status, detail=detail, do=do)


def _against_its_source(context: Context, run: Run, index: FrameIndex) -> Iterator[str]:
    """The videos of a frame store against the ledger's, of a flow store against the frames'."""
    before: dict[str, tuple[Source | Video, str]]
    if index.kind == "flow":
        frames = context.work.frames(run.key)
        if not (frames / "index.json").is_file():
            return
        made_from = read_index(frames)
        before = {video.video_id: (video, video.status) for video in made_from.videos}
        classes = list(made_from.classes)
        names = {"labels": "labels", "splits": "splits"}
    else:
        sources = context.work.sources(run.key)
        if not sources.with_suffix(".parquet").is_file():
            return
        rows = stream_ledger(sources.with_suffix(".parquet"))
        before = {row.video_id: (row, row.status) for row in rows if row.video_id is not None}
        summary = read_strict_json(sources)
        classes = summary["classes"]
        if index.about["sources"] != summary["digest"]:
            yield f"it was made from sources {index.about['sources']}, not {summary['digest']}"
        names = {"labels": "labels", "splits": "splits", "relpath": "source"}
        names |= {"sha256": "source_sha256"}
    if list(index.classes) != classes:
        yield "its classes are others"
    known = {video.video_id for video in index.videos}
    yield from (f"{name} is not in it" for name in sorted(before.keys() - known))
    for video in index.videos:
        if video.video_id not in before:
            yield f"{video.video_id} is in no list"
            continue
        own, status = before[video.video_id]
        for name, column in names.items():
            want, have = getattr(own, name), getattr(video, column)
            if want != have and not (name == "relpath" and status == "refused"):
                yield f"{video.video_id} has {column} {have!r}, it was made from {want!r}"
        ready = status == "ok" if index.kind == "frames" else status in USABLE
        if video.status != status and not (ready and video.status in _DECODED):
            yield f"{video.video_id} is '{video.status}', and '{status}' in what it was made from"


def _against_itself(index: FrameIndex) -> Iterator[str]:
    """Counts and digests of index.json against the rows of index.parquet."""
    about, videos = index.about, index.videos
    contents = [shard["content"] for shard in about["shards"]]
    splits: dict[str, Counter[str]] = {}
    for video in videos:
        for name in set(video.splits):
            counts = splits.setdefault(name, Counter(listed=0, usable=0))
            counts.update(listed=1, usable=int(video.usable))
    own = {
        "listed": len(videos),
        "counts": dict(Counter(video.status for video in videos)),
        "splits": {name: dict(counts) for name, counts in splits.items()},
        "frames": sum(video.n_frames for video in videos),
        "bytes": sum(shard["bytes"] for shard in about["shards"]),
        "content": sha256_json([about["rows_sha256"], about["classes"], contents]),
    }
    for name, value in own.items():
        if about[name] != value:
            yield f"index.json says {name} {about[name]!r:.60}, its rows give {value!r:.60}"
    for video in videos:
        if video.usable == (video.frames_sha256 is None) or (not video.usable and not video.reason):
            yield f"{video.video_id} is '{video.status}' without the frames or reason of one"


def _against_shards(index: FrameIndex, reader: ShardReader | None) -> Iterator[str]:
    """Every video against its shard's record and, with a reader, the blobs that the shard holds."""
    stored = {video.video_id: video for video in index.videos}
    seen: set[str] = set()
    for number, shard in enumerate(index.about["shards"]):
        record = read_record(index.folder, number)
        if record is None or asdict(record.file) != asdict(ShardFile(**shard)):
            yield f"{shard['name']} and its record do not belong together"
            continue
        for outcome in record.outcomes:
            seen.add(outcome.video_id)
            yield from _as_made(asdict(outcome), stored.get(outcome.video_id))
    unmade = [v.video_id for v in index.videos if v.usable and v.video_id not in seen]
    yield from (f"{name} is in no shard's record" for name in unmade)
    if reader is not None:
        for finding in contradictions(index, reader=reader, frames=False):
            yield f"{finding.shard} {finding.video_id}: {finding.what}"


def _as_made(outcome: Mapping[str, object], video: Video | None) -> Iterator[str]:
    if video is None:
        yield f"{outcome['video_id']} was made and is not in the index"
        return
    for name in ("n_frames", "width_px", "height_px", "frames_sha256", "status", "reason"):
        if outcome[name] != getattr(video, name):
            yield (
                f"{video.video_id} has {name} {getattr(video, name)!r}, "
                f"its shard's record {outcome[name]!r}"
            )
