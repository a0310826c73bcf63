"""Part of `tdn bench decode`: two workers against one, and the memory that a worker needs."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.benchmark import Sample, paired, ratio, timed
from pipeline.core.ray_pool import Crash, Pool
from pipeline.sources.ledger import Source
from pipeline.store.shard_worker import ShardTask, write_shard
from pipeline.store.shards import Shard
from pipeline.video.ffmpeg import binary, build
from stages.bench.corpus import POLICY

FREE = "one worker / two, wall"
BOUND = "one worker on one core / two on two, wall"
MEMORY = "peak memory of a worker with its ffmpeg, MiB"
SHARDS = 4
"""Shards of each half of the videos."""


@dataclass(frozen=True)
class Share:
    """What one worker does, one shard after the other."""

    tasks: tuple[ShardTask, ...]
    core: int | None
    """The processor core to stay on, with every ffmpeg; None: wherever the system likes."""


def two_workers(corpora: Sequence[Sequence[Path]], work: Path, rounds: int) -> dict[str, Any]:
    """Wall time of one worker over that of two on the same shards, and the workers' peak memory.

    Once left alone, once bound to a core each: ffmpeg runs reading, decoding, scaling and encoding
    in a thread each, so that one worker that is left alone already uses more than one core.
    """
    videos = [video for corpus in corpora for video in corpus]
    tasks = halves(videos, work)
    cores: list[int | None] = [*sorted(os.sched_getaffinity(0))[:2]]
    used: dict[str, list[float]] = {"one": [], "two": []}
    with Pool(2) as pool:
        list(pool.run(write_all, [Share(tasks[half][:1], None) for half in (0, 1)]))  # starts Ray

        def write(name: str, shares: Sequence[Share]) -> None:
            _clear(work)
            samples = [sample for _, sample in pool.run(write_all, shares)]
            found = [sample for sample in samples if not isinstance(sample, Crash)]
            if name in used and len(found) == len(shares):
                cpu_s = sum(sample.cpu_s for sample in found)
                used[name].append(cpu_s / max(sample.wall_s for sample in found))

        contenders: dict[str, Callable[[], object]] = {
            "one": partial(write, "one", [Share(tasks[0] + tasks[1], None)]),
            "two": partial(write, "two", [Share(half, None) for half in tasks]),
        }
        if len(cores) == 2:
            bound = [Share(half, core) for half, core in zip(tasks, cores, strict=True)]
            one = [Share(tasks[0] + tasks[1], cores[0])]
            contenders["one, bound"] = partial(write, "one, bound", one)
            contenders["two, bound"] = partial(write, "two, bound", bound)
        samples = paired(contenders, rounds=rounds)
        _clear(work)
        peaks = [peak for _, peak in pool.run(peak_memory_mib, tasks[0])]
    found = {"videos": len(videos), FREE: ratio(samples, "one", "two", "wall_s")}
    if len(cores) == 2:
        found[BOUND] = ratio(samples, "one, bound", "two, bound", "wall_s")
    for name, values in used.items():
        found[f"cores that {name} left alone keep busy"] = statistics.median(values)
    found[MEMORY] = max(peak for peak in peaks if not isinstance(peak, Crash))
    return found


def write_all(share: Share) -> Sample:
    """Write the shards of a share; the time it took, on the clock and of processors."""
    everywhere = os.sched_getaffinity(0)
    if share.core is not None:
        os.sched_setaffinity(0, {share.core})  # what this thread starts inherits it
    try:
        return timed(lambda: [write_shard(task) for task in share.tasks])
    finally:
        os.sched_setaffinity(0, everywhere)


def threads_at_most(arguments: Sequence[str]) -> float | None:
    """Cores that a program's threads could keep busy: CPU time of all over that of the busiest.

    Other work on the machine does not change it. None where the system does not count per thread.
    """
    spent: dict[str, int] = {}
    nothing = subprocess.DEVNULL
    with subprocess.Popen(arguments, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        while process.poll() is None:
            for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    spent[path.parent.name] = int(path.read_text("ascii").split()[0])
            time.sleep(0.002)
    return sum(spent.values()) / max(spent.values()) if any(spent.values()) else None


def _clear(work: Path) -> None:
    """Remove published shards: their frames would be copied instead of decoded."""
    for path in work.glob("shard-*"):
        path.unlink()


def peak_memory_mib(task: ShardTask) -> float:
    """Write a shard; the most memory that this process held, and the most that an ffmpeg of its
    held, together in MiB."""
    done = threading.Event()
    most = [0]

    def watch() -> None:
        # Not from getrusage: a child has this process's memory until it becomes ffmpeg.
        while not done.wait(0.002):
            for path in Path("/proc/self/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    for child in path.read_text().split():
                        if _program_of(child) != _program_of("self"):
                            most[0] = max(most[0], _high_water_kib(child))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        write_shard(task)
    finally:
        done.set()
        watcher.join()
    return (_high_water_kib("self") + most[0]) / 1024


def _program_of(process: str) -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc", process, "exe").readlink())
    return ""


def _high_water_kib(process: str) -> int:
    """The most memory a process has held; 0 when it has ended."""
    with contextlib.suppress(OSError):
        status = Path("/proc", process, "status").read_text(encoding="utf-8")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) if found else 0
    return 0


def halves(videos: Sequence[Path], work: Path) -> tuple[tuple[ShardTask, ...], ...]:
    """Two equal halves of the work: every video is in both, under another number of shard."""
    ffmpeg_build = build(binary())
    work.mkdir(parents=True, exist_ok=True)
    shares = [videos[first::SHARDS] for first in range(SHARDS)]
    return tuple(
        tuple(
            ShardTask(
                shard=Shard(
                    2 * number + half, tuple(_source(video, k) for k, video in enumerate(share))
                ),
                identity="",
                recipe="",
                ffmpeg_build=ffmpeg_build,
                raw=Path("/"),
                folder=work.absolute(),
                policy=POLICY,
                frame_prefix=None,
                blamed={},
            )
            for number, share in enumerate(shares)
            if share
        )
        for half in (0, 1)
    )


def _source(video: Path, place: int) -> Source:
    return Source(
        video_id=f"{place:05d} {video.name}",
        labels=[0],
        splits=["train"],
        files=1,
        relpath=video.absolute().relative_to("/").as_posix(),
        bytes=video.stat().st_size,
        sha256=None,
        status="ok",
        reason="",
    )
