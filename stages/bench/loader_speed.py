"""`tdn bench loader`: training clips by processes that load ahead, as stage `train` has them."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.clips.clip_dataset import ClipDataset
from pipeline.core.benchmark import Report
from pipeline.core.machine import cores
from pipeline.video.ffmpeg import binary
from stages.bench.clip_speed import RULE
from stages.bench.corpus import PLAIN, Corpus, generate, own, write_store
from stages.rows.row_clips import batches


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    rounds: int = 3
    batch: tuple[int, ...] = ()
    """Clips in a batch (default: 8)."""
    videos: Path | None = None
    most: int = 4
    frames: int | None = None
    """Shortens the generated videos."""


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Clips per second from no process, one, half as many as cores, and as many as cores."""
    with TemporaryDirectory(prefix="tdn-bench-") as folder:
        say("preparing videos")
        if setting.videos is None:
            sources = generate(PLAIN, Path(folder, "v"), binary(), frames=setting.frames)
        else:
            sources = [p for paths in own(setting.videos, setting.most).values() for p in paths]
        corpus = write_store(sources, Path(folder, "store"), binary())
        counts = sorted({0, 1, cores() // 2, cores()})
        rows = [
            _measure(corpus, workers, batch, setting.rounds, say)
            for batch in setting.batch or (8,)
            for workers in counts
        ]
    clip = corpus.videos[0]
    settings = {
        "clip": f"8 windows of 5 frames of {clip.width_px}x{clip.height_px}, cropped to 224²",
        "rounds": f"{setting.rounds} times 4 batches, after the first batch",
        "MiB per process": "resident, with torch, whose code the processes share",
    }
    return Report("loader", "Loading training clips", settings, rows)


def _measure(
    corpus: Corpus, workers: int, batch: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    say(f"{workers} processes")
    clips = ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0)
    positions = [(epoch, n) for epoch in range(10_000) for n in range(len(corpus.videos))]
    groups = (positions[i : i + batch] for i in range(0, len(positions), batch))
    stream = batches(clips, islice(groups, 1 + rounds * 4 + 2 * workers), workers)
    began = time.perf_counter()
    next(stream)
    first_s = time.perf_counter() - began
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(4):
            next(stream)
        rates.append(4 * batch / (time.perf_counter() - began))
    processes = multiprocessing.active_children()
    sizes = [_resident_mib(process.pid) for process in processes if process.pid is not None]
    del stream
    return {
        "processes": workers,
        "batch": batch,
        "clips per s": statistics.median(rates),
        "first batch, s": first_s,
        "MiB per process": max(sizes) if sizes else None,
    }


def _resident_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text("ascii", "replace")
    return next(int(x.split()[1]) / 1024 for x in status.splitlines() if x.startswith("VmRSS"))
