"""What a run at the papers' schedules costs, before it begins: rows, hours, what is not here."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.dataset import Dataset, load_dataset
from pipeline.schema.experiments import Checkpoint, Experiment, load_experiments
from pipeline.schema.profiles import load_profile
from pipeline.schema.protocols import CROP_COUNTS, Protocol, load_protocols
from pipeline.schema.recipes import load_recipes
from stages.commands.list_rows import (
    STEP_OVER_FORWARD,
    gmacs_of_rows,
    measured_tflops,
    training_clips,
)

ASSUMED_TFLOPS = 40.0
"""Sustained in training by one recent accelerator, where none was timed: stated, not measured."""
ASK_ABOVE_H = 1.0
_COUNTED_PX = 224


@dataclass
class RunCost:
    """Hours of the rows that would compute, by data set; why others would not."""

    tflops: float
    rate: str
    """Where the rate comes from."""
    free_gib: float
    hours: dict[str, list[float]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Rows whose videos are not counted yet."""
    not_here: dict[str, list[str]] = field(default_factory=dict)
    """What a user would have to put where → rows that wait for it."""
    step_gib: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Row → device memory of a step of its training, and the clips that it computes at once."""
    device_gib: float | None = None
    """Memory of the accelerator here; None where there is none."""

    @property
    def total_h(self) -> float:
        return sum(map(sum, self.hours.values()))

    @property
    def to_be_asked(self) -> bool:
        return self.total_h > ASK_ABOVE_H or bool(self.unknown)

    def lines(self) -> list[str]:
        """The cost as a user reads it."""
        count = sum(map(len, self.hours.values()))
        found = [
            f"{count} rows would compute: about {self.total_h:,.1f} hours of one device "
            f"at {self.tflops:g} TFLOP/s ({self.rate})"
        ]
        for name, hours in self.hours.items():
            found.append(f"  {name}: {len(hours)} rows, {sum(hours):,.1f} hours")
        if self.unknown:
            found.append(
                f"  {len(self.unknown)} more whose videos are not counted yet: "
                "`tdn check DATASET` counts them"
            )
        for what, rows in self.not_here.items():
            found.append(f"  not run: {len(rows)} rows, {what} is not here")
        found += self._memory_lines()
        return [*found, f"  free disk: {self.free_gib:,.0f} GiB; `tdn decode DATASET --dry-run`"]

    def _memory_lines(self) -> list[str]:
        """The row that needs most, and those that need more than there is."""
        if not self.step_gib:
            return []
        most = max(self.step_gib, key=self.step_gib.__getitem__)
        gib, clips = self.step_gib[most]
        here = f", {self.device_gib:.0f} are here" if self.device_gib else ""
        lines = [
            f"  device memory: up to {gib:.0f} GiB a step ({most}, {clips} clips at once){here}"
        ]
        large = [r for r, (gib, _) in self.step_gib.items() if gib > (self.device_gib or gib)]
        if large:
            lines.append(
                f"  {len(large)} rows need more than is here, {large[0]} for example: a smaller "
                "`micro_batch`, `precision: bfloat16` or `recompute: true` in the profile's compute"
            )
        return lines


def run_cost(work: Workspace, names: Collection[str], tflops: float | None) -> RunCost | None:
    """The cost of the rows among `names`; None for a profile with schedules of its own.

    `tflops`: 10^12 operations per second (two per multiply-add), None: as measured here, or
    assumed.
    """
    profile = load_profile(work.manifests, work.profile)
    if profile.schedules is not None or profile.generated:
        return None
    from stages.cost import Counts  # loads torch
    from stages.driver.step_memory import device_gib, step_memory

    rows = load_experiments(work.manifests, profile)
    gmacs = {row: count for row, count in gmacs_of_rows(work).items() if row in rows}
    free_gib = shutil.disk_usage(work.root).free / 2**30
    cost = RunCost(*_rate(work, tflops), free_gib, device_gib=device_gib(profile.compute.device))
    recipes, protocols = load_recipes(work.manifests), load_protocols(work.manifests)
    counts = Counts(work, "memory")
    for key in filter(names.__contains__, rows):
        row = rows[key]
        if (lacking := _lacking(work, row)) is not None:
            cost.not_here.setdefault(lacking, []).append(key)
            continue
        dataset = _counted(work, load_dataset(work.manifests, row.dataset))
        recipe = None if row.recipe is None else recipes[row.recipe]
        clips = training_clips(recipe, dataset, row.fold)
        videos = dataset.expected.get(dataset.folds[row.fold].val)
        if recipe is not None and clips == 0:
            cost.not_here.setdefault(f"a training video of {row.dataset}", []).append(key)
            continue
        if clips is None or videos is None or key not in gmacs:
            if dataset.layout != "list":  # somebody's own, as a rule small
                cost.unknown.append(key)
            continue
        views = sum(_views(protocols[name]) for name in row.protocols) * videos
        trainings = 1 if recipe is None else profile.seeds
        total = trainings * gmacs[key] * (STEP_OVER_FORWARD * clips + views)
        hours = 2e9 * total / (cost.tflops * 1e12) / 3600
        cost.hours.setdefault(row.dataset, []).append(hours)
        if recipe is not None and not profile.compute.recompute:  # of which no maps are counted
            cost.step_gib[key] = step_memory(row, profile, recipe, counts)
    counts.save(others=True)
    return cost


def _rate(work: Workspace, tflops: float | None) -> tuple[float, str]:
    if tflops is not None:
        return tflops, "as given"
    try:
        return measured_tflops(work, "cuda"), "measured by `tdn bench model`"
    except UsageError:
        return ASSUMED_TFLOPS, "assumed; --tflops says yours, `tdn bench model` measures it"


def _lacking(work: Workspace, row: Experiment) -> str | None:
    """What of the user's own a row needs that is not here."""
    raw = work.raw(row.dataset, generated=False)
    if not raw.is_dir() and not (work.frames(row.dataset) / "index.json").is_file():
        return work.relative(raw)
    file = row.start.checkpoint if isinstance(row.start, Checkpoint) else None
    return None if file is None or (work.root / file).is_file() else "their file in data/weights"


def _counted(work: Workspace, dataset: Dataset) -> Dataset:
    """The data set with as many videos a split as `check` found usable, where it has run."""
    path = work.sources(dataset.name)
    found = read_json(path).get("splits", {}) if path.is_file() else {}
    usable = {name: split["usable"] for name, split in found.items()}
    return dataset.model_copy(update={"expected": {**dataset.expected, **usable}})


def _views(protocol: Protocol) -> float:
    """Views of a video, in views of the size that networks are counted at."""
    return protocol.clips * CROP_COUNTS[protocol.crops] * (protocol.crop_px / _COUNTED_PX) ** 2
