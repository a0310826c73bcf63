"""Rows: what is trained on what, `manifests/experiments*.yaml`, checked.

An entry of the file is a row, or several that differ in fold, split or seed. It may name another
one as its `base` and then states only what differs; how, is said at the top of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, create_model, model_validator

from pipeline.core.errors import ManifestError
from pipeline.core.workspace import manifests_of
from pipeline.schema.base import Identifier, Strict, known_name, nearest, read_yaml, validate
from pipeline.schema.profiles import Profile

Scalar = bool | int | float | str
Option = Scalar | list[Scalar]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]

STARTS = ("images", "scratch")
"""Initial weights that are no row's: image pre-training, and random numbers."""
_IMAGES = "images_"


class Checkpoint(Strict):
    """Weights that somebody else trained, in a file that the user puts there."""

    checkpoint: Annotated[str, StringConstraints(pattern=r"^data/weights/[^/]+$")]
    architecture: Identifier | None = None
    """Whose names the file's tensors have; null: those of the row's network."""
    class_names: Annotated[str, StringConstraints(pattern=r"^data(/[^/.:][^/:]*)+$")] | None = None
    """A file with one class a line, in the checkpoint's order; null: in the data set's."""
    page: str = ""
    """Where its authors offer it."""
    classifier: Literal["new"] | None = Field(default=None, exclude_if=lambda value: value is None)
    """`new`: untrained, for the row's own classes; such a row is there to be trained on."""


class Experiment(Strict):
    """One row: a network, its data, its training recipe and its test protocols."""

    dataset: Identifier
    fold: str = "default"
    input: Literal["frames", "flow"]
    """The store that clips come from: RGB frames, or TV-L1 flow fields."""
    start: Identifier | Checkpoint
    """Initial weights: `scratch`, `images` (image pre-training), another row's, or a file."""
    architecture: Identifier
    backbone: Identifier
    segments: Positive
    options: dict[Identifier, Option] = Field(default_factory=dict)
    recipe: Identifier | None = None
    train: Literal["none"] | None = None
    """`none` in place of a recipe: the weights of a file are tested as they are."""
    protocols: Annotated[list[Identifier], Field(min_length=1)]
    seed: Seed = 0
    note: str = ""

    @model_validator(mode="after")
    def _is_trained_or_imported(self) -> Experiment:
        if (self.recipe is None) != (self.train is not None):
            raise ValueError("give it a recipe, or `train: none`")
        if isinstance(self.start, Checkpoint) != (self.train is not None):
            raise ValueError(
                "`train: none` and a start from a checkpoint go together; to train on, let "
                "another row start from this one"
            )
        return self

    @property
    def begins(self) -> str:
        """The start whose training comes before: `scratch`, `images_BACKBONE` or a row; of a file
        `scratch`, which has nothing to do."""
        if isinstance(self.start, Checkpoint):
            return "scratch"
        return images_key(self.backbone) if self.start == "images" else self.start


def _optional() -> dict[str, Any]:
    """The fields of a row, each of which an entry may leave to its base."""
    fields: dict[str, Any] = {}
    for name, info in Experiment.model_fields.items():
        own = copy(info)
        own.default, own.default_factory = None, None
        fields[name] = (info.annotation, own)
    return fields


class _Entry(Strict):
    base: Identifier | None = None
    folds: Annotated[list[Identifier], Field(min_length=1)] | None = None
    splits: Annotated[list[Positive], Field(min_length=1)] | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None


Entry: Any = create_model("Entry", __base__=_Entry, **_optional())
"""What stands under one key of the file."""
Entries = create_model("Entries", __base__=Strict, experiments=(dict[Identifier, Entry], ...))

ONE_OF = (("fold", "folds", "splits"), ("seed", "seeds"), ("recipe", "train"))
"""Keys that say the same thing: the one that an entry writes replaces those of its base."""


HIDDEN = "_"
"""What the key of an entry begins with that is a base for others and no row."""


