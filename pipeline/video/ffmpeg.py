"""One video file or frame folder → its frames as JPEGs: the only module that runs ffmpeg.

One ffmpeg process per video, never probed beforehand: size comes from the first JPEG, the frame
count from counting, the rate from what ffmpeg prints. Frame folders are copied byte for byte.

ffmpeg exits with 0 on many damaged files, so a result is judged by its messages, its frames and its
exit code together.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from pipeline.core.errors import UsageError
from pipeline.schema.dataset import DecodePolicy
from pipeline.video.jpeg_split import concatenate, size_px, split

MAX_VIDEO_BYTES = 2 << 30
"""More JPEG bytes than this from one video are an error: offsets are 32 bits, memory is finite."""

FORMAT = 1
"""Raise it when the same output of ffmpeg, or the same frame folder, gives other frames, another
status or another reason: stored frames are then made again. ffmpeg's arguments need no raise."""

_PIPE_BYTES = 1 << 20
_MAX_MESSAGES_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # Linux

# What ffmpeg calls an error although every frame is right.
_HARMLESS = re.compile(
    r"Application provided invalid, non monotonically increasing dts"
    r"|non-monotonic DTS"
    r"|Timestamps are unset in a packet"
)
_ERROR = re.compile(r"\[(?:error|fatal|panic)\] (.*)")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_MAPPING = re.compile(r"Stream #0:(\d+) -> #0:0 ")
_RATE = re.compile(r"([\d.]+)(k?) fps")


@dataclass(frozen=True)
class Decoded:
    """The frames of one video and how decoding went."""

    status: str
    """`ok`; `partial` (frames are whole, but the decoder complained); `empty` (a video without
    frames); `error` (no usable frame)."""
    reason: str
    """'' when ok; otherwise one sentence without addresses or machine paths."""
    stream: bytes
    """The JPEGs end to end; `offsets[i]:offsets[i + 1]` is frame i."""
    offsets: tuple[int, ...]
    width_px: int
    height_px: int
    fps: float | None
    """Nominal rate of the source; None for frame folders and when ffmpeg names none."""

    @property
    def n_frames(self) -> int:
        return len(self.offsets) - 1


def failed(status: str, reason: str, fps: float | None = None) -> Decoded:
    """A result without frames."""
    return Decoded(status, reason, b"", (0,), 0, 0, fps)


