from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary, build, command
from pipeline.video.jpeg_split import size_px
from tests.pipeline.samples import ffmpeg, policy, write_clip


def test_every_frame_is_there_once(tmp_path: Path) -> None:
    for suffix in (".avi", ".webm", ".mp4", ".mkv"):
        found = decode(write_clip(tmp_path / f"a{suffix}", 13), policy(), binary())
        assert (found.status, found.reason, found.n_frames) == ("ok", "", 13)
        assert (found.width_px, found.height_px, found.fps) == (64, 48, 12.0)
        assert len(found.offsets) == 14
        for first, last in zip(found.offsets, found.offsets[1:], strict=False):
            assert size_px(found.stream[first:last]) == (64, 48)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 9)
    assert decode(clip, policy(), binary()) == decode(clip, policy(), binary())


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        ("64x48", {}, (64, 48)),
        ("64x48", {"upscale": True, "short_side_px": 96}, (128, 96)),
        ("64x48", {"short_side_px": 24}, (32, 24)),
        ("48x64", {"short_side_px": 24}, (24, 32)),
        ("100x60", {"short_side_px": 32}, (54, 32)),
        ("64x48", {"short_side_px": None}, (64, 48)),
    ],
)
def test_size_policy(
    tmp_path: Path, size: str, changes: dict[str, object], expected: tuple[int, int]
) -> None:
    found = decode(write_clip(tmp_path / "a.avi", 3, size=size), policy(**changes), binary())
    assert (found.width_px, found.height_px) == expected


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    found = decode(write_clip(tmp_path / "a.mkv", 2, size="67x49"), policy(), binary())
    assert (found.width_px, found.height_px) == (67, 49)


def test_rate_and_length_policies(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 24)  # two seconds
    assert decode(clip, policy(fps=4.0), binary()).n_frames == 8
    assert decode(clip, policy(fps=1 / 3), binary()).n_frames == 1
    assert decode(clip, policy(max_frames=5), binary()).n_frames == 5


def test_non_square_pixels_become_square(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=size=64x48:rate=12", "-frames:v", "3",
        "-vf", "setsar=2", "-pix_fmt", "yuv420p", str(path),
    )  # fmt: skip
    found = decode(path, policy(), binary())
    assert (found.width_px, found.height_px) == (128, 48)


def test_variable_rate_adds_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=size=64x48:rate=12", "-frames:v", "10", "-vf",
        "setpts=N*N/12/TB", "-fps_mode", "passthrough", "-c:v", "ffv1", str(path),
    )  # fmt: skip
    assert decode(path, policy(), binary()).n_frames == 10


def test_sound_alone_is_an_error_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(path))
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("error", 0)
    assert found.reason


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"path label\n" * 50, b"#!/bin/sh\nexit"])
def test_no_video_is_an_error_with_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("error", 0)
    assert found.reason
    assert str(tmp_path) not in found.reason


def test_a_truncated_video_keeps_its_whole_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 30)
    whole = decode(path, policy(), binary())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = decode(path, policy(), binary())
    assert found.status == "partial"
    assert 5 < found.n_frames < 30
    assert str(tmp_path) not in found.reason
    kept = found.n_frames - 2
    assert found.stream[: found.offsets[kept]] == whole.stream[: whole.offsets[kept]]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    found = decode(tmp_path / "nothing.mp4", policy(), binary())
    assert (found.status, found.reason) == ("error", "cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "name",
    ["-y.avi", "-i", "a b'c\"d#e;f.avi", "été 視.avi", "http:x.avi", "%03d.avi", "[a]*?.avi"],
)
def test_a_name_is_only_ever_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(write_clip(tmp_path / "source.avi", 4).read_bytes())
    found = decode(path, policy(), binary())
    assert (found.status, found.n_frames) == ("ok", 4)


def test_relative_paths_cannot_become_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = command(Path("-version"), policy(), binary())
    assert f"file:{tmp_path}/-version" in arguments
    assert "-version" not in arguments


def test_a_playlist_cannot_reach_the_network_or_hide(tmp_path: Path) -> None:
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    started = time.monotonic()
    found = decode(playlist, policy(timeout_s=10.0), binary())
    assert (found.status, found.n_frames) == ("error", 0)
    assert time.monotonic() - started < 8


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_hanging_ffmpeg_is_stopped(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", 4)
    hang = script(tmp_path / "ffmpeg", "exec sleep 60\n")
    started = time.monotonic()
    found = decode(clip, policy(timeout_s=0.3), str(hang))
    assert time.monotonic() - started < 5
    assert (found.status, found.reason) == ("error", "stopped after the limit of 0.3 s")


def test_a_crashing_ffmpeg_is_an_error(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", 4)
    crash = script(tmp_path / "ffmpeg", "kill -SEGV $$\n")
    found = decode(clip, policy(), str(crash))
    assert (found.status, found.reason) == ("error", "ffmpeg died of signal 11")


def test_an_ffmpeg_killed_from_outside_is_tried_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", 4)
    once = script(
        tmp_path / "ffmpeg",
        f'if mkdir "{tmp_path}/seen" 2>/dev/null; then kill -KILL $$; fi\nexec "{binary()}" "$@"\n',
    )
    found = decode(clip, policy(), str(once))
    assert (found.status, found.n_frames) == ("ok", 4)


def test_the_binary_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = script(tmp_path / "mine", 'echo "ffmpeg version 7.7-test Copyright"\n')
    monkeypatch.setenv("TDN_FFMPEG", str(named))
    assert binary() == str(named)
    assert build(str(named)) == "7.7-test"
    monkeypatch.setenv("TDN_FFMPEG", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="TDN_FFMPEG"):
        binary()


def test_a_locked_file_is_an_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    clip = write_clip(tmp_path / "a.avi", 4)
    clip.chmod(0)
    assert decode(clip, policy(), binary()).status == "error"