@dataclass(frozen=True)
class Values:
    """What an entry or a row says by key, and whose lines these are ('options.x' for an option)."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    entry: str = ""
    """The key of the entry itself."""


@dataclass
class _Resolver:
    """The entries of one file, resolved on demand."""

    entries: dict[str, dict[str, Any]]
    where: str

    def rows(self) -> dict[str, Values]:
        """Every row by key, in the order written."""
        rows: dict[str, Values] = {}
        for name in self.entries:
            if name.startswith(HIDDEN):
                self.entry(name)  # its base is checked all the same
                continue
            for key, row in self.expanded(name).items():
                if key in rows:
                    raise ManifestError(
                        f"'{key}' is written twice: also as one of the rows of '{name}'",
                        where=self._at(name),
                        do="rename one of them",
                    )
                rows[key] = row
        return rows

    def entry(self, name: str, path: tuple[str, ...] = ()) -> Values:
        """An entry with what it inherits; `path` are the entries that inherit from it."""
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            raise ManifestError(
                f"rows are each other's base: {circle}",
                where=self._at(name),
                do="let one of them state its values without a base",
            )
        own = self.entries[name]
        base = own.get("base")
        if base is None:
            inherited = Values()
        elif base in self.entries:
            inherited = self.entry(base, (*path, name))
        else:
            inherited = self._row(name, base, (*path, name))
        return _merged(name, own, inherited)

    def expanded(self, name: str, path: tuple[str, ...] = ()) -> dict[str, Values]:
        """The rows of an entry: itself, or one for each of its folds, splits and seeds."""
        whole = self.entry(name, path)
        rows = {}
        for suffix, chosen in _suffixes(whole.values).items():
            values = {
                k: v for k, v in whole.values.items() if k not in ("folds", "splits", "seeds")
            }
            values |= chosen
            start = values.get("start")
            if suffix and isinstance(start, str) and start in self.entries:
                values["start"] = self._start(start, suffix, path)
            origins = {
                ("fold" if k in ("folds", "splits") else k): v for k, v in whole.origins.items()
            }
            rows[name + suffix] = Values(values, origins, name)
        return rows

    def _start(self, start: str, suffix: str, path: tuple[str, ...]) -> str:
        """The row of the entry `start` that has the same fold, split and seed."""
        theirs = _suffixes(self.entry(start, path).values)
        without_seed = suffix.rpartition("_seed")[0]
        for ending in (suffix, without_seed):
            if ending in theirs:
                return start + ending
        return start

    def _row(self, name: str, base: str, path: tuple[str, ...]) -> Values:
        """The row `base`, one of those of an entry with several."""
        for other in self.entries:
            if base.startswith(f"{other}_"):
                rows = self.expanded(other, path)
                if base in rows:
                    return rows[base]
        listed = [n + suffix for n, own in self.entries.items() for suffix in _suffixes(own)]
        raise ManifestError(
            f"base: unknown '{base}'", where=self._at(name), do=nearest(base, listed)
        )

    def _at(self, name: str) -> str:
        return f"{self.where}, experiments.{name}"


def _merged(name: str, own: dict[str, Any], inherited: Values) -> Values:
    """`own` lines over inherited ones, as the top of the file says."""
    values, origins = dict(inherited.values), dict(inherited.origins)
    dropped = {"note"} | {key for group in ONE_OF for key in group if own.keys() & set(group)}
    if "architecture" in own:
        dropped.add("options")
    for key in dropped:
        values.pop(key, None)
    origins = {key: whose for key, whose in origins.items() if key.split(".")[0] not in dropped}
    for key, value in own.items():
        if key == "options":
            values["options"] = {**values.get("options", {}), **value}
            origins |= {f"options.{option}": name for option in value}
        elif key != "base":
            values[key] = value
            origins[key] = name
    return Values(values, origins, name)


def _suffixes(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the keys of an entry's rows end in, and what each of them replaces."""
    folds = [(f"_{fold}", {"fold": fold}) for fold in values.get("folds", [])]
    folds += [(f"_s{split}", {"fold": str(split)}) for split in values.get("splits", [])]
    seeds = [(f"_seed{seed}", {"seed": seed}) for seed in values.get("seeds", [])]
    nothing: list[tuple[str, dict[str, Any]]] = [("", {})]
    return {a + b: {**x, **y} for (a, x), (b, y) in product(folds or nothing, seeds or nothing)}


