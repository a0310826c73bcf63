"""What frames at half size change: pixels, and the size of a store. A part of `tdn bench clips`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pipeline.clips.clip_dataset import ClipDataset, TrainRule, collate, on_device
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore
from stages.row import half_size

CPU = torch.device("cpu")


def places(rule: TrainRule) -> tuple[int, ...]:
    """The places of a window that a row with `half_size` reads at half size."""
    return half_size({"data": {"half_size": True}}, rule)


def part_of(frames: Sequence[int], rule: TrainRule, half: bool) -> list[int]:
    """Those of a clip's frames that are read at half size, or those that are not."""
    halves = places(rule)
    return [f for n, f in enumerate(frames) if (n % rule.window in halves) == half]


def together(clips: ClipDataset, number: int) -> Tensor:
    """A clip (T, F, C, H, W) as the network gets it."""
    return on_device(collate([clips[number]]), CPU)[0]


def effect(
    store: FrameStore, videos: Sequence[Video], rule: TrainRule, count: int
) -> dict[str, Any]:
    """What frames at half size do to pixels (grey levels of 255, means over clips).

    To the frames as they reach the network, and to what S-TDM makes of them: differences of
    neighbouring frames, averaged over 2x2 pixels. Both sides see the same even crops. A store
    without halves has them made when they are read.
    """
    nowhere = (-1,)  # no place of a window, but even crops as for the other side
    whole = ClipDataset(store, videos, ["a"], rule, 0, half_size=nowhere)
    half = ClipDataset(store, videos, ["a"], rule, 0, half_size=places(rule))
    frames, differences, size = [], [], []
    for number in range(count):
        for clips in (whole, half):
            clips.set_epoch(number // len(videos))
        one, two = (together(clips, number % len(videos)).float() for clips in (whole, half))
        frames.append((one - two)[:, list(places(rule))].abs().mean().item())
        moved = _differences(one), _differences(two)
        differences.append((moved[0] - moved[1]).abs().mean().item())
        size.append(moved[0].abs().mean().item())
    stored = all(store.has_halves(video.video_id) for video in videos)
    return {
        "what": f"halves {'stored' if stored else 'made when read'} against whole, grey levels",
        "frames": round(float(np.mean(frames)), 3),
        "pooled differences": round(float(np.mean(differences)), 3),
        "size of pooled differences": round(float(np.mean(size)), 3),
    }


def _differences(clip: Tensor) -> Tensor:
    """(T, F, 3, H, W) → differences of neighbouring frames at half resolution."""
    return avg_pool2d((clip[:, 1:] - clip[:, :-1]).flatten(0, 1), 2)


def growth(without: FrameStore, having: FrameStore) -> dict[str, Any]:
    """How many times larger stored halves make a store."""
    plain, more = (sum(len(store.blob(name)) for name in store) for store in (without, having))
    return {"what": "a store with halves over the same without", "bytes": round(more / plain, 3)}
