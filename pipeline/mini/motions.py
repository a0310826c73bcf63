"""What happens in a clip: one function per kind of motion, always told forwards.

The backward class of a pair is the forward one played in reverse, so nothing here can tell the two
apart except the order of frames. A kind draws its own numbers from the stream it is given.

    n   frames;  a track is an (n,) array;  positions are pixels of a frame, angles radians
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Track = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """Where and how a motion is to be drawn."""

    rng: np.random.Generator
    frames: int
    width_px: int
    height_px: int
    amount: tuple[float, float]

    @property
    def tau(self) -> Track:
        """Time, 0 at the first frame and 1 at the last."""
        return np.arange(self.frames) / (self.frames - 1)

    def draw(self) -> float:
        """The motion's size for this clip, uniform over `amount`."""
        return float(self.rng.uniform(*self.amount))

    def flat(self, value: float) -> Track:
        return np.full(self.frames, float(value))

    def sign(self) -> float:
        return 1.0 if self.rng.random() < 0.5 else -1.0


@dataclass(frozen=True)
class Actor:
    """One object's looks and path through a clip."""

    x_px: Track
    y_px: Track
    scale: Track
    angle: Track
    opacity: Track
    phase: Track
    pattern: str = "texture"
    repeats: int = 1
    form: str = "blob"
    skin: str = "cloud"
    wears: int = 0
    """Which of the clip's two textures."""


@dataclass(frozen=True)
class Action:
    """All that moves in a clip, bottom first, and the light it is filmed in."""

    actors: tuple[Actor, ...]
    gain: Track
    """Factor on the picture's brightness."""


def _actor(
    stage: Stage, radius: tuple[float, float] = (0.2, 0.3), form: str = "blob", skin: str = "cloud"
) -> Actor:
    """An object at rest near the middle; `radius` is a range of fractions of the height."""
    rng = stage.rng
    scale = rng.uniform(*radius) * stage.height_px / 20.0
    return Actor(
        x_px=stage.flat(stage.width_px * rng.uniform(0.42, 0.58)),
        y_px=stage.flat(stage.height_px * rng.uniform(0.42, 0.58)),
        scale=stage.flat(scale),
        angle=stage.flat(rng.uniform(0, 2 * np.pi)),
        opacity=stage.flat(1.0),
        phase=stage.flat(rng.uniform(0, 1)),
        form=form,
        skin=skin,
    )


def _ramp(stage: Stage) -> Track:
    """From 0 to 1 with rests of random length at both ends."""
    start, stop = stage.rng.uniform(0.0, 0.2), stage.rng.uniform(0.8, 1.0)
    return np.clip((stage.tau - start) / (stop - start), 0, 1)


def _one(stage: Stage, actor: Actor) -> Action:
    return Action((actor,), stage.flat(1.0))


def slide(stage: Stage) -> Action:
    """An object moves to the right; amount: distance as a fraction of the width."""
    actor = _actor(stage, form="blob", skin="stripes")
    way = (_ramp(stage) - 0.5) * stage.draw() * stage.width_px
    return _one(stage, replace(actor, x_px=actor.x_px + way))


def lift(stage: Stage) -> Action:
    """An object moves upwards; amount: distance as a fraction of the height."""
    actor = _actor(stage, form="star", skin="plain")
    way = (_ramp(stage) - 0.5) * stage.draw() * stage.height_px
    return _one(stage, replace(actor, y_px=actor.y_px - way))


def approach(stage: Stage) -> Action:
    """An object grows; amount: final over first size."""
    actor = _actor(stage, (0.17, 0.22), "blob", "checks")
    return _one(stage, replace(actor, scale=actor.scale * stage.draw() ** _ramp(stage)))


def turn(stage: Stage) -> Action:
    """An object turns clockwise slowly enough for segments to follow; amount: turns."""
    actor = _actor(stage, (0.3, 0.38), "bar", "plain")
    return _one(stage, replace(actor, angle=actor.angle + 2 * np.pi * stage.draw() * stage.tau))


