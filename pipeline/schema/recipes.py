"""Training recipes: the papers' in `manifests/recipes.yaml`, and what a small profile replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.schema.base import Identifier, Strict, known_name, load

Positive = Annotated[int, Field(gt=0)]
Flip = Literal["label_aware", "plain", "none"]
Crop = Literal["multi_scale", "corners", "short_side_jitter", "random"]
GroupRates = Literal["flat", "tsn", "tsn_rates"]


class TrainingRecipe(Strict):
    """How a network is trained."""

    phase1_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the image network but its classifier is frozen (Ng & Davis 2018)."""
    unit: Literal["epochs", "iterations"] = "epochs"
    """What `epochs`, `phase1_epochs` and `milestones` count."""
    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    decay: Literal["milestones", "plateau", "cosine"] = "milestones"
    """÷10 at the milestones; ÷10 when the validation split's accuracy stops rising; cosine."""
    milestones: list[Positive]
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    flip: Flip
    crop: Crop
    colour_jitter: bool = False
    crop_px: Positive
    sampling: Literal["segments_random", "dense"]
    partial_bn: bool
    group_rates: GroupRates


class Recipe(TrainingRecipe):
    """A training recipe as its paper or its authors' code states it (`source`)."""

    source: str
    kind: Literal["from_images", "fine_tuning", "two_stream"] = "from_images"
    """Which of a small profile's schedules stands in for this one."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        if (self.decay == "milestones") != bool(self.milestones):
            raise ValueError("milestones go with decay: milestones, none with the others")
        if self.phase1_epochs and self.kind != "two_stream":
            raise ValueError("phase1_epochs needs kind: two_stream")
        if self.phase1_epochs >= self.epochs:
            raise ValueError("phase1_epochs must leave epochs for the second phase")
        return self


class Recipes(Strict):
    recipes: dict[Identifier, Recipe]


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
    flip: Flip | None = None
    crop: Crop | None = None
    partial_bn: bool | None = None
    group_rates: GroupRates | None = None
    """Of these four, null leaves what each recipe says; a value makes rows comparable."""

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


def load_recipes(manifests: Path) -> dict[str, Recipe]:
    """The named training recipes."""
    return load(Recipes, manifests / "recipes.yaml").recipes


def pick_recipe(name: str, recipes: dict[str, Recipe], where: str) -> Recipe:
    """The recipe called `name`, or a ManifestError that names the nearest one."""
    known_name("recipe", name, recipes, where)
    return recipes[name]


def replaced_by(recipe: Recipe, schedules: Schedules) -> dict[str, object]:
    """The values of a recipe that a small profile's schedule of its kind replaces.

    Milestones keep their places relative to the number of epochs.
    """
    schedule: Schedule = getattr(schedules, recipe.kind)
    values = schedule.model_dump(exclude_none=True)
    share = schedule.epochs / recipe.epochs
    kept = recipe.milestones if schedule.decay == "milestones" else []
    values["milestones"] = [max(1, round(epoch * share)) for epoch in kept]
    values["unit"] = "epochs"
    if not recipe.phase1_epochs:
        values["phase1_epochs"] = 0  # the row that compares one phase with two
    return values
