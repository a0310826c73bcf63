"""Videos to measure on: four generated corpora like real data sets, or a folder of one's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.schema.dataset import DecodePolicy

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

    name: str
    suffix: str
    size: str
    fps: int
    frames: int
    videos: int
    encoder: tuple[str, ...]


_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p")
_VP9 = (
    "-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8",
)  # fmt: skip
_XVID = ("-c:v", "mpeg4", "-vtag", "XVID", "-q:v", "4")
KINDS = (
    Kind(
        "VP9 427x240", ".webm", "427x240", 12, 49, 8,
        _VP9,
    ),
    Kind("h264 340x256", ".mp4", "340x256", 30, 300, 3, _X264),
    Kind("Xvid 320x240", ".avi", "320x240", 25, 176, 4, _XVID),
    Kind("h264 1280x720", ".mp4", "1280x720", 30, 300, 1, _X264),
)  # fmt: skip


def generate(kind: Kind, folder: Path, program: str, frames: int | None = None) -> list[Path]:
    """The videos of a kind: a moving pattern with film grain, each with other colours.

    `frames` shortens them. Raises UsageError when this ffmpeg lacks an encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(kind.videos):
        path = folder / f"{kind.name.replace(' ', '-')}-{number:03d}{kind.suffix}"
        source = (
            f"testsrc2=size={kind.size}:rate={kind.fps},hue=h={37 * number},"
            f"noise=alls=5:allf=t:all_seed={number + 1}"
        )
        arguments = [
            program, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source,
            "-frames:v", str(frames or kind.frames), *kind.encoder, str(path),
        ]  # fmt: skip
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise UsageError(
                f"ffmpeg cannot make {kind.name}: {reason}",
                do="unset TDN_FFMPEG, or name videos of your own with --videos",
            )
        made.append(path)
    return made


def own(folder: Path, most: int) -> list[Path]:
    """Up to `most` videos below a folder, by name; UsageError when there is none."""
    if not folder.is_dir():
        raise UsageError(
            "--videos names no folder", where=folder.name, do="name a folder of videos"
        )
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise UsageError(
            "no video below this folder", where=folder.name, do=f"known: {', '.join(SUFFIXES)}"
        )
    return found[:most]


def own_by_folder(folder: Path, most: int) -> dict[str, list[Path]]:
    """Up to `most` videos of each folder in `folder`; those beside the folders are called `own`."""
    corpora: dict[str, list[Path]] = {}
    for path in own(folder, sys.maxsize):
        parts = path.relative_to(folder).parts
        corpora.setdefault(parts[0] if len(parts) > 1 else "own", []).append(path)
    return {name: paths[:most] for name, paths in corpora.items()}


def to_null(arguments: list[str]) -> list[str]:
    """Our ffmpeg command with its output thrown away: the ceiling of decode + scale + JPEG."""
    discard = list(arguments)
    discard[discard.index("image2pipe")] = "null"
    discard[-1] = "-"
    return discard


def to_files(source: Path, folder: Path, program: str) -> list[str]:
    """As the published extraction script calls ffmpeg (TSM's, which TDN points to): height 256
    whatever the video has, best quality, ffmpeg's own Huffman tables, one .jpg file per frame."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return [
        program, "-nostdin", "-v", "error", "-i", f"file:{source.absolute()}", "-threads", "1",
        "-vf", "scale=-1:256", "-q:v", "0", str(folder / "%06d.jpg"),
    ]  # fmt: skip
