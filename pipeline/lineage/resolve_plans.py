"""Resolve the manifests of one profile into one small JSON per stage and key.

A plan holds exactly what changes its stage's result (`pipeline.schema.plan_models`) and the digest
of exactly the code that the stage can run, so that an edit re-runs only the rows it affects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import Protocol as Structure

from pipeline.core.errors import ManifestError
from pipeline.core.files import read_json, sha256_file, sha256_json, write_json
from pipeline.core.workspace import Workspace, manifests_of
from pipeline.lineage.code_digest import Code, code_digest
from pipeline.lineage.evidence import TRIAL
from pipeline.lineage.report_plans import cost_plan, figures_plan, report_plan, tables_plan
from pipeline.lineage.row_plans import Plans, row_plans, start_plans
from pipeline.lineage.training_identity import training_identity
from pipeline.schema.base import build_from, known_name, load
from pipeline.schema.dataset import Dataset, PartOfDataset, Subset, load_dataset
from pipeline.schema.experiments import Experiment, load_experiments
from pipeline.schema.figure_list import Architecture
from pipeline.schema.miniature import Miniature, grown
from pipeline.schema.plan_models import (
    CheckPlan,
    CostPlan,
    DecodePlan,
    FiguresPlan,
    FlowPlan,
    ImportPlan,
    MiniPlan,
    Plan,
    PredictPlan,
    TrainPlan,
    stage_module,
)
from pipeline.schema.profiles import Profile, load_profile
from pipeline.schema.protocols import load_protocols
from pipeline.schema.recipes import Recipe, load_recipes, pick_recipe

ALL = "all"
"""The key of a stage that exists once per profile."""

Documents = dict[tuple[str, str], dict[str, Any]]
"""Plans as JSON by (stage, key): {"params": …, "code": …, "parts": …}."""


class Networks(Structure):
    """What planning needs to know of the networks, which this package never imports."""

    models: dict[str, str]

    def locate(self, architecture: str) -> str:
        """The factory of a network, as "module:name"."""

    def options(self, architecture: str) -> list[str]:
        """The names of a network's own options."""


def resolve(work: Workspace, networks: Networks) -> Documents:
    """Every plan of the profile: {(stage, key): {"params": …, "code": …, "parts": …}}.

    `parts` are the definitions behind the code's digest; they stand in a file of their own.

    Raises ManifestError, naming file, key and the nearest valid name, on the first thing wrong.
    """
    plans = resolve_typed(work, networks)
    code = Code(work.root)
    documents: Documents = {}
    digests: dict[tuple[str, ...], str] = {}
    for (stage, key), plan in plans.items():
        roots = tuple(code_roots(stage, plan, networks))
        parts = code.reached(roots)
        if roots not in digests:
            digests[roots] = code_digest(parts)
        documents[stage, key] = {
            "params": plan.model_dump(mode="json"),
            "code": {"digest": digests[roots]},
            "parts": parts,
        }
    return documents


def resolve_typed(work: Workspace, networks: Networks) -> Plans:
    """The same as models, without the code."""
    manifests = work.manifests
    profile = load_profile(manifests, work.profile)
    rows = load_experiments(manifests, profile)
    official = {name: load_dataset(manifests, name) for name in profile.datasets}
    generated = profile.datasets if profile.generated else []
    miniatures = {name: _miniature(manifests, profile, name) for name in generated}
    datasets = {
        name: _as_miniature(dataset, miniatures[name]) if name in miniatures else dataset
        for name, dataset in official.items()
    }
    subsets = {
        name: declared.of(work.root, f"{profile.where}, subsets.{name}")
        for name, declared in profile.subsets.items()
    }
    plans = _dataset_plans(work, profile, datasets, miniatures, subsets)
    recipes, protocols = load_recipes(manifests), load_protocols(manifests)
    for key, row in rows.items():
        where = f"{profile.rows_where}, experiments.{key}"
        _check(row, datasets[row.dataset], networks, where)
        recipe = None if row.recipe is None else pick_recipe(row.recipe, recipes, where)
        _check_recipe(row, recipe, profile, where)
        factory, dataset = networks.models[row.architecture], datasets[row.dataset]
        miniature = miniatures.get(row.dataset)
        plans |= row_plans(
            key, rows, factory, profile, dataset, recipe, protocols, miniature, work.root
        )
    plans |= start_plans(profile, rows, work.root / "data" / "weights")
    for key in rows:
        identity = {"identity": training_identity(plans, key)}
        plans["score", key] = plans["score", key].model_copy(update=identity)
    num_classes = {name: dataset.num_classes for name, dataset in official.items()}
    own = manifests_of(manifests, work.profile)  # whose tables, and networks beside the rows
    plans["cost", ALL] = cost_plan(own, rows, num_classes)
    plans["tables", ALL] = tables_plan(own, profile, rows)
    plans["figures", ALL] = figures_plan(manifests, profile, plans, datasets, miniatures)
    plans["report", ALL] = report_plan(profile, rows, datasets, miniatures)
    return plans


