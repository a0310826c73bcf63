"""Clips for a network: store + sampling + transforms → uint8 tensors, ready to be batched.

    B  videos in a batch         V  views (crops) of a clip     T  segments
    F  frames in a window        C, H, W  channels, height, width in pixels      K  classes

Of a store of optical flow, frames are fields with two channels, x and y; everything else is alike.
Frames read at half size stay so until the batch is on its device, where `on_device` puts them in
their places between the whole ones.

A clip depends on (seed, epoch, position) in training and on (seed, video, clip) in testing, never
on the order in which clips are asked for nor on who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pipeline.clips.crops import FLOW_SCALES, SCALES, TRAIN_CROPS, even, half_px, halved
from pipeline.clips.jpeg_decode import Decoding, decode_fields, decode_frames, read_frames
from pipeline.clips.sampling import (
    Indices,
    dense_train_indices,
    rng_for,
    train_indices,
    views,
    windows,
)
from pipeline.clips.transforms import (
    Flip,
    Frames,
    assemble,
    colour_jitter,
    flip_map,
    jitter,
    normalise,
    normalise_flow,
    test_views,
    train_view,
)
from pipeline.core.errors import StoreError
from pipeline.schema.protocols import Protocol
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore


class Halves(NamedTuple):
    """Those frames of windows that were read at half size."""

    frames: Tensor
    """(…, T, F', C, H/2, W/2) uint8."""
    places: Sequence[int]
    """Where in a window of F + F' they belong."""


class Sample(NamedTuple):
    """One clip of one video in all its crops."""

    frames: Tensor
    """(V, T, F, C, H, W) uint8; V is 1 in training. Without those of `halves`."""
    target: Tensor
    """() int64, or (K,) float32 of zeros and ones for a multi-label data set."""
    video_id: str
    labels: tuple[int, ...]
    """The labels as listed (`target` has them after a flip)."""
    clip: int
    halves: Halves | None = None


class Batch(NamedTuple):
    """Views of several videos, one after another; all lists have one entry per view."""

    frames: Tensor
    """(B, T, F, C, H, W) uint8, channels-last in memory. Without those of `halves`: `on_device`
    gives whole clips."""
    target: Tensor
    """(B,) int64 or (B, K) float32."""
    video_ids: list[str]
    labels: list[tuple[int, ...]]
    clips: list[int]
    crops: list[int]
    halves: Halves | None = None


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
    sooner, where a loader has no workers of its own.

    `half_size` names the places in a window whose frames are read at half size: stored halves where
    the store has them, else halves of the whole frames, which take longer (`pipeline.store.halves`).
    Crops are then at even pixels, and `crop_px` must be even.
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
    _cache: dict[tuple[str, bool], Tensor] = field(default_factory=dict, repr=False)
    """Decoded videos, (n, H, W, C): whole, or halves."""
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
        if self.half_size and rule.crop_px % 2:
            raise ValueError(f"half_size needs an even crop_px, not {rule.crop_px}")
        if set(self.half_size) >= set(range(rule.window)):
            raise ValueError("half_size must leave a place of the window whole")
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
        scales = FLOW_SCALES if self.store.kind == "flow" else SCALES
        draw = TRAIN_CROPS[rule.crop]
        width, height = video.width_px, video.height_px
        crop = draw(width, height, rule.crop_px, rule.flip != "none", rng, scales)
        crop = even(crop) if self.half_size else crop
        factors = jitter(rng) if rule.colour_jitter else None

        def view(half: bool) -> Tensor:
            part, size_px = (halved(crop), rule.crop_px // 2) if half else (crop, rule.crop_px)
            pixels = train_view(self._frames(video, chosen, half), part, size_px)
            return (pixels if factors is None else colour_jitter(pixels, factors)).unsqueeze(0)

        return self._sample(video, view, len(chosen), mirrored=crop.mirrored)

    def _test(self, index: int, rule: TestRule) -> Sample:
        protocol = rule.protocol
        video = self.videos[index // protocol.clips]
        clips = views(
            protocol, video.n_frames, rule.segments, rule.window, video.video_id, self.seed
        )
        clip, chosen = clips[index % protocol.clips]

        def view(half: bool) -> Tensor:
            return test_views(
                self._frames(video, chosen, half),
                protocol.crops,
                rule.resize_px,
                rule.crop_px,
                aligned=bool(self.half_size),
                halves_of=(video.width_px, video.height_px) if half else None,
            )

        return self._sample(video, view, len(chosen), clip=clip)

    def _sample(
        self,
        video: Video,
        view: Callable[[bool], Tensor],
        T: int,
        *,
        clip: int = 0,
        mirrored: bool = False,
    ) -> Sample:
        """A sample of which `view(half)` gives the pixels, whole or halves: (V, T·F, C, H, W)."""
        places = self._places(half=True)
        halves = Halves(_by_segment(view(True), T), places) if places else None
        return Sample(
            frames=_by_segment(view(False), T),
            target=self._target(video, mirrored=mirrored),
            video_id=video.video_id,
            labels=tuple(video.labels),
            clip=clip,
            halves=halves,
        )

    def _target(self, video: Video, *, mirrored: bool) -> Tensor:
        labels = [self._flip[label] if mirrored else label for label in video.labels]
        if self.multi_label:
            target = torch.zeros(len(self.classes))
            target[labels] = 1.0
            return target
        return torch.tensor(labels[0] if labels else -1, dtype=torch.int64)

    def _places(self, half: bool) -> list[int]:
        """The places of a window that are read at half size, or those that are not."""
        return [n for n in range(self.rule.window) if (n in self.half_size) == half]

    def _frames(self, video: Video, chosen: Indices, half: bool) -> Frames:
        """Frames (C, H, W), whole or halves, of T windows, each distinct one decoded once."""
        wanted = [int(frame) for frame in chosen[:, self._places(half)].reshape(-1)]
        cached = self._cache.get((video.video_id, half))
        size = _decoded_bytes(video, half)
        if cached is None and self._cached_bytes + size <= self.cache_mb << 20:
            every = self._read(video, range(video.n_frames), half)
            cached = torch.stack([frame.permute(1, 2, 0) for frame in every])
            self._cache[video.video_id, half] = cached
            self._cached_bytes += size
        if cached is not None:
            return cached.index_select(0, torch.tensor(wanted)).permute(0, 3, 1, 2)
        return self._read(video, wanted, half)

    def _read(self, video: Video, wanted: Sequence[int], half: bool) -> Decoding:
        return read_frames(self.store, video.video_id, wanted, half=half, threads=self.threads)


def _decoded_bytes(video: Video, half: bool) -> int:
    width, height = video.width_px, video.height_px
    pixels = half_px(width) * half_px(height) if half else width * height
    return 3 * video.n_frames * pixels


def _by_segment(view: Tensor, T: int) -> Tensor:
    """(V, T·F, C, H, W) → (V, T, F, C, H, W), without copying."""
    n, frames, *size = view.shape
    return view.view(n, T, frames // T, *size)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch of views, the crops of a clip side by side; channels-last in memory."""
    counts = [sample.frames.shape[0] for sample in samples]
    repeated = [sample for sample, n in zip(samples, counts, strict=True) for _ in range(n)]
    halves = [sample.halves for sample in samples if sample.halves is not None]
    return Batch(
        frames=_together([sample.frames for sample in samples]),
        target=torch.stack([sample.target for sample in repeated]),
        video_ids=[sample.video_id for sample in repeated],
        labels=[sample.labels for sample in repeated],
        clips=[sample.clip for sample in repeated],
        crops=[crop for n in counts for crop in range(n)],
        halves=Halves(_together([part.frames for part in halves]), halves[0].places)
        if halves
        else None,
    )


def _together(views: Sequence[Tensor]) -> Tensor:
    return torch.cat([view.movedim(-3, -1) for view in views]).movedim(-1, -3)


def on_device(batch: Batch, device: torch.device) -> Tensor:
    """A batch's clips (B, T, F, C, H, W) uint8 on the device, halves in their places among them.

    What every network is fed from. Pinned batches are copied while the device computes.
    """
    frames = batch.frames.to(device, non_blocking=True)
    if batch.halves is None:
        return frames
    halves = batch.halves.frames.to(device, non_blocking=True)
    return assemble(frames, halves, batch.halves.places)


__all__ = [
    "Batch",
    "ClipDataset",
    "Halves",
    "Sample",
    "TestRule",
    "TrainRule",
    "collate",
    "decode_fields",
    "decode_frames",
    "normalise",
    "normalise_flow",
    "on_device",
]
