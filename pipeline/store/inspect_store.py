"""Looking into a frame store from outside: does it hold what its index says, and what is that?"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import StoreError, UsageError
from pipeline.core.machine import cores
from pipeline.schema.base import nearest
from pipeline.store.index import FrameIndex
from pipeline.store.lmdb_store import ShardFile, scan
from pipeline.store.packed_frames import ShardDigest, odd_frame

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a store."""

    shard: str
    video_id: str
    """'' when the whole shard is concerned."""
    what: str


def verify(index: FrameIndex, progress: Progress | None = None) -> list[Finding]:
    """Find contradictions, frames included, and have the next decode mend them.

    The record (`shard-00017.json`) of a shard with a finding is removed, so that the next decode
    makes that shard again, from the videos; its file and the index stay as they are until then.
    """
    with ShardReader() as reader:
        findings = contradictions(index, progress, reader=reader)
    shards = {shard["name"]: ShardFile(**shard) for shard in index.about["shards"]}
    for name in dict.fromkeys(finding.shard for finding in findings):
        if name in shards:
            findings += _distrust(index.folder, shards[name])
    return findings


def contradictions(
    index: FrameIndex, progress: Progress | None = None, *, reader: ShardReader, frames: bool = True
) -> list[Finding]:
    """Digest every stored video again and hold it against the index; empty when all is well.

    With `frames`, each must be exactly one JPEG, and all of a video of one size. Changes nothing.
    """
    expected: dict[int, dict[str, str]] = {}
    for video in index.videos:
        if video.usable:
            place = expected.setdefault(video.shard, {})
            place[video.video_id] = str(video.frames_sha256)
    shards = [ShardFile(**shard) for shard in index.about["shards"]]
    listed = {shard.name for shard in shards}
    findings = [
        Finding(path.name, "", "no index names it")
        for path in sorted(index.folder.glob("*.lmdb"))
        if path.name not in listed
    ]
    for number, read in enumerate(reader.read(index.folder, shards, frames)):
        findings += _compare(read, shards[number], expected.get(number, {}))
        if progress is not None:
            progress(number + 1, len(shards))
    return findings


def _distrust(folder: Path, shard: ShardFile) -> list[Finding]:
    """Remove the record that calls a shard finished; a finding when that is not possible."""
    record = (folder / shard.name).with_suffix(".json")
    try:
        record.unlink(missing_ok=True)
    except OSError as error:
        what = f"remove {record.name} by hand before decoding: {error.strerror}"
        return [Finding(shard.name, "", what)]
    return []


Read = tuple[str, list[tuple[str, str]], list[tuple[str, str]], str]
"""(content digest, (video id, sha256) of each entry, (video id, what is odd about a frame of it),
'' or why reading failed)"""


def _read(folder: Path, shard: ShardFile, frames: bool) -> Read:
    digest = ShardDigest()
    found: list[tuple[str, str]] = []
    odd: list[tuple[str, str]] = []

    def look(video_id: str, blob: memoryview) -> None:
        what = odd_frame(blob, f"{folder.name}, video {video_id}")
        if what:
            odd.append((video_id, what))

    try:
        for video_id, size, sha256 in scan(folder, shard, look if frames else None):
            digest.add(video_id.encode("utf-8", "surrogatepass"), size, sha256)
            found.append((video_id, sha256.hex()))
    except StoreError as error:
        return "", found, odd, error.what
    return digest.hex(), found, odd, ""


