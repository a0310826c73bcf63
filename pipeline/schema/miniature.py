"""What a miniature data set is made of: `manifests/miniatures/<data set>.yaml`, checked.

A miniature stands in for a data set nobody can be asked to download: procedural clips, really
encoded, in the official layout. Its classes come in time-reversed pairs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.errors import ManifestError
from pipeline.schema.base import Strict, nearest, validate

Range = Annotated[list[float], Field(min_length=2, max_length=2)]
"""[least, most] of a quantity drawn uniformly for each clip."""


Kind = Literal[
    "appear", "approach", "belt", "bounce", "brighten", "cover", "disc_moves", "lift", "meet",
    "pace", "ripple", "saw", "slide", "star_moves", "turn", "whirl",
]  # fmt: skip
"""Motions that `pipeline.mini.motions` can draw."""


class Pair(Strict):
    """Two classes of which one is the other played backwards."""

    kind: Kind
    forward: str
    """Class name; where the data set has templates, the template with its brackets."""
    backward: str
    mirrored: bool
    """True when a horizontal flip turns one class into the other."""
    decided_by: Literal["adjacent", "across", "either"]
    """Which frame differences tell the two apart: neighbouring frames, neighbouring segments."""
    amount: Range
    """Size of the motion, in the unit the kind states."""
    shake_px: float = Field(ge=0)
    """Standard deviation of the object's own jitter, drawn anew for every frame."""


class Still(Strict):
    """A class that looks the same played backwards: appearance or rhythm decides it."""

    kind: Kind
    name: str
    amount: Range
    shake_px: float = Field(ge=0)


class Look(Strict):
    """How hard the clips are on the eye; the same for every clip of the miniature."""

    camera_jitter_px: float = Field(ge=0)
    """Standard deviation of the whole picture's shift, drawn anew for every frame."""
    pan_px: float = Field(ge=0)
    """Largest drift of the background over a clip, in any direction."""
    noise: float = Field(ge=0, le=64)
    """Standard deviation of the sensor noise, in grey levels of 255."""
    clutter: float = Field(ge=0, le=64)
    """Amplitude of the background's texture, in grey levels."""
    flicker: float = Field(ge=0, lt=1)
    """Standard deviation of the picture's brightness factor, drawn anew for every frame."""
    tint: float = Field(ge=0, le=64, default=0.0)
    """How far the background's colour goes along with the kind of motion, in grey levels: a place
    that fits the action. Both classes of a pair have the same."""
    contrast: Range
    """How far an object's colours stand out from the background's, 0 to 1."""


class Split(Strict):
    """One subset of a data set with fixed subsets."""

    clips_per_class: int = Field(ge=1)
    closed_under_reversal: bool
    """True: every scene is written twice, forwards and backwards, under the two labels."""
    labelled: bool
    pool: int = Field(ge=1)
    """Objects, textures and backgrounds of its own that the subset draws from, of each kind."""


class Groups(Strict):
    """Subsets by source: clips of a group share object, texture and background."""

    count: int = Field(ge=2, le=99)
    clips_per_group: int = Field(ge=1, le=99)
    test_groups: Annotated[list[list[int]], Field(min_length=1)]
    """For each split the groups (from 1) that are its test set; all others train."""
    unused_groups: list[list[int]] = Field(default_factory=list)
    """For each split the groups that neither train nor test; empty where there are none."""
    names: list[str] = Field(default_factory=list)
    """People whom the groups stand for; subsets are then `<name>/train` and `<name>/test`."""

    def train_groups(self, split: int) -> list[int]:
        """The groups (from 1) that split `split` (from 0) trains on."""
        unused = self.unused_groups[split] if self.unused_groups else []
        taken = {*self.test_groups[split], *unused}
        return [group for group in range(1, self.count + 1) if group not in taken]

    def subsets(self, split: int) -> tuple[str, str]:
        """Names of the training and the test subset of split `split` (from 0)."""
        if self.names:
            return f"{self.names[split]}/train", f"{self.names[split]}/test"
        return f"train{split + 1:02d}", f"test{split + 1:02d}"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Groups:
        if self.unused_groups and len(self.unused_groups) != len(self.test_groups):
            raise ValueError("unused_groups and test_groups must have one entry per split")
        if self.names and len(self.names) != len(self.test_groups):
            raise ValueError("names must have one entry per split")
        return self