def binary() -> str:
    """The ffmpeg to run: TDN_FFMPEG, else imageio-ffmpeg's static one, else the one on PATH."""
    named = os.environ.get("TDN_FFMPEG", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise UsageError(
                "TDN_FFMPEG names no program that can be run",
                do="set it to an ffmpeg binary, or unset it",
            )
        return found
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        found = shutil.which("ffmpeg")
        if found is None:
            raise UsageError(
                "no ffmpeg binary", do="install imageio-ffmpeg, or set TDN_FFMPEG to a binary"
            ) from None
        return found


@lru_cache(maxsize=4)
def build(program: str) -> str:
    """What identifies an ffmpeg binary in records: its version word (bytes differ between them)."""
    shown = subprocess.run(
        [program, "-version"], capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    first = shown.stdout.decode("utf-8", "replace").partition("\n")[0]
    match = re.match(r"ffmpeg version (\S+)", first)
    if match is None:
        raise UsageError("the ffmpeg binary does not say its version", do="check TDN_FFMPEG")
    return match.group(1)


def command(source: Path, policy: DecodePolicy, program: str) -> list[str]:
    """The argument list that decodes `source` to JPEGs on standard output.

    The path is absolute and carries the `file:` protocol, so no name can become an option, a
    pattern or an address; no protocol but file and pipe is open to what the file itself refers to.
    """
    stream = ffmpeg.input(
        f"file:{source.absolute()}", protocol_whitelist="file,pipe", threads=1
    ).output(
        "pipe:1",
        an=None,
        sn=None,
        dn=None,
        vf=",".join(_filters(policy)),
        pix_fmt="yuvj420p",
        vcodec="mjpeg",
        huffman="default",
        threads=1,
        format="image2pipe",
        bitexact=None,
        **{"q:v": policy.quality, "fps_mode": "passthrough"},
        **({} if policy.max_frames is None else {"frames:v": policy.max_frames}),
    )
    limit_s = max(1, int(policy.timeout_s)) + 1
    arguments: list[str] = stream.compile(cmd=[program, *_GLOBAL, "-timelimit", str(limit_s)])
    return arguments


_GLOBAL = (
    "-nostdin", "-hide_banner", "-nostats", "-v", "repeat+level+info", "-filter_threads", "1",
)  # fmt: skip


def _rational(fps: float) -> str:
    value = Fraction(fps).limit_denominator(1001)
    return f"{value.numerator}/{value.denominator}"


def _filters(policy: DecodePolicy) -> list[str]:
    """Rate, size with square pixels, and the colours that JPEG means (BT.601, full range).

    Bit-exact scaling (accurate_rnd+bitexact) would cost a sixth more; without it frames are
    identical on machines with the same vector instructions, which the ffmpeg build cannot tell.
    """
    filters = [] if policy.fps is None else [f"fps={_rational(policy.fps)}"]
    width, height = "round(iw*sar)", "ih"
    if policy.short_side_px is not None:
        short = "min(iw*sar\\,ih)"
        side = policy.short_side_px
        scaled = f"not(eq({short}\\,{side}))" if policy.upscale else f"gt({short}\\,{side})"
        width = f"if({scaled}\\,2*round(iw*sar*{side}/{short}/2)\\,{width})"
        height = f"if({scaled}\\,2*round(ih*{side}/{short}/2)\\,{height})"
    scale = f"scale=w={width}:h={height}"
    return [*filters, f"{scale}:out_color_matrix=bt601:out_range=full", "setsar=1"]


def decode(
    source: Path, policy: DecodePolicy, program: str, frame_prefix: str | None = None
) -> Decoded:
    """The frames of a video file or of a folder of JPEGs. Never raises for what the data hold."""
    if source.is_dir():
        return read_frames(source, policy.max_frames, frame_prefix)
    try:
        if source.stat().st_size == 0:
            return failed("error", "the file is empty")
    except OSError as error:
        return failed("error", f"cannot be read: {error.strerror}")
    arguments = command(source, policy, program)
    ran = _run(arguments, policy.timeout_s)
    if ran.killed_from_outside:
        ran = _run(arguments, policy.timeout_s)
    return _judge(ran, source)


@dataclass(frozen=True)
class _Run:
    output: bytes
    messages: str
    code: int
    problem: str

    @property
    def killed_from_outside(self) -> bool:
        return not self.problem and self.code in (-1, -2, -9, -15)


def _run(arguments: list[str], timeout_s: float) -> _Run:
    """Run to the end or the limit. Own process group: a Ctrl-C must not end a video early."""
    deadline = time.monotonic() + timeout_s
    with open(os.memfd_create("ffmpeg-messages"), "w+b") as messages:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
                process_group=0,
            )
        except OSError as error:
            raise UsageError(
                f"ffmpeg cannot be started: {error.strerror}",
                do="look at TDN_FFMPEG and at the machine's memory and process limits",
            ) from None
        try:
            output, problem = _drain(process, deadline, timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        messages.seek(0)
        text = messages.read(_MAX_MESSAGES_BYTES).decode("utf-8", "replace")
    return _Run(output, text, process.returncode, problem)


def _drain(
    process: subprocess.Popen[bytes], deadline: float, timeout_s: float
) -> tuple[bytes, str]:
    """Everything the process writes, and why reading stopped early ('' when it did not)."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    _widen(pipe)
    chunks: list[bytes] = []
    size = 0
    too_long = f"stopped after the limit of {timeout_s:g} s"
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return b"".join(chunks), too_long
            chunk = os.read(pipe, _PIPE_BYTES)
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_VIDEO_BYTES:
                return b"", f"more than {MAX_VIDEO_BYTES >> 30} GiB of frames"
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return b"".join(chunks), too_long
    return b"".join(chunks), ""


def _widen(pipe: int) -> None:
    """A larger pipe means fewer wake-ups; where the system refuses, the default does."""
    try:
        import fcntl

        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, OSError):
        return


def _judge(ran: _Run, source: Path) -> Decoded:
    """Turn output, messages and exit code into frames with a status."""
    fps = _source_fps(ran.messages)
    complaint = ran.problem or _complaint(ran, source)
    offsets, tail = split(ran.output)
    if tail:
        complaint = complaint or "the last frame is cut off"
    if len(offsets) == 1:
        if complaint:
            return failed("error", complaint, fps)
        return failed("empty", "no frames", fps)
    size = size_px(ran.output)
    if size is None or ran.problem.startswith("more than"):
        return failed("error", complaint or "the frames are not JPEG", fps)
    stream = ran.output if not tail else ran.output[: offsets[-1]]
    status = "partial" if complaint else "ok"
    return Decoded(status, complaint, stream, tuple(offsets), size[0], size[1], fps)


def _complaint(ran: _Run, source: Path) -> str:
    """The first real error ffmpeg printed, or its exit code; '' when all went well."""
    errors = [line for line in _ERROR.findall(ran.messages) if not _HARMLESS.search(line)]
    if ran.code < 0:
        return f"ffmpeg died of signal {-ran.code}"
    if not errors:
        return "" if ran.code == 0 else f"ffmpeg ended with code {ran.code}"
    first = _ADDRESS.sub("", errors[0]).replace(f"file:{source.absolute()}", source.name)
    first = first.replace(str(source.absolute()), source.name).strip().rstrip(".")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"ffmpeg: {first[:200]}{more}"


def _source_fps(messages: str) -> float | None:
    """The rate of the stream that ffmpeg chose, as it prints it (two decimals)."""
    mapped = _MAPPING.search(messages)
    number = mapped.group(1) if mapped else r"\d+"
    for line in re.findall(rf"Stream #0:{number}\b.*: Video: .*", messages):
        rate = _RATE.search(line)
        if rate is not None:
            return float(rate.group(1)) * (1000 if rate.group(2) else 1)
    return None


def frame_files(folder: Path, prefix: str | None = None) -> list[str]:
    """Names of the frames in a folder, in frame order: JPEGs whose stem ends in a number.

    Everything else (desktop.ini, Thumbs.db, hidden files) is a stray and is left out.
    """
    numbered = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, _, suffix = entry.name.rpartition(".")
            digits = re.search(r"(\d+)$", stem)
            if suffix.lower() not in ("jpg", "jpeg") or digits is None or stem.startswith("."):
                continue
            if prefix is None or entry.name.startswith(prefix):
                numbered.append((stem[: digits.start()], int(digits.group(1)), entry.name))
    return [name for _, _, name in sorted(numbered)]


def read_frames(folder: Path, max_frames: int | None = None, prefix: str | None = None) -> Decoded:
    """The JPEGs of a frame folder, bytes untouched. Frames that are no JPEG are left out, with a
    reason, as are those of another size than the first."""
    images: list[bytes] = []
    bad: list[str] = []
    size: tuple[int, int] | None = None
    try:
        for name in frame_files(folder, prefix)[:max_frames]:
            image = (folder / name).read_bytes()
            found = size_px(image)
            if found is None or not image.rstrip(b"\0").endswith(b"\xff\xd9"):
                bad.append(f"{name} is not a whole JPEG")
            elif size is not None and found != size:
                bad.append(f"{name} has another size")
            else:
                size = size or found
                images.append(image)
    except OSError as error:
        return failed("error", f"cannot be read: {error.strerror}")
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    reason = bad[0] + more if bad else ""
    if size is None:
        return failed("error" if bad else "empty", reason or "no frames")
    stream, offsets = concatenate(images)
    return Decoded("partial" if bad else "ok", reason, stream, tuple(offsets), *size, None)
