"""`tdn bench decode`: decode and store against ffmpeg alone, in one process, in pairs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.core.benchmark import Report, compare
from pipeline.core.errors import UsageError
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary, build, command
from stages.bench.corpus import KINDS, POLICY, generate, own, write_store

CEILING, SPLIT, SHARD = "ffmpeg to null", "decode and split", "decode to shard"
FILES, SCRIPT = "ffmpeg to .jpg", "system's ffmpeg to .jpg"


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    rounds: int = 5
    videos: Path | None = None
    most: int = 8
    """Videos that are measured, of each folder in `videos`."""
    frames: int | None = None
    """Shortens the generated videos."""
    script_ffmpeg: Path | None = None
    """The ffmpeg that writes .jpg files as the published scripts let it; None: the one on PATH."""


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Measure every corpus.

    Videos of one's own that some contender cannot read are named and left out; UsageError when none
    is left, or where `script_ffmpeg` cannot be run.
    """
    script = _script(setting.script_ffmpeg)
    programs = {FILES: binary()} | ({} if script is None else {SCRIPT: script})
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        folder = Path(name)
        if setting.videos is None:
            corpora = {
                kind: generate(kind, folder / "videos", binary(), frames=setting.frames)
                for kind in KINDS
            }
        else:
            corpora = own(setting.videos, setting.most)
            corpora, left_out = _readable(corpora, folder / "jpg", programs, say)
        for kind, videos in corpora.items():
            say(f"{kind}: {len(videos)} videos")
            rows += _measure(kind, videos, folder, programs, setting.rounds)
    settings = {
        "ffmpeg": build(binary()),
        "system's ffmpeg": "none but this" if script is None else build(script),
        "rounds": setting.rounds,
        "videos": "the user's own" if setting.videos else "generated",
        "cpu ms": "user and system, children included",
        "ratios": "median (quartiles) of the rounds' ratios",
    }
    if left_out:
        settings["left out"] = left_out
    return Report("decode", "Decoding and storing videos", settings, rows)


def _script(named: Path | None) -> str | None:
    """The ffmpeg that the published scripts would call; None where it is the one we use."""
    path = shutil.which("ffmpeg" if named is None else str(named))
    if named is not None and path is None:
        raise UsageError(
            "--script-ffmpeg names no program that can be run",
            where=named.name,
            do="name an ffmpeg binary",
        )
    return path if named is not None or (path and build(path) != build(binary())) else None


def _readable(
    corpora: dict[str, list[Path]],
    work: Path,
    programs: dict[str, str],
    say: Callable[[str], None],
) -> tuple[dict[str, list[Path]], list[str]]:
    """The corpora without the videos that a contender cannot read, and those with the reason."""
    kept: dict[str, list[Path]] = {}
    left_out = []
    for kind, videos in corpora.items():
        for video in videos:
            if reason := _unreadable(video, work, programs):
                left_out.append(f"{kind}/{video.name}: {reason}")
                say(f"left out: {left_out[-1]}")
            else:
                kept.setdefault(kind, []).append(video)
    if not kept:
        raise UsageError(f"no video can be measured: {left_out[0]}", do="name other videos")
    return kept, left_out


def _unreadable(video: Path, work: Path, programs: dict[str, str]) -> str:
    """Why a video cannot be measured; '' when it can."""
    ours = decode(video, POLICY, binary())
    if ours.status != "ok":
        return f"{ours.status}: {ours.reason}"
    for program in programs.values():
        arguments = to_files(video, work / video.stem, program)
        done = subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode or not any((work / video.stem).iterdir()):
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = (lines or ["no message"])[-1].replace(str(video), video.name)
            return f"ffmpeg {build(program)} writes no .jpg files of it ({reason:.120})"
    return ""


def _measure(
    kind: str, videos: Sequence[Path], folder: Path, programs: dict[str, str], rounds: int
) -> list[dict[str, Any]]:
    """The rows of one corpus."""
    ours = binary()
    shard = partial(write_store, videos, folder / "store", ours)
    contenders: dict[str, Callable[[], object]] = {
        CEILING: partial(_ffmpeg, [to_null(command(v, POLICY, ours)) for v in videos]),
        SPLIT: lambda: [decode(video, POLICY, ours) for video in videos],
        SHARD: shard,
    }
    for name, program in programs.items():
        contenders[name] = partial(_all_to_files, videos, folder / "jpg", program)
    rows = compare(contenders, against=SHARD, rounds=rounds, count=len(videos), unit="video")
    corpus = shard()
    frames = sum(video.n_frames for video in corpus.videos)
    jpeg_bytes = sum(sum(map(len, corpus.store.jpegs(v.video_id))) for v in corpus.videos)
    about: dict[str, Any] = {"corpus": kind, "videos": len(videos), "frames": frames}
    for row in rows:
        row["frames per core-second"] = 1e3 * frames / len(videos) / row["cpu ms per video"]
        if row["way"] == SHARD:
            row["kB per frame"] = jpeg_bytes / frames / 1000
            row["store overhead over JPEG bytes, %"] = 100 * (corpus.bytes / jpeg_bytes - 1)
    return [about | row for row in rows]


def _ffmpeg(commands: Sequence[list[str]]) -> None:
    for arguments in commands:
        subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, check=True)


def _all_to_files(videos: Sequence[Path], folder: Path, program: str) -> None:
    _ffmpeg([to_files(video, folder / video.stem, program) for video in videos])


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
