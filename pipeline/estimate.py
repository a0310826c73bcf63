"""What decoding a data set will cost, from a sample, before any of it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.manifest_dataset import Dataset
from pipeline.shards import plan
from pipeline.sources import Source
from pipeline.video import binary, decode

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
    """`cpu_s` shared among the workers: assumes a core each and a disk that keeps up."""


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
        found = decode(
            raw / str(row.relpath), dataset.decode, program, dataset.options.frame_prefix
        )
        times.append(_cpu_s() - before)
        frames.append(found.n_frames)
        sizes.append(len(found.stream) + _OVERHEAD_BYTES if found.n_frames else 0)
    total = len(ready)
    cpu_s, cpu_s_error = _scaled(times, total)
    store_bytes, store_bytes_error = _scaled(sizes, total)
    return Estimate(
        videos=total,
        shards=len(plan(rows, dataset.decode.videos_per_shard)),
        sampled=count,
        frames=round(_scaled(frames, total)[0]),
        store_bytes=math.ceil(store_bytes / _PAGE_BYTES) * _PAGE_BYTES,
        store_bytes_error=round(store_bytes_error),
        cpu_s=cpu_s,
        cpu_s_error=cpu_s_error,
        workers=workers,
        wall_s=cpu_s / max(1, workers),
    )


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
