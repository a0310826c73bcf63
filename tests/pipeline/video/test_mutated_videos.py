"""Damaged videos end as ok, partial or failed with a reason, and with the count of a full decode.

TDN_TEST_MUTATIONS says how many are tried (40; all of CI's seeds are 300).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.schema.status import USABLE
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import ffmpeg, policy
from tests.pipeline.video.full_decode import check_frames, full_decode

COUNT = int(os.environ.get("TDN_TEST_MUTATIONS", "40"))
CONTAINERS = {
    "a.mp4": ("96x72", ["-c:v", "libx264", "-bf", "2", "-g", "6", "-pix_fmt", "yuv420p"]),
    "b.mkv": ("64x48", ["-c:v", "libx264", "-g", "8", "-pix_fmt", "yuv420p"]),
    "c.avi": ("96x72", ["-c:v", "mpeg4", "-bf", "2", "-g", "6"]),
    "d.webm": ("64x48", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]),
    "e.ts": ("80x60", ["-c:v", "mpeg2video", "-g", "6"]),
    "f.avi": ("64x48", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]),
    "g.mpg": ("96x72", ["-c:v", "mpeg1video", "-r", "25"]),
}

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def flip(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Up to thirty bits turned over."""
    changed = bytearray(data)
    for _bit in range(draw.randint(1, 30)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """The beginning only."""
    return data[: draw.randrange(1, len(data))]


def behead(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """The end only."""
    return data[draw.randrange(1, len(data) // 2) :]


def splice(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """A part of another video written over a part of this one, or put in between."""
    at, start = draw.randrange(len(data)), draw.randrange(len(other))
    part = other[start : start + draw.randint(1, 4000)]
    return data[:at] + part + data[at + draw.choice((0, len(part))) :]


def blank(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """A hole of zeros, as a download with gaps has it."""
    at, size = draw.randrange(len(data)), draw.randint(1, 3000)
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def join(_: random.Random, data: bytes, other: bytes) -> bytes:
    """Two files end to end."""
    return data + other


MUTATIONS: tuple[Mutation, ...] = (flip, flip, cut, behead, splice, blank, join)


def test_mutated_videos_are_counted_or_refused_with_a_reason(tmp_path: Path) -> None:
    for number, (name, (size, codec)) in enumerate(CONTAINERS.items()):
        source = f"testsrc2=s={size}:r=25,hue=h={number * 40}"
        path = str(tmp_path / name)
        ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "24", "-bitexact", *codec, path)
    videos = [(tmp_path / name).read_bytes() for name in CONTAINERS]

    def one(seed: int) -> tuple[str, str, int]:
        draw = random.Random(seed)
        chosen = seed % len(videos)
        mutation = draw.choice(MUTATIONS)
        suffix = Path(list(CONTAINERS)[chosen]).suffix
        path = tmp_path / f"mutated{seed}{suffix}"
        path.write_bytes(mutation(draw, videos[chosen], draw.choice(videos)))
        found = decode(path, policy(timeout_s=20.0), binary())
        check_frames(found)
        what = f"seed {seed}, {mutation.__name__}: {found.status}, {found.reason!r}"
        assert found.status in ("ok", "partial", "empty", "error"), what
        assert bool(found.reason) == (found.status != "ok"), what
        if found.status in USABLE:
            assert found.n_frames == full_decode(path), what
        else:
            assert found.n_frames == 0, what
        if found.status == "partial":
            counts = found.reason.partition(" frames: ")[0].split(" of ")
            assert int(counts[0]) == found.n_frames <= int(counts[1]), what
        path.unlink()
        return found.status, mutation.__name__, found.n_frames

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(one, range(COUNT)))
    counts = Counter(status for status, _, _ in ends)
    print(dict(counts), Counter(f"{name}: {status}" for status, name, _ in ends))
    assert {"ok", "partial", "error"} <= set(counts)
