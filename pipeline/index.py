"""A store's index: one Parquet row per listed video, and `index.json`, which later stages need.

`index.json` holds no clock, host or path; it changes exactly when frames, labels, splits, classes
or the decode policy change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.digests import read_json, sha256_json, write_json
from pipeline.errors import AbsentData, StoreError
from pipeline.framestore import FrameStore, ShardFile
from pipeline.parquet import write_table

SCHEMA = "tdn.frames/1"
USABLE = ("ok", "partial")
"""Statuses of videos that have frames. The others: `short` (fewer frames than the manifest's
minimum), `empty` (no frames), `error` (cannot be decoded), `missing`, `refused`, `skipped`."""

COLUMNS = pa.schema(
    [
        ("video_id", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("splits", pa.list_(pa.string())),
        ("shard", pa.int32()),  # -1: in none
        ("n_frames", pa.int32()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("fps", pa.float64()),
        ("source", pa.string()),
        ("source_sha256", pa.string()),
        ("frames_sha256", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Video:
    """One listed video as the index knows it."""

    video_id: str
    labels: list[int]
    splits: list[str]
    shard: int
    n_frames: int
    width_px: int
    height_px: int
    fps: float | None
    source: str | None
    source_sha256: str | None
    frames_sha256: str | None
    """sha256 of the stored blob; None when the video has no frames."""
    status: str
    reason: str

    @property
    def usable(self) -> bool:
        return self.status in USABLE


@dataclass(frozen=True)
class FrameIndex:
    """A store's index in memory; videos sorted by id."""

    folder: Path
    about: dict[str, Any]
    """`index.json` as it stands."""
    videos: tuple[Video, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.about["classes"])

    @property
    def kind(self) -> str:
        """`frames` (RGB), or `flow` (two channels: x and y)."""
        return str(self.about.get("kind", "frames"))

    @property
    def content(self) -> str:
        """The digest that stands for everything in the store."""
        return str(self.about["content"])

    def split(self, name: str) -> list[Video]:
        """Every video listed in a split, whatever its state; StoreError when there is none."""
        found = [video for video in self.videos if name in video.splits]
        if not found:
            known = sorted({split for video in self.videos for split in video.splits})
            raise StoreError(
                f"no video is listed in split '{name}'",
                where=self.folder.name,
                do=f"splits of this store: {', '.join(known[:12]) or 'none'}",
            )
        return found

    def store(self) -> FrameStore:
        """The frames themselves."""
        shards = [ShardFile(**shard) for shard in self.about["shards"]]
        places = {video.video_id: video.shard for video in self.videos if video.usable}
        return FrameStore(self.folder, shards, places, self.kind)


def read_index(folder: Path) -> FrameIndex:
    """The index of a store folder: `Workspace.frames(name)` or `Workspace.flow(name)`.

    Raises AbsentData when the data set was recorded as absent or was never decoded, StoreError when
    the two index files do not belong together.
    """
    path = folder / "index.json"
    if not path.is_file():
        name = folder.name
        if folder.parent.name == "flow":
            raise AbsentData(f"{name} has no flow store", do=f"decode it and run `tdn flow {name}`")
        raise AbsentData(f"{name} has no frame store", do=f"run `tdn check {name}` and decode it")
    about = read_json(path)
    if about["status"] == "absent":
        raise AbsentData(
            f"{folder.name} is not on this machine: {about['reason']}",
            do="put the data set under data/raw and run `tdn check` and `tdn decode`",
        )
    table = pq.read_table(folder / "index.parquet")
    videos = tuple(Video(**row) for row in table.to_pylist())
    if about.get("schema") != SCHEMA or about["rows_sha256"] != _rows_digest(videos):
        raise StoreError(
            "index.parquet and index.json do not belong together",
            where=folder.name,
            do="decode the data set again; finished shards are kept",
        )
    return FrameIndex(folder, about, videos)


def write_rows(folder: Path, videos: Sequence[Video]) -> None:
    """Write `index.parquet`."""
    rows = [asdict(video) for video in videos]
    write_table(folder / "index.parquet", pa.Table.from_pylist(rows, schema=COLUMNS))


def write_index(
    folder: Path,
    videos: Sequence[Video],
    shards: Sequence[ShardFile],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Write both index files; `facts` are dataset, classes, label order, policy, ffmpeg build."""
    write_rows(folder, videos)
    splits = {}
    for name in sorted({split for video in videos for split in video.splits}):
        inside = [video for video in videos if name in video.splits]
        splits[name] = {"listed": len(inside), "usable": sum(v.usable for v in inside)}
    about = {
        "schema": SCHEMA,
        "status": "ok",
        **facts,
        "listed": len(videos),
        "counts": dict(sorted(Counter(video.status for video in videos).items())),
        "splits": splits,
        "frames": sum(video.n_frames for video in videos),
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [asdict(shard) for shard in shards],
        "rows_sha256": _rows_digest(videos),
    }
    contents = [shard.content for shard in shards]
    about["content"] = sha256_json([about["rows_sha256"], facts["classes"], contents])
    write_json(folder / "index.json", about)
    return about


def write_absent(folder: Path, dataset: str, reason: str) -> dict[str, Any]:
    """The index of a data set that is not on this machine, so that a graph can go on."""
    about = {"schema": SCHEMA, "status": "absent", "dataset": dataset, "reason": reason}
    write_rows(folder, [])
    write_json(folder / "index.json", about)
    return about


def _rows_digest(videos: Sequence[Video]) -> str:
    return sha256_json([list(asdict(video).values()) for video in videos])
