"""Clips for a network: store + sampling + transforms → uint8 tensors, ready to be batched.

    B  videos in a batch         V  views (crops) of a clip     T  segments
    F  frames in a window        C, H, W  channels, height, width in pixels      K  classes

Of a store of optical flow, frames are fields with two channels, x and y; everything else is alike.

A clip depends on (seed, epoch, position) in training and on (seed, video, clip) in testing, never
on the order in which clips are asked for nor on who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pipeline.crops import FLOW_SCALES, SCALES, TRAIN_CROPS
from pipeline.decoding import Decoding, Wanted, decode_fields, decode_frames
from pipeline.errors import StoreError
from pipeline.framestore import FrameStore
from pipeline.index import Video
from pipeline.manifest_protocol import Protocol, views
from pipeline.sampling import Indices, dense_train_indices, rng_for, train_indices, windows
from pipeline.transforms import (
    Flip,
    Frames,
    colour_jitter,
    even,
    flip_map,
    normalise,
    normalise_flow,
    test_views,
    train_view,
)


class Sample(NamedTuple):
    """One clip of one video in all its crops."""

    frames: Tensor
    """(V, T, F, C, H, W) uint8; V is 1 in training."""
    target: Tensor
    """() int64, or (K,) float32 of zeros and ones for a multi-label data set."""
    video_id: str
    labels: tuple[int, ...]
    """The labels as listed (`target` has them after a flip)."""
    clip: int


class Batch(NamedTuple):
    """Views of several videos, one after another; all lists have one entry per view."""

    frames: Tensor
    """(B, T, F, C, H, W) uint8, channels-last in memory."""
    target: Tensor
    """(B,) int64 or (B, K) float32."""
    video_ids: list[str]
    labels: list[tuple[int, ...]]
    clips: list[int]
    crops: list[int]


@dataclass(frozen=True)
class TrainRule:
    """How training clips are drawn."""

    segments: int
    window: int
    sampling: str
    """`segments_random` (TSN) or `dense` (I3D)."""
    crop_px: int
    flip: Flip
    """`label_aware` exchanges the classes of `flip_pairs` when a clip is mirrored."""
    flip_pairs: tuple[tuple[str, str], ...] = ()
    crop: str = "multi_scale"
    """A name in `crops.TRAIN_CROPS`."""
    colour_jitter: bool = False


@dataclass(frozen=True)
class TestRule:
    """How test clips are drawn; sizes here are the profile's, not the protocol's."""

    __test__ = False  # not a test case

    segments: int
    window: int
    protocol: Protocol
    resize_px: int | None
    crop_px: int


@dataclass
class ClipDataset(TorchDataset[Sample]):
    """The clips of some videos under one rule.

    In training: one clip per video, indexed by position in `videos`, of the epoch that `set_epoch`
    chose last. In testing: `clips` clips per video, video by video.
    Videos without frames must be left out by the caller (`Video.usable`).

    `cache_mb` keeps decoded frames of whole videos in memory, first come, while there is room: for
    small sets that are read many times. Each loader worker has its own.

    `threads` decodes a clip's frames on that many threads of one pool per process: the same pixels
    sooner, where a loader has no workers of its own. `half_size` names the places in a window whose
    frames are decoded at half size (`pipeline.halves`): other pixels, so nothing is cached then.
    """

    store: FrameStore
    videos: Sequence[Video]
    classes: Sequence[str]
    rule: TrainRule | TestRule
    seed: int
    multi_label: bool = False
    cache_mb: int = 0
    epoch: int = 0
    threads: int = 1
    half_size: tuple[int, ...] = ()
    _cache: dict[str, list[Tensor]] = field(default_factory=dict, repr=False)
    _cached_bytes: int = 0

    def __post_init__(self) -> None:
        for video in self.videos:
            if not video.usable:
                raise StoreError(
                    f"{video.video_id} has no frames: {video.status}: {video.reason}",
                    do="leave it out, and count it as failed",
                )
        if self.half_size and self.store.kind == "flow":
            raise ValueError("half_size is for frames; fields of flow are decoded whole")
        rule = self.rule
        self._flip = list(range(len(self.classes)))
        if isinstance(rule, TrainRule) and rule.flip == "label_aware":
            self._flip = flip_map(self.classes, rule.flip_pairs)

    def __len__(self) -> int:
        per_video = 1 if isinstance(self.rule, TrainRule) else self.rule.protocol.clips
        return len(self.videos) * per_video

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops, flips and frames the next clips show."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if isinstance(self.rule, TrainRule):
            return self._train(index, self.rule)
        return self._test(index, self.rule)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cache": {}, "_cached_bytes": 0}

    def _train(self, index: int, rule: TrainRule) -> Sample:
        video = self.videos[index]
        rng = rng_for(self.seed, self.epoch, index)
        n = video.n_frames
        if rule.sampling == "dense":
            first = dense_train_indices(n, rule.segments, rng)
        else:
            first = train_indices(n, rule.segments, rule.window, rng)
        chosen = windows(first, rule.window, n)
        frames = self._frames(video, chosen)
        scales = FLOW_SCALES if self.store.kind == "flow" else SCALES
        draw = TRAIN_CROPS[rule.crop]
        width, height = video.width_px, video.height_px
        crop = draw(width, height, rule.crop_px, rule.flip != "none", rng, scales)
        if self.half_size:
            pixels = train_view(frames, even(crop), rule.crop_px, width)
        else:
            pixels = train_view(frames, crop, rule.crop_px)
        if rule.colour_jitter:
            pixels = colour_jitter(pixels, rng)
        view = _by_segment(pixels, rule.segments)
        return Sample(
            frames=view.unsqueeze(0),
            target=self._target(video, mirrored=crop.mirrored),
            video_id=video.video_id,
            labels=tuple(video.labels),
            clip=0,
        )

    def _test(self, index: int, rule: TestRule) -> Sample:
        protocol = rule.protocol
        video = self.videos[index // protocol.clips]
        clips = views(
            protocol, video.n_frames, rule.segments, rule.window, video.video_id, self.seed
        )
        clip, chosen = clips[index % protocol.clips]
        frames = self._frames(video, chosen)
        whole_px = (video.width_px, video.height_px) if self.half_size else None
        crops = test_views(frames, protocol.crops, rule.resize_px, rule.crop_px, whole_px)
        return Sample(
            frames=torch.stack([_by_segment(view, len(chosen)) for view in crops]),
            target=self._target(video, mirrored=False),
            video_id=video.video_id,
            labels=tuple(video.labels),
            clip=clip,
        )

    def _target(self, video: Video, *, mirrored: bool) -> Tensor:
        labels = [self._flip[label] if mirrored else label for label in video.labels]
        if self.multi_label:
            target = torch.zeros(len(self.classes))
            target[labels] = 1.0
            return target
        return torch.tensor(labels[0] if labels else -1, dtype=torch.int64)

    def _frames(self, video: Video, chosen: Indices) -> Frames:
        """Frames (C, H, W) for the T·F indices, each distinct one decoded once."""
        cached = self._cache.get(video.video_id)
        if cached is None and self._has_room(video):
            every = list(range(video.n_frames))
            cached = list(self._decoding(video, [(frame, False) for frame in every]))
            self._cache[video.video_id] = cached
            self._cached_bytes += _decoded_bytes(video)
        if cached is not None:
            return [cached[frame] for frame in chosen.reshape(-1)]
        wanted = [
            (int(frame), place in self.half_size)
            for window in chosen
            for place, frame in enumerate(window)
        ]
        return self._decoding(video, wanted)

    def _decoding(self, video: Video, wanted: list[Wanted]) -> Decoding:
        distinct = sorted({frame for frame, _ in wanted})
        jpegs = dict(zip(distinct, self.store.jpegs(video.video_id, distinct), strict=True))
        return Decoding(jpegs, wanted, self.store.kind, self.threads)

    def _has_room(self, video: Video) -> bool:
        if self.half_size:
            return False
        return self._cached_bytes + _decoded_bytes(video) <= self.cache_mb << 20


def _decoded_bytes(video: Video) -> int:
    return 3 * video.n_frames * video.width_px * video.height_px


def _by_segment(view: Tensor, T: int) -> Tensor:
    """(T·F, C, H, W) → (T, F, C, H, W), without copying."""
    n, channels, height, width = view.shape
    return view.view(T, n // T, channels, height, width)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch of views, the crops of a clip side by side; channels-last in memory."""
    frames = torch.cat([sample.frames.movedim(-3, -1) for sample in samples]).movedim(-1, -3)
    counts = [sample.frames.shape[0] for sample in samples]
    repeated = [sample for sample, n in zip(samples, counts, strict=True) for _ in range(n)]
    return Batch(
        frames=frames,
        target=torch.stack([sample.target for sample in repeated]),
        video_ids=[sample.video_id for sample in repeated],
        labels=[sample.labels for sample in repeated],
        clips=[sample.clip for sample in repeated],
        crops=[crop for n in counts for crop in range(n)],
    )


__all__ = [
    "Batch",
    "ClipDataset",
    "Sample",
    "TestRule",
    "TrainRule",
    "collate",
    "decode_fields",
    "decode_frames",
    "normalise",
    "normalise_flow",
]
