"""Containers as the web holds them, made here: every frame once, upright, in its true colours."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.mini.write_splits import one_frame_too_many
from pipeline.video.decode_video import Decoded, decode
from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import ffmpeg, policy, write_clip


def first_frame(found: Decoded) -> np.ndarray:
    data = found.stream[found.offsets[0] : found.offsets[1]]
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"), dtype=float)


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, 64)), (180, (64, 48))])
def test_rotation_is_applied(tmp_path: Path, degrees: int, size: tuple[int, int]) -> None:
    plain = write_clip(tmp_path / "plain.mp4", 5)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", str(plain), "-c", "copy", str(turned))
    found = decode(turned, policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 5)
    assert (found.width_px, found.height_px) == size
    upright = first_frame(decode(plain, policy(), binary()))
    assert np.abs(np.rot90(upright, degrees // 90) - first_frame(found)).mean() < 8


def test_ten_bit_video_becomes_eight_bit_frames(tmp_path: Path) -> None:
    path = tmp_path / "deep.mkv"
    source = "testsrc=size=64x48:rate=12"
    ffmpeg(
        "-f", "lavfi", "-i", source, "-frames:v", "6", "-pix_fmt", "yuv420p10le",
        "-c:v", "ffv1", str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 6)
    plain = decode(write_clip(tmp_path / "plain.mkv", 6), policy(), binary())
    assert np.abs(first_frame(found) - first_frame(plain)).mean() < 3


def test_of_several_streams_the_largest_picture_is_taken(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.mp4", 9, size="32x24")
    large = write_clip(tmp_path / "large.mp4", 4, size="96x64")
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nwords\n")
    path = tmp_path / "both.mkv"
    ffmpeg(
        "-i", str(small), "-i", str(large), "-f", "lavfi", "-i", "sine=duration=1",
        "-i", str(words), "-map", "0:v", "-map", "1:v", "-map", "2:a", "-map", "3:s",
        "-c:v", "copy", "-c:a", "pcm_s16le", "-c:s", "srt", str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames, found.width_px) == ("ok", 4, 96)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("reach", ["pc", "tv"])
def test_colours_survive_matrix_and_range(tmp_path: Path, matrix: str, reach: str) -> None:
    """A JPEG means BT.601 at full range; a plain conversion would be off by a dozen levels."""
    colour, path = (200, 60, 30), tmp_path / "colour.mp4"
    hexadecimal = "".join(f"{value:02x}" for value in colour)
    ffmpeg(
        "-f", "lavfi", "-i", f"color=0x{hexadecimal}:size=64x48:rate=12,format=rgb24",
        "-frames:v", "3", "-vf", f"scale=out_color_matrix={matrix}:out_range={reach}",
        "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", "1",
        "-colorspace", matrix, "-color_range", reach, str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert np.abs(first_frame(found).mean(axis=(0, 1)) - colour).max() < 6


def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", 7)
    promising = one_frame_too_many(path.read_bytes())
    assert len(promising) == path.stat().st_size
    assert promising != path.read_bytes()
    path.write_bytes(promising)
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 7)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_metadata_need_not_be_utf8(tmp_path: Path, suffix: str) -> None:
    plain = write_clip(tmp_path / f"plain{suffix}", 5)
    path = tmp_path / f"titled{suffix}"
    title = os.fsdecode(b"title=L\xe4ngstrump \xff")
    ffmpeg("-i", str(plain), "-c", "copy", "-metadata", title, str(path))
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames, found.reason) == ("ok", 5, "")
