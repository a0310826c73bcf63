"""Pictures → files: JPEG frame folders and really encoded video.

n, H, W   frames, height, width;  a clip is (n, H, W, 3) uint8 RGB
"""

from __future__ import annotations

from pathlib import Path

import cv2
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.video.ffmpeg import binary

Frames = NDArray[np.uint8]

cv2.setNumThreads(1)

CODECS: dict[str, dict[str, object]] = {
    "vp9": {
        "vcodec": "libvpx-vp9", "pix_fmt": "yuv420p", "deadline": "realtime", "cpu-used": 8,
        "b:v": 0, "crf": None, "g": 128, "color_range": "tv",
    },
    "h264": {"vcodec": "libx264", "pix_fmt": "yuv420p", "preset": "ultrafast", "crf": None},
    "mpeg4": {"vcodec": "mpeg4", "vtag": "XVID", "pix_fmt": "yuv420p", "qscale:v": None, "g": 12},
}  # fmt: skip
"""Options of each encoder; the one that is None takes the miniature's quality."""


def encode(frames: Frames, path: Path, codec: str, fps: float, quality: int) -> None:
    """Write one video file; the same frames give the same bytes, on any number of cores."""
    n, height, width, _ = frames.shape
    options = {k: quality if v is None else v for k, v in CODECS[codec].items()}
    source = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps
    )
    command = ffmpeg.output(
        source, f"file:{path}", **options, threads=1, fflags="+bitexact", map_metadata=-1,
        **{"flags:v": "+bitexact"},
    ).global_args("-hide_banner", "-loglevel", "error", "-nostdin")  # fmt: skip
    try:
        command.run(
            cmd=binary(),
            input=np.ascontiguousarray(frames).tobytes(),
            capture_stdout=True,
            capture_stderr=True,
        )
    except ffmpeg.Error as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(
            f"ffmpeg could not write a {codec} clip of {n} frames: {reason[-1:]}",
            where=path.name,
            do="check that the disk has room and that the ffmpeg runs (TDN_FFMPEG names another)",
        ) from None


def write_frames(frames: Frames, folder: Path, quality: int) -> None:
    """Write 00001.jpg, 00002.jpg, … of one clip."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        done, data = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise DataError("a JPEG frame could not be encoded", where=folder.name)
        (folder / f"{number:05d}.jpg").write_bytes(data.tobytes())
