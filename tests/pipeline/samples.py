"""Small data sets in official layouts, made by code: what the data plane's tests run on."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.schema.dataset import Dataset, DecodePolicy, ReaderOptions, load_dataset
from pipeline.sources.ledger import check
from pipeline.store.build_frames import decode
from pipeline.video.ffmpeg import binary

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
CODECS = {
    ".avi": ["-c:v", "mpeg4", "-q:v", "5"],
    ".webm": ["-c:v", "libvpx-vp9", "-b:v", "60k", "-deadline", "realtime", "-cpu-used", "8"],
    ".mp4": ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"],
    ".mkv": ["-c:v", "ffv1"],
}


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg quietly; a failure shows what it said."""
    subprocess.run(
        [binary(), "-nostdin", "-v", "error", "-y", *arguments], check=True, capture_output=True
    )


@lru_cache(maxsize=64)
def clip_bytes(suffix: str, frames: int, size: str = "64x48", tone: int = 0) -> bytes:
    """An encoded test pattern; equal arguments give equal bytes."""
    place = Path(os.environ.get("TMPDIR", "/tmp")) / f"tdn-test-{os.getpid()}{suffix}"
    source = f"testsrc=size={size}:rate=12,hue=h={tone * 37}"
    try:
        ffmpeg(
            "-f", "lavfi", "-i", source, "-frames:v", str(frames), "-bitexact", "-threads", "1",
            *CODECS[suffix], str(place),
        )  # fmt: skip
        return place.read_bytes()
    finally:
        place.unlink(missing_ok=True)


def write_clip(path: Path, frames: int = 8, *, size: str = "64x48", tone: int = 0) -> Path:
    """An encoded clip whose container is told by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip_bytes(path.suffix, frames, size, tone=tone))
    return path


def jpeg(seed: int, width: int = 40, height: int = 32) -> bytes:
    """A small colour JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=70)
    return sink.getvalue()


POLICY: dict[str, Any] = {
    "short_side_px": 256,
    "upscale": False,
    "quality": 2,
    "fps": None,
    "max_frames": None,
    "min_frames": 1,
    "timeout_s": 30.0,
    "videos_per_shard": 3,
}


def policy(**changes: Any) -> DecodePolicy:
    return DecodePolicy(**{**POLICY, **changes})


def dataset(name: str = "own_list", **changes: Any) -> Dataset:
    """An official data set's manifest with tiny shards, no official counts, and `changes`."""
    official = load_dataset(MANIFESTS, name)
    small = {"decode": policy(), "expected": {}, "num_classes": None, "flip_pairs": []}
    return official.model_copy(update={**small, **changes})


@dataclass(frozen=True)
class Made:
    """A data set on disk together with where its artefacts go."""

    dataset: Dataset
    raw: Path
    summary: Path
    frames: Path

    def check(self, **options: Any) -> dict[str, Any]:
        return check(self.dataset, self.raw, self.summary, **options)

    def decode(self, **options: Any) -> dict[str, Any]:
        options.setdefault("workers", 0)
        return decode(self.dataset, self.raw, self.summary, self.frames, **options)

    def bytes_of_store(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.frames.iterdir())}


def own_videos(root: Path, names: Iterable[str], frames: int = 6, **changes: Any) -> Made:
    """A user's own videos: every name a clip of class `a` or `b`, all in split train."""
    raw = root / "raw"
    (raw / "videos").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, name in enumerate(names):
        write_clip(raw / "videos" / name, frames + number % 3, tone=number % 4)
        lines.append(f"{name},{'ab'[number % 2]}\n")
    (raw / "train.csv").write_text("".join(lines), encoding="utf-8")
    (raw / "val.csv").write_text("", encoding="utf-8")
    options = ReaderOptions(
        videos="videos",
        lists={"train": "train.csv", "val": "val.csv"},
        columns=["path", "labels"],
        separator=",",
    )
    own = dataset("own_list", options=options, **changes)
    return Made(own, raw, root / "sources.json", root / "frames")


def numbered(count: int, suffix: str = ".avi") -> list[str]:
    return [f"clip{number:03d}{suffix}" for number in range(count)]


def something_v1(raw: Path, videos: dict[str, tuple[str, str, int]], labels: list[str]) -> None:
    """Something-Something V1: {id: (split, label, frames)}."""
    raw.mkdir(parents=True, exist_ok=True)
    for video_id, (_, _, frames) in videos.items():
        folder = raw / "20bn-something-something-v1" / video_id
        folder.mkdir(parents=True)
        for number in range(frames):
            (folder / f"{number + 1:05d}.jpg").write_bytes(jpeg(number))
    prefix = raw / "something-something-v1"
    Path(f"{prefix}-labels.csv").write_text("".join(f"{label}\n" for label in labels))
    for split in ("train", "validation", "test"):
        rows = [
            f"{video_id}\n" if split == "test" else f"{video_id};{label}\n"
            for video_id, (where, label, _) in videos.items()
            if where == split
        ]
        Path(f"{prefix}-{split}.csv").write_text("".join(rows))


def something_v2(raw: Path, videos: dict[str, tuple[str, str, int]], *, long_names: bool) -> None:
    """Something-Something V2: {id: (split, template, frames)}; classes in sorted order."""
    stem = "something-something-v2-" if long_names else ""
    place = raw if long_names else raw / "labels"
    place.mkdir(parents=True, exist_ok=True)
    for video_id, (_, _, frames) in videos.items():
        write_clip(raw / "20bn-something-something-v2" / f"{video_id}.webm", frames)
    names = sorted({t.replace("[", "").replace("]", "") for _, t, _ in videos.values() if t})
    (place / f"{stem}labels.json").write_text(json.dumps({n: str(i) for i, n in enumerate(names)}))
    for split in ("train", "validation", "test"):
        rows = [
            {"id": video_id} if split == "test" else {"id": video_id, "template": template}
            for video_id, (where, template, _) in videos.items()
            if where == split
        ]
        (place / f"{stem}{split}.json").write_text(json.dumps(rows))


def real(*parts: str) -> Path:
    """A file or folder of the real test data: skips when TDN_TEST_DATA is unset, fails when the
    variable is set and the file is not there."""
    root = os.environ.get("TDN_TEST_DATA")
    if not root:
        pytest.skip("TDN_TEST_DATA is not set: no real video here")
    path = Path(root).joinpath(*parts)
    assert path.exists(), f"TDN_TEST_DATA is set, but {'/'.join(parts)} is missing below it"
    return path
