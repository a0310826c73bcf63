"""Things to film: backgrounds, objects and their textures, each a pure function of its number.

Numbers are handed out by subset (`pipeline.mini.plan`), so that no object, texture or background
of the training set is met again in validation or test.

    H, W   height and width in pixels;  pictures are (H, W, 3) float32, 0 to 255, RGB
    S      side of an object's own square picture, SIDE_PX
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIDE_PX = 48
RADIUS_PX = 20.0
"""Mean radius of an object in its own picture; drawn at scale 1 it has this radius in the frame."""
TILE_PX = 128


def stream(*key: object) -> np.random.Generator:
    """An independent random stream for a key; the same on every machine and in every process."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@lru_cache(maxsize=256)
def background(number: int) -> Array:
    """A seamless tile (TILE_PX, TILE_PX, 3) that can be panned without end."""
    rng = stream("background", number)
    base = rng.uniform(70, 185, 3)
    tint = rng.uniform(-1, 1, 3)
    coarse = _cloud(rng, float(rng.uniform(0.02, 0.05)))
    fine = _cloud(rng, float(rng.uniform(0.08, 0.2)))
    picture = base + 30 * coarse[..., None] * tint + 16 * fine[..., None]
    return np.clip(picture, 0, 255).astype(np.float32)


@lru_cache(maxsize=256)
def texture(number: int) -> Array:
    """An object's skin (S, S, 3): two colours mixed by a pattern of its own."""
    rng = stream("texture", number)
    first, second = palette(number)
    family = int(rng.integers(3))
    if family == 0:
        mix = _cloud(rng, float(rng.uniform(0.05, 0.15)))[:SIDE_PX, :SIDE_PX]
    else:
        y, x = _grid()
        angle, period = rng.uniform(0, np.pi), rng.uniform(7, 14)
        along = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        across = np.cos(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
        mix = along if family == 1 else along * across
    weight = np.clip(0.5 + 0.5 * mix, 0, 1)[..., None]
    return (first * weight + second * (1 - weight)).astype(np.float32)


@lru_cache(maxsize=256)
def palette(number: int) -> tuple[Array, Array]:
    """Two colours (3,) that differ clearly in brightness."""
    rng = stream("palette", number)
    dark = rng.uniform(0, 110, 3)
    light = rng.uniform(145, 255, 3)
    pair = (dark.astype(np.float32), light.astype(np.float32))
    return pair if rng.random() < 0.5 else (pair[1], pair[0])


@lru_cache(maxsize=256)
def outline(number: int) -> Array:
    """An object's mask (S, S), 0 to 1 with a soft edge: a closed curve with one clear nose."""
    rng = stream("outline", number)
    y, x = _grid()
    theta, radius = np.arctan2(y, x), np.hypot(x, y)
    edge = np.ones_like(theta)
    for lobe in (1, 2, 3, 4, 5):
        size = rng.uniform(0, 0.42) / lobe**0.7
        edge += size * np.cos(lobe * (theta - rng.uniform(0, 2 * np.pi)))
    edge *= RADIUS_PX * 0.8 / float(np.sqrt(np.mean(edge**2)))
    edge = np.minimum(edge, RADIUS_PX * 1.1)
    return np.clip(edge - radius + 0.5, 0, 1).astype(np.float32)


def disc() -> Array:
    """A round mask (S, S): says nothing about the angle at which it is drawn."""
    y, x = _grid()
    return np.clip(RADIUS_PX - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


@lru_cache(maxsize=64)
def phase_map(pattern: str, repeats: int) -> Array:
    """Cycles (S, S) of a pattern that repeats exactly when its phase grows by one.

    `sectors` turns, `stripes` runs along x, `rings` runs outwards.
    """
    y, x = _grid()
    if pattern == "sectors":
        cycles = repeats * np.arctan2(y, x) / (2 * np.pi)
    elif pattern == "stripes":
        cycles = repeats * x / (2 * RADIUS_PX)
    else:
        cycles = repeats * np.hypot(x, y) / (2 * RADIUS_PX)
    return np.asarray(cycles, dtype=np.float32)


def _grid() -> tuple[Array, Array]:
    axis = np.arange(SIDE_PX, dtype=np.float32) - (SIDE_PX - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y.astype(np.float32), x.astype(np.float32)


def _cloud(rng: np.random.Generator, cycles_per_px: float) -> Array:
    """Seamless noise (TILE_PX, TILE_PX) of about unit amplitude around one spatial frequency."""
    white = np.fft.rfft2(rng.standard_normal((TILE_PX, TILE_PX)))
    fy = np.fft.fftfreq(TILE_PX)[:, None]
    fx = np.fft.rfftfreq(TILE_PX)[None, :]
    band = np.exp(-0.5 * ((np.hypot(fy, fx) - cycles_per_px) / (0.5 * cycles_per_px)) ** 2)
    band[0, 0] = 0
    field = np.fft.irfft2(white * band, s=(TILE_PX, TILE_PX))
    return (field / (field.std() + 1e-9)).astype(np.float32)
