"""What one worker does: make the videos of one shard and publish it.

A `Maker` knows how one video is made: decoded from its file, or computed as flow from its frames.
Failures of single videos are rows; only a full disk stops a shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pipeline.store.lmdb_store import ShardWriter
from pipeline.store.packed_frames import odd_frame
from pipeline.store.shard_record import (
    Outcome,
    PublishedVideos,
    ShardRecord,
    file_name,
    publish,
)


class Maker(Protocol):
    """How the videos of a store are made. Plain data, so that it can be sent to another machine.

    A video is whatever the store is made from, with a `video_id`: a row of the ledger, or of the
    index of the frame store.
    """

    doing: ClassVar[str]
    """In the reason of a video that killed its worker: `decoding it`."""
    kept: ClassVar[tuple[str, ...]]
    """Statuses of videos that a new version of their shard takes from the one before."""

    def check_machine(self) -> None:
        """StoreError when this worker's libraries are not those of the others."""

    def file_of(self, video: Any) -> Path | None:
        """A file that every machine must see to make the video; None where there is none."""

    def source_of(self, video: Any) -> str | None:
        """Digest of what the video is made from; None where there is nothing to make it from."""

    def make(self, video: Any) -> tuple[bytes | None, Outcome]:
        """The video's blob (None without frames) and how it went. Never raises for its content."""

    def reuse(self, outcome: Outcome, video: Any) -> Outcome:
        """An outcome of before with what is known of the video now."""

    def fail(self, video: Any, reason: str) -> Outcome:
        """The outcome of a video that is not tried."""


@dataclass(frozen=True)
class ShardTask:
    """One shard to make; plain data, so that it can be sent to another machine."""

    number: int
    videos: tuple[Any, ...]
    """By ascending `video_id`."""
    identity: str
    recipe: str
    folder: Path
    maker: Maker
    blamed: Mapping[str, str] = field(default_factory=dict)
    """Videos (id: reason) that killed a worker: they fail, and are not tried again."""

    def one_by_one(self) -> list[ShardTask]:
        """A task for each video by itself."""
        return [replace(self, videos=(video,)) for video in self.videos]


def write_shard(task: ShardTask) -> ShardRecord:
    """Make a shard's videos, publish file and record, and return the record.

    Videos that an earlier version of the shard holds, made from the same source in the same way,
    are copied. Raises StoreError when the disk is full or this machine's libraries differ.
    """
    maker = task.maker
    maker.check_machine()
    published = PublishedVideos(task.folder, task.number, task.recipe, maker.kept)
    outcomes = []
    with ShardWriter(task.folder / file_name(task.number)) as writer:
        for video in task.videos:
            blob, outcome = _made(task, video, published)
            if blob is not None:
                outcome = replace(outcome, frames_sha256=writer.put(outcome.video_id, blob))
            outcomes.append(outcome)
        return publish(writer, task.identity, task.recipe, outcomes)


def _made(task: ShardTask, video: Any, published: PublishedVideos) -> tuple[bytes | None, Outcome]:
    maker, name = task.maker, str(video.video_id)
    source = maker.source_of(video)
    if source is not None and (known := published.find(name, source)) is not None:
        return known[0], maker.reuse(known[1], video)
    if name in task.blamed:
        return None, maker.fail(video, task.blamed[name])
    blob, outcome = maker.make(video)
    if blob is not None and (odd := odd_frame(blob, name)):
        return None, maker.fail(video, f"{maker.doing} failed: {odd}")
    return blob, outcome


def try_videos(task: ShardTask) -> None:
    """Make a shard's videos and keep nothing: does the worker survive?"""
    task.maker.check_machine()
    for video in task.videos:
        task.maker.make(video)
