"""Scene → pictures.

n, H, W   frames, height, width;  a clip is (n, H, W, 3) uint8 RGB
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.mini import pools
from pipeline.mini.motions import Action, Actor

Frames = NDArray[np.uint8]
Picture = NDArray[np.float32]

_GRAIN_PX = 640
"""Side of the noise sheet: larger than any frame a miniature may have."""


@dataclass(frozen=True)
class Scene:
    """Everything a clip shows, with every random number already drawn."""

    action: Action
    outlines: tuple[int, ...]
    textures: tuple[int, ...]
    background: int
    clutter: float
    pan_px: NDArray[np.float64]
    """(n, 2) shift of the background in the tile, x then y."""
    camera_px: NDArray[np.float64]
    """(n, 2) shift of the whole picture."""
    shake_px: NDArray[np.float64]
    """(n, 2) shift of the objects alone."""
    flicker: NDArray[np.float64]
    """(n,) factor on brightness."""
    contrast: float
    noise: float
    noise_seed: str
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Added to the background's red, green and blue, in grey levels."""


def render(scene: Scene, width_px: int, height_px: int) -> Frames:
    """The clip (n, H, W, 3), uint8 RGB, forwards."""
    n = len(scene.flicker)
    tile = pools.background(scene.background, scene.clutter)
    grain = _grain()
    offsets = pools.stream(scene.noise_seed).integers(
        0, grain.shape[0] - max(height_px, width_px), (n, 3)
    )
    frames = np.empty((n, height_px, width_px, 3), np.uint8)
    for t in range(n):
        shift = scene.pan_px[t] + scene.camera_px[t]
        frame = _pan(tile, float(shift[0]), float(shift[1]), width_px, height_px)
        if any(scene.tint):
            frame += np.asarray(scene.tint, np.float32)
        for index, actor in enumerate(scene.action.actors):
            _draw(frame, scene, actor, index, t)
        frame *= np.float32(scene.flicker[t] * scene.action.gain[t])
        y, x, turn = offsets[t]
        piece = grain[y : y + height_px, x : x + width_px]
        frame += np.float32(scene.noise if turn % 2 else -scene.noise) * piece
        frames[t] = np.clip(np.rint(frame), 0, 255)
    return frames


def _draw(frame: Picture, scene: Scene, actor: Actor, index: int, t: int) -> None:
    opacity = float(actor.opacity[t]) * scene.contrast
    scale, angle = float(actor.scale[t]), float(actor.angle[t])
    if opacity <= 0 or scale <= 0:
        return
    x = float(actor.x_px[t] + scene.camera_px[t, 0] + scene.shake_px[t, 0])
    y = float(actor.y_px[t] + scene.camera_px[t, 1] + scene.shake_px[t, 1])
    reach = pools.SIDE_PX * scale * 0.71 + 1  # half the sheet's diagonal
    rows = _span(y, reach, frame.shape[0])
    columns = _span(x, reach, frame.shape[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    down = np.arange(rows.start, rows.stop)[:, None] - y
    right = np.arange(columns.start, columns.stop)[None, :] - x
    c, s = np.cos(angle) / scale, np.sin(angle) / scale
    drawn = _sample(_sheet(scene, actor, index, t), c * right + s * down, c * down - s * right)
    part = frame[rows, columns]
    part *= 1 - drawn[..., 3:] * np.float32(opacity)
    part += drawn[..., :3] * np.float32(opacity)


def _span(middle: float, reach: float, size: int) -> slice:
    return slice(max(0, int(middle - reach)), max(0, min(size, int(middle + reach) + 2)))


def _sheet(scene: Scene, actor: Actor, index: int, t: int) -> Picture:
    """The object's own picture times its mask, and the mask: (S, S, 4)."""
    number = scene.textures[actor.wears]
    if actor.pattern == "texture":
        return pools.sheet(number, actor.skin, scene.outlines[index % 2], actor.form)
    first, second = pools.palette(number)
    cycles = pools.phase_map(actor.pattern, actor.repeats) - np.float32(actor.phase[t])
    weight = (0.5 + 0.5 * np.cos(np.float32(2 * np.pi) * cycles))[..., None]
    skin = first * weight + second * (1 - weight)
    mask = pools.outline(0, "disc")[..., None]
    return np.concatenate([skin * mask, mask], axis=2)


def _sample(sheet: Picture, x: NDArray[np.float64], y: NDArray[np.float64]) -> Picture:
    """The sheet at (x, y) from its middle, bilinear, nothing outside: (h, w, 4).

    Plain arithmetic on purpose: an image library's warp rounds differently from one processor to
    the next, and the digest of a miniature would with it.
    """
    side = sheet.shape[0] + 2
    padded = np.zeros((side * side, sheet.shape[2]), np.float32)
    padded.reshape(side, side, -1)[1:-1, 1:-1] = sheet
    middle = (side - 1) / 2
    u = np.clip(x + middle, 0, side - 1.001)
    v = np.clip(y + middle, 0, side - 1.001)
    left, top = u.astype(np.intp), v.astype(np.intp)
    across = (u - left).astype(np.float32)[..., None]
    along = (v - top).astype(np.float32)[..., None]
    at = top * side + left
    upper = padded[at] * (1 - across) + padded[at + 1] * across
    lower = padded[at + side] * (1 - across) + padded[at + side + 1] * across
    return np.asarray(upper * (1 - along) + lower * along, np.float32)


def _pan(tile: Picture, x_px: float, y_px: float, width_px: int, height_px: int) -> Picture:
    """A piece (H, W, 3) of the endless tile, shifted by (x, y), bilinear."""
    size = tile.shape[0]
    left, top = int(np.floor(-x_px)), int(np.floor(-y_px))
    across, along = np.float32(-x_px - left), np.float32(-y_px - top)
    columns = np.arange(left, left + width_px + 1) % size
    rows = np.arange(top, top + height_px + 1) % size
    piece = tile[rows[:, None], columns[None, :]]
    piece = piece[:, :-1] * (1 - across) + piece[:, 1:] * across
    return np.asarray(piece[:-1] * (1 - along) + piece[1:] * along, np.float32)


@lru_cache(maxsize=1)
def _grain() -> Picture:
    """A large sheet of unit noise; every frame cuts its own piece."""
    shape = (_GRAIN_PX, _GRAIN_PX, 3)
    return pools.stream("grain").standard_normal(shape).astype(np.float32)
