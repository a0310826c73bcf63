"""Which clips a miniature holds, and the scene behind each: pure functions of the manifest.

A scene is rendered once. A subset that is closed under reversal writes it twice, forwards under one
label and backwards under the partner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.mini.motions import KINDS, Action, Stage, backwards, beside
from pipeline.mini.pools import stream
from pipeline.mini.render import Scene
from pipeline.schema.miniature import Miniature, Pair, Still, strip_brackets

_LAST_ID = 220_847
"""Ids are drawn from 1 to here, like the official ones, so that they tell nothing."""


@dataclass(frozen=True)
class Clip:
    """One video of the miniature."""

    clip_id: str
    subset: str
    label: str
    reverse: bool
    """True when the scene is played backwards."""
    group: int
    """Source group from 1; 0 where the data set has none."""
    number: int
    """Number within class and group, from 1."""
    also: str = ""
    """A second label, where a clip may have several; '' for none."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of the clip, as the data set's readers see them."""
        return tuple(strip_brackets(name) for name in (self.label, self.also) if name)


@dataclass(frozen=True)
class ScenePlan:
    """One scene to render and the clips that show it."""

    key: str
    """Seeds every random number of the scene."""
    entry: int
    """Index into the miniature's pairs, then stills."""
    clips: tuple[Clip, ...]
    pool: tuple[int, int]
    """Number of the first object, texture and background to choose from, and how many there are."""
    pool_key: str
    """Seeds the choice from the pool; shared by the clips of a group."""
    second: tuple[int, bool] | None = None
    """The motion beside the first: its index, and whether it is played backwards."""


def plan_scenes(dataset: str, miniature: Miniature) -> list[ScenePlan]:
    """Every scene of the miniature, in a fixed order."""
    plain = _grouped(dataset, miniature) if miniature.groups else _split(dataset, miniature)
    ids = iter(stream(dataset, miniature.seed, "ids").permutation(_LAST_ID).tolist())
    named = []
    for plan in plain:
        clips = tuple(replace(clip, clip_id=str(next(ids) + 1)) for clip in plan.clips)
        named.append(replace(plan, clips=clips))
    return named


def draw_scene(miniature: Miniature, plan: ScenePlan) -> Scene:
    """The scene with every random number drawn."""
    entries: list[Pair | Still] = [*miniature.pairs, *miniature.stills]
    entry, look, n = entries[plan.entry], miniature.look, miniature.frames
    rng = stream(plan.key)
    stage = Stage(
        rng, n, miniature.width_px, miniature.height_px, (entry.amount[0], entry.amount[1])
    )
    action: Action = KINDS[entry.kind](stage)
    if plan.second is not None:
        other = entries[plan.second[0]]
        amount = (other.amount[0], other.amount[1])
        side = replace(stage, rng=stream(f"{plan.key}/second"), amount=amount)
        second = KINDS[other.kind](side)
        action = beside(stage, action, backwards(second) if plan.second[1] else second)
    choice = stream(plan.pool_key)
    first, size = plan.pool
    heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, look.pan_px)
    way = stage.tau[:, None] * length * np.array([np.cos(heading), np.sin(heading)])
    return Scene(
        action=action,
        outlines=tuple(first + int(i) for i in choice.integers(0, size, 2)),
        textures=tuple(first + int(i) for i in choice.permutation(size)[:2]),
        background=first + int(choice.integers(size)),
        clutter=look.clutter,
        tint=_tint(look.tint, plan.entry, len(entries)),
        pan_px=way + rng.uniform(0, 128, 2),
        camera_px=rng.normal(0, 1, (n, 2)) * look.camera_jitter_px,
        shake_px=rng.normal(0, 1, (n, 2)) * entry.shake_px,
        flicker=1 + rng.normal(0, 1, n) * look.flicker,
        contrast=float(rng.uniform(look.contrast[0], look.contrast[1])),
        noise=look.noise,
        noise_seed=f"{plan.key}/noise",
    )


def _split(dataset: str, miniature: Miniature) -> list[ScenePlan]:
    scenes: list[ScenePlan] = []
    first = 0
    for subset, split in sorted(miniature.splits.items()):
        pool = (first, split.pool)
        first += split.pool
        for entry in range(len(miniature.pairs) + len(miniature.stills)):
            for number in range(split.clips_per_class):
                for labels in _scenes_of(miniature, entry, split.closed_under_reversal):
                    key = f"{dataset}/{miniature.seed}/{subset}/{entry}/{number}/{labels}"
                    second = _second(miniature, key, entry, number)
                    clips = tuple(
                        Clip("", subset, *label, 0, number + 1, _also(miniature, second, label[1]))
                        for label in labels
                    )
                    scenes.append(ScenePlan(key, entry, clips, pool, f"{key}/cast", second))
    return scenes


def _tint(strength: float, entry: int, entries: int) -> tuple[float, float, float]:
    """Grey levels to add to red, green and blue: hues spread evenly over the entries."""
    hue = 2 * np.pi * entry / entries
    red, green, blue = (strength * np.cos(hue - 2 * np.pi * k / 3) for k in range(3))
    return float(red), float(green), float(blue)


def _second(miniature: Miniature, key: str, entry: int, number: int) -> tuple[int, bool] | None:
    """The motion to show beside `entry`, if this scene has one.

    Beside a still goes a still: a pair's clip would want its reverse under both labels.
    """
    if (
        miniature.doubles_every is None
        or number % miniature.doubles_every != miniature.doubles_every - 1
    ):
        return None
    pairs = len(miniature.pairs)
    first = pairs if entry >= pairs else 0
    others = [index for index in range(first, pairs + len(miniature.stills)) if index != entry]
    rng = stream(f"{key}/doubles")
    return others[int(rng.integers(len(others)))], bool(rng.random() < 0.5)


def _also(miniature: Miniature, second: tuple[int, bool] | None, reverse: bool) -> str:
    """The label that a scene's second motion adds to a clip of it."""
    if second is None:
        return ""
    entry, backward = second
    if entry >= len(miniature.pairs):
        return miniature.stills[entry - len(miniature.pairs)].name
    pair = miniature.pairs[entry]
    return pair.backward if backward != reverse else pair.forward


def _grouped(dataset: str, miniature: Miniature) -> list[ScenePlan]:
    assert miniature.groups is not None
    found: list[ScenePlan] = []
    for entry in range(len(miniature.pairs) + len(miniature.stills)):
        for group in range(1, miniature.groups.count + 1):
            pool = ((group - 1) * 4, 4)
            for number in range(1, miniature.groups.clips_per_group + 1):
                for labels in _scenes_of(miniature, entry, True):
                    key = f"{dataset}/{miniature.seed}/{entry}/{group}/{number}"
                    clips = tuple(Clip("", "", *label, group, number) for label in labels)
                    pool_key = f"{dataset}/{miniature.seed}/{entry}/{group}/cast"
                    found.append(ScenePlan(key, entry, clips, pool, pool_key))
    return found


def _scenes_of(
    miniature: Miniature, entry: int, closed: bool
) -> list[tuple[tuple[str, bool], ...]]:
    """(label, reverse) of the clips of each scene that one clip per class of this entry needs."""
    if entry >= len(miniature.pairs):
        return [((miniature.stills[entry - len(miniature.pairs)].name, False),)]
    pair = miniature.pairs[entry]
    forward, backward = (pair.forward, False), (pair.backward, True)
    return [(forward, backward)] if closed else [(forward,), (backward,)]
