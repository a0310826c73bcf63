"""Experiments, recipes and profiles: what to run and at what scale (data, checked).

`manifests/experiments*.yaml` name rows; `manifests/recipes.yaml` the papers' training schedules;
`manifests/profiles/<profile>.yaml` the scale at which a profile runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.workspace import GENERATED
from pipeline.schema.base import Identifier, Strict, load, nearest
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.miniature import Growth

Scalar = bool | int | float | str
Option = Scalar | list[Scalar]
Positive = Annotated[int, Field(gt=0)]

STARTS = ("images", "scratch")
"""Initial weights that are no row's: image pre-training, and random numbers."""


class Experiment(Strict):
    """One trained row: a network, its data, its training recipe and its test protocols."""

    dataset: Identifier
    fold: str = "default"
    input: Literal["frames", "flow"]
    """The store that clips come from: RGB frames, or TV-L1 flow fields."""
    start: Identifier
    """Initial weights: `scratch`, `images` (image pre-training) or another row's."""
    architecture: Identifier
    backbone: Identifier
    segments: Positive
    options: dict[Identifier, Option] = Field(default_factory=dict)
    recipe: Identifier
    protocols: Annotated[list[Identifier], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    note: str = ""


class Experiments(Strict):
    experiments: dict[Identifier, Experiment]


class Recipe(Strict):
    """A training schedule as its paper or its authors' code states it (`source`)."""

    source: str
    kind: Literal["from_images", "fine_tuning", "two_stream"] = "from_images"
    """Which of a small profile's schedules stands in for this one."""
    phase1_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the image network but its classifier is held still (Ng & Davis 2018)."""
    unit: Literal["epochs", "iterations"] = "epochs"
    """What `epochs`, `phase1_epochs` and `milestones` count."""
    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    decay: Literal["milestones", "plateau"] = "milestones"
    """÷10 at the milestones, or when the validation split's accuracy stops rising."""
    milestones: list[Positive]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    flip: Literal["label_aware", "plain", "none"]
    crop: Literal["multi_scale", "corners", "short_side_jitter", "random"]
    colour_jitter: bool = False
    crop_px: Positive
    sampling: Literal["segments_random", "dense"]
    partial_bn: bool
    group_rates: Literal["flat", "tsn", "tsn_rates"]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        if (self.decay == "plateau") != (not self.milestones):
            raise ValueError("milestones go with decay: milestones, none with plateau")
        if self.phase1_epochs and self.kind != "two_stream":
            raise ValueError("phase1_epochs needs kind: two_stream")
        if self.phase1_epochs >= self.epochs:
            raise ValueError("phase1_epochs must leave epochs for the second phase")
        return self


class Recipes(Strict):
    recipes: dict[Identifier, Recipe]


class Scale(Strict):
    """What a named backbone means in a profile: bottleneck width and blocks per stage."""

    width: Positive
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]


class Schedule(Strict):
    """What a small profile replaces in every recipe of a kind: never one row's schedule alone."""

    epochs: Positive
    phase1_epochs: Annotated[int, Field(ge=0)] = 0
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    decay: Literal["cosine", "milestones"]
    warmup_epochs: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _leaves_a_second_phase(self) -> Schedule:
        if self.phase1_epochs >= self.epochs:
            raise ValueError("phase1_epochs must leave epochs for the second phase")
        return self


class Schedules(Strict):
    """A small profile's schedules, one for each kind of recipe."""

    from_images: Schedule
    fine_tuning: Schedule
    two_stream: Schedule


class Stills(Strict):
    """Image pre-training on procedural still images: what a small profile has for ImageNet."""

    images: Positive
    size_px: Annotated[int, Field(ge=16, le=128)]
    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


class Compute(Strict):
    """How a profile uses a machine; `threads` and `batch` settings change the last digits."""

    device: Literal["cpu", "auto"]
    """`auto` is the accelerator where there is one, else the processor."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of forward passes; weights, their gradients and the loss are float32 in training."""
    threads: Annotated[int, Field(ge=0)]
    loader_workers: Annotated[int, Field(ge=0)]
    cache_mb: Annotated[int, Field(ge=0)]
    eval_batch: Positive


