"""Things to film: backgrounds, objects and their textures, each a pure function of its number.

Numbers are handed out by subset (`pipeline.mini.motion_plan`), so that no object, texture or
background of the training set is met again in validation or test.

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
def background(number: int, clutter: float) -> Array:
    """A seamless tile (TILE_PX, TILE_PX, 3) that can be panned without end.

    `clutter`: amplitude of its texture in grey levels.
    """
    rng = stream("background", number)
    base = rng.uniform(95, 160) + rng.uniform(-18, 18, 3)
    tint = rng.uniform(0.4, 1.2, 3)
    coarse = _cloud(rng, float(rng.uniform(0.02, 0.05)))
    fine = _cloud(rng, float(rng.uniform(0.08, 0.2)))
    picture = base + clutter * (coarse[..., None] * tint + 0.6 * fine[..., None])
    return np.asarray(np.clip(picture, 0, 255), np.float32)


@lru_cache(maxsize=256)
def texture(number: int, skin: str) -> Array:
    """An object's skin (S, S, 3): two colours mixed by a pattern; a name in SKINS."""
    rng = stream("texture", number)
    first, second = palette(number)
    y, x = _grid()
    angle, period = rng.uniform(0, np.pi), rng.uniform(9, 14)
    along = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    across = np.cos(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
    if skin == "plain":
        mix = 0.9 + 0.1 * along
    elif skin == "stripes":
        mix = along
    elif skin == "checks":
        mix = 1.5 * along * across
    else:
        mix = _cloud(rng, float(rng.uniform(0.06, 0.12)))[:SIDE_PX, :SIDE_PX]
    weight = np.clip(0.5 + 0.5 * mix, 0, 1)[..., None]
    return np.asarray(first * weight + second * (1 - weight), np.float32)


@lru_cache(maxsize=256)
def palette(number: int) -> tuple[Array, Array]:
    """Two saturated colours (3,), one dark and one light, in either order."""
    rng = stream("palette", number)
    pair = []
    for low, high in ((15, 120), (150, 250)):
        colour = rng.permutation(np.array([low, (low + high) / 2 + rng.uniform(-50, 50), high]))
        pair.append(np.clip(colour + rng.uniform(-25, 25, 3), 0, 255).astype(np.float32))
    return (pair[0], pair[1]) if rng.random() < 0.5 else (pair[1], pair[0])


@lru_cache(maxsize=256)
def outline(number: int, form: str) -> Array:
    """An object's mask (S, S), 0 to 1 with a soft edge; a name in FORMS."""
    rng = stream("outline", number)
    y, x = _grid()
    theta, radius = np.arctan2(y, x), np.hypot(x, y)
    if form == "disc":
        edge = np.full(theta.shape, RADIUS_PX)
    elif form == "bar":
        half = RADIUS_PX * rng.uniform(0.22, 0.38)
        knob = np.hypot(x - 0.62 * RADIUS_PX, y) - half * rng.uniform(1.4, 1.8)
        inside = np.minimum(np.maximum(np.abs(x) - 1.1 * RADIUS_PX, np.abs(y) - half), knob)
        return np.asarray(np.clip(0.5 - inside, 0, 1), np.float32)
    else:
        edge = np.ones(theta.shape)
        for lobe in (1, 2, 3, 4, 5):
            size = rng.uniform(0, 0.3) / lobe**0.7
            edge = edge + size * np.cos(lobe * (theta - rng.uniform(0, 2 * np.pi)))
        if form == "star":
            edge = edge * (1 + 0.35 * np.cos(5 * theta))
        edge = edge * RADIUS_PX * 0.85 / float(np.sqrt(np.mean(edge**2)))
        edge = np.minimum(edge, RADIUS_PX * 1.15)
    return np.asarray(np.clip(edge - radius + 0.5, 0, 1), np.float32)


@lru_cache(maxsize=256)
def sheet(texture_number: int, skin: str, outline_number: int, form: str) -> Array:
    """An object ready to be drawn (S, S, 4): its picture times its mask, and the mask."""
    mask = outline(outline_number, form)[..., None]
    return np.concatenate([texture(texture_number, skin) * mask, mask], axis=2)


FORMS = ("blob", "star", "bar", "disc")
SKINS = ("plain", "stripes", "checks", "cloud")


@lru_cache(maxsize=64)
def phase_map(pattern: str, repeats: int) -> Array:
    """Cycles (S, S) of a pattern that repeats exactly when its phase grows by one.

    `sectors` turns, `stripes` runs along x, `rings` runs outwards.
    """
    y, x = _grid()
    once: Array
    if pattern == "sectors":
        once = np.asarray(np.arctan2(y, x) / (2 * np.pi), np.float32)
    elif pattern == "stripes":
        once = np.asarray(x / (2 * RADIUS_PX), np.float32)
    else:
        once = np.asarray(np.hypot(x, y) / (2 * RADIUS_PX), np.float32)
    return np.asarray(repeats * once, np.float32)


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
    return np.asarray(field / (field.std() + 1e-9), np.float32)
