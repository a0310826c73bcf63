"""What decoded frames are held against: a plain decode of the whole file by another muxer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.video.decode_video import Decoded
from pipeline.video.ffmpeg import binary
from pipeline.video.jpeg_split import is_one_jpeg, size_px


def full_decode(path: Path) -> int:
    """Frames that a decode of the whole file gives."""
    shown = subprocess.run(
        [binary(), "-nostdin", "-threads", "1", "-i", f"file:{path}", "-an", "-fps_mode",
         "passthrough", "-f", "framemd5", "-"],
        capture_output=True, check=False,
    )  # fmt: skip
    return sum(not line.startswith(b"#") for line in shown.stdout.splitlines())


def check_frames(found: Decoded) -> None:
    """Each stored frame is one JPEG of the store's size."""
    for first, last in zip(found.offsets, found.offsets[1:], strict=False):
        frame = found.stream[first:last]
        assert is_one_jpeg(frame)
        assert size_px(frame) == (found.width_px, found.height_px)
