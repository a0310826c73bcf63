"""Clips for a network: store + sampling + transforms → uint8 tensors, ready to be batched.

    B  videos in a batch         V  views (crops) of a clip     T  segments
    F  frames in a window        C, H, W  channels, height, width in pixels      K  classes

Of a store of optical flow, frames are fields with two channels, x and y; everything else is alike.

A clip depends on (seed, epoch, position) in training and on (seed, video, clip) in testing, never
on the order in which clips are asked for nor on who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pipeline.clips.crops import FLOW_SCALES, SCALES, TRAIN_CROPS
from pipeline.clips.jpeg_decode import Decoding, read_frames
from pipeline.clips.sampling import (
    Indices,
    dense_train_indices,
    rng_for,
    train_indices,
    views,
    windows,
)
from pipeline.clips.transforms import (
    FLOW_CHANNELS,
    Flip,
    Frames,
    colour_jitter,
    crop_views,
    flip_map,
    jitter,
    train_view,
)
from pipeline.clips.video_table import VideoTable
from pipeline.core.errors import StoreError
from pipeline.schema.protocols import EvalViews
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore


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
class EvalRule:
    """How test clips are drawn; sizes here are the profile's, not the protocol's."""

    segments: int
    window: int
    protocol: EvalViews
    resize_px: int | None
    crop_px: int


Reader = Callable[[Sequence[int]], Frames]
"""Frames (C, H, W) uint8 of a video for frame indices, from 0; repeats allowed."""


def read_eval_clip(
    rule: EvalRule, read: Reader, n_frames: int, video_id: str, seed: int, clip: int
) -> tuple[Indices, Tensor]:
    """Test clip number `clip` of a video: frame indices (T, F) and pixels (V, T, F, C, H, W).

    The only place where frames are chosen, read and cropped for a protocol.
    """
    clips = views(rule.protocol, n_frames, rule.segments, rule.window, video_id, seed)
    _, chosen = clips[clip]
    return chosen, _by_segment(eval_crop(rule, read(_flat(chosen))), len(chosen))


def eval_crop(rule: EvalRule, frames: Frames) -> Tensor:
    """Frames as the rule crops them: (V, N, C, H, W) uint8, channels-last."""
    return crop_views(frames, rule.protocol.crops, rule.resize_px, rule.crop_px)


def _flat(chosen: Indices) -> list[int]:
    return [int(frame) for frame in chosen.reshape(-1)]


@dataclass
class ClipDataset(TorchDataset[Sample]):
    """The clips of some videos under one rule.

    In training: one clip per video, indexed by position in `videos`, of the epoch that `set_epoch`
    chose last. In testing: `clips` clips per video, video by video.
    Videos without frames must be left out by the caller (`Video.usable`).

    `cache_mb` keeps decoded frames of whole videos in memory, first come, while there is room: for
    small sets that are read many times. Each loader worker has its own.

    `threads` decodes a clip's frames on that many threads of one pool per process: the same pixels
    sooner, where a loader has no workers of its own.
    """

    store: FrameStore
    videos: Sequence[Video]
    classes: Sequence[str]
    rule: TrainRule | EvalRule
    seed: int
    multi_label: bool = False
    cache_mb: int = 0
    epoch: int = 0
    threads: int = 1
    _cache: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """Decoded videos, (n, H, W, C)."""
    _cached_bytes: int = 0

    def __post_init__(self) -> None:
        for video in self.videos:
            if not video.usable:
                raise StoreError(
                    f"{video.video_id} has no frames: {video.status}: {video.reason}",
                    do="leave it out, and count it as failed",
                )
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
        return self._eval(index, self.rule)

    def __getstate__(self) -> dict[str, object]:
        store = (self.store.folder, self.store.shards, self.store.kind)
        sent = {"videos": VideoTable(self.videos), "store": store}
        return {**self.__dict__, **sent, "_cache": {}, "_cached_bytes": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        folder, shards, kind = state["store"]
        store = FrameStore(folder, shards, state["videos"].shards(), kind)
        self.__dict__.update(state, store=store)

    def _train(self, index: int, rule: TrainRule) -> Sample:
        video = self.videos[index]
        rng = rng_for(self.seed, self.epoch, index)
        n = video.n_frames
        if rule.sampling == "dense":
            first = dense_train_indices(n, rule.segments, rng)
        else:
            first = train_indices(n, rule.segments, rule.window, rng)
        chosen = windows(first, rule.window, n)
        scales = FLOW_SCALES if self.store.kind == "flow" else SCALES
        draw = TRAIN_CROPS[rule.crop]
        width, height = video.width_px, video.height_px
        crop = draw(width, height, rule.crop_px, rule.flip != "none", rng, scales)
        factors = jitter(rng) if rule.colour_jitter else None
        view = train_view(self._frames(video, _flat(chosen)), crop, rule.crop_px)
        view = view if factors is None else colour_jitter(view, factors)
        frames = _by_segment(view.unsqueeze(0), len(chosen))
        return self._sample(video, frames, mirrored=crop.mirrored)

    def _eval(self, index: int, rule: EvalRule) -> Sample:
        clips = rule.protocol.clips
        video, clip = self.videos[index // clips], index % clips
        _, frames = read_eval_clip(
            rule,
            lambda wanted: self._frames(video, wanted),
            video.n_frames,
            video.video_id,
            self.seed,
            clip,
        )
        return self._sample(video, frames, clip=clip)

    def _sample(
        self, video: Video, frames: Tensor, *, clip: int = 0, mirrored: bool = False
    ) -> Sample:
        return Sample(
            frames=frames,
            target=self._target(video, mirrored=mirrored),
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

    def _frames(self, video: Video, wanted: Sequence[int]) -> Frames:
        """The wanted frames (C, H, W), each distinct one decoded once."""
        cached = self._cache.get(video.video_id)
        channels = FLOW_CHANNELS if self.store.kind == "flow" else 3
        size = channels * video.n_frames * video.width_px * video.height_px
        if cached is None and self._cached_bytes + size <= self.cache_mb << 20:
            every = self._read(video, range(video.n_frames))
            cached = torch.stack([frame.permute(1, 2, 0) for frame in every])
            self._cache[video.video_id] = cached
            self._cached_bytes += size
        if cached is not None:
            return cached.index_select(0, torch.tensor(wanted)).permute(0, 3, 1, 2)
        return self._read(video, wanted)

    def _read(self, video: Video, wanted: Sequence[int]) -> Decoding:
        return read_frames(self.store, video.video_id, wanted, threads=self.threads)


def _by_segment(view: Tensor, T: int) -> Tensor:
    """(V, T·F, C, H, W) → (V, T, F, C, H, W), without copying."""
    n, frames, *size = view.shape
    return view.view(n, T, frames // T, *size)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch of views, the crops of a clip side by side; channels-last in memory."""
    counts = [sample.frames.shape[0] for sample in samples]
    repeated = [sample for sample, n in zip(samples, counts, strict=True) for _ in range(n)]
    views = [sample.frames.movedim(-3, -1) for sample in samples]
    return Batch(
        frames=torch.cat(views).movedim(-1, -3),
        target=torch.stack([sample.target for sample in repeated]),
        video_ids=[sample.video_id for sample in repeated],
        labels=[sample.labels for sample in repeated],
        clips=[sample.clip for sample in repeated],
        crops=[crop for n in counts for crop in range(n)],
    )