class Miniature(Strict):
    """One miniature data set."""

    stands_for: str
    seed: int = Field(ge=0)
    width_px: int = Field(ge=32, le=512)
    height_px: int = Field(ge=32, le=512)
    frames: int = Field(ge=12, le=300)
    fps: float = Field(gt=0)
    quality: int = Field(ge=0, le=100)
    """JPEG quality for frame folders; the codec's own quantiser for video."""
    look: Look
    pairs: list[Pair] = Field(min_length=1)
    stills: list[Still]
    splits: dict[str, Split]
    groups: Groups | None
    doubles_every: Annotated[int, Field(ge=1)] | None = None
    """Several labels: in every so many-th scene a second motion goes on beside the first."""
    missing_rows: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Rows of each subset's list whose video is nowhere, besides those of the clips."""
    order_blind_bound_pct: Annotated[float, Field(ge=0, le=100)] | None
    """No function that ignores frame order scores above this on the evaluation split; null with
    several labels, where the measure is a mean over rankings."""
    order_blind_reason: str
    flip_pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    """Class names that change places when a clip is flipped horizontally."""
    expected: dict[str, int]
    """Rows per subset, as annotation files list them."""

    @property
    def templates(self) -> list[str]:
        """Class names as written here: forward and backward of each pair, then the stills."""
        paired = [name for pair in self.pairs for name in (pair.forward, pair.backward)]
        return paired + [still.name for still in self.stills]

    @property
    def classes(self) -> list[str]:
        """Class names as the data set's readers see them: templates without brackets."""
        return [strip_brackets(name) for name in self.templates]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Miniature:
        if (self.groups is None) == (not self.splits):
            raise ValueError("give either splits or groups")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        sides = [(p.forward, p.backward) for p in self.pairs if p.mirrored]
        mirrored = [[strip_brackets(name) for name in side] for side in sides]
        if sorted(map(sorted, self.flip_pairs)) != sorted(map(sorted, mirrored)):
            raise ValueError(f"flip_pairs must name the mirrored pairs: {mirrored}")
        counted = self.count_clips()
        if counted != self.expected:
            raise ValueError(f"expected does not add up; the numbers above give {counted}")
        if self.doubles_every is not None:
            if self.groups is not None or self.order_blind_bound_pct is not None:
                raise ValueError("doubles_every wants splits and order_blind_bound_pct: null")
            return self
        blind = 100 * (len(self.pairs) + len(self.stills)) / len(self.classes)
        if abs(blind - (self.order_blind_bound_pct or 0)) > 0.01:
            raise ValueError(f"order_blind_bound_pct must be {blind:.2f}: one right of each pair")
        return self

    def count_clips(self) -> dict[str, int]:
        """Rows per subset; with groups the subsets are `train01`, `test01`, ..."""
        if self.groups is None:
            return {
                name: split.clips_per_class * len(self.classes) + self.missing_rows.get(name, 0)
                for name, split in self.splits.items()
            }
        per_group = self.groups.clips_per_group * len(self.classes)
        counts: dict[str, int] = {}
        for number, test in enumerate(self.groups.test_groups):
            train_name, test_name = self.groups.subsets(number)
            counts[train_name] = len(self.groups.train_groups(number)) * per_group
            counts[test_name] = len(test) * per_group
        return counts


class SplitGrowth(Strict):
    """Another number of clips, and of things to film them with, in one subset."""

    clips_per_class: Annotated[int, Field(ge=1)] | None = None
    pool: Annotated[int, Field(ge=1)] | None = None


class Growth(Strict):
    """A miniature at the size that a profile asks for: the same classes, motions and frames."""

    height_px: Annotated[int, Field(ge=32, le=512)] | None = None
    """Lines of a frame; its width and all jitter, shake and drift grow along."""
    splits: dict[str, SplitGrowth] = Field(default_factory=dict)


def grown(miniature: Miniature, growth: Growth, *, where: str) -> Miniature:
    """`miniature` at the size that `growth` asks for, its expected counts added up anew.

    Sensor noise and clutter are grey levels and stay, and so does the number of frames, on which
    the sampled positions' symmetry in time rests. Raises ManifestError naming what does not fit.
    """
    value = miniature.model_dump(mode="json")
    if growth.height_px is not None:
        factor = growth.height_px / miniature.height_px
        value["height_px"] = growth.height_px
        value["width_px"] = 2 * round(miniature.width_px * factor / 2)
        for name in ("camera_jitter_px", "pan_px"):
            value["look"][name] = round(value["look"][name] * factor, 4)
        for entry in [*value["pairs"], *value["stills"]]:
            entry["shake_px"] = round(entry["shake_px"] * factor, 4)
    for name, change in growth.splits.items():
        if name not in miniature.splits:
            raise ManifestError(
                f"splits: the miniature has no subset '{name}'",
                where=where,
                do=nearest(name, list(miniature.splits))
                or "leave it out: its subsets follow groups",
            )
        value["splits"][name] |= change.model_dump(exclude_none=True)
    splits = {name: Split.model_validate(split) for name, split in value["splits"].items()}
    value["expected"] = miniature.model_copy(update={"splits": splits}).count_clips()
    return validate(Miniature, value, where=where)


def strip_brackets(template: str) -> str:
    """The label of a template: brackets removed, words kept."""
    return template.replace("[", "").replace("]", "")
