"""Which frames a network sees: protocol × frame count × seed → frame indices. Pure functions.

All indices count from 0. Letters: n frames of the video, T segments, F frames in a segment's window
(5 for TDN, 1 for segment networks). `starts` are the first frames of the T windows, shape (T,).

The rules are those that the papers' released code runs (TSN, TSM, TDN, TAM). Where that code draws
test frames at random, ours draws the same distribution from (seed, video, clip), so that a run can
be repeated; where it is wrong, the faithful rule has a name of its own.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from pipeline.schema.protocols import EvalViews, SamplingKind

Indices = npt.NDArray[np.int64]

DENSE_SPAN = 64
"""Frames that dense sampling covers (I3D, TSM, TAM): the stride is 64 // T."""


def train_indices(n: int, T: int, F: int, rng: np.random.Generator) -> Indices:
    """Starts for training: one random frame in each of T equal segments (TSN).

    a = (n − F + 1) // T. With a > 0: k·a + U{0..a−1}. With less room but more than T frames: T
    sorted draws, repeats allowed, from U{0..n−F}. Otherwise all 0.
    """
    room = (n - F + 1) // T
    if room > 0:
        return (np.arange(T) * room + rng.integers(0, room, size=T)).astype(np.int64)
    if n > T:
        return np.sort(rng.integers(0, max(n - F, 0) + 1, size=T))
    return np.zeros(T, dtype=np.int64)


def center_indices(n: int, T: int, F: int, *, guarded: bool = True) -> Indices:
    """Starts at the middle of each of T equal segments (TSN), the usual single-clip test.

    With n > T + F − 1: int(tick/2 + tick·k), tick = (n − F + 1)/T. Otherwise all 0, so that TDN
    with 8 segments sees only the first window of a video of at most 12 frames. The testers of TSM
    and TEA use the formula without this guard (`guarded=False`).
    """
    if guarded and n <= T + F - 1:
        return np.zeros(T, dtype=np.int64)
    tick = max(n - F + 1, 0) / T
    return np.array([int(tick / 2.0 + tick * k) for k in range(T)], dtype=np.int64)


def spread_indices(n: int, T: int, F: int, clip: int, clips: int) -> Indices:
    """Starts of clip number `clip` when `clips` clips share each segment evenly, without chance.

    int(tick·(k + (clip + ½)/clips)): with one clip the centre rule, unguarded.
    """
    tick = max(n - F + 1, 0) / T
    offset = tick * (clip + 0.5) / clips
    return np.array([int(offset + tick * k) for k in range(T)], dtype=np.int64)


def twice_indices(n: int, T: int, F: int, clip: int) -> Indices:
    """TSM's two clips for Something-Something: the centres, then the segments' first frames."""
    if clip == 0:
        return center_indices(n, T, F, guarded=False)
    tick = max(n - F + 1, 0) / T
    return np.array([int(tick * k) for k in range(T)], dtype=np.int64)


def uniform_n_indices(n: int, T: int, F: int, clip: int, clips: int) -> Indices:
    """TAM's uniform sampling: clip c starts at int(linspace(0, tick − 1, clips)[c]), modulo n."""
    tick = max(n - F + 1, 0) / T
    first = int(np.linspace(0, max(tick - 1, 0), clips)[clip])
    return np.array([int(first + tick * k) % n for k in range(T)], dtype=np.int64)


def snippet_indices(n: int, T: int, F: int, rng: np.random.Generator) -> Indices:
    """T snippets anywhere in the video, in temporal order (Ng & Davis: 25 random ones)."""
    return np.sort(rng.integers(0, max(n - F, 0) + 1, size=T))


def dense_indices(n: int, T: int, clip: int, clips: int, *, tam: bool = False) -> Indices:
    """Frames at a fixed stride from one of `clips` evenly spaced places, modulo n (I3D style).

    TSM counts P = max(1, n − 64 + 1) places, TAM n − stride·T + 1; clip c starts at
    int(linspace(0, P − 1, clips)[c]). TAM's single clip starts at P // 2.
    """
    stride = max(1, DENSE_SPAN // T)
    places = max(1, n - (stride * T if tam else DENSE_SPAN) + 1)
    first = places // 2 if tam and clips == 1 else int(np.linspace(0, places - 1, clips)[clip])
    return ((first + np.arange(T) * stride) % n).astype(np.int64)


def dense_train_indices(n: int, T: int, rng: np.random.Generator) -> Indices:
    """Training frames of dense sampling: start 0 if there is one place only, else U{0..P−2}."""
    stride = max(1, DENSE_SPAN // T)
    places = max(1, n - DENSE_SPAN + 1)
    first = 0 if places == 1 else int(rng.integers(0, places - 1))
    return ((first + np.arange(T) * stride) % n).astype(np.int64)


def span_indices(n: int, T: int, clip: int, clips: int, stride: int) -> Indices:
    """SlowFast's clips: T frames at `stride`, clip c starting at (n − span)·c/clips; clamped."""
    first = max(n - T * stride, 0) * clip / clips
    frames: Indices = np.minimum(int(first) + np.arange(T) * stride, n - 1)
    return frames


def window(i: int, F: int, n: int) -> Indices:
    """Frames of the window that starts at i: i, i+1, …, the last frame repeated past the end."""
    frames: Indices = windows(np.array([i]), F, n)[0]
    return frames


def windows(starts: Indices, F: int, n: int) -> Indices:
    """Frame indices (T, F) of the windows at `starts`."""
    frames: Indices = np.minimum(starts[:, None] + np.arange(F)[None, :], n - 1)
    return frames


def starts(
    kind: SamplingKind,
    n: int,
    T: int,
    F: int,
    *,
    clip: int,
    clips: int,
    rng: np.random.Generator,
    stride: int = 1,
) -> Indices:
    """The T window starts of clip number `clip` of `clips` under a sampling kind."""
    if n < 1:
        raise ValueError("a video without frames has no views")
    if not 0 <= clip < clips:
        raise ValueError(f"clip {clip} of {clips} does not exist")
    match kind:
        case "segments_center":
            return center_indices(n, T, F)
        case "segments_center_unguarded":
            return center_indices(n, T, F, guarded=False)
        case "segments_random":
            return train_indices(n, T, F, rng)
        case "segments_spread":
            return spread_indices(n, T, F, clip, clips)
        case "snippets_random":
            return snippet_indices(n, T, F, rng)
        case "twice":
            return twice_indices(n, T, F, clip)
        case "uniform_n":
            return uniform_n_indices(n, T, F, clip, clips)
        case "dense" | "dense_tam":
            return dense_indices(n, T, clip, clips, tam=kind == "dense_tam")
        case "spans":
            return span_indices(n, T, clip, clips, stride)


def rng_for(seed: int, *parts: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the parts alone: same everywhere, in any order."""
    text = "\0".join(str(part) for part in (seed, *parts))
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def views(
    protocol: EvalViews, n: int, T: int, F: int, video_id: str, seed: int
) -> list[tuple[int, Indices]]:
    """(clip, frame indices (T, F)) of every clip of a video of n frames, 0-based.

    T gives way to the protocol's own `segments` where it has some.
    """
    segments = protocol.segments or T
    found = []
    for clip in range(protocol.clips):
        first = starts(
            protocol.sampling,
            n,
            segments,
            F,
            clip=clip,
            clips=protocol.clips,
            rng=rng_for(seed, video_id, clip),
            stride=protocol.stride,
        )
        found.append((clip, windows(first, F, n)))
    return found
