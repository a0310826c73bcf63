"""The list behind `tdn rows`: what each row costs at paper scale and which numbers it aims at."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace, manifests_of
from pipeline.lineage.resolve_plans import ALL, resolve_typed
from pipeline.schema.dataset import Dataset, load_dataset
from pipeline.schema.experiments import load_experiments
from pipeline.schema.plan_models import CostPlan
from pipeline.schema.profiles import load_profile
from pipeline.schema.recipes import Recipe, load_recipes
from pipeline.schema.table_layouts import Manifests, load_all
from stages.networks import Catalogue

STEP_OVER_FORWARD = 3
"""A training step costs about three forward passes: one forward, two for the gradients."""


@dataclass(frozen=True)
class RowBudget:
    """One row at its papers' schedule.

    `clips` counts training clips over all epochs. `petamacs` is 10^15 multiply-adds of training (a
    forward pass times three), None while the row's network has not been counted. `hours` is
    that at the sustained rate given or measured. `aims` are the claims its numbers stand beside:
    {claim address: printed value}.
    """

    row: str
    dataset: str
    clips: int | None
    petamacs: float | None
    hours: float | None
    aims: dict[str, str] = field(default_factory=dict)


def run(work: Workspace, tflops: float | None) -> list[RowBudget]:
    """Every row of the profile; `tflops` is the rate sustained in training, in 10^12
    operations per second (two per multiply-add), None for no hours."""
    costs = gmacs_of_rows(work)
    rows = load_experiments(work.manifests, load_profile(work.manifests, work.profile))
    recipes = load_recipes(work.manifests)
    aims = _aims(load_all(manifests_of(work.manifests, work.profile)))
    budgets = []
    for key, row in rows.items():
        dataset = load_dataset(work.manifests, row.dataset)
        recipe = None if row.recipe is None else recipes[row.recipe]
        clips = training_clips(recipe, dataset, row.fold)
        petamacs = hours = None
        if clips is not None and key in costs:
            petamacs = STEP_OVER_FORWARD * costs[key] * clips / 1e6
            if tflops is not None:
                hours = petamacs * 1e15 * 2 / (tflops * 1e12) / 3600
        budgets.append(RowBudget(key, row.dataset, clips, petamacs, hours, aims.get(key, {})))
    return budgets


def gmacs_of_rows(work: Workspace) -> dict[str, float]:
    """10^9 multiply-adds of one clip of each row, as stage `cost` counted them; counted now, in
    about half a minute, where it has not run."""
    path = work.reports / "costs.json"
    if path.is_file():
        return {row: cost["gmacs"] for row, cost in read_json(path).items()}
    from stages.cost import Counts  # loads torch

    plan = resolve_typed(work, Catalogue(work.root))["cost", ALL]
    assert isinstance(plan, CostPlan)
    counts = Counts(work)
    found = {row: counts.of(network).gmacs for row, network in plan.rows.items()}
    counts.save(others=True)
    return found


def measured_tflops(work: Workspace, device: str) -> float:
    """What a training step of TDN reached when `tdn bench model` timed it on `device`, in 10^12
    operations per second, a step counted as three forward passes.

    Raises UsageError when it has not been timed.
    """
    path = work.root / "reports" / "bench" / f"model.{device}.json"
    report = read_json(path) if path.is_file() else {"settings": {}, "rows": []}
    gmacs = report["settings"].get("multiply-adds per video, G")
    for row in report["rows"]:
        if gmacs is not None and (row["what"], row["way"]) == ("training step", "our network"):
            return float(2 * STEP_OVER_FORWARD * gmacs / row["ms per video"])
    raise UsageError(
        f"training on {device} has not been timed",
        where=work.relative(path),
        do=f"run `tdn bench model --device {device}`, or give --tflops",
    )


def training_clips(recipe: Recipe | None, dataset: Dataset, fold: str) -> int | None:
    """Clips that a training sees in all, none without a recipe; None when the split's official
    size is not known, 0 where a subset has none of it."""
    if recipe is None:
        return 0
    if recipe.unit == "iterations":
        return recipe.epochs * recipe.batch
    videos = dataset.expected.get(dataset.folds[fold].train)
    if not videos:
        return videos
    batch = min(recipe.batch, videos)
    return recipe.epochs * (videos // batch) * batch


def _aims(manifests: Manifests) -> dict[str, dict[str, str]]:
    """For each row the claims that it, or a combination of it, is shown beside."""
    members = {name: c.members for name, c in manifests.combinations.items()}
    aims: dict[str, dict[str, str]] = {}
    claims = {claim.address: claim.value for claim in manifests.claims.values()}
    for layout in manifests.layouts:
        for row_key, row in layout.rows.items():
            for name, column in layout.columns.items():
                address = f"{layout.table_id}/{row_key}/{name}"
                if column.measure.kind != "metric" or address not in claims:
                    continue
                shown = {row.run_for(name, column.source), row.checkpoint}
                for run_key in [key for run in shown for key in _rows_behind(run, members)]:
                    aims.setdefault(run_key, {})[address] = claims[address]
    return aims


def _rows_behind(run_key: str | None, members: dict[str, list[str]]) -> list[str]:
    if run_key is None:
        return []
    if run_key not in members:
        return [run_key]
    return [row for member in members[run_key] for row in _rows_behind(member, members)]
