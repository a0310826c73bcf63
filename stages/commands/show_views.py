"""`tdn views`: what a test protocol takes of a video, to the frame and the pixel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipeline.clips.crops import eval_crops
from pipeline.clips.sampling import views
from pipeline.core.workspace import Workspace
from pipeline.schema.base import one_of
from pipeline.schema.protocols import load_protocols


def run(
    work: Workspace,
    name: str,
    frames: int,
    segments: int,
    window: int,
    video_id: str,
    seed: int,
    size_px: tuple[int, int],
) -> dict[str, Any]:
    """The views of a video of `frames` frames stored at `size_px` (width, height).

    Frame indices are 0-based, per clip a list of T windows of F. Crops are boxes in the resized
    frame, whose size is `resized_px`. Raises UsageError naming the nearest protocol.
    """
    protocols = load_protocols(work.manifests)
    one_of(name, protocols, f"unknown protocol '{name}'", where="manifests/protocols.yaml")
    protocol = protocols[name]
    resized, crops = eval_crops(*size_px, protocol.crops, protocol.resize_px, protocol.crop_px)
    clips = views(protocol, frames, segments, window, video_id, seed)
    return {
        "protocol": name,
        "title": protocol.title,
        "source": protocol.source,
        "aggregate": protocol.aggregate,
        "frames": frames,
        "resized_px": list(resized),
        "clips": [{"clip": clip, "frames": chosen.tolist()} for clip, chosen in clips],
        "crops": [asdict(box) for box in crops],
        "views": len(clips) * len(crops),
    }
