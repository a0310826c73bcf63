"""What decoding a data set will cost, from a sample, before any of it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.errors import AbsentData
from pipeline.schema.dataset import Dataset
from pipeline.sources.archives import parts_of
from pipeline.sources.readers import read
from pipeline.sources.source import Source
from pipeline.store.shard_record import read_record
from pipeline.store.shards import identity, plan, recipe
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary, build

_PAGE_BYTES = 4096
_OVERHEAD_BYTES = 2560  # half a page of rounding, the tree, the table of offsets


@dataclass(frozen=True)
class Estimate:
    """Expected cost of decoding what a ledger lists; ± is two standard errors of the sample."""

    videos: int
    shards: int
    sampled: int
    frames: int
    store_bytes: int
    store_bytes_error: int
    cpu_s: float
    cpu_s_error: float
    workers: int
    wall_s: float
    """Time on `workers` cores."""

    def wall_on(self, cores: int) -> float:
        """Seconds on so many cores: whole shards, a core each, and a disk that keeps up."""
        turns = math.ceil(self.shards / max(1, cores))
        return self.cpu_s * turns / max(1, self.shards)


def estimate(
    dataset: Dataset, raw: Path, rows: Sequence[Source], *, workers: int, sample: int = 24
) -> Estimate:
    """Decode `sample` videos, evenly spaced in the order of their size, and scale up by number.

    Nothing is written. With fewer videos than `sample` all are decoded.
    """
    ready = sorted((row for row in rows if row.status == "ok"), key=lambda row: row.bytes)
    count = min(sample, len(ready))
    chosen = [ready[(2 * k + 1) * len(ready) // (2 * count)] for k in range(count)]
    sizes, times, frames = [], [], []
    program = binary()
    for row in chosen:
        before = _cpu_s()
        decoded = decode(
            raw / str(row.relpath),
            dataset.decode,
            program,
            dataset.options.frame_prefix,
            row.frames_listed,
        )
        times.append(_cpu_s() - before)
        frames.append(decoded.n_frames)
        sizes.append(len(decoded.stream) + _OVERHEAD_BYTES if decoded.n_frames else 0)
    total = len(ready)
    cpu_s, cpu_s_error = _scaled(times, total)
    store_bytes, store_bytes_error = _scaled(sizes, total)
    found = Estimate(
        videos=total,
        shards=len(plan(rows, dataset.decode.videos_per_shard)),
        sampled=count,
        frames=round(_scaled(frames, total)[0]),
        store_bytes=math.ceil(store_bytes / _PAGE_BYTES) * _PAGE_BYTES,
        store_bytes_error=round(store_bytes_error),
        cpu_s=cpu_s,
        cpu_s_error=cpu_s_error,
        workers=workers,
        wall_s=0.0,
    )
    return replace(found, wall_s=found.wall_on(workers))


def unchecked(dataset: Dataset, raw: Path) -> list[Source]:
    """What `check` would list, with sizes but without reading a file: enough to sample from.

    Raises AbsentData as `check` does, also where the videos are still packed in numbered parts.
    """
    if not raw.is_dir():
        raise AbsentData(
            f"{dataset.title} is not on this machine",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    folder = dataset.options.videos
    parts = parts_of(raw, folder)
    if parts and not (raw / folder).exists():
        raise AbsentData(
            f"{dataset.title} is still packed in {len(parts)} parts",
            where=f"the raw folder of {dataset.name}",
            do=f"run `tdn check {dataset.name}` first: it unpacks them",
        )
    return [_with_size(row, raw) for row in read(dataset, raw).rows]


def finished(dataset: Dataset, rows: Sequence[Source], folder: Path) -> int:
    """How many shards of the plan are published already and would be kept; `rows` from `check`."""
    made_by = recipe(dataset, build(binary()))
    count = 0
    for shard in plan(rows, dataset.decode.videos_per_shard):
        record = read_record(folder, shard.number)
        wanted = identity(shard, made_by, dataset.decode.timeout_s)
        count += record is not None and record.identity == wanted
    return count


def _with_size(row: Source, raw: Path) -> Source:
    if row.status != "ok" or row.relpath is None:
        return row
    try:
        size = (raw / row.relpath).stat().st_size
    except OSError as error:
        return replace(row, status="unreadable", reason=f"cannot be read: {error.strerror}")
    return replace(row, files=1, bytes=size, status="ok" if size else "empty")


def _scaled(values: Sequence[float], total: int) -> tuple[float, float]:
    """(expected sum over `total` videos, two standard errors of it)."""
    count = len(values)
    if count == 0:
        return 0.0, 0.0
    mean = sum(values) / count
    if count == 1 or count == total:
        return total * mean, 0.0 if count == total else total * mean
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    return total * mean, 2 * total * math.sqrt(variance / count)


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
