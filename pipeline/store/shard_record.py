"""A finished shard's record: what it was made from, its file, and what became of its videos.

A shard is published in three steps (old record removed, file given its name, record written), so a
record means a whole file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.errors import StoreError
from pipeline.core.files import read_json, write_json
from pipeline.store.lmdb_store import FrameStore, ShardFile, ShardWriter, writing

SCHEMA = "tdn.shard/1"


def file_name(number: int) -> str:
    """The name of a shard's file in the store's folder."""
    return f"shard-{number:05d}.lmdb"


def record_name(number: int) -> str:
    """The name of a shard's record, beside its file."""
    return f"shard-{number:05d}.json"


@dataclass(frozen=True)
class Outcome:
    """What became of one video; its labels and splits are in the ledger."""

    video_id: str
    n_frames: int
    width_px: int
    height_px: int
    fps: float | None
    source_sha256: str | None
    """What the frames were made from; None where there was nothing to make them from."""
    frames_sha256: str | None
    """sha256 of the stored blob; None when the video has no frames."""
    status: str
    """A word of `pipeline.schema.status`."""
    reason: str


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard."""

    identity: str
    """Digest of everything it was made from."""
    recipe: str
    """Digest of how its videos were made: the same in all shards of a store."""
    file: ShardFile
    outcomes: tuple[Outcome, ...]


def read_record(folder: Path, number: int) -> ShardRecord | None:
    """The record of a published shard whose file has the right size; None otherwise."""
    try:
        value = read_json(folder / record_name(number))
        file = ShardFile(**value["file"])
        outcomes = tuple(Outcome(**row) for row in value["videos"])
        record = ShardRecord(value["identity"], value["recipe"], file, outcomes)
        whole = (folder / file_name(number)).stat().st_size == file.bytes
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole and file.name == file_name(number) else None


def publish(
    writer: ShardWriter, identity: str, recipe: str, outcomes: Sequence[Outcome]
) -> ShardRecord:
    """Give a filled shard its name and its record: old record away, file, new record."""
    path = writer.path.with_suffix(".json")
    path.unlink(missing_ok=True)
    record = ShardRecord(identity, recipe, writer.close(), tuple(outcomes))
    value = {
        "schema": SCHEMA,
        "identity": record.identity,
        "recipe": record.recipe,
        "file": asdict(record.file),
        "videos": [asdict(outcome) for outcome in record.outcomes],
    }
    with writing(path):
        write_json(path, value)
    return record


class PublishedVideos:
    """The videos of a shard as it was published before, made in the same way (`recipe`).

    `statuses` are those of outcomes that another try would not change.
    """

    def __init__(self, folder: Path, number: int, recipe: str, statuses: Collection[str]) -> None:
        self._store: FrameStore | None = None
        self._outcomes: dict[str, Outcome] = {}
        record = read_record(folder, number)
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
