"""`tdn bench decode --growth`: decode's time and memory from a hundred videos to two thousand."""

from __future__ import annotations

import csv
import io
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from pipeline.core.benchmark import peak_mib, target, write_benchmark
from pipeline.core.files import write_atomic
from pipeline.schema.dataset import Dataset, Fold, ReaderOptions
from pipeline.sources.ledger import check
from pipeline.store.build_frames import decode
from pipeline.video.ffmpeg import binary, build
from stages.bench.corpus import POLICY, Kind, generate

SIZES = (100, 250, 500, 1000, 2000)
CLIP = Kind("short clips", ".avi", "64x48", 25, 8, 1, ("-c:v", "mpeg4", "-q:v", "5"))
MOST_GROWTH = 1.1
"""How much a video may cost more among the most videos than among the fewest, and memory too."""
LISTS = (10_000, 30_000)
"""Numbers of tiny frame folders: what the length of the list alone costs in memory."""
MOST_BYTES = 1024
"""How much memory a further listed video may cost."""


@dataclass(frozen=True)
class Point:
    """One decode, in a process of its own."""

    videos: int
    cpu_s: float
    wall_s: float
    peak_mib: float
    """Of the process that plans, decodes and indexes; its ffmpeg not counted."""


def run(
    folder: Path,
    say: Callable[[str], None],
    sizes: Sequence[int] = SIZES,
    lists: Sequence[int] = LISTS,
) -> None:
    """Measure and write `decode_growth.{json,md,csv,svg}` into `folder`."""
    points = []
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        (clip,) = generate(CLIP, Path(name) / "clip", binary())
        for count in sizes:
            say(f"{count} videos")
            points.append(measure(Path(name) / str(count), clip, count))
        long = []
        for count in lists:
            say(f"{count} frame folders")
            long.append(measure(Path(name) / f"folders {count}", None, count))
    rows = [_row("clips", point) for point in points]
    rows += [_row("frame folders", point) for point in long]
    write_benchmark(
        folder,
        "decode_growth",
        title="Decoding more and more videos",
        settings={
            "ffmpeg": build(binary()),
            "clip": f"{CLIP.frames} frames of {CLIP.size}",
            "frame folder": "one frame of 16x16, copied as it is",
        },
        rows=rows,
        targets=_targets(points, long),
    )
    write_atomic(folder / "decode_growth.csv", _csv(rows).encode("utf-8"))
    write_atomic(folder / "decode_growth.svg", figure(points).encode("utf-8"))


def _row(kind: str, point: Point) -> dict[str, Any]:
    return {
        "of": kind,
        "videos": point.videos,
        "cpu s": round(point.cpu_s, 2),
        "wall s": round(point.wall_s, 2),
        "cpu ms per video": round(1000 * point.cpu_s / point.videos, 2),
        "peak memory MiB": round(point.peak_mib, 1),
    }


def _targets(points: Sequence[Point], long: Sequence[Point]) -> list[dict[str, Any]]:
    first, last = points[0], points[-1]
    per_video = (last.cpu_s / last.videos) / (first.cpu_s / first.videos)
    few, many = long[0], long[-1]
    per_row = (many.peak_mib - few.peak_mib) * 2**20 / (many.videos - few.videos)
    return [
        target(f"CPU per video, {last.videos} over {first.videos} videos",
               per_video, at_most=MOST_GROWTH),
        target(f"peak memory, {last.videos} over {first.videos} videos",
               last.peak_mib / first.peak_mib, at_most=MOST_GROWTH),
        target(f"bytes of memory for a further frame folder, {few.videos:,} to {many.videos:,}",
               per_row, at_most=MOST_BYTES),
    ]  # fmt: skip


def measure(root: Path, clip: Path | None, count: int) -> Point:
    """Check and decode `count` copies of a clip, or of tiny frame folders, in a fresh process."""
    videos = root / "raw" / "videos"
    videos.mkdir(parents=True)
    suffix = "" if clip is None else clip.suffix
    names = [f"clip{number:05d}{suffix}" for number in range(count)]
    for name in names:
        if clip is None:
            (videos / name).mkdir()
            (videos / name / "00001.jpg").write_bytes(_tiny())
        else:
            (videos / name).hardlink_to(clip)
    lines = "".join(f"{name} {'ab'[number % 2]}\n" for number, name in enumerate(names))
    (root / "raw" / "train.txt").write_text(lines, encoding="utf-8")
    check(_dataset(), root / "raw", root / "sources.json")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return Point(count, *pool.submit(_decode, root).result())


@lru_cache
def _tiny() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 90, 10)).save(sink, "JPEG")
    return sink.getvalue()


def _decode(root: Path) -> tuple[float, float, float]:
    started = time.perf_counter()
    before = _cpu_s()
    decode(_dataset(), root / "raw", root / "sources.json", root / "frames", workers=0)
    return _cpu_s() - before, time.perf_counter() - started, peak_mib()


def _cpu_s() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _dataset() -> Dataset:
    return Dataset(
        name="growth",
        title="copies of one clip",
        homepage="",
        licence="",
        obtain="generated",
        layout="list",
        metric="top1",
        multi_label=False,
        label_order="sorted",
        num_classes=None,
        folds={"default": Fold(train="train", val="train")},
        decode_splits=None,
        expected={},
        flip_pairs=[],
        decode=POLICY,
        max_failed_fraction=0.0,
        options=ReaderOptions(
            videos="videos", lists={"train": "train.txt"}, columns=["path", "labels"]
        ),
        quirks=[],
    )


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()


def figure(points: Sequence[Point], width: int = 560, height: int = 300) -> str:
    """CPU seconds (line, left) and peak memory in MiB (dashed, right) over the number of videos."""
    edge = 50
    most_n = max(point.videos for point in points)
    most_s = max(point.cpu_s for point in points)
    most_mib = 1.25 * max(point.peak_mib for point in points)

    def path(values: Sequence[float], most: float) -> str:
        places = [
            (edge + (width - 2 * edge) * p.videos / most_n,
             height - edge - (height - 2 * edge) * value / most)
            for p, value in zip(points, values, strict=True)
        ]  # fmt: skip
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    seconds = path([point.cpu_s for point in points], most_s)
    memory = path([point.peak_mib for point in points], most_mib)
    base, right = height - edge, width - edge
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">'
        "<title>CPU time and peak memory of decode over the number of videos</title>"
        f'<path d="M{edge},{edge} V{base} H{right} V{edge}" fill="none" stroke="#666"/>'
        f'<polyline points="{seconds}" fill="none" stroke="#0072b2" stroke-width="2"/>'
        f'<polyline points="{memory}" fill="none" stroke="#d55e00" stroke-width="2" '
        'stroke-dasharray="6 4"/>'
        f'<text x="{edge}" y="{edge - 8}" fill="#0072b2">CPU s (top: {most_s:.1f})</text>'
        f'<text x="{right}" y="{edge - 8}" text-anchor="end" fill="#d55e00">'
        f"peak memory MiB (top: {most_mib:.0f})</text>"
        f'<text x="{edge}" y="{base + 16}">0</text>'
        f'<text x="{right}" y="{base + 16}" text-anchor="end">{most_n} videos</text></svg>\n'
    )
