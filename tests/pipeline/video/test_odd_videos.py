"""Odd videos of every kind, made once: the stored count equals that of a full decode, or the row is
`partial` with both numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import ffmpeg, policy
from tests.pipeline.video.full_decode import check_frames, full_decode

B_FRAMES = "-c:v libx264 -bf 3 -g 12 -pix_fmt yuv420p"
PAIRS = "settb=1/1000,setpts=N*40+if(mod(N\\,2)\\,25\\,0)"
KEEP = "-fps_mode passthrough -enc_time_base 1/1000"
PARTS = {
    "h264.ts": "96x72 -c:v libx264 -bf 2 -pix_fmt yuv420p",
    "other_size.ts": "160x90 -c:v libx264 -pix_fmt yuv420p",
    "mpeg2.ts": "96x72 -c:v mpeg2video",
    "h265.ts": "96x72 -c:v libx265",
    "444.ts": "96x72 -c:v libx264 -pix_fmt yuv444p",
    "10bit.ts": "96x72 -c:v libx264 -pix_fmt yuv420p10le",
    "wide_pixels.ts": "96x72 -vf setsar=2 -c:v libx264 -pix_fmt yuv420p",
    "interlaced.ts": "96x72 -c:v libx264 -pix_fmt yuv420p -flags +ildct+ilme",
    "plain.mp4": f"96x72 {B_FRAMES}",
    "small.mjpeg": "64x48 -c:v mjpeg -pix_fmt yuvj444p",
    "large.mjpeg": "97x73 -c:v mjpeg -pix_fmt yuvj420p",
    "small.gif": "64x48 -c:v gif",
}
"""Clips of 12 frames: size and ffmpeg's options."""
SPLICES = {
    "sizes.ts": "h264 other_size h264",
    "codecs.ts": "h264 mpeg2",
    "codecs_back.ts": "mpeg2 h264",
    "new_codec.ts": "h264 h265",
    "pixel_format.ts": "h264 444",
    "pixel_format_back.ts": "444 h264",
    "depth.ts": "h264 10bit",
    "aspect.ts": "h264 wide_pixels h264",
    "fields.ts": "h264 interlaced",
    "b_frames.ts": "h264 h264",
    "pictures.mjpeg": "large small",
}
"""Parts with the same ending, end to end."""
ENCODED = {
    "pairs_b.mkv": f"testsrc2=s=96x72:r=25 -vf {PAIRS} {KEEP} {B_FRAMES}",
    "pairs_b.mp4": f"testsrc2=s=96x72:r=25 -vf {PAIRS} {KEEP} {B_FRAMES}",
    "fast_b.flv": f"testsrc2=s=96x72:r=25 -vf settb=1/1000,setpts=N*7 {KEEP} {B_FRAMES}",
    "fields.mpg": "testsrc2=s=96x72:r=25 -vf interlace -c:v mpeg2video -flags +ildct+ilme",
    "telecine.mpg": "testsrc2=s=96x72:r=25 -vf telecine -c:v mpeg2video",
    "odd.mkv": "testsrc=s=97x73:r=5 -c:v ffv1 -pix_fmt yuv444p",
    "line.mkv": "testsrc=s=200x3:r=5 -c:v ffv1 -pix_fmt yuv444p",
    "point.avi": "testsrc=s=1x1:r=5 -c:v mjpeg -pix_fmt yuvj420p",
    "alpha.mkv": "testsrc=s=64x48:r=5 -c:v ffv1 -pix_fmt yuva420p",
    "thin_pixels.mkv": "testsrc=s=96x72:r=5 -vf setsar=1/10 -c:v libx264 -pix_fmt yuv420p",
}
"""A lavfi source and ffmpeg's options; 12 frames."""
BACK = "-bsf:v setts=pts='PTS-200*gt(mod(N,10),7)':dts=DTS-2000"
COPIED = {
    "edit_list.mp4": "-ss 0.25 -i plain.mp4 -c copy",
    "edit_list_late.mov": "-itsoffset 1 -i plain.mp4 -c copy",
    "edit_list_both.mp4": "-ss 0.25 -t 0.5 -i plain.mp4 -c copy",
    "fragments.mp4": "-i plain.mp4 -c copy -movflags frag_keyframe+empty_moov",
    "turned.mp4": "-display_rotation 90 -i plain.mp4 -c copy",
    "askew.mp4": "-display_rotation 37 -i plain.mp4 -c copy",
    "back_b.mkv": f"-i plain.mp4 -c copy {BACK}",
    "back_b.ts": f"-i plain.mp4 -c copy {BACK}",
    "still.mkv": "-i plain.mp4 -c copy -bsf:v setts=pts=0:dts=0",
}
"""Options that copy the coded pictures of a part."""
SHORT = {"codecs_back.ts": "partial", "new_codec.ts": "error"}
"""ffmpeg's decoder of the first codec cannot read the rest, or anything."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them."""
    root = tmp_path_factory.mktemp("odd")
    for name, words in PARTS.items():
        size, *options = words.split()
        source = f"testsrc2=s={size}:r=25"
        ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "12", *options, str(root / name))
    for name, words in SPLICES.items():
        suffix = Path(name).suffix
        parts = [(root / f"{part}{suffix}").read_bytes() for part in words.split()]
        (root / name).write_bytes(b"".join(parts))
    for name, words in ENCODED.items():
        source, *options = words.split()
        ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "12", *options, str(root / name))
    for name, words in COPIED.items():
        options = words.replace("plain.mp4", str(root / "plain.mp4")).split()
        ffmpeg(*options, str(root / name))
    return root


@pytest.mark.parametrize("name", [*PARTS, *SPLICES, *ENCODED, *COPIED])
def test_the_stored_count_is_that_of_a_full_decode(odd: Path, name: str) -> None:
    found = decode(odd / name, policy(short_side_px=48), binary())
    assert found.n_frames == full_decode(odd / name)
    check_frames(found)
    assert found.status == SHORT.get(name, "ok")
    assert bool(found.n_frames) == (found.status != "error")
    assert ("ffmpeg: " in found.reason) == (name in SHORT), found.reason
