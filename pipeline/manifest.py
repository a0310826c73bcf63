"""Experiments, recipes and profiles: what to run and at what scale (data, checked).

`manifests/experiments*.yaml` name rows; `manifests/recipes.yaml` the papers' training schedules;
`manifests/profiles/<profile>.yaml` the scale at which a profile runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.errors import ManifestError, UsageError
from pipeline.manifest_base import Identifier, Strict, load, nearest

Scalar = bool | int | float | str
Option = Scalar | list[Scalar]
Positive = Annotated[int, Field(gt=0)]


class Experiment(Strict):
    """One trained row: a network, its data, its training recipe and its test protocols."""

    dataset: Identifier
    fold: str = "default"
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
    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    milestones: list[Positive]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    flip: Literal["label_aware", "plain", "none"]
    crop: Literal["multi_scale"]
    crop_px: Positive
    sampling: Literal["segments_random", "dense"]
    partial_bn: bool
    group_rates: Literal["flat", "tsn"]


class Recipes(Strict):
    recipes: dict[Identifier, Recipe]


class Scale(Strict):
    """What a named backbone means in a profile: bottleneck width and blocks per stage."""

    width: Positive
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]


class Schedule(Strict):
    """What a small profile replaces in every recipe alike: never one row's schedule alone."""

    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    decay: Literal["cosine", "milestones"]
    warmup_epochs: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Compute(Strict):
    """How a profile uses a machine; `threads` and `batch` settings change the last digits."""

    device: Literal["cpu", "auto"]
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
    datasets: list[Identifier]
    backbones: dict[Identifier, Scale]
    weights: Literal["imagenet", "none"]
    sizes_px: dict[int, int]
    schedule: Schedule | None
    compute: Compute


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
    rows = load(Experiments, path).experiments
    for key, row in rows.items():
        where = f"manifests/{profile.experiments_file}, experiments.{key}"
        _known("dataset", row.dataset, profile.datasets, where)
        _known("backbone", row.backbone, list(profile.backbones), where)
    return rows


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
