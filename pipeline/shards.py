"""Which video goes into which shard, and when a shard is still the right one: pure functions.

The plan depends on the ledger alone, never on workers, order of completion or what is on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.digests import sha256_json
from pipeline.manifest_dataset import Dataset
from pipeline.sources import Source


@dataclass(frozen=True)
class Shard:
    """A shard to write: its number and its rows of the ledger, sorted by video id."""

    number: int
    rows: tuple[Source, ...]

    @property
    def file_name(self) -> str:
        return f"shard-{self.number:05d}.lmdb"

    @property
    def record_name(self) -> str:
        return f"shard-{self.number:05d}.json"


def plan(rows: Sequence[Source], videos_per_shard: int) -> list[Shard]:
    """Shards of `videos_per_shard` listed videos each (the last may be smaller), by sorted id.

    Missing and bad files keep their place, so that fetching them later moves no other video.
    Rows that no list names or that are not to be decoded are in no shard.
    """
    wanted = [row for row in rows if row.video_id is not None and row.status != "skipped"]
    wanted.sort(key=lambda row: str(row.video_id))
    cuts = range(0, len(wanted), videos_per_shard)
    return [
        Shard(number, tuple(wanted[first : first + videos_per_shard]))
        for number, first in enumerate(cuts)
    ]


def recipe(dataset: Dataset, ffmpeg_build: str) -> str:
    """Digest of everything but the source that decides a video's stored bytes and status.

    The time limit and the shard size are not part of it: they change no frame.
    """
    policy = dataset.decode.model_dump(mode="json", exclude={"timeout_s", "videos_per_shard"})
    return sha256_json([policy, dataset.options.frame_prefix, ffmpeg_build])


def identity(shard: Shard, recipe_sha256: str) -> str:
    """Digest of what a shard is made from; a finished shard with the same one is not redone."""
    inputs = [[row.video_id, row.sha256, row.status, row.reason] for row in shard.rows]
    return sha256_json([shard.number, recipe_sha256, inputs])
