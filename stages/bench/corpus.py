"""Videos to measure on: four generated corpora like real data sets, or a folder of one's own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
import torchvision.io
from torch.nn import functional

from pipeline.core.errors import UsageError
from pipeline.schema.dataset import DecodePolicy
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore, ShardWriter
from pipeline.store.packed_frames import pack
from pipeline.video.decode_video import decode

_JPEG = torchvision.io.image  # importing it brings torch.ops.image
SUFFIXES = (".webm", ".mp4", ".avi", ".mkv", ".mov", ".m4v")
POLICY = DecodePolicy(
    short_side_px=256,
    upscale=False,
    quality=2,
    fps=None,
    max_frames=None,
    min_frames=1,
    timeout_s=120.0,
    videos_per_shard=64,
)


@dataclass(frozen=True)
class Kind:
    """A generated corpus: what its videos are like."""

    suffix: str
    size: str
    fps: int
    frames: int
    videos: int
    encoder: str


_X264 = "-c:v libx264 -preset veryfast -crf 23 -pix_fmt yuv420p"
_VP9 = "-c:v libvpx-vp9 -crf 32 -b:v 0 -deadline realtime -cpu-used 8"
PLAIN = "h264 340x256"
KINDS = {
    "VP9 427x240": Kind(".webm", "427x240", 12, 49, 8, _VP9),
    PLAIN: Kind(".mp4", "340x256", 30, 300, 3, _X264),
    "Xvid 320x240": Kind(".avi", "320x240", 25, 176, 4, "-c:v mpeg4 -vtag XVID -q:v 4"),
    "h264 1280x720": Kind(".mp4", "1280x720", 30, 300, 1, _X264),
}


def generate(
    name: str, folder: Path, program: str, *, frames: int | None = None, count: int | None = None
) -> list[Path]:
    """The videos of a kind: a moving pattern with film grain, each with other colours.

    `frames` shortens them and `count` is how many to make (default: as the kind says). Raises
    UsageError when this ffmpeg lacks an encoder.
    """
    kind = KINDS[name]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count or kind.videos):
        path = folder / f"{name.replace(' ', '-')}-{number:03d}{kind.suffix}"
        source = (
            f"testsrc2=size={kind.size}:rate={kind.fps},hue=h={37 * number},"
            f"noise=alls=5:allf=t:all_seed={number + 1}"
        )
        arguments = [
            program, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source,
            "-frames:v", str(frames or kind.frames), *kind.encoder.split(), str(path),
        ]  # fmt: skip
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UsageError(
                f"ffmpeg cannot make {name}: {reason}",
                do="unset TDN_FFMPEG, or name videos of your own with --videos",
            )
        paths.append(path)
    return paths


def own(folder: Path, most: int) -> dict[str, list[Path]]:
    """Up to `most` videos of each folder in `folder`; those beside the folders are called `own`.

    Raises UsageError when there is none.
    """
    corpora: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            parts = path.relative_to(folder).parts
            corpora.setdefault(parts[0] if len(parts) > 1 else "own", []).append(path)
    if not corpora:
        raise UsageError(
            "--videos names no folder with a video in it",
            where=folder.name,
            do=f"name a folder of videos, with one of the endings {', '.join(SUFFIXES)}",
        )
    return {name: paths[:most] for name, paths in corpora.items()}


@dataclass(frozen=True)
class Corpus:
    """Videos as files by video id, and the same videos in a store of one shard."""

    files: dict[str, Path]
    store: FrameStore
    videos: list[Video]

    @property
    def bytes(self) -> int:
        """Size of the shard."""
        return self.store.shards[0].bytes


def write_store(sources: Sequence[Path], folder: Path, program: str) -> Corpus:
    """Decode videos into one shard below `folder`, as a worker of stage `decode` does."""
    folder.mkdir(parents=True, exist_ok=True)
    videos = []
    with ShardWriter(folder / "shard-00000.lmdb") as writer:
        for number, source in enumerate(sources):
            decoded = decode(source, POLICY, program)
            size = decoded.width_px, decoded.height_px
            video_id = f"{number:05d} {source.name}"
            writer.put(video_id, pack(decoded.stream, decoded.offsets, *size))
            videos.append(
                Video(
                    video_id, [0], ["train"], 0, decoded.n_frames, *size,
                    decoded.fps, source.name, None, None, "ok", "",
                )
            )  # fmt: skip
        shard = writer.close()
    ids = [video.video_id for video in videos]
    store = FrameStore(folder, [shard], dict.fromkeys(ids, 0))
    return Corpus(dict(zip(ids, sources, strict=True)), store, videos)


def moving_noise(folder: Path, *, count: int, frames: int, size_px: tuple[int, int]) -> Corpus:
    """A store of `count` videos of `frames` JPEGs of `size_px` (width, height), without ffmpeg.

    Smooth noise that moves, at the quality of stored frames; `files` is empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width_px, height_px = size_px
    generator = torch.Generator().manual_seed(0)
    videos = []
    with ShardWriter(folder / "shard-00000.lmdb") as writer:
        for number in range(count):
            coarse = torch.rand(1, 3, height_px // 8, width_px // 8, generator=generator)
            smooth = functional.interpolate(coarse, (height_px, width_px), mode="bicubic")[0]
            picture = (255 * smooth.clamp(0, 1)).to(torch.uint8)
            jpegs = [
                torch.ops.image.encode_jpeg(picture.roll(shift, -1), 95).numpy().tobytes()
                for shift in range(frames)
            ]
            offsets = [0, *accumulate(map(len, jpegs))]
            video_id = f"{number:05d}"
            writer.put(video_id, pack(b"".join(jpegs), offsets, *size_px))
            videos.append(
                Video(
                    video_id, [0], ["train"], 0, frames, *size_px,
                    30.0, video_id, None, None, "ok", "",
                )
            )  # fmt: skip
        shard = writer.close()
    return Corpus({}, FrameStore(folder, [shard], {v.video_id: 0 for v in videos}), videos)
