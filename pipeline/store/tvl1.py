"""TV-L1 optical flow between stored frames → one grey JPEG per pair of frames.

Entry i of a video is the flow from frame i to frame i + 1, so n frames give n − 1 fields. A field
of W × H pixels is stored as one image of W × 2H: its x component (positive: to the right) above its
y component (positive: down), each mapped from −bound … +bound pixels to 0 … 255 as TSN's extraction
does it. No motion is 128 (127.5, rounded to even).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError
from pipeline.schema.flow_policy import FlowPolicy

Grey = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

FORMAT = 1
"""Raise it when the same frames and policy give other fields: stored flow is then made again."""

MAX_LEVEL = 255


def build() -> str:
    """What identifies the library that computes fields: its version (their values differ)."""
    return str(cv2.__version__)


def fields(jpegs: Sequence[bytes | bytearray], policy: FlowPolicy) -> tuple[list[bytes], int, int]:
    """The n − 1 fields of n frames as grey JPEGs, with a field's width and height in pixels.

    Raises DataError naming a frame that cannot be decoded or has another size than the first.
    Computes with one thread: the same fields on any number of cores.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        method = _method(policy)
        stored: list[bytes] = []
        before: Grey | None = None
        for number, jpeg in enumerate(jpegs):
            frame = _grey(jpeg, number, policy.short_side_px)
            if before is not None:
                if frame.shape != before.shape:
                    raise DataError(f"frame {number} has another size than the one before")
                empty = np.zeros((*frame.shape, 2), np.float32)
                flow = np.asarray(method.calc(before, frame, empty), dtype=np.float32)
                stored.append(_encode(discretise(flow, policy.bound_px), policy.quality))
            before = frame
        height, width = (0, 0) if before is None else before.shape
        return stored, width, height
    finally:
        cv2.setNumThreads(threads)


def discretise(flow: Field, bound_px: float) -> Grey:
    """A field (H, W, 2) in pixels per frame as levels (2H, W): x above y.

    round(255 · (v + bound) / (2 · bound)), cut off at 0 and 255 (TSN's extraction).
    """
    stacked = np.concatenate([flow[..., 0], flow[..., 1]])
    levels = np.rint((stacked + bound_px) * (MAX_LEVEL / (2 * bound_px)))
    return np.clip(levels, 0, MAX_LEVEL).astype(np.uint8)


def _method(policy: FlowPolicy) -> cv2.optflow.DualTVL1OpticalFlow:
    return cv2.optflow.DualTVL1OpticalFlow.create(
        nscales=policy.scales,
        scaleStep=policy.scale_step,
        warps=policy.warps,
        innnerIterations=policy.inner_iterations,  # spelt so in OpenCV
        outerIterations=policy.outer_iterations,
        medianFiltering=policy.median_px,
    )


def _grey(jpeg: bytes | bytearray, number: int, short_side_px: int | None) -> Grey:
    """A frame's luminance, reduced to the policy's size."""
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if frame is None:
        raise DataError(f"frame {number} cannot be decoded")
    height, width = frame.shape
    short = min(height, width)
    if short_side_px is None or short <= short_side_px:
        return np.asarray(frame, dtype=np.uint8)
    size = (round(width * short_side_px / short), round(height * short_side_px / short))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _encode(levels: Grey, quality: int) -> bytes:
    done, image = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError("a field cannot be stored as a JPEG")
    return image.tobytes()
