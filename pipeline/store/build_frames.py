"""A data set's videos → its frame store: plan, resume, run, index.

Interrupted and run again, only missing shards are redone and the result is the same byte for byte,
for any number of workers and any order of completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.errors import AbsentData, StoreError
from pipeline.core.files import read_json
from pipeline.core.locks import exclusive
from pipeline.core.ray_pool import Pool
from pipeline.schema.dataset import Dataset
from pipeline.schema.status import USABLE
from pipeline.sources.ledger import refuse_if_bad, stream_ledger
from pipeline.sources.source import Source
from pipeline.store.index import Video, write_absent, write_index, write_rows
from pipeline.store.nodes import refuse_blind_nodes
from pipeline.store.shard_runner import Progress, Records, Work, clear, make_shards
from pipeline.store.shard_worker import Outcome, ShardRecord, ShardTask, try_videos, write_shard
from pipeline.store.shards import Shard, cut, identity, in_a_shard, recipe
from pipeline.video.ffmpeg import binary, build


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
            clear(folder, 0)
            return write_absent(folder, dataset.name, checked["reason"])
        ledger = _Ledger(summary.with_suffix(".parquet"), dataset.decode.videos_per_shard)
        shards = sum(1 for _ in ledger.shards())
        clear(folder, shards)
        ffmpeg = build(binary())
        with Pool(workers) as pool:
            records = make_shards(
                pool,
                _work(dataset, ledger, raw, folder, ffmpeg),
                ready=lambda tasks: _begin(pool, folder, tasks),
                again=_worth_another_try if retry_failed else None,
                progress=progress,
            )
        clear(folder, shards)  # what workers that were killed meanwhile left
        rows = write_rows(folder, ledger.videos(records))
        ends = ((v.video_id, v.status, v.reason) for v in ledger.videos(records))
        refuse_if_bad(dataset, "decode", ends)
        facts = {
            "dataset": dataset.name,
            "classes": checked["classes"],
            "label_order": checked["label_order"],
            "policy": dataset.decode.model_dump(mode="json"),
            "ffmpeg": ffmpeg,
            "sources": checked["digest"],
        }
        return write_index(folder, rows, records.files(), facts)


class _Ledger:
    """The listed videos of a data set, read anew each time: they are too many to hold."""

    def __init__(self, path: Path, videos_per_shard: int) -> None:
        self._path = path
        self._size = videos_per_shard

    def _rows(self) -> Iterator[Source]:
        last = ""
        for row in stream_ledger(self._path):
            if row.video_id is None:
                continue
            if row.video_id <= last:
                raise StoreError(
                    f"the ledger is not sorted: '{row.video_id}' comes after '{last}'",
                    where=self._path.name,
                    do=f"run `tdn check {self._path.stem}` again",
                )
            last = row.video_id
            yield row

    def shards(self) -> Iterator[Shard]:
        return cut(self._rows(), self._size)

    def videos(self, records: Records) -> Iterator[Video]:
        """Index rows: what the ledger says of a video and what became of it, by ascending id."""
        placed = 0
        made: dict[str, Outcome] = {}
        for row in self._rows():
            number, before = divmod(placed, self._size)
            video_id = str(row.video_id)
            if in_a_shard(row):
                made = records.outcomes(number) if not before else made
                placed += 1
                outcome = made[video_id]
            else:
                outcome = Outcome(video_id, 0, 0, 0, None, row.sha256, None, row.status, row.reason)
            yield Video(
                labels=row.labels,
                splits=row.splits,
                shard=number if outcome.status in USABLE else -1,
                source=row.relpath,
                **vars(outcome),
            )


def _work(
    dataset: Dataset, ledger: _Ledger, raw: Path, folder: Path, ffmpeg: str
) -> Work[ShardTask]:
    made_by = recipe(dataset, ffmpeg)

    def tasks() -> Iterator[ShardTask]:
        for shard in ledger.shards():
            yield ShardTask(
                shard=shard,
                identity=identity(shard, made_by, dataset.decode.timeout_s),
                recipe=made_by,
                ffmpeg_build=ffmpeg,
                raw=raw.absolute(),
                folder=folder.absolute(),
                policy=dataset.decode,
                frame_prefix=dataset.options.frame_prefix,
                blamed={},
            )

    return Work(tasks, write_shard, try_videos, "decoding it")


def _begin(pool: Pool, folder: Path, tasks: Iterator[ShardTask]) -> None:
    """Ask every node for the folder and a file that decoding will want."""
    rows = ((task, row) for task in tasks for row in task.shard.rows)
    found = (task.raw / str(row.relpath) for task, row in rows if row.status == "ok")
    refuse_blind_nodes(pool, folder.absolute(), next(found, None))
    (folder / "index.json").unlink(missing_ok=True)  # it means a finished store


def _worth_another_try(record: ShardRecord) -> bool:
    return any(
        outcome.status in ("error", "empty", "partial") and outcome.source_sha256 is not None
        for outcome in record.outcomes
    )
