"""What one worker does: decode the videos of one shard and publish it.

A shard is published in three steps (old record removed, file given its name, record written), so a
record means a whole file. Failures of single videos are rows; only a full disk stops a shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import StoreError
from pipeline.core.files import read_json, write_json
from pipeline.schema.dataset import DecodePolicy
from pipeline.sources.source import Source
from pipeline.store.blob import pack
from pipeline.store.lmdb_store import FrameStore, ShardFile, ShardWriter, writing
from pipeline.store.shards import Shard
from pipeline.video.decode_video import Decoded, decode, failed
from pipeline.video.ffmpeg import binary, build

SCHEMA = "tdn.shard/1"


@dataclass(frozen=True)
class Outcome:
    """What became of one video; its labels and splits are in the ledger."""

    video_id: str
    n_frames: int
    width_px: int
    height_px: int
    fps: float | None
    source_sha256: str | None
    frames_sha256: str | None
    status: str
    reason: str


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard: what it was made from, its file and its videos."""

    identity: str
    recipe: str
    file: ShardFile
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class ShardTask:
    """Everything a worker needs; plain data, so that it can be sent to another machine."""

    shard: Shard
    identity: str
    recipe: str
    ffmpeg_build: str
    raw: Path
    folder: Path
    policy: DecodePolicy
    frame_prefix: str | None
    blamed: Mapping[str, str]
    """Videos that killed a worker, and how: they are not tried again."""

    @property
    def items(self) -> tuple[Source, ...]:
        return self.shard.rows

    def only(self, items: Sequence[Source]) -> ShardTask:
        """The same task for some of its videos."""
        return replace(self, shard=replace(self.shard, rows=tuple(items)))

    def without(self, blamed: Mapping[str, str]) -> ShardTask:
        """The same task where these videos (id: reason) are failed, and not tried."""
        return replace(self, blamed=blamed)


def write_shard(task: ShardTask) -> ShardRecord:
    """Decode a shard's videos, publish file and record, and return the record.

    Frames of `ok` videos that an earlier version of the shard holds, made from the same source in
    the same way, are copied instead of decoded; what did not end well is tried again. Raises
    StoreError when the disk is full or the ffmpeg differs.
    """
    program = _program(task)
    earlier = Earlier(task.folder, task.shard, task.recipe, ("ok",))
    path = task.folder / task.shard.file_name
    outcomes = []
    with ShardWriter(path) as writer:
        for row in task.shard.rows:
            known = earlier.find(str(row.video_id), row.sha256) if row.status == "ok" else None
            blob, outcome = known or _decode(row, task, program)
            if blob is not None:
                outcome = replace(outcome, frames_sha256=writer.put(outcome.video_id, blob))
            outcomes.append(outcome)
        return publish(writer, task.identity, task.recipe, outcomes)


def publish(
    writer: ShardWriter, identity: str, recipe: str, outcomes: Sequence[Outcome]
) -> ShardRecord:
    """Give a filled shard its name and its record: old record away, file, new record."""
    record_path = writer.path.with_suffix(".json")
    record_path.unlink(missing_ok=True)
    record = ShardRecord(identity, recipe, writer.close(), tuple(outcomes))
    with writing(record_path):
        write_json(record_path, _to_json(record))
    return record


def try_videos(task: ShardTask) -> int:
    """Decode a shard's videos and keep nothing: does the worker survive? Returns their number."""
    program = _program(task)
    for row in task.shard.rows:
        _decode(row, task, program)
    return len(task.shard.rows)


def read_record(folder: Path, shard: Shard) -> ShardRecord | None:
    """The record of a published shard whose file has the right size; None otherwise."""
    try:
        value = read_json(folder / shard.record_name)
        file = ShardFile(**value["file"])
        outcomes = tuple(Outcome(**row) for row in value["videos"])
        record = ShardRecord(value["identity"], value["recipe"], file, outcomes)
        whole = (folder / shard.file_name).stat().st_size == file.bytes
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole and file.name == shard.file_name else None


def _to_json(record: ShardRecord) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "identity": record.identity,
        "recipe": record.recipe,
        "file": asdict(record.file),
        "videos": [asdict(outcome) for outcome in record.outcomes],
    }


def _program(task: ShardTask) -> str:
    program = binary()
    if build(program) != task.ffmpeg_build:
        raise StoreError(
            f"this worker's ffmpeg is {build(program)}, the others' is {task.ffmpeg_build}",
            do="give every node the same ffmpeg (TDN_FFMPEG), then run the command again",
        )
    return program


def _decode(row: Source, task: ShardTask, program: str) -> tuple[bytes | None, Outcome]:
    video_id = str(row.video_id)
    if row.status != "ok" or row.relpath is None:
        status = row.status if row.status in ("missing", "refused") else "error"
        decoded = failed(status, row.reason)
    elif video_id in task.blamed:
        decoded = failed("error", task.blamed[video_id])
    else:
        decoded = decode(
            task.raw / row.relpath, task.policy, program, task.frame_prefix, row.frames_listed
        )
        decoded = _long_enough(decoded, task.policy.min_frames)
    outcome = Outcome(
        video_id=video_id,
        n_frames=decoded.n_frames,
        width_px=decoded.width_px,
        height_px=decoded.height_px,
        fps=decoded.fps,
        source_sha256=row.sha256,
        frames_sha256=None,
        status=decoded.status,
        reason=decoded.reason,
    )
    if not decoded.n_frames:
        return None, outcome
    blob = pack(decoded.stream, decoded.offsets, decoded.width_px, decoded.height_px)
    return blob, outcome


def _long_enough(decoded: Decoded, min_frames: int) -> Decoded:
    if decoded.status not in ("ok", "partial") or decoded.n_frames >= min_frames:
        return decoded
    also = f" ({decoded.reason})" if decoded.reason else ""
    reason = f"{decoded.n_frames} frames, the minimum is {min_frames}{also}"
    return failed("short", reason, decoded.fps)


class Earlier:
    """The videos of a shard as it was published before, where they are still right.

    `statuses` are those of outcomes that another try would not change.
    """

    def __init__(self, folder: Path, shard: Shard, recipe: str, statuses: Sequence[str]) -> None:
        self._store: FrameStore | None = None
        self._outcomes: dict[str, Outcome] = {}
        record = read_record(folder, shard)
        if record is not None and record.recipe == recipe:
            self._outcomes = {o.video_id: o for o in record.outcomes if o.status in statuses}
            self._store = FrameStore(folder, [record.file], dict.fromkeys(self._outcomes, 0))

    def find(self, video_id: str, source_sha256: str | None) -> tuple[bytes, Outcome] | None:
        """The stored value and outcome of a video made from the same source; else None."""
        outcome = self._outcomes.get(video_id)
        if outcome is None or self._store is None or outcome.source_sha256 != source_sha256:
            return None
        try:
            blob = self._store.blob(video_id)
        except StoreError:
            return None
        if hashlib.sha256(blob).hexdigest() != outcome.frames_sha256:
            return None
        return blob, outcome