def appear(stage: Stage) -> Action:
    """An object fades in; amount: the part of the clip the fade takes."""
    actor = _actor(stage, form="disc", skin="cloud")
    length = stage.draw()
    start = stage.rng.uniform(0.0, 1.0 - length)
    return _one(stage, replace(actor, opacity=np.clip((stage.tau - start) / length, 0, 1)))


def meet(stage: Stage) -> Action:
    """Two objects move closer; amount: distance covered, as a fraction of the width."""
    first = _actor(stage, (0.13, 0.17), "blob", "plain")
    second = replace(_actor(stage, (0.13, 0.17), "blob", "plain"), wears=1)
    near, way = stage.rng.uniform(0.1, 0.16), stage.draw()
    gap = (near + way * (1 - _ramp(stage)) / 2) * stage.width_px
    tilt = stage.rng.uniform(-0.6, 0.6) + (np.pi if stage.rng.random() < 0.5 else 0)
    x, y = np.cos(tilt) * gap, np.sin(tilt) * gap * 0.8
    centre_x, centre_y = stage.width_px * stage.rng.uniform(0.45, 0.55), stage.height_px / 2
    first = replace(first, x_px=centre_x - x, y_px=centre_y - y)
    second = replace(second, x_px=centre_x + x, y_px=centre_y + y)
    return Action((first, second), stage.flat(1.0))


def cover(stage: Stage) -> Action:
    """One object slides over another until it hides it; amount: way as a fraction of the width."""
    below = _actor(stage, (0.14, 0.18), "star", "checks")
    above = replace(_actor(stage, (0.24, 0.3), "disc", "plain"), wears=1)
    way = (1 - _ramp(stage)) * stage.draw() * stage.width_px
    heading = stage.rng.uniform(0, 2 * np.pi)
    x = below.x_px + np.cos(heading) * way
    y = below.y_px + np.sin(heading) * way * 0.8
    return Action((below, replace(above, x_px=x, y_px=y)), stage.flat(1.0))


def saw(stage: Stage) -> Action:
    """An object trembles in a sawtooth while it climbs; amount: way as a fraction of the height.

    Between neighbouring frames the tremor is faster than the climb, and as often against it.
    """
    actor = _actor(stage, form="star", skin="plain")
    climb = (stage.tau - 0.5) * stage.draw() * stage.height_px
    period, size = stage.rng.uniform(3.3, 5.5), stage.height_px * stage.rng.uniform(0.12, 0.18)
    tooth = (np.arange(stage.frames) / period + stage.rng.uniform(0, 1)) % 1.0 - 0.5
    y = actor.y_px - climb + stage.sign() * size * tooth
    return _one(stage, replace(actor, y_px=y))


def star_moves(stage: Stage) -> Action:
    """Of a star and a disc the star moves to the right; amount: way as a fraction of the width."""
    return _one_of_two(stage, "star")


def disc_moves(stage: Stage) -> Action:
    """Of a star and a disc the disc moves to the right; amount: way as a fraction of the width."""
    return _one_of_two(stage, "disc")


def _one_of_two(stage: Stage, mover: str) -> Action:
    """A star and a disc, one above the other; `mover` travels slowly, both tremble.

    Each trembles by itself, and more from frame to frame than the mover travels: neighbouring
    frames do not show which one moves, and no single frame shows that anything does.
    """
    rng, height = stage.rng, stage.height_px
    tremor_px = 0.02 * height
    places = rng.permutation([0.3, 0.7])
    actors = []
    for index, (form, skin) in enumerate((("star", "checks"), ("disc", "plain"))):
        actor = _actor(stage, (0.15, 0.19), form, skin)
        x = stage.width_px * rng.uniform(0.35, 0.65) + rng.normal(0, tremor_px, stage.frames)
        y = height * places[index] + rng.normal(0, tremor_px, stage.frames)
        if form == mover:
            x = x + (_ramp(stage) - 0.5) * stage.draw() * stage.width_px
        actors.append(replace(actor, x_px=x, y_px=y, wears=index))
    return Action(tuple(actors), stage.flat(1.0))


