"""Resolve the manifests of one profile into one small JSON per stage and key.

A plan holds exactly the parameters that its stage will see and the digest of exactly the code that
the stage can import, so that an edit reaches the rows it concerns and no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol as Structure

from pipeline.core.benchmark import timing_files
from pipeline.core.errors import ManifestError
from pipeline.core.files import sha256_file, sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.code_digest import Code, code_digest
from pipeline.lineage.row_plans import Params, Plans, row_plans, start_of, start_plans
from pipeline.schema.base import load, nearest
from pipeline.schema.dataset import Dataset, load_dataset
from pipeline.schema.experiments import (
    Experiment,
    Profile,
    load_experiments,
    load_profile,
    load_recipes,
    pick,
)
from pipeline.schema.figure_list import figure_params
from pipeline.schema.miniature import Twin, grown
from pipeline.schema.network_list import load_models
from pipeline.schema.protocols import Protocol, load_protocols
from pipeline.schema.table_layouts import load_claims


class Networks(Structure):
    """What planning needs to know of the networks, which this package never imports."""

    models: dict[str, str]

    def locate(self, architecture: str) -> str:
        """The dotted module that holds a network."""

    def options(self, architecture: str) -> list[str]:
        """The names of a network's own options."""


PAPER_SIDE_PX = 224
"""The crop at which every text states its networks' cost."""

ALL = "all"
"""The key of a stage that exists once per profile."""


def resolve(work: Workspace, networks: Networks) -> Plans:
    """Every plan of the profile: {(stage, key): {"params": …, "code": …, "parts": …}}.

    `parts` are the definitions behind the code's digest; they stand in a file of their own.

    Raises ManifestError, naming file, key and the nearest valid name, on the first thing wrong.
    """
    manifests = work.manifests
    profile = load_profile(manifests, work.profile)
    rows = load_experiments(manifests, profile)
    recipes = load_recipes(manifests)
    protocols = load_protocols(manifests)
    datasets = {name: load_dataset(manifests, name) for name in profile.datasets}
    validation = _protocol("center_1x1", protocols, "manifests/protocols.yaml")
    full_size = {key: _full_size(row, datasets[row.dataset]) for key, row in rows.items()}
    made = profile.datasets if profile.generated else []
    twins = {name: _twin(manifests, profile, name) for name in made}
    for name, twin in twins.items():
        datasets[name] = _as_twin(datasets[name], twin)
    plans: Plans = {}
    for name, dataset in datasets.items():
        facts = dataset.model_dump(mode="json")
        if name in twins:
            plans["mini", name] = {"twin": twins[name].model_dump(mode="json")}
        plans["check", name] = {
            "dataset": facts,
            "generated": profile.generated,
            # So that data put there later are noticed; their content is the ledger's business.
            "raw": None if profile.generated else _glance(work.raw(name)),
        }
        plans["decode", name] = {"dataset": facts}
        if name in profile.flow and profile.flow_policy is not None:
            plans["flow", name] = {"policy": profile.flow_policy.model_dump(mode="json")}
    for key, row in rows.items():
        where = f"manifests/{profile.experiments_file}, experiments.{key}"
        dataset = datasets[row.dataset]
        if row.fold not in dataset.folds:
            raise ManifestError(
                f"fold: {row.dataset} has no fold '{row.fold}'",
                where=where,
                do=nearest(row.fold, list(dataset.folds)),
            )
        _check_network(row, networks, where)
        views = {name: _protocol(name, protocols, where) for name in row.protocols}
        recipe = pick("recipe", row.recipe, recipes, where)
        if row.input == "flow" and recipe.colour_jitter:
            raise ManifestError(
                f"recipe: {row.recipe} jitters colours, and optical flow has none",
                where=where,
                do="choose a recipe without colour_jitter",
            )
        factory = networks.models[row.architecture]
        begin = start_of(row, rows)
        plans |= row_plans(key, row, factory, profile, dataset, recipe, views, begin, validation)
    weights = work.root / "data" / "weights"
    plans |= start_plans(profile, rows, weights, f"manifests/profiles/{profile.profile}.yaml")
    # A user's own data may not say how many classes there are; such a network is not counted.
    counted = {key: spec for key, spec in full_size.items() if spec["num_classes"] is not None}
    plans["cost", ALL] = {"rows": counted, **_listed_networks(manifests)}
    plans["tables", ALL] = _table_params(manifests, profile, rows)
    about = {"profile": profile.profile, "smoke": profile.smoke}
    plans["figures", ALL] = figure_params(manifests, about, profile.experiments_file, plans)
    plans["report", ALL] = _report_params(profile, rows, datasets, twins)
    code = Code(work.root)
    found: Plans = {}
    for item, params in plans.items():
        parts = code.reached(code_roots(item[0], params, networks))
        found[item] = {"params": params, "code": {"digest": code_digest(parts)}, "parts": parts}
    return found


def write(work: Workspace, plans: Plans) -> int:
    """Bring the plan folder in line with `plans`; returns how many files changed or went."""
    folder = work.data / "plan"
    wanted: dict[Path, Params] = {}
    for (stage, key), plan in plans.items():
        wanted[work.plan(stage, key)] = {"params": plan["params"], "code": plan["code"]}
    changed = 0
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path not in wanted:
            path.unlink()
            changed += 1
    _write_parts(work, plans)
    for path, plan in wanted.items():
        before = path.stat().st_mtime_ns if path.is_file() else None
        write_json(path, plan)
        changed += before != path.stat().st_mtime_ns
    return changed


