"""A row as a profile runs it, value by value, with where each value comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.workspace import manifests_of
from pipeline.schema.base import one_of
from pipeline.schema.experiments import Experiment, Values, load_experiments, load_rows
from pipeline.schema.profiles import Profile, load_profile
from pipeline.schema.recipes import Recipe, load_recipes, pick_recipe, replaced_by


@dataclass(frozen=True)
class RowValue:
    """One value of a row, e.g. `options.variant`, `recipe.lr`, `network.width`."""

    name: str
    value: str
    """As JSON, but for text."""
    origin: str
    """`own line`, `base KEY`, `recipe NAME`, `profile NAME, …` or `default`."""


def describe_row(manifests: Path, profile_name: str, key: str) -> list[RowValue]:
    """Every value of a row; UsageError naming the nearest row when the profile has none such."""
    profile = load_profile(manifests, profile_name)
    rows = load_experiments(manifests, profile)
    place = profile.rows_where
    one_of(key, rows, f"profile {profile_name} has no row '{key}'", where=place)
    row = rows[key]
    written = load_rows(manifests_of(manifests, profile_name), profile.experiments_file)[key]
    values = _row_values(row, written)
    if row.recipe is not None:
        recipe = pick_recipe(row.recipe, load_recipes(manifests), f"{place}, experiments.{key}")
        values += _recipe_values(row.recipe, recipe, profile)
    return values + _profile_values(row, profile)


def _row_values(row: Experiment, written: Values) -> list[RowValue]:
    values: dict[str, Any] = {}
    for name, value in row.model_dump().items():
        if name == "options":
            values |= {f"options.{option}": chosen for option, chosen in value.items()}
        else:
            values[name] = value
    return [
        RowValue(name, _text(value), _whose(written, name))
        for name, value in values.items()
        if name in written.origins or value not in ("", None)
    ]


def _whose(written: Values, name: str) -> str:
    entry = written.origins.get(name)
    if entry is None:
        return "default"
    return "own line" if entry == written.entry else f"base {entry}"


def _recipe_values(name: str, recipe: Recipe, profile: Profile) -> list[RowValue]:
    replaced = {} if profile.schedules is None else replaced_by(recipe, profile.schedules)
    scaled = profile.scaled(recipe).model_dump()
    origins = dict.fromkeys(scaled, f"recipe {name}")
    origins |= dict.fromkeys(
        scaled.keys() - recipe.model_fields_set, f"default (recipe {name} does not say)"
    )
    schedule = f"profile {profile.profile}, schedules.{recipe.kind}"
    origins |= dict.fromkeys(replaced, schedule)
    origins["crop_px"] = f"profile {profile.profile}, sizes_px of {recipe.crop_px} in recipe {name}"
    return [RowValue(f"recipe.{key}", _text(value), origins[key]) for key, value in scaled.items()]


def _profile_values(row: Experiment, profile: Profile) -> list[RowValue]:
    size = profile.backbones[row.backbone]
    backbone = f"profile {profile.profile}, backbones.{row.backbone}"
    compute = f"profile {profile.profile}, compute"
    return [
        RowValue("network.width", _text(size.width), backbone),
        RowValue("network.blocks", _text(size.blocks), backbone),
        RowValue("profile seed (added)", _text(profile.seed), f"profile {profile.profile}"),
        RowValue("seeds", _text(profile.seeds), f"profile {profile.profile}"),
        *(
            RowValue(f"compute.{name}", _text(value), compute)
            for name, value in profile.compute.model_dump().items()
        ),
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