class ShardReader:
    """Processes that read shards of many stores, as many as there are cores, replaced when a shard
    kills one: a damaged page can make LMDB do so."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def read(self, folder: Path, shards: Sequence[ShardFile], frames: bool) -> Iterator[Read]:
        """What each shard of a store holds, in their order."""
        waiting = list(shards)
        while waiting:
            started = [(shard, self._submit(folder, shard, frames)) for shard in waiting]
            for shard, done in started:
                waiting.remove(shard)
                try:
                    yield done.result()
                except BrokenProcessPool:  # by this shard or by one beside it
                    yield self._read_alone(folder, shard, frames)
                    break  # the others begin again in the new pool

    def _submit(self, folder: Path, shard: ShardFile, frames: bool) -> Future[Read]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(cores(), mp_context=context)
        try:
            return self._pool.submit(_read, folder, shard, frames)
        except BrokenProcessPool as error:
            done: Future[Read] = Future()
            done.set_exception(error)
            return done

    def _read_alone(self, folder: Path, shard: ShardFile, frames: bool) -> Read:
        self._close()
        try:
            return self._submit(folder, shard, frames).result()
        except BrokenProcessPool:
            self._close()
            return "", [], [], "a damaged page kills its reader"

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _compare(read: Read, shard: ShardFile, expected: dict[str, str]) -> list[Finding]:
    content, entries, odd, problem = read
    if problem:
        return [Finding(shard.name, "", problem)]
    found = dict(entries)
    wrong = [
        Finding(shard.name, video_id, "its frames are not those that were indexed")
        for video_id, sha256 in expected.items()
        if video_id in found and found[video_id] != sha256
    ]
    wrong += [
        Finding(shard.name, video_id, what)
        for video_id, what in odd
        if found[video_id] == expected.get(video_id)
    ]
    lost, foreign = expected.keys() - found.keys(), found.keys() - expected.keys()
    wrong += [Finding(shard.name, name, "it is not there") for name in sorted(lost)]
    wrong += [
        Finding(shard.name, name, "the index does not place it here") for name in sorted(foreign)
    ]
    if not wrong and content != shard.content:
        wrong.append(Finding(shard.name, "", "its content digest is not the recorded one"))
    return wrong


def summary(index: FrameIndex) -> dict[str, Any]:
    """What a store holds, in numbers: videos, frames, bytes, sizes and rates."""
    usable = [video for video in index.videos if video.usable]
    lengths = sorted(video.n_frames for video in usable)
    sizes: dict[str, int] = {}
    for video in usable:
        key = f"{video.width_px}x{video.height_px}"
        sizes[key] = sizes.get(key, 0) + 1
    about = index.about
    return {
        "dataset": about["dataset"],
        "content": about["content"],
        **{made_by: about[made_by] for made_by in ("ffmpeg", "opencv") if made_by in about},
        "listed": about["listed"],
        "counts": about["counts"],
        "splits": about["splits"],
        "shards": len(about["shards"]),
        "bytes": about["bytes"],
        "frames": about["frames"],
        "frames_least_median_most": [lengths[0], lengths[len(lengths) // 2], lengths[-1]]
        if lengths
        else [],
        "sizes_px": dict(sorted(sizes.items(), key=lambda item: -item[1])[:10]),
        "fps": sorted({video.fps for video in usable if video.fps is not None})[:20],
    }


def export_frames(
    index: FrameIndex, video_id: str, frames: Sequence[int] | None, out: Path
) -> list[Path]:
    """Write a video's frames (0-based; None: all) as JPEG files; returns their paths.

    UsageError for a video or frame that is not there, naming the nearest video.
    """
    known = {video.video_id: video for video in index.videos}
    if video_id not in known:
        raise UsageError(
            f"no video '{video_id}' in {index.folder.name}", do=nearest(video_id, list(known))
        )
    video = known[video_id]
    if not video.usable:
        raise UsageError(f"'{video_id}' has no frames: {video.status}: {video.reason}")
    wanted = list(range(video.n_frames)) if frames is None else list(frames)
    outside = [frame for frame in wanted if not 0 <= frame < video.n_frames]
    if outside:
        raise UsageError(f"'{video_id}' has frames 0 to {video.n_frames - 1}, not {outside[0]}")
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for frame, jpeg in zip(wanted, index.store().jpegs(video_id, wanted), strict=True):
        path = out / f"{frame:06d}.jpg"
        path.write_bytes(jpeg)
        paths.append(path)
    return paths
