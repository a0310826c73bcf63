"""The plans of rows and of what they start from: resolved manifests, one stage and key each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.errors import ManifestError
from pipeline.schema.dataset import Dataset
from pipeline.schema.experiments import STARTS, Experiment, Profile, Recipe, Schedule, Stills

Params = dict[str, Any]
Plans = dict[tuple[str, str], Params]


def row_plans(
    key: str,
    row: Experiment,
    factory: str,
    profile: Profile,
    dataset: Dataset,
    recipe: Recipe,
    protocols: dict[str, Params],
    begin: Params,
    validation: Params,
) -> Plans:
    """The plans of one row's train, predict and score."""
    scale = profile.backbones[row.backbone]
    data = {
        "name": row.dataset,
        "input": row.input,
        "fold": row.fold,
        "generated": profile.generated,
        "train": dataset.folds[row.fold].train,
        "val": dataset.folds[row.fold].val,
        "multi_label": dataset.multi_label,
        "num_classes": dataset.num_classes,
        "flip_pairs": [list(pair) for pair in dataset.flip_pairs],
    }
    model = {
        "architecture": row.architecture,
        "factory": factory,
        "backbone": row.backbone,
        "segments": row.segments,
        "width": scale.width,
        "blocks": list(scale.blocks),
        "options": dict(row.options),
    }
    sizes = {str(size): pixels for size, pixels in profile.sizes_px.items()}
    compute = profile.compute.model_dump(mode="json")
    shared = {"row": key, "profile": profile.profile, "smoke": profile.smoke, "sizes_px": sizes}
    schedule = _schedule(recipe, profile)
    cache_mb, eval_batch = compute.pop("cache_mb"), compute.pop("eval_batch")
    return {
        ("train", key): {
            **shared,
            "data": data,
            "model": model,
            "recipe": schedule,
            "protocols": {"validation": validation} if schedule["decay"] == "plateau" else {},
            "start": begin,
            "seed": row.seed,
            "seeds": profile.seeds,
            "compute": {**compute, "cache_mb": cache_mb},
        },
        ("predict", key): {
            **shared,
            "data": data,
            "model": model,
            "protocols": protocols,
            "seed": row.seed,
            "seeds": profile.seeds,
            "compute": {**compute, "eval_batch": eval_batch},
        },
        ("score", key): {
            **{name: shared[name] for name in ("row", "profile", "smoke")},
            "dataset": row.dataset,
            "fold": row.fold,
            "metric": dataset.metric,
            "seeds": profile.seeds,
            "protocols": {name: {"aggregate": p["aggregate"]} for name, p in protocols.items()},
        },
    }


def _schedule(recipe: Recipe, profile: Profile) -> Params:
    """The recipe as this profile runs it: a small profile's schedule replaces every recipe's."""
    plan = recipe.model_dump(mode="json")
    plan |= {"warmup_epochs": 0.0}
    if profile.schedules is not None:
        schedule: Schedule = getattr(profile.schedules, recipe.kind)
        override = schedule.model_dump(mode="json")
        share = override["epochs"] / recipe.epochs
        plan["milestones"] = [max(1, round(epoch * share)) for epoch in recipe.milestones]
        if not recipe.phase1_epochs:
            override["phase1_epochs"] = 0  # the row that compares one phase with two
        plan |= {**override, "unit": "epochs"}
    del plan["source"], plan["kind"]
    return plan


def start_of(row: Experiment, rows: dict[str, Experiment]) -> Params:
    """What a row's weights begin with: see `stages.row_start`."""
    kind = row.start if row.start in STARTS else "row"
    # A two-stream network that starts from a TSN has its difference network start from images.
    two = kind == "row" and rows[row.start].architecture != row.architecture
    return {"kind": kind, "from": row.start, "images": two}


def start_plans(profile: Profile, rows: dict[str, Experiment], weights: Path, where: str) -> Plans:
    """The plans of the two starts that are no rows; `weights` is where local ImageNet files lie."""
    wanted = {
        row.backbone
        for row in rows.values()
        if row.start == "images"
        or (row.start in rows and rows[row.start].architecture != row.architecture)
    }
    backbones = {
        name: {"width": scale.width, "blocks": list(scale.blocks)}
        for name, scale in profile.backbones.items()
        if name in wanted
    }
    images: Params
    if isinstance(profile.images, Stills):
        # Threads change the last digits, so that on a processor one machine's choice is another's.
        compute = {
            "device": profile.compute.device,
            "precision": profile.compute.precision,
            "threads": 1,
        }
        made = {"compute": compute, "weight_decay": 0.0005}
        images = {"kind": "stills", **made, **profile.images.model_dump(mode="json")}
    elif profile.images == "imagenet":
        # So that files put there later are noticed; their content is the start's business.
        files = {name: weights / f"{name}.pth" for name in sorted(wanted)}
        sizes = {name: f.stat().st_size if f.is_file() else None for name, f in files.items()}
        images = {"kind": "imagenet", "local_bytes": sizes}
    else:
        if backbones:
            raise ManifestError(
                "images: none, but rows start from images",
                where=where,
                do="give the profile images, or let the rows start from scratch",
            )
        images = {"kind": "none", "reason": "the profile has no image pre-training"}
    return {
        ("pretrain", "images"): {**images, "backbones": backbones},
        ("pretrain", "scratch"): {"kind": "scratch", "backbones": {}},
    }
