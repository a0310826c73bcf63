"""Videos whose timing, size or kind changes: every frame is there, or both counts are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import ffmpeg, policy, write_clip
from tests.pipeline.video.full_decode import check_frames, full_decode

X264 = ["-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p"]
MJPEG = ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]


def made(path: Path, setpts: str, codec: Sequence[str] = X264, frames: int = 50) -> Path:
    """`frames` frames at a nominal 25 per second whose timestamps are `setpts` (in ms)."""
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=96x72:r=25", "-frames:v", str(frames),
        "-vf", f"settb=1/1000,setpts='{setpts}'", "-fps_mode", "passthrough",
        "-enc_time_base", "1/1000", *codec, str(path),
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    "setpts",
    [
        "N*40+if(mod(N,2),25,0)",  # pairs in one tick of the nominal rate
        "N*7",  # more frames than the rate names
        "floor(N/2)*80+mod(N,2)",  # two a millisecond apart
        "N*40+if(gt(N,25),5000,0)",  # a long gap
        "N*N",
    ],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_variable_rate_keeps_every_frame(tmp_path: Path, setpts: str, suffix: str) -> None:
    path = made(tmp_path / f"a{suffix}", setpts)
    assert full_decode(path) == 50
    found = decode(path, policy(), binary())
    assert (found.status, found.reason, found.n_frames) == ("ok", "", 50)
    check_frames(found)


@pytest.mark.parametrize("times", ["if(gte(N,30),PTS-1000,PTS)", "PTS-200*gt(mod(N,10),7)"])
def test_timestamps_that_step_back_keep_every_frame(tmp_path: Path, times: str) -> None:
    source = tmp_path / "source.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x72:r=25", "-frames:v", "50", *MJPEG, str(source))
    path = tmp_path / "back.mkv"
    ffmpeg(
        "-i", str(source), "-c", "copy", "-bsf:v", f"setts=pts='{times}':dts=DTS-2000", str(path)
    )
    found = decode(path, policy(), binary())
    assert full_decode(path) == 50
    assert (found.status, found.reason, found.n_frames) == ("ok", "", 50)
    plain = decode(source, policy(), binary())
    assert found.stream == plain.stream


def test_a_rate_policy_works_on_a_variable_rate(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", "N*40+if(mod(N,2),25,0)")
    found = decode(path, policy(fps=5.0), binary())
    assert (found.status, found.n_frames) == ("ok", 10)


def spliced(root: Path, *parts: tuple[str, str], suffix: str = ".mkv") -> Path:
    """Clips of 12 frames each, (size, filter), joined as transport streams and remuxed."""
    joined = root / "joined.ts"
    data = b""
    for number, (size, changes) in enumerate(parts):
        part = root / f"{number}.ts"
        ffmpeg(
            "-f", "lavfi", "-i", f"testsrc2=s={size}:r=12", "-frames:v", "12", "-vf", changes,
            *X264, str(part),
        )  # fmt: skip
        data += part.read_bytes()
    joined.write_bytes(data)
    if suffix == ".ts":
        return joined
    path = root / f"joined{suffix}"
    ffmpeg("-i", str(joined), "-c", "copy", str(path))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
@pytest.mark.parametrize(
    "parts",
    [
        [("96x72", "null"), ("160x90", "null")],
        [("160x90", "null"), ("96x72", "null"), ("160x90", "null")],
        [("96x72", "null"), ("72x96", "null")],
        [("96x72", "null"), ("96x72", "setsar=2")],
        [("96x72", "null"), ("96x72", "null")],
    ],
)
@pytest.mark.parametrize("side", [None, 64])
def test_a_change_of_size_in_mid_stream_keeps_every_frame_at_one_size(
    tmp_path: Path, parts: list[tuple[str, str]], suffix: str, side: int | None
) -> None:
    path = spliced(tmp_path, *parts, suffix=suffix)
    found = decode(path, policy(short_side_px=side), binary())
    assert found.n_frames == full_decode(path) == 12 * len(parts)
    assert (found.status, found.reason) == ("ok", "")
    check_frames(found)


def test_a_change_of_size_and_a_variable_rate_together(tmp_path: Path) -> None:
    ffmpeg(
        "-i", str(spliced(tmp_path, ("96x72", "null"), ("160x90", "null"))), "-c", "copy",
        "-bsf:v", "setts=ts='N*7'", str(tmp_path / "both.mkv"),
    )  # fmt: skip
    found = decode(tmp_path / "both.mkv", policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 24)
    check_frames(found)


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".flac", ".mka"])
def test_a_cover_picture_is_no_video(tmp_path: Path, suffix: str) -> None:
    cover, path = tmp_path / "cover.jpg", tmp_path / f"a{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x72", "-frames:v", "1", str(cover))
    codec = "flac" if suffix == ".flac" else "libmp3lame" if suffix == ".mp3" else "aac"
    attach = ["-attach", str(cover), "-metadata:s:t", "mimetype=image/jpeg"]
    picture = ["-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy"]
    disposition = ["-disposition:v:0", "attached_pic"]
    ffmpeg(
        "-f", "lavfi", "-i", "sine=duration=1",
        *(attach if suffix == ".mka" else [*picture, *disposition]),
        "-c:a", codec, str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("empty", 0)
    assert found.reason == "no moving picture: only a cover picture"


def test_a_video_beside_a_cover_picture_is_decoded(tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.jpg", tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x480", "-frames:v", "1", str(cover))
    ffmpeg(
        "-i", str(write_clip(tmp_path / "plain.mp4", 9)), "-i", str(cover), "-map", "1",
        "-map", "0", "-c", "copy", "-disposition:v:0", "attached_pic", str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames, found.width_px) == ("ok", 9, 64)


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    found = decode(write_clip(tmp_path / "a.mp4", 1), policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 1)


def test_a_cut_video_says_both_counts_and_too_short_a_rest_is_an_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 60)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = decode(path, policy(), binary())
    assert found.status == "partial"
    assert found.reason.startswith(f"{found.n_frames} of 60 frames: ")
    path.write_bytes(whole[: len(whole) // 6])
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("error", 0)
    assert found.reason.endswith("(less than min_frame_share 0.25)")
    assert decode(path, policy(min_frame_share=0.0), binary()).status == "partial"


def test_a_video_with_fewer_frames_than_its_list_says_is_partial(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 9)
    found = decode(path, policy(), binary(), listed_frames=12)
    assert (found.status, found.reason) == ("partial", "9 of 12 frames: the list states 12")
    found = decode(path, policy(), binary(), listed_frames=100)
    assert (found.status, found.n_frames) == ("error", 0)
    for listed in (9, 5, None):
        assert decode(path, policy(), binary(), listed_frames=listed).status == "ok"
    assert decode(path, policy(max_frames=4), binary(), listed_frames=12).status == "ok"