def load_rows(manifests: Path, file: str) -> dict[str, Values]:
    """Every row of a file with its bases and lists resolved, and where each value comes from."""
    where = f"{manifests.name}/{file}"
    read: Any = validate(Entries, read_yaml(manifests / file), where=where)
    entries = {}
    for key, entry in read.experiments.items():
        entries[key] = entry.model_dump(exclude_unset=True)
        for group in ONE_OF:
            if len(twice := [name for name in group if name in entries[key]]) > 1:
                raise ManifestError(
                    f"{' and '.join(twice)}: give one of them", where=f"{where}, experiments.{key}"
                )
    return _Resolver(entries, where).rows()


def load_experiments(manifests: Path, profile: Profile) -> dict[str, Experiment]:
    """The rows that a profile runs, in the order written; every reference is checked."""
    place = profile.rows_where
    folder = manifests_of(manifests, profile.profile)
    every = {
        key: validate(Experiment, row.values, where=f"{place}, experiments.{key}")
        for key, row in load_rows(folder, profile.experiments_file).items()
    }
    rows = _chosen(every, profile)
    for key, row in rows.items():
        where = f"{place}, experiments.{key}"
        known_name("dataset", row.dataset, profile.datasets, where)
        known_name("backbone", row.backbone, profile.backbones, where)
        if isinstance(row.start, str):
            known_name("start", row.start, [*STARTS, *rows], where)
        if row.input == "flow":
            known_name("input: flow of", row.dataset, profile.flow, where)
        first = rows.get(row.begins)
        if first is not None and first.architecture != row.architecture:
            _check_second_network(row, first, where)
        if key in STARTS or key.startswith(_IMAGES):
            raise ManifestError(
                f"'{key}' is not a row's name", where=where, do="it names a start; choose another"
            )
    _no_circle(rows, place)
    return rows


def _check_second_network(row: Experiment, first: Experiment, where: str) -> None:
    """A two-stream network starts from a TSN and its second network from the TSN's own start."""
    if first.start != "images":
        raise ManifestError(
            f"start: {row.start} does not start from images, as this row's second network does",
            where=where,
            do=f"let {row.start} start from images",
        )
    if first.backbone != row.backbone:
        raise ManifestError(
            f"start: {row.start} has another backbone, {first.backbone}",
            where=where,
            do=f"write backbone: {first.backbone}",
        )


def images_key(backbone: str) -> str:
    """The start that holds the image pre-training of `backbone`."""
    return f"{_IMAGES}{backbone}"


def starts(rows: Mapping[str, Experiment]) -> list[str]:
    """The starts of `rows` that are no rows, which stage `pretrain` makes."""
    keys = {row.begins for row in rows.values()} - rows.keys()
    return sorted({"scratch", *keys})


def _chosen(every: dict[str, Experiment], profile: Profile) -> dict[str, Experiment]:
    """The profile's rows in the order of the file; none may start from a row left out.

    Published weights are of full networks on real data: a generated profile has none of theirs.
    """
    if profile.generated:
        every = {k: row for k, row in every.items() if not isinstance(row.start, Checkpoint)}
    if profile.rows is None:
        return every
    where = f"{profile.where}, rows"
    for key in profile.rows:
        known_name("rows", key, every, where)
        start = every[key].begins
        if start in every and start not in profile.rows:
            raise ManifestError(
                f"{key} starts from {start}, which is not among the profile's rows",
                where=where,
                do=f"add {start}",
            )
    return {key: row for key, row in every.items() if key in profile.rows}


def _no_circle(rows: dict[str, Experiment], where: str) -> None:
    for key in rows:
        met, at = [key], rows[key].begins
        while at in rows:
            if at in met:
                raise ManifestError(
                    f"rows start from each other: {' → '.join([*met, at])}",
                    where=where,
                    do="let one of them start from images or scratch",
                )
            met.append(at)
            at = rows[at].begins
