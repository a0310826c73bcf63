"""A store's index: one Parquet row per listed video, and `index.json`, which later stages need.

`index.json` holds no clock, host or path; it changes exactly when frames, labels, splits, classes
or the decode policy change.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import AbsentData, StoreError
from pipeline.core.files import canonical_json, read_json, sha256_json, write_json
from pipeline.core.parquet import write_groups
from pipeline.schema.status import USABLE
from pipeline.store.lmdb_store import FrameStore, ShardFile

SCHEMA = "tdn.frames/1"
_BATCH = 512
_GROUP = 1 << 14

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
            raise AbsentData(
                f"{name} has no flow store", do=f"run `tdn decode {name}` and `tdn flow {name}`"
            )
        raise AbsentData(
            f"{name} has no frame store", do=f"run `tdn check {name}` and `tdn decode {name}`"
        )
    about = read_json(path)
    if about["status"] == "absent":
        raise AbsentData(
            f"{folder.name} is not on this machine: {about['reason']}",
            do=f"put it under data/raw/, then run `tdn check {folder.name}` and "
            f"`tdn decode {folder.name}`",
        )
    digest = _RowsDigest()
    videos = tuple(digest.through(_read_rows(folder / "index.parquet")))
    if about.get("schema") != SCHEMA or about["rows_sha256"] != digest.hex():
        raise StoreError(
            "index.parquet and index.json do not belong together",
            where=folder.name,
            do="decode the data set again; finished shards are kept",
        )
    return FrameIndex(folder, about, videos)


@dataclass(frozen=True)
class Rows:
    """What `index.json` says of the rows of `index.parquet`."""

    sha256: str
    listed: int
    counts: dict[str, int]
    """Videos by status."""
    splits: dict[str, dict[str, int]]
    """By split: `listed`, `usable`, and `partial` where there are any."""
    frames: int


def write_rows(folder: Path, videos: Iterable[Video]) -> Rows:
    """Write `index.parquet`; of `videos`, by ascending id, some thousand are held at a time."""
    counts: Counter[str] = Counter()
    splits: dict[str, dict[str, int]] = {}
    frames = 0
    digest = _RowsDigest()

    def counted() -> Iterator[Video]:
        nonlocal frames
        for video in digest.through(videos):
            counts[video.status] += 1
            frames += video.n_frames
            for name in dict.fromkeys(video.splits):
                split = splits.setdefault(name, {"listed": 0, "usable": 0})
                split["listed"] += 1
                split["usable"] += video.usable
                if video.status == "partial":
                    split["partial"] = split.get("partial", 0) + 1
            yield video

    write_groups(folder / "index.parquet", COLUMNS, _tables(counted()))
    return Rows(
        sha256=digest.hex(),
        listed=counts.total(),
        counts=dict(sorted(counts.items())),
        splits=dict(sorted(splits.items())),
        frames=frames,
    )


def write_index(
    folder: Path, rows: Rows, shards: Sequence[ShardFile], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write `index.json`, after the rows; returns it.

    `facts` are dataset, classes, label order, policy, and what made the frames.
    """
    about = {
        "schema": SCHEMA,
        "status": "ok",
        **facts,
        "listed": rows.listed,
        "counts": rows.counts,
        "splits": rows.splits,
        "frames": rows.frames,
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [asdict(shard) for shard in shards],
        "rows_sha256": rows.sha256,
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


def _tables(videos: Iterator[Video]) -> Iterator[pa.Table]:
    """Tables of `_GROUP` rows (the last has what is left), at least one.

    Each of one chunk: how a column is cut into chunks would show in the file's bytes.
    """
    rows = iter(lambda: [vars(video) for video in islice(videos, _BATCH)], [])
    batches = (pa.RecordBatch.from_pylist(some, schema=COLUMNS) for some in rows)
    first = True
    while (some := list(islice(batches, _GROUP // _BATCH))) or first:
        yield pa.Table.from_batches(some, schema=COLUMNS).combine_chunks()
        first = False


def _read_rows(path: Path) -> Iterator[Video]:
    with pq.ParquetFile(path, buffer_size=1 << 16) as file:
        for batch in file.iter_batches(_BATCH, use_threads=False):
            for row in batch.to_pylist():
                yield Video(**row)


class _RowsDigest:
    """sha256 of the canonical JSON of all rows, each a list of its values."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._before = b"["

    def through(self, videos: Iterable[Video]) -> Iterator[Video]:
        """The same videos, taken into the digest as they pass."""
        for video in videos:
            self._digest.update(self._before + canonical_json(list(vars(video).values())))
            self._before = b","
            yield video

    def hex(self) -> str:
        end = self._digest.copy()
        end.update(b"[]" if self._before == b"[" else b"]")
        return end.hexdigest()
