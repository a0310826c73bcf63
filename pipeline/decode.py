"""A data set's videos → its frame store: plan, resume, run, index.

Interrupted and run again, only missing shards are redone and the result is the same byte for byte,
for any number of workers and any order of completion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.digests import read_json
from pipeline.errors import AbsentData, DataError, StoreError
from pipeline.index import USABLE, Video, write_absent, write_index, write_rows
from pipeline.locks import exclusive
from pipeline.manifest_dataset import Dataset
from pipeline.nodes import refuse_blind_nodes
from pipeline.shards import Shard, identity, plan, recipe
from pipeline.shardwork import Outcome, ShardRecord, ShardTask, read_record, try_videos, write_shard
from pipeline.sources import Source, read_ledger, refuse_if_bad
from pipeline.video import binary, build
from pipeline.workers import RETRIES, Crash, Pool

Progress = Callable[[int, int], None]

BAD = ("missing", "refused", "short", "empty", "error")


def decode(
    dataset: Dataset,
    raw: Path,
    summary: Path,
    folder: Path,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    record_absent: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fill `folder` with the frame store of the videos that the ledger beside `summary` lists.

    Returns `index.json`. `workers` is the number of processes (0: this one; None: every core);
    `retry_failed` tries failed videos of finished shards again. `progress(done, total)` counts
    videos. Raises AbsentData (see `check`), DataError when too many videos fail, StoreError when
    the disk is full, UsageError when another process is decoding into the same folder.
    """
    checked = read_json(summary)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{folder.name}.lock", f"the frame store of {dataset.name}"):
        if checked["status"] == "absent":
            if not record_absent:
                raise AbsentData(f"{dataset.title}: {checked['reason']}", do=dataset.obtain)
            _clear(folder, [])
            return write_absent(folder, dataset.name, checked["reason"])
        rows = [row for row in read_ledger(summary.with_suffix(".parquet")) if row.video_id]
        shards = plan(rows, dataset.decode.videos_per_shard)
        _clear(folder, shards)
        ffmpeg_build = build(binary())
        tasks = _tasks(dataset, shards, raw, folder, ffmpeg_build)
        with Pool(workers) as pool:
            records = _run(pool, tasks, retry_failed, progress)
        _clear(folder, shards)  # what workers that were killed meanwhile left
        videos = _videos(rows, shards, records)
        write_rows(folder, videos)
        refuse_if_bad(dataset, "decode", [(v.video_id, v.status, v.reason) for v in videos], BAD)
        facts = {
            "dataset": dataset.name,
            "classes": checked["classes"],
            "label_order": checked["label_order"],
            "policy": dataset.decode.model_dump(mode="json"),
            "ffmpeg": ffmpeg_build,
            "sources": checked["digest"],
        }
        return write_index(folder, videos, [record.file for record in records], facts)


def _clear(folder: Path, shards: Sequence[Shard]) -> None:
    """Remove leftovers of killed runs and shards of another plan."""
    keep = {name for shard in shards for name in (shard.file_name, shard.record_name)}
    for path in [*folder.glob(".tmp-*"), *folder.glob("shard-*")]:
        if path.name not in keep:
            path.unlink()


def _tasks(
    dataset: Dataset, shards: Sequence[Shard], raw: Path, folder: Path, ffmpeg_build: str
) -> list[ShardTask]:
    made_by = recipe(dataset, ffmpeg_build)
    return [
        ShardTask(
            shard=shard,
            identity=identity(shard, made_by, dataset.decode.timeout_s),
            recipe=made_by,
            ffmpeg_build=ffmpeg_build,
            raw=raw.absolute(),
            folder=folder.absolute(),
            policy=dataset.decode,
            frame_prefix=dataset.options.frame_prefix,
            blamed={},
        )
        for shard in shards
    ]


