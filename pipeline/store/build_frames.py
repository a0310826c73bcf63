"""A data set's videos → its frame store: plan, resume, run, index.

Interrupted and run again, only missing shards are redone and the result is the same byte for byte,
for any number of workers and any order of completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.core.errors import AbsentData, StoreError
from pipeline.core.files import read_json
from pipeline.core.locks import exclusive
from pipeline.schema.dataset import Dataset, DecodePolicy
from pipeline.schema.status import USABLE
from pipeline.sources.ledger import refuse_if_bad, stream_ledger
from pipeline.sources.source import Source
from pipeline.store.index import Video, write_absent, write_index, write_rows
from pipeline.store.packed_frames import pack
from pipeline.store.shard_record import Outcome
from pipeline.store.shard_runner import Progress, Records, Tasks, clear, make_shards
from pipeline.store.shard_worker import ShardTask
from pipeline.store.shards import Shard, cut, identity, in_a_shard, recipe
from pipeline.video.decode_video import Decoded, failed
from pipeline.video.decode_video import decode as decode_video
from pipeline.video.ffmpeg import binary, build


@dataclass(frozen=True)
class FrameMaker:
    """How the videos of a frame store are made: each is decoded by an ffmpeg of its own."""

    doing: ClassVar[str] = "decoding it"
    kept: ClassVar[tuple[str, ...]] = ("ok",)
    ffmpeg_build: str
    raw: Path
    policy: DecodePolicy
    frame_prefix: str | None

    def check_machine(self) -> None:
        """StoreError when this worker's ffmpeg is not that of the others."""
        found = build(binary())
        if found != self.ffmpeg_build:
            raise StoreError(
                f"this worker's ffmpeg is {found}, the others' is {self.ffmpeg_build}",
                do="give every node the same ffmpeg (TDN_FFMPEG), then run the command again",
            )

    def file_of(self, row: Source) -> Path | None:
        """The video's file or frame folder."""
        return self.raw / row.relpath if row.status == "ok" and row.relpath else None

    def source_of(self, row: Source) -> str | None:
        """sha256 of the video's file."""
        return row.sha256 if row.status == "ok" else None

    def make(self, row: Source) -> tuple[bytes | None, Outcome]:
        """The video's frames as a blob."""
        if row.status != "ok" or row.relpath is None:
            status = row.status if row.status in ("missing", "refused") else "error"
            return None, _outcome(row, failed(status, row.reason))
        path, listed = self.raw / row.relpath, row.frames_listed
        found = decode_video(path, self.policy, binary(), self.frame_prefix, listed)
        fewest = self.policy.min_frames
        if found.status in USABLE and found.n_frames < fewest:
            also = f" ({found.reason})" if found.reason else ""
            reason = f"{found.n_frames} frames, the minimum is {fewest}{also}"
            found = failed("short", reason, found.fps)
        if not found.n_frames:
            return None, _outcome(row, found)
        blob = pack(found.stream, found.offsets, found.width_px, found.height_px)
        return blob, _outcome(row, found)

    def reuse(self, outcome: Outcome, row: Source) -> Outcome:
        """The same: all of it follows from the file."""
        return outcome

    def fail(self, row: Source, reason: str) -> Outcome:
        """An `error`."""
        return _outcome(row, failed("error", reason))


def _outcome(row: Source, decoded: Decoded) -> Outcome:
    return Outcome(
        video_id=str(row.video_id),
        n_frames=decoded.n_frames,
        width_px=decoded.width_px,
        height_px=decoded.height_px,
        fps=decoded.fps,
        source_sha256=row.sha256,
        frames_sha256=None,
        status=decoded.status,
        reason=decoded.reason,
    )


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
        ffmpeg = build(binary())
        records = make_shards(
            folder.absolute(),
            _tasks(dataset, ledger, raw, folder, ffmpeg),
            workers=workers,
            retry=("error", "empty", "partial") if retry_failed else (),
            progress=progress,
        )
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


def _tasks(dataset: Dataset, ledger: _Ledger, raw: Path, folder: Path, ffmpeg: str) -> Tasks:
    made_by = recipe(dataset, ffmpeg)
    maker = FrameMaker(ffmpeg, raw.absolute(), dataset.decode, dataset.options.frame_prefix)

    def tasks() -> Iterator[ShardTask]:
        for shard in ledger.shards():
            name = identity(shard, made_by, dataset.decode.timeout_s)
            yield ShardTask(shard.number, shard.rows, name, made_by, folder.absolute(), maker)

    return tasks
