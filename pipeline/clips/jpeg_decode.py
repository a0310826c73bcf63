"""Stored JPEGs → pixels, one frame at a time, when it is wanted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torchvision.io import ImageReadMode

from pipeline.store.lmdb_store import FrameStore

_RGB, _GREY = ImageReadMode.RGB.value, ImageReadMode.GRAY.value

Decoder = Callable[[bytearray], Tensor]


class Decoding:
    """The frames of a clip in order, each decoded when its turn comes and let go after its last.

    So a frame is cropped and resized while it is in the processor's cache, and a long clip needs
    the memory of a few frames. May be gone through more than once; every time decodes.
    """

    def __init__(
        self,
        jpegs: Mapping[int, bytearray],
        wanted: Sequence[int],
        decoder: Decoder,
        threads: int,
    ) -> None:
        self._jpegs = jpegs
        self._wanted = wanted
        self._decoder = decoder
        self._threads = threads

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[Tensor]:
        distinct = dict.fromkeys(self._wanted)
        run = map if self._threads <= 1 else _pool(self._threads).map
        decoded = run(self._decode, distinct)
        uses = Counter(self._wanted)
        kept: dict[int, Tensor] = {}
        for frame in self._wanted:
            image = kept.pop(frame) if frame in kept else next(decoded)
            uses[frame] -= 1
            if uses[frame]:
                kept[frame] = image
            yield image

    def _decode(self, frame: int) -> Tensor:
        return self._decoder(self._jpegs[frame])


def read_frames(
    store: FrameStore, video_id: str, wanted: Sequence[int], *, threads: int = 1
) -> Decoding:
    """A video's frames (3, H, W), or its fields of flow (2, H, W)."""
    distinct = sorted(set(wanted))
    jpegs = store.jpegs(video_id, distinct)
    decoder = decode_field if store.kind == "flow" else decode_frame
    return Decoding(dict(zip(distinct, jpegs, strict=True)), wanted, decoder, threads)


def decode_frame(jpeg: bytearray) -> Tensor:
    """A frame (3, H, W) uint8, channels-last in memory; a grey JPEG becomes RGB."""
    # torchvision's own operator: its Python wrapper warns on every call since 0.29.
    image: Tensor = torch.ops.image.decode_jpeg(
        torch.frombuffer(jpeg, dtype=torch.uint8), _RGB, False
    )
    return image


def decode_field(jpeg: bytearray) -> Tensor:
    """A flow field (2, H, W) uint8, x and y, from an image that holds x above y."""
    image: Tensor = torch.ops.image.decode_jpeg(
        torch.frombuffer(jpeg, dtype=torch.uint8), _GREY, False
    )
    return image.reshape(2, image.shape[-2] // 2, image.shape[-1])


_pools: dict[int, ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """The process's threads for decoding; a forked child starts its own."""
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    return _pools[threads]


os.register_at_fork(after_in_child=_pools.clear)
