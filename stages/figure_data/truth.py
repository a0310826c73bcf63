"""Where the moving object is in a generated video: its scene rendered with it and without.

The generator exposes no mask. Both renderings use its public functions, without noise; the pixels
that differ belong to the objects.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.mini.clip_ids import scenes_by_id
from pipeline.mini.motion_plan import draw_scene
from pipeline.mini.motions import Actor
from pipeline.mini.render import render
from pipeline.schema.miniature import Miniature

_LEAST_LEVELS = 6
"""Of 255: an object may have nearly the background's colour somewhere, and rounding is 1."""


_TREMOR = 0.08
"""Range of an object's path, smoothed over some frames, below which it only trembles: a fraction
of the height."""
_SMOOTHED = np.full(5, 0.2)


def _at_rest(actor: Actor, height_px: int) -> bool:
    """Whether an object only trembles in its place."""
    others = (actor.scale, actor.angle, actor.opacity, actor.phase)
    paths = (np.convolve(path, _SMOOTHED, "valid") for path in (actor.x_px, actor.y_px))
    return not any(map(np.ptp, others)) and all(
        np.ptp(path) < _TREMOR * height_px for path in paths
    )


class Truth:
    """The objects of one generated data set's videos."""

    def __init__(self, dataset: str, miniature: Miniature) -> None:
        """`miniature` is a plan's: ids depend on the order of keys, which is sorted there."""
        self._miniature = miniature
        self._masks: dict[str, npt.NDArray[np.bool_]] = {}
        self._scenes = scenes_by_id(dataset, miniature)

    @property
    def reversed_pairs(self) -> list[tuple[str, str]]:
        """Classes that are each other's reverse in time."""
        return [(pair.forward, pair.backward) for pair in self._miniature.pairs]

    def masks(self, video_id: str) -> npt.NDArray[np.bool_] | None:
        """(n, H, W) where the video's moving objects are, all objects where none moves; None for a
        video the generator did not name."""
        if video_id not in self._scenes:
            return None
        if video_id not in self._masks:
            self._masks[video_id] = self._render(video_id)
        return self._masks[video_id]

    def _render(self, video_id: str) -> npt.NDArray[np.bool_]:
        plan, clip = self._scenes[video_id]
        full = replace(draw_scene(self._miniature, plan), noise=0.0)
        actors = full.action.actors
        moving = [not _at_rest(actor, self._miniature.height_px) for actor in actors]
        hidden = [
            replace(actor, opacity=np.zeros_like(actor.opacity))
            if moves or not any(moving)
            else actor
            for actor, moves in zip(actors, moving, strict=True)
        ]
        bare = replace(full, action=replace(full.action, actors=tuple(hidden)))
        size = self._miniature.width_px, self._miniature.height_px
        drawn, empty = (render(one, *size).astype(np.int16) for one in (full, bare))
        mask = np.asarray(np.abs(drawn - empty).max(axis=3) > _LEAST_LEVELS)
        return mask[::-1] if clip.reverse else mask
