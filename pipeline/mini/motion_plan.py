"""Which clips a twin holds, and the scene behind each: pure functions of the manifest.

A scene is filmed once. A subset that is closed under reversal writes it twice, forwards under one
label and backwards under the partner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.mini.motions import KINDS, Action, Stage, backwards, beside
from pipeline.mini.pools import stream
from pipeline.mini.render import Scene
from pipeline.schema.miniature import Pair, Still, Twin, strip_brackets

_LAST_ID = 220_847
"""Ids are drawn from 1 to here, like the official ones, so that they tell nothing."""


@dataclass(frozen=True)
class Clip:
    """One video of the twin."""

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
class Take:
    """One scene to film and the clips cut from it."""

    key: str
    """Seeds every random number of the scene."""
    entry: int
    """Index into the twin's pairs, then stills."""
    clips: tuple[Clip, ...]
    things: tuple[int, int]
    """First number and size of the pool that objects, textures and backgrounds come from."""
    cast: str
    """Seeds the choice of objects, textures and background; shared by the clips of a group."""
    second: tuple[int, bool] | None = None
    """The motion beside the first: its index, and whether it is played backwards."""


def takes(dataset: str, twin: Twin) -> list[Take]:
    """Every scene of the twin, in a fixed order."""
    plain = _grouped(dataset, twin) if twin.groups else _split(dataset, twin)
    ids = iter(stream(dataset, twin.seed, "ids").permutation(_LAST_ID).tolist())
    named = []
    for take in plain:
        clips = tuple(replace(clip, clip_id=str(next(ids) + 1)) for clip in take.clips)
        named.append(replace(take, clips=clips))
    return named


def partners(dataset: str, twin: Twin) -> dict[str, str]:
    """Clip id → id of the clip that is the same scene played backwards."""
    found: dict[str, str] = {}
    for take in takes(dataset, twin):
        if len(take.clips) == 2:
            first, second = (clip.clip_id for clip in take.clips)
            found[first], found[second] = second, first
    return found


def scene(twin: Twin, take: Take) -> Scene:
    """The scene with every random number drawn."""
    entries: list[Pair | Still] = [*twin.pairs, *twin.stills]
    entry, look, n = entries[take.entry], twin.look, twin.frames
    rng = stream(take.key)
    stage = Stage(rng, n, twin.width_px, twin.height_px, (entry.amount[0], entry.amount[1]))
    action: Action = KINDS[entry.kind](stage)
    if take.second is not None:
        other = entries[take.second[0]]
        amount = (other.amount[0], other.amount[1])
        side = replace(stage, rng=stream(f"{take.key}/second"), amount=amount)
        company = KINDS[other.kind](side)
        action = beside(stage, action, backwards(company) if take.second[1] else company)
    cast = stream(take.cast)
    first, size = take.things
    heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, look.pan_px)
    way = stage.tau[:, None] * length * np.array([np.cos(heading), np.sin(heading)])
    return Scene(
        action=action,
        outlines=tuple(first + int(i) for i in cast.integers(0, size, 2)),
        textures=tuple(first + int(i) for i in cast.permutation(size)[:2]),
        background=first + int(cast.integers(size)),
        clutter=look.clutter,
        tint=_tint(look.tint, take.entry, len(entries)),
        pan_px=way + rng.uniform(0, 128, 2),
        camera_px=rng.normal(0, 1, (n, 2)) * look.camera_jitter_px,
        shake_px=rng.normal(0, 1, (n, 2)) * entry.shake_px,
        flicker=1 + rng.normal(0, 1, n) * look.flicker,
        contrast=float(rng.uniform(look.contrast[0], look.contrast[1])),
        noise=look.noise,
        noise_seed=f"{take.key}/noise",
    )


def _split(dataset: str, twin: Twin) -> list[Take]:
    found: list[Take] = []
    first = 0
    for subset, split in twin.splits.items():
        things = (first, split.pool)
        first += split.pool
        for entry in range(len(twin.pairs) + len(twin.stills)):
            for number in range(split.clips_per_class):
                for labels in _takes_of(twin, entry, split.closed_under_reversal):
                    key = f"{dataset}/{twin.seed}/{subset}/{entry}/{number}/{labels}"
                    second = _second(twin, key, entry, number)
                    clips = tuple(
                        Clip("", subset, *label, 0, number + 1, _also(twin, second, label[1]))
                        for label in labels
                    )
                    found.append(Take(key, entry, clips, things, f"{key}/cast", second))
    return found


def _tint(strength: float, entry: int, entries: int) -> tuple[float, float, float]:
    """Grey levels to add to red, green and blue: hues spread evenly over the entries."""
    hue = 2 * np.pi * entry / entries
    red, green, blue = (strength * np.cos(hue - 2 * np.pi * k / 3) for k in range(3))
    return float(red), float(green), float(blue)


def _second(twin: Twin, key: str, entry: int, number: int) -> tuple[int, bool] | None:
    """The motion to show beside `entry`, if this scene has one.

    Beside a still goes a still: a pair's clip would want its reverse under both labels.
    """
    if twin.doubles_every is None or number % twin.doubles_every != twin.doubles_every - 1:
        return None
    pairs = len(twin.pairs)
    first = pairs if entry >= pairs else 0
    others = [index for index in range(first, pairs + len(twin.stills)) if index != entry]
    rng = stream(f"{key}/doubles")
    return others[int(rng.integers(len(others)))], bool(rng.random() < 0.5)


def _also(twin: Twin, second: tuple[int, bool] | None, reverse: bool) -> str:
    """The label that a scene's second motion adds to a clip of it."""
    if second is None:
        return ""
    entry, backward = second
    if entry >= len(twin.pairs):
        return twin.stills[entry - len(twin.pairs)].name
    pair = twin.pairs[entry]
    return pair.backward if backward != reverse else pair.forward


def _grouped(dataset: str, twin: Twin) -> list[Take]:
    assert twin.groups is not None
    found: list[Take] = []
    for entry in range(len(twin.pairs) + len(twin.stills)):
        for group in range(1, twin.groups.count + 1):
            things = ((group - 1) * 4, 4)
            for number in range(1, twin.groups.clips_per_group + 1):
                for labels in _takes_of(twin, entry, True):
                    key = f"{dataset}/{twin.seed}/{entry}/{group}/{number}"
                    clips = tuple(Clip("", "", *label, group, number) for label in labels)
                    cast = f"{dataset}/{twin.seed}/{entry}/{group}/cast"
                    found.append(Take(key, entry, clips, things, cast))
    return found


def _takes_of(twin: Twin, entry: int, closed: bool) -> list[tuple[tuple[str, bool], ...]]:
    """(label, reverse) of the clips of each scene that one clip per class of this entry needs."""
    if entry >= len(twin.pairs):
        return [((twin.stills[entry - len(twin.pairs)].name, False),)]
    pair = twin.pairs[entry]
    forward, backward = (pair.forward, False), (pair.backward, True)
    return [(forward, backward)] if closed else [(forward,), (backward,)]
