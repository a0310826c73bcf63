"""`tdn bench decode`: decode and store against ffmpeg alone, in one process, in pairs."""

from __future__ import annotations

import contextlib
import re
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.benchmark import Sample, median_s, paired, ratio, target, write_benchmark
from pipeline.blobs import pack
from pipeline.errors import UsageError
from pipeline.framestore import ShardFile, ShardWriter
from pipeline.shards import Shard
from pipeline.shardwork import ShardTask, write_shard
from pipeline.sources import Source
from pipeline.video import binary, build, command, decode
from pipeline.workers import Crash, Pool
from stages.bench.corpus import KINDS, POLICY, generate, own, to_files, to_null

CEILING, SPLIT, SHARD = "ffmpeg to null", "decode and split", "decode to shard"
FILES, SCRIPT = "ffmpeg to .jpg", "system's ffmpeg to .jpg"
MIB = 1 << 20
SHARDS = 8
"""Shards of the measurement of two workers."""


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    rounds: int = 5
    videos: Path | None = None
    most: int = 8
    """Videos of `videos` that are measured."""
    frames: int | None = None
    """Shortens the generated videos, to try this out."""
    ray: bool = True
    """Measure two workers and their memory."""


def run(setting: Setting, folder: Path, say: Callable[[str], None]) -> None:
    """Measure and write `decode.{json,md}` into `folder`."""
    program = binary()
    rows: list[dict[str, Any]] = []
    sizes = {"shards": 0, "jpegs": 0}
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        place = Path(name)
        corpora = _corpora(setting, place / "videos", program)
        for kind, videos in corpora.items():
            say(f"{kind}: {len(videos)} videos")
            rows.append(_corpus(kind, videos, place / "work", program, setting.rounds, sizes))
        parallel: dict[str, Any] = {}
        if setting.ray:
            say("two workers against one")
            parallel = two_workers(list(corpora.values()), place / "two", setting.rounds)
            rows.append({"corpus": "two workers", **parallel})
    overhead = 100 * (sizes["shards"] / sizes["jpegs"] - 1)
    write_benchmark(
        folder,
        "decode",
        title="Decoding and storing videos",
        settings={
            "ffmpeg": build(program),
            "rounds": setting.rounds,
            "videos": "the user's own" if setting.videos else "generated",
            "cpu ms": "median CPU time per video, user and system, children included",
            "ratios": "median (quartiles) of the rounds' ratios",
        },
        rows=rows,
        targets=_targets(rows, overhead, parallel),
    )


def _corpora(setting: Setting, folder: Path, program: str) -> dict[str, list[Path]]:
    if setting.videos is not None:
        return {"own": own(setting.videos, setting.most)}
    return {kind.name: generate(kind, folder, program, setting.frames) for kind in KINDS}


def _corpus(
    kind: str, videos: Sequence[Path], work: Path, program: str, rounds: int, sizes: dict[str, int]
) -> dict[str, Any]:
    """One corpus's row; adds its bytes to `sizes`."""
    files: list[ShardFile] = []
    frames = [decode(video, POLICY, program) for video in videos]
    bad = [f"{v.name}: {d.reason}" for v, d in zip(videos, frames, strict=True) if not d.n_frames]
    if bad:
        raise UsageError(f"a video cannot be measured: {bad[0]}", do="leave it out")
    contenders: dict[str, Callable[[], object]] = {
        CEILING: partial(_ffmpeg, [to_null(command(v, POLICY, program)) for v in videos]),
        SPLIT: lambda: [decode(video, POLICY, program) for video in videos],
        SHARD: lambda: files.append(_shard(videos, work, program)),
        FILES: lambda: _ffmpeg([to_files(v, work / "jpg" / v.stem, program) for v in videos]),
    }
    system = shutil.which("ffmpeg")
    if system is not None and build(system) != build(program):
        contenders[SCRIPT] = lambda: _ffmpeg(
            [to_files(v, work / "jpg" / v.stem, system) for v in videos]
        )
    samples = paired(contenders, rounds=rounds)
    sizes["shards"] += files[-1].bytes
    sizes["jpegs"] += sum(len(decoded.stream) for decoded in frames)
    row: dict[str, Any] = {
        "corpus": kind,
        "videos": len(videos),
        "frames": sum(decoded.n_frames for decoded in frames),
    }
    row |= {f"{name}, cpu ms": _ms(samples[name], len(videos)) for name in contenders}
    seconds = median_s(samples[SHARD], "cpu_s")
    row["frames per core-second"] = row["frames"] / seconds
    row["kB per frame"] = sum(len(decoded.stream) for decoded in frames) / row["frames"] / 1000
    row["ceiling / split, cpu"] = ratio(samples, CEILING, SPLIT, "cpu_s")
    row["ceiling / shard, cpu"] = ratio(samples, CEILING, SHARD, "cpu_s")
    row[".jpg / shard, cpu"] = ratio(samples, FILES, SHARD, "cpu_s")
    row[".jpg / shard, wall"] = ratio(samples, FILES, SHARD, "wall_s")
    if SCRIPT in samples:
        row["system's .jpg / shard, cpu"] = ratio(samples, SCRIPT, SHARD, "cpu_s")
    return row


