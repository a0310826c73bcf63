"""All shards of a store: finished ones are kept, the others made, on a pool of workers.

Interrupted and run again, only missing shards are made, and the result is the same byte for byte,
for any number of workers and any order of completion. What is held in memory grows by a hundred
bytes or so per video.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import DataError, StoreError
from pipeline.core.ray_pool import Crash, Pool
from pipeline.store.lmdb_store import ShardFile
from pipeline.store.shard_record import Outcome, ShardRecord, file_name, read_record, record_name
from pipeline.store.shard_worker import ShardTask, try_videos, write_shard
from pipeline.store.shared_storage import check_nodes

Progress = Callable[[int, int], None]
Tasks = Callable[[], Iterator[ShardTask]]
"""Every shard of a store, in order; called more than once, since they are too many to hold."""


class Records:
    """Records of finished shards: their files, and outcomes in little memory."""

    def __init__(self) -> None:
        self._files: dict[int, ShardFile] = {}
        self._packed: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, number: int) -> bool:
        return number in self._files

    def add(self, number: int, record: ShardRecord) -> None:
        self._files[number] = record.file
        rows = [tuple(vars(outcome).values()) for outcome in record.outcomes]
        self._packed[number] = zlib.compress(pickle.dumps(rows), 1)

    def files(self) -> list[ShardFile]:
        """In the order of their numbers."""
        return [self._files[number] for number in sorted(self._files)]

    def outcomes(self, number: int) -> dict[str, Outcome]:
        """What became of the videos of a shard, by id."""
        rows = pickle.loads(zlib.decompress(self._packed[number]))
        return {row[0]: Outcome(*row) for row in rows}


def make_shards(
    folder: Path,
    tasks: Tasks,
    *,
    workers: int | None,
    retry: Collection[str] = (),
    progress: Progress | None = None,
) -> Records:
    """Records of all shards: those in `folder` already, and those made now.

    A finished shard with a video of a status in `retry` is made once more. `index.json` is removed
    before the first shard is made: it means a finished store. `progress(done, total)` counts
    videos. Raises StoreError when the disk is full, UsageError when a node of the cluster cannot
    take part, DataError for a shard that cannot be made even without the videos that kill workers.
    """
    records = Records()
    shards = total = done = 0
    for task in tasks():
        shards += 1
        total += len(task.videos)
        record = read_record(folder, task.number)
        if record is not None and record.identity == task.identity and not _failed(record, retry):
            records.add(task.number, record)
            done += len(task.videos)
    clear(folder, shards)
    if progress is not None:
        progress(done, total)
    if len(records) == shards:
        return records

    def missing() -> Iterator[ShardTask]:
        return (task for task in tasks() if task.number not in records)

    with Pool(workers) as pool:
        files = (task.maker.file_of(video) for task in missing() for video in task.videos)
        check_nodes(pool, folder, next(filter(None, files), None))
        (folder / "index.json").unlink(missing_ok=True)
        try:
            for task, record in _made(pool, missing()):
                records.add(task.number, record)
                done += len(task.videos)
                if progress is not None:
                    progress(done, total)
        except StoreError as error:
            raise StoreError(
                f"{error.what}; {len(records)} of {shards} shards are finished and whole, "
                f"{shards - len(records)} are missing",
                where=error.where,
                do=error.do or "run the command again; it makes only the missing shards",
            ) from None
    clear(folder, shards)  # what workers that were killed meanwhile left
    return records


def _failed(record: ShardRecord, retry: Collection[str]) -> bool:
    return any(o.status in retry and o.source_sha256 is not None for o in record.outcomes)


def _made(pool: Pool, tasks: Iterator[ShardTask]) -> Iterator[tuple[ShardTask, ShardRecord]]:
    """Shards as they are finished, each with its task."""
    running: dict[int, ShardTask] = {}

    def begun() -> Iterator[ShardTask]:
        for position, task in enumerate(tasks):
            running[position] = task
            yield task

    for position, result in pool.run(write_shard, begun()):
        task = running.pop(position)
        yield task, _without_deadly(pool, task) if isinstance(result, Crash) else result


def _without_deadly(pool: Pool, task: ShardTask) -> ShardRecord:
    """The shard without those of its videos that kill every worker they are given to."""
    alone = task.one_by_one()
    blamed = {
        str(alone[position].videos[0].video_id): f"{task.maker.doing} failed: {result.reason}"
        for position, result in pool.run(try_videos, alone)
        if isinstance(result, Crash)
    }
    ((_, result),) = pool.run(write_shard, [replace(task, blamed=blamed)])
    if isinstance(result, Crash):
        raise DataError(
            f"{file_name(task.number)} cannot be made: {result.reason}, with or without the videos "
            f"that seem to cause it ({', '.join(blamed) or 'none found'})",
            do="look at the machine's memory, or run the command with --workers 1",
        )
    return result


def clear(folder: Path, shards: int) -> None:
    """Remove leftovers of killed runs and shards beyond the first `shards`: of another plan."""
    keep = {name(n) for n in range(shards) for name in (file_name, record_name)}
    for path in [*folder.glob(".tmp-*"), *folder.glob("shard-*")]:
        if path.name not in keep:
            path.unlink()
