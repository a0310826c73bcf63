"""Scene → pictures.

    n, H, W   frames, height, width;  a clip is (n, H, W, 3) uint8 RGB
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.mini import pools
from pipeline.mini.motions import Action, Actor

Frames = NDArray[np.uint8]

cv2.setNumThreads(1)


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


def render(scene: Scene, width_px: int, height_px: int) -> Frames:
    """The clip (n, H, W, 3), uint8 RGB, forwards."""
    n = len(scene.flicker)
    tile = pools.background(scene.background, scene.clutter)
    grain = _grain()
    offsets = pools.stream(scene.noise_seed).integers(0, grain.shape[0] - max(height_px, width_px), (n, 3))
    frames = np.empty((n, height_px, width_px, 3), np.uint8)
    for t in range(n):
        shift = scene.pan_px[t] + scene.camera_px[t]
        frame = _warp(tile, 1.0, 0.0, shift[0], shift[1], (width_px, height_px), cv2.BORDER_WRAP)
        for index, actor in enumerate(scene.action.actors):
            _draw(frame, scene, actor, index, t)
        frame *= scene.flicker[t] * scene.action.gain[t]
        y, x, turn = offsets[t]
        piece = grain[y : y + height_px, x : x + width_px]
        frame += scene.noise * (piece if turn % 2 else -piece)
        frames[t] = np.clip(np.rint(frame), 0, 255)
    return frames


def _draw(frame: NDArray[np.float32], scene: Scene, actor: Actor, index: int, t: int) -> None:
    opacity = float(actor.opacity[t])
    if opacity <= 0:
        return
    picture, mask = _looks(scene, actor, index, t)
    height, width = frame.shape[:2]
    x = actor.x_px[t] + scene.camera_px[t, 0] + scene.shake_px[t, 0]
    y = actor.y_px[t] + scene.camera_px[t, 1] + scene.shake_px[t, 1]
    sheet = np.dstack([picture * mask[..., None], mask])
    drawn = _place(sheet, float(actor.scale[t]), float(actor.angle[t]), x, y, (width, height))
    alpha = drawn[..., 3:] * (opacity * scene.contrast)
    frame *= 1 - alpha
    frame += drawn[..., :3] * (opacity * scene.contrast)


def _looks(
    scene: Scene, actor: Actor, index: int, t: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The object's own picture (S, S, 3) and mask (S, S) at frame t."""
    number = scene.textures[actor.wears]
    if actor.pattern == "texture":
        if actor.skin == "camouflage":
            tile = pools.background(scene.background, scene.clutter)
            return tile[: pools.SIDE_PX, : pools.SIDE_PX], pools.outline(number, actor.form)
        skin = pools.texture(number, actor.skin)
        return skin, pools.outline(scene.outlines[index % 2], actor.form)
    first, second = pools.palette(number)
    cycles = pools.phase_map(actor.pattern, actor.repeats) - np.float32(actor.phase[t])
    weight = (0.5 + 0.5 * np.cos(2 * np.pi * cycles))[..., None]
    return (first * weight + second * (1 - weight)).astype(np.float32), pools.outline(number, "disc")


def _place(
    sheet: NDArray[np.float32],
    scale: float,
    angle: float,
    x_px: float,
    y_px: float,
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """The sheet's centre at (x, y) of an otherwise empty picture, turned clockwise and scaled."""
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    middle = (pools.SIDE_PX - 1) / 2
    matrix = np.array(
        [[c, -s, x_px - c * middle + s * middle], [s, c, y_px - s * middle - c * middle]]
    )
    return np.asarray(cv2.warpAffine(sheet, matrix, size, flags=cv2.INTER_LINEAR), np.float32)


def _warp(
    tile: NDArray[np.float32],
    scale: float,
    angle: float,
    x_px: float,
    y_px: float,
    size: tuple[int, int],
    border: int,
) -> NDArray[np.float32]:
    matrix = np.array([[scale, angle, x_px], [-angle, scale, y_px]])
    drawn = cv2.warpAffine(tile, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(drawn, np.float32)


_GRAIN: list[NDArray[np.float32]] = []


def _grain() -> NDArray[np.float32]:
    """A large sheet of unit noise (512, 512, 3); every frame cuts its own piece."""
    if not _GRAIN:
        _GRAIN.append(pools.stream("grain").standard_normal((512, 512, 3)).astype(np.float32))
    return _GRAIN[0]