def _dataset_plans(
    work: Workspace,
    profile: Profile,
    datasets: dict[str, Dataset],
    miniatures: dict[str, Miniature],
    subsets: dict[str, Subset],
) -> Plans:
    plans: Plans = {}
    for name, whole in datasets.items():
        # What only people read, and what only scores use, reaches none of these stages.
        unused: dict[str, Any] = {
            "homepage": "",
            "licence": "",
            "quirks": [],
            "clusters": None,
        }
        dataset = whole.model_copy(update=unused)
        if name in miniatures:
            plans["mini", name] = MiniPlan(miniature=miniatures[name])
        raw = work.raw(name, generated=profile.generated)
        part = {"subset": subsets[name]} if name in subsets else {}
        plans["check", name] = CheckPlan(
            dataset=build_from(PartOfDataset, dataset, **part) if part else dataset,
            generated=profile.generated,
            # So that data put there later are noticed; the ledger has the digests of their content.
            raw=None if profile.generated else _digest_of_listing(raw) or _as_checked(work, name),
        )
        plans["decode", name] = DecodePlan(dataset=dataset, generated=profile.generated)
        if name in profile.flow and profile.flow_policy is not None:
            plans["flow", name] = FlowPlan(policy=profile.flow_policy)
    return plans


def write(work: Workspace, plans: Documents) -> int:
    """Bring the plan folder in line with `plans`; returns how many files changed or went."""
    folder = work.data / "plan"
    wanted: dict[Path, dict[str, Any]] = {}
    for (stage, key), plan in plans.items():
        wanted[work.plan(stage, key)] = {"params": plan["params"], "code": plan["code"]}
    changed = 0
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path not in wanted and TRIAL not in path.name:  # a trial that runs keeps its own
            path.unlink(missing_ok=True)
            changed += 1
    _write_parts(work, plans)
    for path, plan in wanted.items():
        before = path.stat().st_mtime_ns if path.is_file() else None
        write_json(path, plan)
        changed += before != path.stat().st_mtime_ns
    return changed


def _write_parts(work: Workspace, plans: Documents) -> None:
    """The definitions behind each code digest, beside the plans: what a run's record copies."""
    wanted = {work.planned_code(plan["code"]["digest"]): plan["parts"] for plan in plans.values()}
    folder = work.data / "code"
    for path in set(folder.glob("*.json")) - wanted.keys() if folder.is_dir() else set():
        path.unlink(missing_ok=True)
    for path, parts in wanted.items():
        write_json(path, parts)  # a definition that moved keeps its digest, and is elsewhere


def _digest_of_listing(raw: Path) -> str | None:
    """What a raw folder looks like from outside: names of its entries, sizes of its files."""
    if not raw.is_dir():
        return None
    entries = sorted(raw.iterdir())
    return sha256_json([(e.name, e.stat().st_size if e.is_file() else None) for e in entries])


def _as_checked(work: Workspace, dataset: str) -> str | None:
    """That digest as it was when the ledger here was made, where the folder itself is not here: its
    videos were put away since, or the ledger was pulled (`tdn store pull`)."""
    try:
        record = read_json(work.record("check", dataset))
        (made,) = (item for item in record["outputs"] if item["role"] == "summary")
        path = work.sources(dataset)
        if sha256_file(path) == made["sha256"] and read_json(path)["status"] == "ok":
            raw: str | None = record["identity"]["params"]["raw"]
            return raw
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _miniature(manifests: Path, profile: Profile, name: str) -> Miniature:
    """The data set's miniature at the profile's size."""
    miniature = load(Miniature, manifests / "miniatures" / f"{name}.yaml")
    if name not in profile.miniatures:
        return miniature
    return grown(miniature, profile.miniatures[name], where=f"{profile.where}, miniatures.{name}")


def _as_miniature(dataset: Dataset, miniature: Miniature) -> Dataset:
    """The data set's manifest with the miniature's own counts, classes and flip map."""
    changes = {
        "num_classes": len(miniature.classes),
        "expected": dict(miniature.expected),
        "flip_pairs": [list(pair) for pair in miniature.flip_pairs],
    }
    return dataset.model_copy(update=changes)


def _check(row: Experiment, dataset: Dataset, networks: Networks, where: str) -> None:
    """Raise ManifestError where a row names a fold, network or option that there is not."""
    known_name(f"fold of {row.dataset}", row.fold, dataset.folds, where)
    known_name("architecture", row.architecture, networks.models, where)
    for option in row.options:
        known = networks.options(row.architecture)
        known_name(f"options of {row.architecture}", option, known, where)


def _check_recipe(row: Experiment, recipe: Recipe | None, profile: Profile, where: str) -> None:
    if recipe is not None and recipe.partial_bn and profile.compute.sync_bn:
        raise ManifestError(
            f"recipe: {row.recipe} freezes batch norms, and the profile has sync_bn, which trains "
            "them all",
            where=where,
            do=f"take sync_bn out of {profile.where}, or choose a recipe without partial_bn",
        )
    if row.input == "flow" and recipe is not None and recipe.colour_jitter:
        raise ManifestError(
            f"recipe: {row.recipe} jitters colours, and optical flow has none",
            where=where,
            do="choose a recipe without colour_jitter",
        )


def code_roots(stage: str, plan: Plan, networks: Networks) -> list[str]:
    """What a stage starts from ("module:name"): its `run`, and the networks it builds by name."""
    names: set[str] = set()
    if isinstance(plan, TrainPlan | ImportPlan | PredictPlan):
        names = {plan.network.architecture}
    elif isinstance(plan, CostPlan):
        names = {network.architecture for network in plan.rows.values()}
        names |= {network.architecture for network in plan.networks.values()}
    elif isinstance(plan, FiguresPlan):
        names = {row.network.architecture for row in plan.rows.values()}
        drawn = (figure for figure in plan.figures.values() if isinstance(figure, Architecture))
        names |= {figure.network.architecture for figure in drawn}
    return [f"{stage_module(stage, plan)}:run", *sorted(networks.locate(name) for name in names)]
