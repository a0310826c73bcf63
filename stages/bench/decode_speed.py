"""`tdn bench decode`: decode and store against ffmpeg alone, in one process, in pairs."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.core.benchmark import Sample, median_s, paired, ratio, target, write_benchmark
from pipeline.core.errors import UsageError
from pipeline.store.blob import pack
from pipeline.store.lmdb_store import ShardFile, ShardWriter
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary, build, command
from stages.bench.corpus import KINDS, POLICY, generate, own_by_folder, to_files, to_null

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
    """Shortens the generated videos, to try this out."""
    script_ffmpeg: Path | None = None
    """What stands for the ffmpeg of the published scripts' users; None: the one on PATH."""


def run(setting: Setting, folder: Path, say: Callable[[str], None]) -> None:
    """Measure and write `decode.{json,md}` into `folder`.

    Videos of one's own that some contender cannot read are named and left out; UsageError when none
    is left, or where `script_ffmpeg` cannot be run.
    """
    program, script = binary(), _script(setting.script_ffmpeg)
    rows: list[dict[str, Any]] = []
    sizes = {"shards": 0, "jpegs": 0}
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        place = Path(name)
        corpora = _corpora(setting, place / "videos", program)
        left_out: list[str] = []
        if setting.videos is not None:
            programs = [program] if script is None else [program, script]
            corpora, left_out = _readable(corpora, place / "work", programs, say)
        for kind, videos in corpora.items():
            say(f"{kind}: {len(videos)} videos")
            rows.append(
                _corpus(kind, videos, place / "work", (program, script), setting.rounds, sizes)
            )
    overhead = 100 * (sizes["shards"] / sizes["jpegs"] - 1)
    settings: dict[str, Any] = {
        "ffmpeg": build(program),
        "system's ffmpeg": "none but this" if script is None else build(script),
        "rounds": setting.rounds,
        "videos": "the user's own" if setting.videos else "generated",
        "cpu ms": "median CPU time per video, user and system, children included",
        "ratios": "median (quartiles) of the rounds' ratios",
    }
    if left_out:
        settings["left out"] = left_out
    write_benchmark(
        folder,
        "decode",
        title="Decoding and storing videos",
        settings=settings,
        rows=rows,
        targets=_targets(rows, overhead),
    )


def _script(named: Path | None) -> str | None:
    """The ffmpeg that writes files as the published scripts let it; None: there is but ours."""
    found = shutil.which("ffmpeg" if named is None else str(named))
    if named is not None:
        if found is None:
            raise UsageError(
                "--script-ffmpeg names no program that can be run",
                where=named.name,
                do="name an ffmpeg binary",
            )
        return found
    return found if found is not None and build(found) != build(binary()) else None


def _corpora(setting: Setting, folder: Path, program: str) -> dict[str, list[Path]]:
    if setting.videos is not None:
        return own_by_folder(setting.videos, setting.most)
    return {kind.name: generate(kind, folder, program, setting.frames) for kind in KINDS}


def _readable(
    corpora: dict[str, list[Path]], work: Path, programs: Sequence[str], say: Callable[[str], None]
) -> tuple[dict[str, list[Path]], list[str]]:
    """The corpora without what a contender cannot read to its end, and that with its reason."""
    kept: dict[str, list[Path]] = {}
    left_out = []
    for kind, videos in corpora.items():
        for video in videos:
            reason = _unreadable(video, work / "jpg", programs)
            if reason:
                left_out.append(f"{kind}/{video.name}: {reason}")
                say(f"left out: {left_out[-1]}")
            else:
                kept.setdefault(kind, []).append(video)
    if not kept:
        raise UsageError(f"no video can be measured: {left_out[0]}", do="name other videos")
    return kept, left_out


def _unreadable(video: Path, work: Path, programs: Sequence[str]) -> str:
    """Why a video cannot be measured; '' when it can."""
    ours = decode(video, POLICY, programs[0])
    if ours.status != "ok":
        return f"{ours.status}: {ours.reason}"
    for program in programs:
        arguments = to_files(video, work / video.stem, program)
        done = subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode or not any((work / video.stem).iterdir()):
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = (lines or ["it says nothing"])[-1].replace(str(video), video.name)
            return f"ffmpeg {build(program)} writes no .jpg files of it ({reason:.120})"
    return ""


def _corpus(
    kind: str,
    videos: Sequence[Path],
    work: Path,
    programs: tuple[str, str | None],
    rounds: int,
    sizes: dict[str, int],
) -> dict[str, Any]:
    """One corpus's row; adds its bytes to `sizes`."""
    program, script = programs
    files: list[ShardFile] = []
    frames = [decode(video, POLICY, program) for video in videos]
    contenders: dict[str, Callable[[], object]] = {
        CEILING: partial(_ffmpeg, [to_null(command(v, POLICY, program)) for v in videos]),
        SPLIT: lambda: [decode(video, POLICY, program) for video in videos],
        SHARD: lambda: files.append(_shard(videos, work, program)),
        FILES: lambda: _ffmpeg([to_files(v, work / "jpg" / v.stem, program) for v in videos]),
    }
    if script is not None:
        contenders[SCRIPT] = lambda: _ffmpeg(
            [to_files(v, work / "jpg" / v.stem, script) for v in videos]
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
    if script is not None:
        row["system's .jpg / shard, cpu"] = ratio(samples, SCRIPT, SHARD, "cpu_s")
        row["system's .jpg / shard, wall"] = ratio(samples, SCRIPT, SHARD, "wall_s")
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
        for number, video in enumerate(videos):
            made = decode(video, POLICY, program)
            blob = pack(made.stream, made.offsets, made.width_px, made.height_px)
            writer.put(f"{number:05d} {video.name}", blob)
        return writer.close()


def _targets(rows: Sequence[dict[str, Any]], overhead: float) -> list[dict[str, Any]]:
    def middle(column: str) -> float | None:
        found = [row[column]["median"] for row in rows if column in row]
        return float(statistics.median(found)) if found else None

    script = middle("system's .jpg / shard, cpu")
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
        target("store overhead over JPEG bytes, %", overhead, at_most=0.5),
    ]  # fmt: skip
