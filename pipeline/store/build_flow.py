"""A data set's frame store → its flow store: same shards, same format, same way to resume.

Shard k of the flow store holds the flow of the videos of shard k of the frame store. Killed
and run again, only missing shards are made; the result is the same byte for byte, for any number of
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, StoreError
from pipeline.core.files import sha256_json
from pipeline.core.locks import exclusive
from pipeline.core.ray_pool import Pool
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.status import USABLE
from pipeline.store import blob as blobs
from pipeline.store import tvl1 as flow
from pipeline.store.blob import pack
from pipeline.store.index import FrameIndex, Video, write_absent, write_index, write_rows
from pipeline.store.lmdb_store import FrameStore, ShardFile, ShardWriter
from pipeline.store.nodes import refuse_blind_nodes
from pipeline.store.shard_runner import Progress, Records, Work, clear, make_shards
from pipeline.store.shard_worker import Earlier, Outcome, ShardRecord, publish
from pipeline.store.shards import Shard
from pipeline.video.jpeg_split import concatenate

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
    blamed: Mapping[str, str]
    """Videos that killed a worker, and how: they are not tried again."""

    @property
    def shard(self) -> Shard:
        """The shard's names; its rows of the ledger are the frame store's business."""
        return Shard(self.number, ())

    @property
    def items(self) -> tuple[Video, ...]:
        return self.videos

    def only(self, items: Sequence[Video]) -> FlowTask:
        """The same task for some of its videos."""
        return replace(self, videos=tuple(items))

    def without(self, blamed: Mapping[str, str]) -> FlowTask:
        """The same task where these videos (id: reason) are failed, and not tried."""
        return replace(self, blamed=blamed)


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
        shards = len(frames.about["shards"])
        clear(folder, shards)
        with Pool(workers) as pool:
            records = make_shards(
                pool,
                Work(_tasks(frames, folder, policy), write_flow_shard, try_flow, "its flow"),
                ready=lambda tasks: _begin(pool, frames, folder),
                again=_worth_another_try if retry_failed else None,
                progress=progress,
            )
        clear(folder, shards)  # what workers that were killed meanwhile left
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


def write_flow_shard(task: FlowTask) -> ShardRecord:
    """Compute a shard's fields, publish file and record, and return the record.

    Fields that an earlier version of the shard holds, made from the same frames in the same way,
    are copied instead of computed.
    """
    _refuse_other_opencv(task)
    earlier = Earlier(task.folder, task.shard, task.recipe, USABLE)
    outcomes = []
    with ShardWriter(task.folder / task.shard.file_name) as writer:
        for video in task.videos:
            known = earlier.find(video.video_id, video.frames_sha256)
            blob, outcome = _renewed(known, video) if known else _compute(video, task)
            if blob is not None:
                outcome = replace(outcome, frames_sha256=writer.put(video.video_id, blob))
            outcomes.append(outcome)
        return publish(writer, task.identity, task.recipe, outcomes)


def try_flow(task: FlowTask) -> int:
    """Compute a shard's fields and keep nothing: does the worker survive? Returns their number."""
    _refuse_other_opencv(task)
    return sum(_compute(video, task)[1].n_frames for video in task.videos)


def _refuse_other_opencv(task: FlowTask) -> None:
    if flow.build() != task.opencv:
        raise StoreError(
            f"this worker's OpenCV is {flow.build()}, the others' is {task.opencv}",
            do="install the locked requirements on every node, then run the command again",
        )


def _renewed(known: tuple[bytes, Outcome], video: Video) -> tuple[bytes, Outcome]:
    """Fields made before, with what the frame store now says of the video."""
    blob, outcome = known
    return blob, replace(outcome, fps=video.fps, status=video.status, reason=video.reason)


def _compute(video: Video, task: FlowTask) -> tuple[bytes | None, Outcome]:
    """A video's fields as a blob, and how it went."""
    status, reason = video.status, video.reason
    images: list[bytes] = []
    width = height = 0
    if video.video_id in task.blamed:
        status, reason = "error", task.blamed[video.video_id]
    else:
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


def _tasks(
    frames: FrameIndex, folder: Path, policy: FlowPolicy
) -> Callable[[], Iterator[FlowTask]]:
    opencv = flow.build()
    recipe = sha256_json([KIND, policy.model_dump(mode="json"), opencv, blobs.FORMAT, flow.FORMAT])
    inside: dict[int, list[Video]] = {}
    for video in frames.videos:  # by ascending id, as shards are filled
        if video.usable:
            inside.setdefault(video.shard, []).append(video)

    def tasks() -> Iterator[FlowTask]:
        for number, about in enumerate(frames.about["shards"]):
            videos = tuple(inside.get(number, ()))
            inputs = [[video.video_id, video.frames_sha256, video.status] for video in videos]
            places = {video.video_id: 0 for video in videos}
            yield FlowTask(
                number=number,
                videos=videos,
                identity=sha256_json([number, recipe, inputs]),
                recipe=recipe,
                opencv=opencv,
                source=FrameStore(frames.folder.absolute(), [ShardFile(**about)], places),
                folder=folder.absolute(),
                policy=policy,
                blamed={},
            )

    return tasks


def _begin(pool: Pool, frames: FrameIndex, folder: Path) -> None:
    """Ask every node for both folders."""
    refuse_blind_nodes(pool, folder, frames.folder / "index.json")
    (folder / "index.json").unlink(missing_ok=True)  # it means a finished store


def _worth_another_try(record: ShardRecord) -> bool:
    return any(outcome.status == "error" for outcome in record.outcomes)


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