class Profile(Strict):
    profile: Identifier
    title: str
    smoke: bool
    generated: bool
    experiments_file: str
    rows: Annotated[list[Identifier], Field(min_length=1)] | None = None
    """Those of the file's rows that the profile runs, null for all; of others tables cite."""
    datasets: list[Identifier]
    backbones: dict[Identifier, Scale]
    images: Literal["imagenet", "none"] | Stills
    """What rows that start from `images` start from."""
    seeds: Positive = 1
    """How often each row is trained, from seeds one after another; tables show the first."""
    flow: list[Identifier]
    """Data sets whose optical flow is computed and stored; the graph needs it, were it empty."""
    flow_policy: FlowPolicy | None = None
    """How it is computed; needed where `flow` names a data set."""
    twins: dict[Identifier, Growth] = Field(default_factory=dict)
    """Data sets whose miniature is generated at another size than its twin states."""
    sizes_px: dict[int, int]
    schedules: Schedules | None
    compute: Compute

    @model_validator(mode="after")
    def _generates_where_it_says_so(self) -> Profile:
        # Elsewhere raw folders are the user's own data, which a generator would replace.
        if self.generated != (self.profile in GENERATED):
            raise ValueError(f"generated: true is for the profiles {', '.join(GENERATED)} alone")
        for name in self.twins:
            if not self.generated or name not in self.datasets:
                raise ValueError(f"twins names '{name}', which this profile does not generate")
        return self

    @model_validator(mode="after")
    def _flow_is_possible(self) -> Profile:
        unknown = [name for name in self.flow if name not in self.datasets]
        if unknown:
            raise ValueError(f"flow names '{unknown[0]}', which is not in datasets")
        if self.flow and self.flow_policy is None:
            raise ValueError("flow needs a flow_policy")
        return self


def load_profile(manifests: Path, name: str) -> Profile:
    """The profile called `name`; a UsageError naming the nearest one when there is none."""
    known = sorted(path.stem for path in (manifests / "profiles").glob("*.yaml"))
    if name not in known:
        raise UsageError(
            f"unknown profile '{name}'",
            where="manifests/profiles/",
            do=nearest(name, known),
        )
    profile = load(Profile, manifests / "profiles" / f"{name}.yaml")
    if profile.profile != name:
        raise ManifestError(
            f"profile: '{profile.profile}' does not match the file name",
            where=f"manifests/profiles/{name}.yaml",
            do=f"write profile: {name}",
        )
    return profile


def load_experiments(manifests: Path, profile: Profile) -> dict[str, Experiment]:
    """The rows that a profile runs, in the order written; every reference is checked."""
    path = manifests / profile.experiments_file
    rows = _chosen(load(Experiments, path).experiments, profile)
    for key, row in rows.items():
        where = f"manifests/{profile.experiments_file}, experiments.{key}"
        _known("dataset", row.dataset, profile.datasets, where)
        _known("backbone", row.backbone, list(profile.backbones), where)
        _known("start", row.start, [*STARTS, *rows], where)
        if row.input == "flow":
            _known("input: flow of", row.dataset, profile.flow, where)
        first = rows.get(row.start)
        if first is not None and first.architecture != row.architecture and first.start != "images":
            raise ManifestError(
                f"start: {row.start} does not start from images, as this row's second network does",
                where=where,
                do=f"let {row.start} start from images",
            )
        if key in STARTS:
            raise ManifestError(
                f"'{key}' is not a row's name", where=where, do="it names a start; choose another"
            )
    _no_circle(rows, f"manifests/{profile.experiments_file}")
    return rows


def _chosen(every: dict[str, Experiment], profile: Profile) -> dict[str, Experiment]:
    """The profile's rows in the order of the file; none may start from a row left out."""
    if profile.rows is None:
        return every
    where = f"manifests/profiles/{profile.profile}.yaml, rows"
    for key in profile.rows:
        _known("rows", key, list(every), where)
        begin = every[key].start
        if begin in every and begin not in profile.rows:
            raise ManifestError(
                f"{key} starts from {begin}, which is not among the profile's rows",
                where=where,
                do=f"add {begin}",
            )
    return {key: row for key, row in every.items() if key in profile.rows}


def _no_circle(rows: dict[str, Experiment], where: str) -> None:
    for key in rows:
        met, at = [key], rows[key].start
        while at in rows:
            if at in met:
                raise ManifestError(
                    f"rows start from each other: {' → '.join([*met, at])}",
                    where=where,
                    do="let one of them start from images or scratch",
                )
            met.append(at)
            at = rows[at].start


def known_dataset(manifests: Path, profile: str, name: str) -> None:
    """UsageError naming the nearest one when the profile has no data set `name`."""
    known = load_profile(manifests, profile).datasets
    if name not in known:
        raise UsageError(
            f"profile {profile} has no data set '{name}'",
            where=f"manifests/profiles/{profile}.yaml, datasets",
            do=nearest(name, known),
        )


def load_recipes(manifests: Path) -> dict[str, Recipe]:
    """The named training recipes."""
    return load(Recipes, manifests / "recipes.yaml").recipes


def pick(kind: str, name: str, known: dict[str, Recipe], where: str) -> Recipe:
    """`known[name]`, or a ManifestError that names the nearest one."""
    _known(kind, name, list(known), where)
    return known[name]


def _known(kind: str, name: str, known: list[str], where: str) -> None:
    if name not in known:
        raise ManifestError(f"{kind}: unknown '{name}'", where=where, do=nearest(name, known))
