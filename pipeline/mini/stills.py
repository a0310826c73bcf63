"""Procedural still images for pre-training: objects of a form and a skin, nothing that moves.

N  images      H, W  side in pixels;  images are (N, H, W, 3) uint8 RGB
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.mini.motions import Action, Actor
from pipeline.mini.pools import FORMS, SIDE_PX, SKINS, stream
from pipeline.mini.render import Scene, render

CLASSES = tuple(f"{form} {skin}" for form in FORMS for skin in SKINS)
"""What a still shows; the label is the position in this list."""

_POOL = (1_000_000, 200)
"""First number and size of the pool of outlines, textures, backgrounds: none of a miniature's."""


def stills(count: int, size_px: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` images (N, size, size, 3) and their labels (N,), every class equally often.

    A pure function of its arguments; image i does not depend on `count`.
    """
    images = np.empty((count, size_px, size_px, 3), np.uint8)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    for number, label in enumerate(labels.tolist()):
        images[number] = render(_scene(number, label, size_px, seed), size_px, size_px)[0]
    return images, labels


def _scene(number: int, label: int, size_px: int, seed: int) -> Scene:
    rng = stream("stills", seed, number)
    form, skin = CLASSES[label].split()

    def one(value: float) -> NDArray[np.float64]:
        return np.array([value])

    actor = Actor(
        x_px=one(size_px * rng.uniform(0.3, 0.7)),
        y_px=one(size_px * rng.uniform(0.3, 0.7)),
        scale=one(size_px * rng.uniform(0.45, 0.95) / SIDE_PX),
        angle=one(rng.uniform(0, 2 * np.pi)),
        opacity=one(1.0),
        phase=one(0.0),
        form=form,
        skin=skin,
    )
    first, size = _POOL
    outline, texture, background = (first + rng.integers(size, size=3)).tolist()
    nowhere = np.zeros((1, 2))
    return Scene(
        action=Action((actor,), one(1.0)),
        outlines=(outline,),
        textures=(texture,),
        background=background,
        clutter=float(rng.uniform(8, 20)),
        tint=(0.0, 0.0, 0.0),
        pan_px=nowhere,
        camera_px=nowhere,
        shake_px=nowhere,
        flicker=one(1.0),
        contrast=float(rng.uniform(0.7, 1.0)),
        noise=float(rng.uniform(0, 8)),
        noise_seed=f"stills/{seed}/{number}",
    )
