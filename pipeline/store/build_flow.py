"""A data set's frame store → its flow store: same shards, same format, same way to resume.

Shard k of the flow store holds the flow of the videos of shard k of the frame store. Killed
and run again, only missing shards are made; the result is the same byte for byte, for any number of
workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pipeline.core.errors import DataError, StoreError
from pipeline.core.files import sha256_json
from pipeline.core.locks import exclusive
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.status import USABLE
from pipeline.store import packed_frames as blobs
from pipeline.store import tvl1 as flow
from pipeline.store.index import FrameIndex, Video, write_absent, write_index, write_rows
from pipeline.store.lmdb_store import FrameStore, ShardFile
from pipeline.store.packed_frames import pack
from pipeline.store.shard_record import Outcome
from pipeline.store.shard_runner import Progress, Records, Tasks, clear, make_shards
from pipeline.store.shard_worker import ShardTask
from pipeline.video.jpeg_split import concatenate

KIND = "flow"


@dataclass(frozen=True)
class FlowMaker:
    """How the videos of a flow store are made: computed from their frames, in the worker itself."""

    doing: ClassVar[str] = "its flow"
    kept: ClassVar[tuple[str, ...]] = USABLE
    opencv: str
    source: FrameStore
    policy: FlowPolicy

    def check_machine(self) -> None:
        """StoreError when this worker's OpenCV is not that of the others."""
        if flow.build() != self.opencv:
            raise StoreError(
                f"this worker's OpenCV is {flow.build()}, the others' is {self.opencv}",
                do="install the locked requirements on every node, then run the command again",
            )

    def file_of(self, video: Video) -> Path | None:
        """The index of the frame store."""
        return self.source.folder / "index.json"

    def source_of(self, video: Video) -> str | None:
        """sha256 of the video's frames."""
        return video.frames_sha256

    def make(self, video: Video) -> tuple[bytes | None, Outcome]:
        """The video's fields as a blob."""
        try:
            images, width, height = flow.fields(self.source.jpegs(video.video_id), self.policy)
        except DataError as error:
            return None, _outcome(video, "error", f"no flow: {error.what}")
        if not images:
            reason = "flow needs two frames, this video has one"
            return None, _outcome(video, "short", reason)
        stream, offsets = concatenate(images)
        blob = pack(stream, offsets, width, height)
        outcome = _outcome(video, video.status, video.reason)
        return blob, replace(outcome, n_frames=len(images), width_px=width, height_px=height)

    def reuse(self, outcome: Outcome, video: Video) -> Outcome:
        """With what the frame store now says of the video."""
        return replace(outcome, fps=video.fps, status=video.status, reason=video.reason)

    def fail(self, video: Video, reason: str) -> Outcome:
        """An `error`."""
        return _outcome(video, "error", reason)


def _outcome(video: Video, status: str, reason: str) -> Outcome:
    """The outcome of a video without fields."""
    return Outcome(
        video_id=video.video_id,
        n_frames=0,
        width_px=0,
        height_px=0,
        fps=video.fps,
        source_sha256=video.frames_sha256,
        frames_sha256=None,
        status=status,
        reason=reason,
    )


def make_flow(
    frames: FrameIndex,
    folder: Path,
    policy: FlowPolicy,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fill `folder` with the flow store of a frame store; returns its `index.json`.

    A video of one frame has no flow and becomes `short`; what has no frames keeps its status and
    reason. `workers` is the number of processes (0: this one; None: every core); `retry_failed`
    tries failed videos of finished shards again. Raises StoreError when the disk is full or the
    frame store is damaged, UsageError when another process is at it.
    """
    name = frames.about["dataset"]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{folder.name}.lock", f"the flow store of {name}"):
        records = make_shards(
            folder.absolute(),
            _tasks(frames, folder, policy),
            workers=workers,
            retry=("error",) if retry_failed else (),
            progress=progress,
        )
        rows = write_rows(folder, _rows(frames, records))
        facts = {
            "kind": KIND,
            "dataset": name,
            "classes": list(frames.classes),
            "label_order": frames.about["label_order"],
            "policy": policy.model_dump(mode="json"),
            "opencv": flow.build(),
            "frame_store": frames.content,
        }
        return write_index(folder, rows, records.files(), facts)


def make_absent(folder: Path, dataset: str, reason: str) -> None:
    """The flow store of a data set without frames, so that a graph can go on."""
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{folder.name}.lock", f"the flow store of {dataset}"):
        clear(folder, 0)
        write_absent(folder, dataset, reason)


def _tasks(frames: FrameIndex, folder: Path, policy: FlowPolicy) -> Tasks:
    opencv = flow.build()
    recipe = sha256_json([KIND, policy.model_dump(mode="json"), opencv, blobs.FORMAT, flow.FORMAT])
    inside: dict[int, list[Video]] = {}
    for video in frames.videos:  # by ascending id, as shards are filled
        if video.usable:
            inside.setdefault(video.shard, []).append(video)

    def tasks() -> Iterator[ShardTask]:
        for number, about in enumerate(frames.about["shards"]):
            videos = tuple(inside.get(number, ()))
            inputs = [[video.video_id, video.frames_sha256, video.status] for video in videos]
            places = {video.video_id: 0 for video in videos}
            source = FrameStore(frames.folder.absolute(), [ShardFile(**about)], places)
            maker = FlowMaker(opencv, source, policy)
            name = sha256_json([number, recipe, inputs])
            yield ShardTask(number, videos, name, recipe, folder.absolute(), maker)

    return tasks


def _rows(frames: FrameIndex, records: Records) -> Iterator[Video]:
    """Rows of the flow index, in the order of the frame index."""
    number, made = -1, dict[str, Outcome]()
    for video in frames.videos:
        if not video.usable:
            yield _row(video, None)
            continue
        if video.shard != number:
            number, made = video.shard, records.outcomes(video.shard)
        yield _row(video, made[video.video_id])


def _row(video: Video, outcome: Outcome | None) -> Video:
    """A row of the flow index: labels and source of the video, and what became of its flow."""
    if outcome is None:  # it has no frames
        return replace(video, shard=-1, n_frames=0, frames_sha256=None)
    return replace(
        video,
        shard=video.shard if outcome.status in USABLE else -1,
        n_frames=outcome.n_frames,
        width_px=outcome.width_px,
        height_px=outcome.height_px,
        frames_sha256=outcome.frames_sha256,
        status=outcome.status,
        reason=outcome.reason,
    )