def _write_parts(work: Workspace, plans: Plans) -> None:
    """The definitions behind each code digest, beside the plans: what a run's record copies."""
    wanted = {work.planned_code(plan["code"]["digest"]): plan["parts"] for plan in plans.values()}
    folder = work.data / "code"
    for path in set(folder.glob("*.json")) - wanted.keys() if folder.is_dir() else set():
        path.unlink()
    for path, parts in wanted.items():
        if not path.is_file():
            write_json(path, parts)


def _glance(raw: Path) -> str | None:
    """What a raw folder looks like from outside: names of its entries, sizes of its files."""
    if not raw.is_dir():
        return None
    entries = sorted(raw.iterdir())
    return sha256_json([(e.name, e.stat().st_size if e.is_file() else None) for e in entries])


def _twin(manifests: Path, profile: Profile, name: str) -> Twin:
    """The data set's twin at the profile's size."""
    twin = load(Twin, manifests / "twins" / f"{name}.yaml")
    if name not in profile.twins:
        return twin
    where = f"manifests/profiles/{profile.profile}.yaml, twins.{name}"
    return grown(twin, profile.twins[name], where=where)


def _as_twin(dataset: Dataset, twin: Twin) -> Dataset:
    """The data set's manifest with the miniature's own counts, classes and flip map."""
    changes = {
        "num_classes": len(twin.classes),
        "expected": dict(twin.expected),
        "flip_pairs": [list(pair) for pair in twin.flip_pairs],
    }
    return dataset.model_copy(update=changes)


def _check_network(row: Experiment, networks: Networks, where: str) -> None:
    if row.architecture not in networks.models:
        raise ManifestError(
            f"architecture: unknown '{row.architecture}'",
            where=where,
            do=nearest(row.architecture, list(networks.models)),
        )
    known = networks.options(row.architecture)
    for option in row.options:
        if option not in known:
            raise ManifestError(
                f"options.{option}: {row.architecture} has no such option",
                where=where,
                do=nearest(option, known),
            )


def _protocol(name: str, protocols: dict[str, Protocol], where: str) -> Params:
    if name not in protocols:
        raise ManifestError(
            f"protocols: unknown '{name}'", where=where, do=nearest(name, list(protocols))
        )
    # Without its words, so that rewording predicts nothing anew.
    return protocols[name].model_dump(mode="json", exclude={"title", "source"})


def _full_size(row: Experiment, dataset: Dataset) -> Params:
    """What the cost stage builds: the network at the paper's size, whatever the profile."""
    return {
        "architecture": row.architecture,
        "backbone": row.backbone,
        "segments": row.segments,
        "options": dict(row.options),
        "num_classes": dataset.num_classes,
        "side_px": PAPER_SIDE_PX,
    }


def _listed_networks(manifests: Path) -> Params:
    """The networks and ensembles of models.yaml, whose printed costs the cost stage counts too."""
    if not (manifests / "models.yaml").is_file():
        return {"networks": {}, "ensembles": {}}
    models = load_models(manifests, list(load_claims(manifests / "claims.csv")))
    dumped = models.model_dump(mode="json")
    return {"networks": dumped["networks"], "ensembles": dumped["ensembles"]}


def _table_params(manifests: Path, profile: Profile, rows: dict[str, Experiment]) -> Params:
    """Rows in order, and digests of the manifests that the tables are laid out by."""
    names = ("claims.csv", "combinations.yaml", "documents.yaml", "prose_claims.csv")
    paths = [manifests / name for name in names] + sorted((manifests / "tables").glob("*.yaml"))
    return {
        "profile": profile.profile,
        "smoke": profile.smoke,
        "rows": list(rows),
        "manifests": {path.name: sha256_file(path) for path in paths},
        "timings": {path.name: sha256_file(path) for path in timing_files(manifests.parent)},
    }


def _report_params(
    profile: Profile,
    rows: dict[str, Experiment],
    datasets: dict[str, Dataset],
    twins: dict[str, Twin],
) -> Params:
    about: dict[str, Params] = {}
    for name, dataset in datasets.items():
        about[name] = {"title": dataset.title}
        if name in twins:
            about[name]["twin"] = twins[name].model_dump(mode="json")
    return {
        "profile": profile.profile,
        "title": profile.title,
        "smoke": profile.smoke,
        "datasets": about,
        "rows": {
            key: {"dataset": row.dataset, "fold": row.fold, "architecture": row.architecture}
            for key, row in rows.items()
        },
    }


def code_roots(stage: str, params: Params, networks: Networks) -> list[str]:
    """What a stage starts from ("module:name"): its `run`, and the networks it builds by name."""
    roots = [f"stages.{stage}:run"]
    if stage in ("train", "predict"):
        roots.append(networks.locate(params["model"]["architecture"]))
    elif stage in ("cost", "figures"):
        listed = [*params["rows"].values(), *params.get("networks", {}).values()]
        names = {row.get("model", row)["architecture"] for row in listed}
        roots += sorted(networks.locate(name) for name in names)
    return roots