def _ms(samples: Sequence[Sample], count: int) -> float:
    return round(1000 * median_s(samples, "cpu_s") / count, 2)


def _ffmpeg(commands: Sequence[list[str]]) -> None:
    for arguments in commands:
        subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, check=True)


def _shard(videos: Sequence[Path], work: Path, program: str) -> ShardFile:
    """Decode videos into one shard, as a worker does."""
    work.mkdir(parents=True, exist_ok=True)
    with ShardWriter(work / "shard-00000.lmdb") as writer:
        for video in sorted(videos, key=lambda path: path.name.encode("utf-8")):
            made = decode(video, POLICY, program)
            blob = pack(made.stream, made.offsets, made.width_px, made.height_px)
            writer.put(video.name, blob)
        return writer.close()


def two_workers(corpora: Sequence[Sequence[Path]], work: Path, rounds: int) -> dict[str, Any]:
    """Wall time of one worker over that of two on the same shards, and the workers' peak memory.

    Both are the same two Ray workers; as one, they are given a shard when the last is done. Timed
    on the corpora whose videos are short enough to be shared evenly (all but the last); the memory
    is that of the hungriest worker on any.
    """
    videos = [video for corpus in (corpora[:-1] or corpora) for video in corpus]
    tasks = _shards(videos, work)
    with Pool(2) as pool:
        list(pool.run(write_shard, tasks[:2]))  # starts Ray

        def one_by_one() -> None:
            _clear(work)
            for task in tasks:
                list(pool.run(write_shard, [task]))

        def both() -> None:
            _clear(work)
            list(pool.run(write_shard, tasks))

        samples = paired({"one": one_by_one, "two": both}, rounds=rounds)
        _clear(work)
        every = [video for corpus in corpora for video in corpus]
        peaks = [peak for _, peak in pool.run(peak_memory_mib, _shards(every[::-1], work))]
    worst = max(peak for peak in peaks if not isinstance(peak, Crash))
    return {
        "videos": len(videos),
        "one worker / two, wall": ratio(samples, "one", "two", "wall_s"),
        "peak memory of a worker with its ffmpeg, MiB": worst,
    }


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


def _shards(videos: Sequence[Path], work: Path) -> list[ShardTask]:
    """Tasks over equal shares of the videos, each video listed as often as it takes."""
    ffmpeg_build = build(binary())
    work.mkdir(parents=True, exist_ok=True)
    tasks = []
    for number in range(SHARDS):
        share = sorted(
            (videos[(number + SHARDS * k) % len(videos)] for k in range(2)), key=lambda p: p.name
        )
        rows = tuple(_source(video, k) for k, video in enumerate(share))
        tasks.append(
            ShardTask(
                shard=Shard(number, rows),
                identity="",
                recipe="",
                ffmpeg_build=ffmpeg_build,
                raw=Path("/"),
                folder=work.absolute(),
                policy=POLICY,
                frame_prefix=None,
                blamed={},
            )
        )
    return tasks


def _source(video: Path, place: int) -> Source:
    return Source(
        video_id=f"{place} {video.name}",
        labels=[0],
        splits=["train"],
        files=1,
        relpath=video.absolute().relative_to("/").as_posix(),
        bytes=video.stat().st_size,
        sha256=None,
        status="ok",
        reason="",
    )


def _targets(
    rows: Sequence[dict[str, Any]], overhead: float, parallel: dict[str, Any]
) -> list[dict[str, Any]]:
    def middle(column: str) -> float | None:
        found = [row[column]["median"] for row in rows if column in row]
        return float(statistics.median(found)) if found else None

    script = middle("system's .jpg / shard, cpu")
    not_run = "" if parallel else "run without --no-ray"
    two = parallel.get("one worker / two, wall", {}).get("median")
    memory = parallel.get("peak memory of a worker with its ffmpeg, MiB")
    return [
        target("ffmpeg ceiling / decode + JPEG + split, CPU, median of the corpora",
               middle("ceiling / split, cpu"), at_least=0.95),
        target("ffmpeg ceiling / decode + shard into LMDB, CPU, median of the corpora",
               middle("ceiling / shard, cpu"), at_least=0.90),
        target("the same, stretch", middle("ceiling / shard, cpu"), at_least=0.93),
        target("this ffmpeg writing .jpg files / decode + shard, CPU, median of the corpora",
               middle(".jpg / shard, cpu"), at_least=1.7),
        target("the system's ffmpeg writing .jpg files / the same, CPU, median of the corpora",
               script, at_least=1.7, reason="" if script else "no other ffmpeg on PATH"),
        target("one worker / two, wall", two, at_least=1.7, reason=not_run),
        target("peak memory of a worker with its ffmpeg, MB",
               None if memory is None else memory * MIB / 1e6, at_most=300, reason=not_run),
        target("store overhead over JPEG bytes, %", overhead, at_most=0.5),
    ]  # fmt: skip
