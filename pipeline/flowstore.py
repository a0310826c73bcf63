"""A data set's frame store → its flow store: same shards, same format, same way to resume.

Shard k of the flow store holds the flow of the videos of shard k of the frame store. Killed
and run again, only missing shards are made; the result is the same byte for byte, for any number of
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import blobs, flow
from pipeline.blobs import pack
from pipeline.digests import sha256_json
from pipeline.errors import DataError, StoreError
from pipeline.framestore import FrameStore, ShardFile, ShardWriter
from pipeline.index import USABLE, FrameIndex, Video, write_absent, write_index
from pipeline.jpegs import concatenate
from pipeline.locks import exclusive
from pipeline.manifest_flow import FlowPolicy
from pipeline.nodes import refuse_blind_nodes
from pipeline.shards import Shard
from pipeline.shardwork import Outcome, ShardRecord, publish, read_record
from pipeline.workers import Crash, Pool

Progress = Callable[[int, int], None]

KIND = "flow"


@dataclass(frozen=True)
class FlowTask:
    """One shard to make; plain data, so that it can be sent to another machine."""

    number: int
    videos: tuple[Video, ...]
    identity: str
    recipe: str
    opencv: str
    source: FrameStore
    folder: Path
    policy: FlowPolicy

    @property
    def shard(self) -> Shard:
        """The shard's names; its rows of the ledger are the frame store's business."""
        return Shard(self.number, ())


def make_flow(
    frames: FrameIndex,
    folder: Path,
    policy: FlowPolicy,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fill `folder` with the flow store of a frame store; returns its `index.json`.

    A video of one frame has no flow and becomes `short`; what has no frames keeps its status and
    reason. `workers` is the number of processes (0: this one; None: every core). Raises StoreError
    when the disk is full or the frame store is damaged, UsageError when another process is at it.
    """
    name = frames.about["dataset"]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{folder.name}.lock", f"the flow store of {name}"):
        tasks = _tasks(frames, folder, policy)
        _clear(folder, tasks)
        with Pool(workers) as pool:
            refuse_blind_nodes(pool, folder, frames.folder / "index.json")
            records = _run(pool, tasks, progress)
        made = {o.video_id: o for record in records for o in record.outcomes}
        videos = [_row(video, made.get(video.video_id)) for video in frames.videos]
        facts = {
            "kind": KIND,
            "dataset": name,
            "classes": list(frames.classes),
            "label_order": frames.about["label_order"],
            "policy": policy.model_dump(mode="json"),
            "opencv": flow.build(),
            "frame_store": frames.content,
        }
        return write_index(folder, videos, [record.file for record in records], facts)


def make_absent(folder: Path, dataset: str, reason: str) -> None:
    """The flow store of a data set without frames, so that a graph can go on."""
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{folder.name}.lock", f"the flow store of {dataset}"):
        _clear(folder, [])
        write_absent(folder, dataset, reason)


def write_flow_shard(task: FlowTask) -> ShardRecord:
    """Compute a shard's fields, publish file and record, and return the record."""
    if flow.build() != task.opencv:
        raise StoreError(
            f"this worker's OpenCV is {flow.build()}, the others' is {task.opencv}",
            do="install the locked requirements on every node, then run the command again",
        )
    outcomes = []
    with ShardWriter(task.folder / task.shard.file_name) as writer:
        for video in task.videos:
            blob, outcome = _compute(video, task)
            if blob is not None:
                outcome = replace(outcome, frames_sha256=writer.put(video.video_id, blob))
            outcomes.append(outcome)
        return publish(writer, task.identity, task.recipe, outcomes)


def _compute(video: Video, task: FlowTask) -> tuple[bytes | None, Outcome]:
    """A video's fields as a blob, and how it went."""
    status, reason = video.status, video.reason
    images: list[bytes] = []
    width = height = 0
    try:
        images, width, height = flow.fields(task.source.jpegs(video.video_id), task.policy)
    except DataError as error:
        status, reason = "error", f"no flow: {error.what}"
    if not images and status in USABLE:
        status, reason = "short", "flow needs two frames, this video has one"
    outcome = Outcome(
        video_id=video.video_id,
        n_frames=len(images),
        width_px=width if images else 0,
        height_px=height if images else 0,
        fps=video.fps,
        source_sha256=video.frames_sha256,
        frames_sha256=None,
        status=status,
        reason=reason,
    )
    if not images:
        return None, outcome
    stream, offsets = concatenate(images)
    return pack(stream, offsets, width, height), outcome


def _tasks(frames: FrameIndex, folder: Path, policy: FlowPolicy) -> list[FlowTask]:
    opencv = flow.build()
    recipe = sha256_json([KIND, policy.model_dump(mode="json"), opencv, blobs.FORMAT, flow.FORMAT])
    tasks = []
    for number, about in enumerate(frames.about["shards"]):
        inside = [video for video in frames.videos if video.usable and video.shard == number]
        inputs = [[video.video_id, video.frames_sha256, video.status] for video in inside]
        places = {video.video_id: 0 for video in inside}
        tasks.append(
            FlowTask(
                number=number,
                videos=tuple(sorted(inside, key=lambda video: video.video_id.encode("utf-8"))),
                identity=sha256_json([number, recipe, inputs]),
                recipe=recipe,
                opencv=opencv,
                source=FrameStore(frames.folder.absolute(), [ShardFile(**about)], places),
                folder=folder.absolute(),
                policy=policy,
            )
        )
    return tasks


def _clear(folder: Path, tasks: Sequence[FlowTask]) -> None:
    """Remove leftovers of killed runs and shards of another plan."""
    keep = {n for task in tasks for n in (task.shard.file_name, task.shard.record_name)}
    for path in [*folder.glob(".tmp-*"), *folder.glob("shard-*")]:
        if path.name not in keep:
            path.unlink()


def _run(pool: Pool, tasks: Sequence[FlowTask], progress: Progress | None) -> list[ShardRecord]:
    """Records of all shards, in order: those already published, and those made now."""
    records: dict[int, ShardRecord] = {}
    for task in tasks:
        record = read_record(task.folder, task.shard)
        if record is not None and record.identity == task.identity:
            records[task.number] = record
    total = sum(len(task.videos) for task in tasks)
    done = sum(len(record.outcomes) for record in records.values())
    pending = [task for task in tasks if task.number not in records]
    if pending:
        (pending[0].folder / "index.json").unlink(missing_ok=True)  # it means a finished store
    if progress is not None:
        progress(done, total)
    for position, result in pool.run(write_flow_shard, pending):
        task = pending[position]
        if isinstance(result, Crash):
            raise DataError(
                f"the flow of {task.shard.file_name} cannot be made: {result.reason}",
                do="look at the machine's memory, or run the command with --workers 1",
            )
        records[task.number] = result
        done += len(task.videos)
        if progress is not None:
            progress(done, total)
    return [records[task.number] for task in tasks]


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
