"""All shards of a store: finished ones are kept, the others made, on a pool of workers.

Interrupted and run again, only missing shards are made. A video that kills its worker is found by
halving, named, and left out. What is held in memory grows by a hundred bytes or so per video.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipeline.core.errors import DataError, StoreError
from pipeline.core.ray_pool import RETRIES, Crash, Pool
from pipeline.store.lmdb_store import ShardFile
from pipeline.store.shard_worker import Outcome, ShardRecord, read_record
from pipeline.store.shards import Shard

Progress = Callable[[int, int], None]


class Task(Protocol):
    """One shard to make; plain data, so that it can be sent to another machine."""

    @property
    def shard(self) -> Shard: ...
    @property
    def identity(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def items(self) -> tuple[Any, ...]:
        """The shard's videos; each has a `video_id`."""

    def only(self: T, items: Sequence[Any]) -> T:
        """The same task for some of its videos."""

    def without(self: T, blamed: Mapping[str, str]) -> T:
        """The same task where these videos (id: reason) are failed, and not tried."""


T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Work(Generic[T]):
    """What kind of shards: how to list them, make one, and try one."""

    tasks: Callable[[], Iterator[T]]
    """Every shard of the plan, in order; called more than once."""
    make: Callable[[T], ShardRecord]
    attempt: Callable[[T], object]
    """Does what may kill a worker, and keeps nothing."""
    doing: str
    """In the reason of a video that killed its worker: `decoding it`."""


class Records:
    """Records of finished shards: their files, and outcomes in little memory."""

    def __init__(self) -> None:
        self._files: dict[int, ShardFile] = {}
        self._packed: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._files)

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
    pool: Pool,
    work: Work[T],
    *,
    ready: Callable[[Iterator[T]], None],
    again: Callable[[ShardRecord], bool] | None = None,
    progress: Progress | None = None,
) -> Records:
    """Records of all shards: those published already, and those made now.

    `ready` looks at the tasks to do before any is begun; `again` says of a finished shard that it
    is to be made once more. `progress(done, total)` counts videos. Raises StoreError when the disk
    is full, DataError for a shard that cannot be made even without the videos that kill workers.
    """
    records = Records()
    pending: set[int] = set()
    total = done = 0
    for task in work.tasks():
        total += len(task.items)
        record = read_record(task.folder, task.shard)
        if record is not None and (
            record.identity != task.identity or (again is not None and again(record))
        ):
            record = None
        if record is not None:
            records.add(task.shard.number, record)
            done += len(record.outcomes)
        else:
            pending.add(task.shard.number)
    if progress is not None:
        progress(done, total)
    if not pending:
        return records
    shards = len(records) + len(pending)
    ready(task for task in work.tasks() if task.shard.number in pending)
    try:
        for task, record in _made(pool, work, pending):
            records.add(task.shard.number, record)
            done += len(task.items)
            if progress is not None:
                progress(done, total)
    except StoreError as error:
        raise StoreError(
            f"{error.what}; {len(records)} of {shards} shards are finished and whole, "
            f"{shards - len(records)} are missing",
            where=error.where,
            do=error.do or "run the command again; it makes only the missing shards",
        ) from None
    return records


def _made(pool: Pool, work: Work[T], pending: set[int]) -> Iterator[tuple[T, ShardRecord]]:
    """Shards as they are finished, each with its task."""
    out: dict[int, T] = {}

    def tasks() -> Iterator[T]:
        wanted = (task for task in work.tasks() if task.shard.number in pending)
        for position, task in enumerate(wanted):
            out[position] = task
            yield task

    for position, result in pool.run(work.make, tasks()):
        task = out.pop(position)
        if isinstance(result, Crash):
            result = _without_culprits(pool, work, task, result)
        yield task, result


def _without_culprits(pool: Pool, work: Work[T], task: T, crash: Crash) -> ShardRecord:
    """Find by halving which videos kill the worker, then make the shard without them."""
    blamed: dict[str, str] = {}
    parts = _halves(task.items)
    while parts:
        items = parts.pop()
        # One video is blamed only for killing every worker it is given to.
        tries = {"retries": RETRIES if len(items) == 1 else 0}
        ((_, survived),) = pool.run(work.attempt, [task.only(items)], **tries)
        if not isinstance(survived, Crash):
            continue
        if len(items) == 1:
            blamed[str(items[0].video_id)] = f"{work.doing} failed: {survived.reason}"
        else:
            parts += _halves(items)
    ((_, result),) = pool.run(work.make, [task.without(blamed)])
    if isinstance(result, Crash):
        raise DataError(
            f"{task.shard.file_name} cannot be made: {crash.reason}, with or without the videos "
            f"that seem to cause it ({', '.join(blamed) or 'none found'})",
            do="look at the machine's memory, or run the command with --workers 1",
        )
    return result


def _halves(items: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    middle = (len(items) + 1) // 2
    return [part for part in (items[:middle], items[middle:]) if part]


def clear(folder: Path, shards: int) -> None:
    """Remove leftovers of killed runs and shards beyond the first `shards`: of another plan."""
    keep = {name for n in range(shards) for name in _names(n)}
    for path in [*folder.glob(".tmp-*"), *folder.glob("shard-*")]:
        if path.name not in keep:
            path.unlink()


def _names(number: int) -> tuple[str, str]:
    shard = Shard(number, ())
    return shard.file_name, shard.record_name