def _run(
    pool: Pool, tasks: Sequence[ShardTask], retry_failed: bool, progress: Progress | None
) -> list[ShardRecord]:
    """Records of all shards, in order: those already published, and those made now."""
    records: dict[int, ShardRecord] = {}
    for task in tasks:
        record = read_record(task.folder, task.shard)
        if record is not None and record.identity == task.identity:
            worth_it = retry_failed and any(_may_succeed(o) for o in record.outcomes)
            if not worth_it:
                records[task.shard.number] = record
    total = sum(len(task.shard.rows) for task in tasks)
    done = sum(len(record.outcomes) for record in records.values())
    if progress is not None:
        progress(done, total)
    pending = [task for task in tasks if task.shard.number not in records]
    if pending:
        refuse_blind_nodes(pool, tasks[0].folder, _a_source(pending))
        (tasks[0].folder / "index.json").unlink(missing_ok=True)  # it means a finished store
    try:
        for position, result in pool.run(write_shard, pending):
            task = pending[position]
            if isinstance(result, Crash):
                result = _without_culprits(pool, task, result)
            records[task.shard.number] = result
            done += len(task.shard.rows)
            if progress is not None:
                progress(done, total)
    except StoreError as error:
        missing = len(tasks) - len(records)
        raise StoreError(
            f"{error.what}; {len(records)} of {len(tasks)} shards are finished and whole, "
            f"{missing} are missing",
            where=error.where,
            do=error.do or "run the command again; it makes only the missing shards",
        ) from None
    return [records[task.shard.number] for task in tasks]


def _a_source(tasks: Sequence[ShardTask]) -> Path | None:
    """A file that decoding will want, for every node to look at."""
    rows = ((task, row) for task in tasks for row in task.shard.rows)
    found = (task.raw / str(row.relpath) for task, row in rows if row.status == "ok")
    return next(found, None)


def _may_succeed(outcome: Outcome) -> bool:
    return outcome.status in ("error", "empty", "partial") and outcome.source_sha256 is not None


def _without_culprits(pool: Pool, task: ShardTask, crash: Crash) -> ShardRecord:
    """Find by halving which videos kill the worker, then make the shard without them."""
    blamed: dict[str, str] = {}
    parts = _halves(task.shard.rows)
    while parts:
        rows = parts.pop()
        trial = replace(task, shard=replace(task.shard, rows=rows))
        # One video is blamed only for killing every worker it is given to.
        tries = {"retries": RETRIES if len(rows) == 1 else 0}
        ((_, survived),) = pool.run(try_videos, [trial], **tries)
        if not isinstance(survived, Crash):
            continue
        if len(rows) == 1:
            blamed[str(rows[0].video_id)] = f"decoding it failed: {survived.reason}"
        else:
            parts += _halves(rows)
    ((_, result),) = pool.run(write_shard, [replace(task, blamed=blamed)])
    if isinstance(result, Crash):
        raise DataError(
            f"{task.shard.file_name} cannot be made: {crash.reason}, with or without the videos "
            f"that seem to cause it ({', '.join(blamed) or 'none found'})",
            do="look at the machine's memory, or decode with --workers 1",
        )
    return result


def _halves(rows: tuple[Source, ...]) -> list[tuple[Source, ...]]:
    middle = (len(rows) + 1) // 2
    return [part for part in (rows[:middle], rows[middle:]) if part]


def _videos(
    rows: Sequence[Source], shards: Sequence[Shard], records: Sequence[ShardRecord]
) -> list[Video]:
    """Index rows: what the ledger says of a video together with what became of it."""
    made = {o.video_id: o for record in records for o in record.outcomes}
    place = {str(row.video_id): shard.number for shard in shards for row in shard.rows}
    videos = []
    for row in sorted(rows, key=lambda row: str(row.video_id)):
        video_id = str(row.video_id)
        outcome = made.get(video_id)
        if outcome is None:
            outcome = Outcome(video_id, 0, 0, 0, None, row.sha256, None, row.status, row.reason)
        facts: dict[str, Any] = asdict(outcome)
        facts |= {"labels": row.labels, "splits": row.splits, "source": row.relpath}
        facts["shard"] = place[video_id] if outcome.status in USABLE else -1
        videos.append(Video(**facts))
    return videos
