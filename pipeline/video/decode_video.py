"""One video file or frame folder → its frames as JPEGs, and how well that went.

Size comes from the first JPEG, the frame count from counting, the rate from what ffmpeg prints.
Frame folders are copied byte for byte. ffmpeg exits with 0 on many damaged files, so a result is
judged by its messages, its own count of decoded frames, its frames and its exit code together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.schema.dataset import DecodePolicy
from pipeline.video.ffmpeg import Run, command, run
from pipeline.video.frame_folder import list_frames, missing_frames, why_empty
from pipeline.video.jpeg_split import concatenate, is_one_jpeg, size_px, split

FORMAT = 2
"""Raise it when the same output of ffmpeg, or the same frame folder, gives other frames, another
status or another reason: stored frames are then made again. ffmpeg's arguments need no raise."""

# What ffmpeg calls an error although every frame is right.
_HARMLESS = re.compile(
    r"Application provided invalid, non monotonically increasing dts"
    r"|non-monotonic DTS"
    r"|Timestamps are unset in a packet"
)
_TIMES_REFUSED = "Invalid pts ("
"""What the JPEG encoder says to two frames in one tick of the nominal rate."""
_ERROR = re.compile(r"\[(?:error|fatal|panic)\] (.*)")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_MAPPING = re.compile(r"Stream #0:(\d+) -> #0:0 ")
_RATE = re.compile(r"([\d.]+)(k?) fps")
_DURATION = re.compile(r"\] +Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_COUNTS = r"Input stream #0:{} \(video\): .*?(\d+) frames decoded; (\d+) decode errors"


@dataclass(frozen=True)
class Decoded:
    """The frames of one video and how decoding went."""

    status: str
    """`ok`; `partial` (some frames are missing or the decoder complained; `reason` has the counts);
    `empty` (no moving picture); `error` (no usable frame, or too small a share of them)."""
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


def decode(
    source: Path,
    policy: DecodePolicy,
    program: str,
    frame_prefix: str | None = None,
    listed_frames: int | None = None,
) -> Decoded:
    """The frames of a video file or of a folder of JPEGs. Never raises for what the data hold.

    `listed_frames` is what an annotation says it holds (None: nothing): fewer make it `partial`.
    """
    if source.is_dir():
        return read_folder(source, policy, frame_prefix, listed_frames)
    try:
        if source.stat().st_size == 0:
            return failed("error", "the file is empty")
    except OSError as error:
        return failed("error", f"cannot be read: {error.strerror}")
    ran = _run_again_if_killed(command(source, policy, program), policy.timeout_s)
    if _TIMES_REFUSED in ran.messages:
        arguments = command(source, policy, program, keep_times=False)
        ran = _run_again_if_killed(arguments, policy.timeout_s)
    found = _judge(ran, source, policy)
    if listed_frames is None or policy.fps is not None or found.status != "ok":
        return found
    if found.n_frames >= min(listed_frames, policy.max_frames or listed_frames):
        return found
    return incomplete(found, listed_frames, f"the list states {listed_frames}", policy)


def _run_again_if_killed(arguments: list[str], timeout_s: float) -> Run:
    ran = run(arguments, timeout_s)
    return run(arguments, timeout_s) if ran.killed_from_outside else ran


def _judge(ran: Run, source: Path, policy: DecodePolicy) -> Decoded:
    """Turn output, messages and exit code into frames with a status."""
    fps = _source_fps(ran.messages)
    if _is_cover(ran.messages):
        return failed("empty", "no moving picture: only a cover picture", fps)
    complaint = ran.problem or _complaint(ran, source)
    offsets, cut = split(ran.output)
    if cut:
        complaint = complaint or "the last frame is cut off"
    count = len(offsets) - 1
    size = size_px(ran.output)
    if not count or size is None:
        if complaint or ran.output:
            return failed("error", complaint or "the frames are not JPEG", fps)
        return failed("empty", "no frames", fps)
    other = sum(size_px(ran.output, start) != size for start in offsets[:-1])
    if other:
        return failed("error", f"{other} of {count} frames have another size than the first", fps)
    whole = _decoded_frames(ran.messages)
    if not complaint and policy.fps is None and whole is not None:
        full = min(whole[0], policy.max_frames or whole[0])
        complaint = f"ffmpeg decoded {full} and wrote {count}" if count < full else ""
    stream = ran.output[: offsets[-1]] if cut else ran.output
    found = Decoded("ok", "", stream, tuple(offsets), *size, fps)
    if not complaint:
        return found
    return incomplete(found, _expected(ran, fps, policy), complaint, policy)


def incomplete(found: Decoded, expected: int, complaint: str, policy: DecodePolicy) -> Decoded:
    """`found` as `partial` with both counts, or as an error when its share of `expected` is small.

    Expected are at least the frames found and at most the policy's `max_frames`.
    """
    total = max(found.n_frames, min(expected, policy.max_frames or expected))
    reason = f"{found.n_frames} of {total} frames: {complaint}"
    if found.n_frames < policy.min_frame_share * total:
        share = f"less than min_frame_share {policy.min_frame_share:g}"
        return failed("error", f"{reason} ({share})", found.fps)
    return replace(found, status="partial", reason=reason)


def _expected(ran: Run, fps: float | None, policy: DecodePolicy) -> int:
    """How many frames a video that was not decoded in full should have, as far as known: those
    that ffmpeg tried to decode, and those that duration and rate in its header amount to."""
    rate = policy.fps or fps
    found = _DURATION.search(ran.messages)
    announced = 0
    if found is not None and rate:
        hours, minutes, seconds = found.groups()
        announced = round((3600 * int(hours) + 60 * int(minutes) + float(seconds)) * rate)
    tried = _decoded_frames(ran.messages)
    return max(announced, sum(tried) if tried is not None and policy.fps is None else 0)


def _stream(messages: str) -> str:
    """The number of the stream that ffmpeg chose, as a pattern."""
    mapped = _MAPPING.search(messages)
    return mapped.group(1) if mapped else r"\d+"


def _decoded_frames(messages: str) -> tuple[int, int] | None:
    """(decoded frames, frames that could not be decoded) as ffmpeg counts at its end."""
    found = re.search(_COUNTS.format(_stream(messages)), messages)
    return None if found is None else (int(found.group(1)), int(found.group(2)))


def _is_cover(messages: str) -> bool:
    """Whether the only picture is one attached to a sound file."""
    if _MAPPING.search(messages) is None:
        return False
    lines = re.findall(rf"Stream #0:{_stream(messages)}\b.*: Video: .*", messages)
    return any("(attached pic)" in line for line in lines[:1])


def _complaint(ran: Run, source: Path) -> str:
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
    for line in re.findall(rf"Stream #0:{_stream(messages)}\b.*: Video: .*", messages):
        rate = _RATE.search(line)
        if rate is not None:
            return float(rate.group(1)) * (1000 if rate.group(2) else 1)
    return None


def read_folder(
    folder: Path, policy: DecodePolicy, prefix: str | None = None, listed: int | None = None
) -> Decoded:
    """The JPEGs of a frame folder, bytes untouched. Frames that are not one whole JPEG are left
    out, with a reason, as are those of another size than the first."""
    images: list[bytes] = []
    bad: list[str] = []
    size: tuple[int, int] | None = None
    try:
        frames = list_frames(folder, prefix)
        if not frames:
            return failed("empty", why_empty(folder, prefix))
        lost, gap = missing_frames(frames, listed)
        for frame in frames[: policy.max_frames]:
            image = (folder / frame.name).read_bytes()
            found = size_px(image)
            if found is None or not is_one_jpeg(image):
                bad.append(f"{frame.name} is not one whole JPEG")
            elif size is not None and found != size:
                bad.append(f"{frame.name} has another size")
            else:
                size = size or found
                images.append(image)
    except OSError as error:
        return failed("error", f"cannot be read: {error.strerror}")
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    complaint = "; ".join([*([bad[0] + more] if bad else []), *([gap] if gap else [])])
    if size is None:
        return failed("error", complaint)
    stream, offsets = concatenate(images)
    whole = Decoded("ok", "", stream, tuple(offsets), *size, None)
    if not complaint:
        return whole
    return incomplete(whole, len(frames) + lost, complaint, policy)
