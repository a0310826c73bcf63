"""The only module that runs ffmpeg: which program, with which arguments, for how long.

One process per video, never probed beforehand.
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
from typing import BinaryIO

import ffmpeg
import imageio_ffmpeg

from pipeline.core.errors import UsageError
from pipeline.schema.dataset import DecodePolicy

MAX_VIDEO_BYTES = 2 << 30
"""More JPEG bytes than this from one video are an error: offsets are 32 bits, memory is finite."""

_PIPE_BYTES = 1 << 20
_MAX_MESSAGES_BYTES = 1 << 20
_LAST_MESSAGES_BYTES = 1 << 14
_F_SETPIPE_SZ = 1031  # Linux


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


def command(
    source: Path, policy: DecodePolicy, program: str, *, keep_times: bool = True
) -> list[str]:
    """The argument list that decodes `source` to JPEGs on standard output.

    Without `keep_times` frames lose their timestamps after resampling and scaling: the JPEG encoder
    refuses two frames in one tick of the nominal rate, and frames that step back.

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
        vf=",".join(_filters(policy) + ([] if keep_times else ["setpts=NAN"])),
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
    "-nostdin", "-hide_banner", "-nostats", "-v", "repeat+level+verbose", "-filter_threads", "1",
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


@dataclass(frozen=True)
class Run:
    """What one run of ffmpeg left behind."""

    output: bytes
    """Standard output; b'' when there was more than MAX_VIDEO_BYTES."""
    messages: str
    code: int
    problem: str
    """Why it was stopped; '' when it ended by itself."""

    @property
    def killed_from_outside(self) -> bool:
        return not self.problem and self.code in (-1, -2, -9, -15)


def run(arguments: list[str], timeout_s: float) -> Run:
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
        text = _first_and_last(messages)
    return Run(output, text, process.returncode, problem)


def _first_and_last(messages: BinaryIO) -> str:
    """The messages; of very many the first, and the last, which hold the final counts."""
    size = messages.seek(0, os.SEEK_END)
    messages.seek(0)
    text = messages.read(_MAX_MESSAGES_BYTES)
    if size > len(text):
        messages.seek(max(len(text), size - _LAST_MESSAGES_BYTES))
        text += b"\n" + messages.read()
    return text.decode("utf-8", "replace")


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
