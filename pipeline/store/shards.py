"""Which video goes into which shard, and when a shard is still the right one: pure functions.

The plan depends on the ledger alone, never on workers, order of completion or what is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.core.files import sha256_json
from pipeline.schema.dataset import Dataset
from pipeline.sources.source import Source
from pipeline.store import packed_frames as blobs
from pipeline.video import decode_video as video
from pipeline.video import ffmpeg
from pipeline.video import jpeg_split as jpegs


@dataclass(frozen=True)
class Shard:
    """A shard to write: its number and its rows of the ledger, sorted by video id."""

    number: int
    rows: tuple[Source, ...]


def plan(rows: Sequence[Source], videos_per_shard: int) -> list[Shard]:
    """Shards of `videos_per_shard` listed videos each (the last may be smaller), by sorted id.

    Missing and bad files keep their place, so that fetching them later moves no other video.
    Rows that no list names or that are not to be decoded are in no shard.
    """
    listed = [row for row in rows if row.video_id is not None]
    listed.sort(key=lambda row: str(row.video_id))
    return list(cut(listed, videos_per_shard))


def cut(rows: Iterable[Source], videos_per_shard: int) -> Iterator[Shard]:
    """The shards of `plan` one by one, from rows in the order of a ledger."""
    wanted = (row for row in rows if in_a_shard(row))
    number = 0
    while inside := tuple(islice(wanted, videos_per_shard)):
        yield Shard(number, inside)
        number += 1


def in_a_shard(row: Source) -> bool:
    """Whether a row of the ledger has a place in a shard."""
    return row.video_id is not None and row.status != "skipped"


def recipe(dataset: Dataset, ffmpeg_build: str) -> str:
    """Digest of everything but the source that decides the frames of a video decoded to its end.

    That is the policy, ffmpeg's build and arguments, and the FORMAT of our own code around it. The
    time limit and the shard size are not part of it: they change no frame of such a video.
    """
    policy = dataset.decode.model_dump(mode="json")
    del policy["timeout_s"], policy["videos_per_shard"]
    unlimited = dataset.decode.model_copy(update={"timeout_s": 1.0})
    arguments = ffmpeg.command(Path("/source"), unlimited, "ffmpeg")
    formats = [blobs.FORMAT, jpegs.FORMAT, video.FORMAT]
    return sha256_json([policy, dataset.options.frame_prefix, ffmpeg_build, arguments, formats])


def identity(shard: Shard, recipe_sha256: str, timeout_s: float) -> str:
    """Digest of what a shard is made from; a finished shard with the same one is not redone.

    With another time limit it is redone, but whole videos are copied (see `write_shard`): so a
    changed limit costs the decoding of those videos only that are not `ok`.
    """
    inputs = [
        [row.video_id, row.sha256, row.status, row.reason]
        + ([] if row.frames_listed is None else [row.frames_listed])
        for row in shard.rows
    ]
    return sha256_json([shard.number, recipe_sha256, timeout_s, inputs])