def bounce(stage: Stage) -> Action:
    """An object goes down and up three times; amount: way as a fraction of the height."""
    actor = _actor(stage, form="blob", skin="checks")
    wave = np.cos(2 * np.pi * (3 * stage.tau + stage.rng.uniform(0, 1))) / 2
    return _one(stage, replace(actor, y_px=actor.y_px + wave * stage.draw() * stage.height_px))


def pace(stage: Stage) -> Action:
    """Two objects swing to the left and right together; amount: way as a fraction of the width."""
    wave = np.cos(2 * np.pi * (2 * stage.tau + stage.rng.uniform(0, 1))) / 2
    way = wave * stage.draw() * stage.width_px
    actors = []
    for index, side in enumerate((0.3, 0.7)):
        actor = _actor(stage, (0.14, 0.19), "blob", "stripes")
        actors.append(replace(actor, x_px=side * stage.width_px + way, wears=index))
    return Action(tuple(actors), stage.flat(1.0))


def whirl(stage: Stage) -> Action:
    """A pinwheel turns clockwise fast; amount: periods of its pattern per frame."""
    return _fast(stage, "sectors", (0.26, 0.36), (3, 6), 1.0)


def belt(stage: Stage) -> Action:
    """Stripes run to the right inside a round window; amount: periods per frame."""
    return _fast(stage, "stripes", (0.26, 0.36), (3, 5), 0.0)


def ripple(stage: Stage) -> Action:
    """Rings run outwards; amount: periods per frame."""
    return _fast(stage, "rings", (0.28, 0.38), (4, 6), 1.0)


def _fast(
    stage: Stage,
    pattern: str,
    radius: tuple[float, float],
    repeats: tuple[int, int],
    turned: float,
) -> Action:
    actor = _actor(stage, radius)
    phase = actor.phase + stage.draw() * np.arange(stage.frames)
    count = int(stage.rng.integers(repeats[0], repeats[1] + 1))
    angle = actor.angle * turned
    return _one(stage, replace(actor, pattern=pattern, repeats=count, phase=phase, angle=angle))


def backwards(action: Action) -> Action:
    """The same, played in reverse."""
    turned = [
        replace(
            actor,
            x_px=actor.x_px[::-1],
            y_px=actor.y_px[::-1],
            scale=actor.scale[::-1],
            angle=actor.angle[::-1],
            opacity=actor.opacity[::-1],
            phase=actor.phase[::-1],
        )
        for actor in action.actors
    ]
    return Action(tuple(turned), action.gain[::-1])


def beside(stage: Stage, left: Action, right: Action) -> Action:
    """Both at once, each at two thirds of its size in its half of the frame."""
    actors = []
    for side, action in enumerate((left, right)):
        middle = (0.25 + 0.5 * side) * stage.width_px
        for actor in action.actors:
            moved = replace(
                actor,
                x_px=middle + 0.55 * (actor.x_px - stage.width_px / 2),
                y_px=stage.height_px / 2 + 0.8 * (actor.y_px - stage.height_px / 2),
                scale=actor.scale * 0.67,
                wears=(actor.wears + side) % 2,
            )
            actors.append(moved)
    return Action(tuple(actors), left.gain * right.gain)


def brighten(stage: Stage) -> Action:
    """The light grows; amount: final over first brightness."""
    change = stage.draw() ** (_ramp(stage) - 0.5)
    return Action((_actor(stage),), change)


KINDS: dict[str, Callable[[Stage], Action]] = {
    "slide": slide,
    "lift": lift,
    "approach": approach,
    "turn": turn,
    "appear": appear,
    "meet": meet,
    "cover": cover,
    "star_moves": star_moves,
    "disc_moves": disc_moves,
    "saw": saw,
    "bounce": bounce,
    "pace": pace,
    "whirl": whirl,
    "belt": belt,
    "ripple": ripple,
    "brighten": brighten,
}
