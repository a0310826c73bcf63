"""The plans of rows and of the weights that they start from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pipeline.core.digest_cache import DigestCache
from pipeline.core.errors import ManifestError
from pipeline.schema.base import build_from, known_name
from pipeline.schema.dataset import Dataset
from pipeline.schema.experiments import Checkpoint, Experiment
from pipeline.schema.miniature import Miniature
from pipeline.schema.plan_models import (
    CheckpointFile,
    ImportedScorePlan,
    ImportPlan,
    NetworkSpec,
    Plan,
    PredictPlan,
    PretrainPlan,
    RowData,
    ScorePlan,
    StartSpec,
    StillsTraining,
    TrainPlan,
)
from pipeline.schema.profiles import BackboneSize, Profile, Stills, TrainingCompute
from pipeline.schema.protocols import EvalViews, Protocol
from pipeline.schema.recipes import Recipe

VALIDATION = "center_1x1"
"""The protocol that a plateau is seen by: one clip, centre crop."""
STILLS_WEIGHT_DECAY = 0.0005

Plans = dict[tuple[str, str], Plan]


def row_plans(
    key: str,
    rows: Mapping[str, Experiment],
    factory: str,
    profile: Profile,
    dataset: Dataset,
    recipe: Recipe | None,
    protocols: Mapping[str, Protocol],
    miniature: Miniature | None,
    root: Path,
) -> Plans:
    """The plans of one row's train, predict and score; `factory` builds its network.

    A row without a recipe takes its weights from a file below `root`.
    """
    row = rows[key]
    where = f"manifests/{profile.experiments_file}, experiments.{key}"
    views = {name: eval_views(name, protocols, profile, where) for name in row.protocols}
    data = build_from(RowData, row, profile, dataset, name=row.dataset)
    size, fold = profile.backbones[row.backbone], dataset.folds[row.fold]
    network = build_from(NetworkSpec, row, size, factory=factory)
    seed = row.seed + profile.seed
    shared: dict[str, Any] = {"row": key, "data": data, "network": network, "seed": seed}
    scoring: dict[str, Any] = {
        "row": key,
        "protocols": {name: one.aggregate for name, one in views.items()},
        "miniature": miniature,
        "seed": seed,
        "identity": "",  # known when all rows are planned
    }
    if isinstance(row.start, Checkpoint) or recipe is None:
        assert isinstance(row.start, Checkpoint)
        checkpoint = checkpoint_file(row.start, root)
        shared["seeds"] = scoring["seeds"] = 1  # however often the profile trains its rows
        scoring["checkpoint"] = row.start.checkpoint
        train: Plan = build_from(
            ImportPlan, profile, row=key, data=data, network=network, checkpoint=checkpoint
        )
        score: Plan = build_from(ImportedScorePlan, row, profile, dataset, **scoring)
    else:
        training: dict[str, Any] = {
            "recipe": (scaled := profile.scaled(recipe)),
            "start": start_of(row, rows, profile),
        }
        if scaled.decay == "plateau":
            training["validation_split"] = fold.val
            training["validation"] = eval_views(VALIDATION, protocols, profile, where)
        train = build_from(
            TrainPlan,
            row,
            profile,
            dataset,
            **shared,
            split=fold.train,
            **training,
            compute=build_from(TrainingCompute, profile.compute),
        )
        score = build_from(ScorePlan, row, profile, dataset, **scoring)
    predict = build_from(PredictPlan, row, profile, **shared, split=fold.val, protocols=views)
    return {("train", key): train, ("predict", key): predict, ("score", key): score}


def checkpoint_file(start: Checkpoint, root: Path) -> CheckpointFile:
    """The file of weights and that of its class names, as they lie below `root` now."""
    cache = DigestCache(root / ".tdn" / "hashes" / f"{Path(start.checkpoint).name}.parquet")

    def digest(name: str | None) -> str | None:
        return cache.sha256(root / name) if name and (root / name).is_file() else None

    found = build_from(
        CheckpointFile,
        start,
        sha256=digest(start.checkpoint),
        class_names_sha256=digest(start.class_names),
    )
    with suppress(OSError):  # a tree that may only be read
        cache.save()
    return found


def eval_views(
    name: str, protocols: Mapping[str, Protocol], profile: Profile, where: str
) -> EvalViews:
    """A protocol without its words, so that rewording predicts nothing anew, in the profile's
    pixels."""
    known_name("protocols", name, protocols, where)
    values = protocols[name].model_dump(exclude={"title", "source"})
    for size in ("resize_px", "crop_px"):
        if values[size] is not None:
            values[size] = profile.size_px(values[size])
    return EvalViews.model_validate(values)


def start_of(row: Experiment, rows: Mapping[str, Experiment], profile: Profile) -> StartSpec:
    """The weights that a row starts from."""
    source = rows.get(row.begins)
    two_stream = source is not None and source.architecture != row.architecture
    own_images = isinstance(profile.images, Stills) and (row.begins == "images" or two_stream)
    kind: Literal["scratch", "images", "row"] = "images" if row.begins == "images" else "scratch"
    return StartSpec(
        kind=kind if source is None else "row",
        source=row.begins,
        # A two-stream network that starts from a TSN has its difference network start from images.
        two_stream=two_stream,
        keep_classifier=source is not None and source.dataset == row.dataset,
        own_images=own_images,
    )


def start_plans(profile: Profile, rows: Mapping[str, Experiment], weights: Path) -> Plans:
    """The plans of the two starts that are no rows; `weights` is where local ImageNet files lie."""
    starts = [(row, start_of(row, rows, profile)) for row in rows.values()]
    wanted = {row.backbone for row, start in starts if start.kind == "images" or start.two_stream}
    backbones = {name: size for name, size in profile.backbones.items() if name in wanted}
    return {
        ("pretrain", "images"): _images_plan(profile, backbones, weights),
        ("pretrain", "scratch"): PretrainPlan(kind="scratch"),
    }


def _images_plan(
    profile: Profile, backbones: dict[str, BackboneSize], weights: Path
) -> PretrainPlan:
    if isinstance(profile.images, Stills):
        # Threads change the last digits, so that on a processor one machine's choice is another's.
        compute = build_from(TrainingCompute, profile.compute, threads=1)
        decay = STILLS_WEIGHT_DECAY
        stills = build_from(
            StillsTraining,
            profile.images,
            weight_decay=decay,
            compute=compute,
            seed=profile.images.seed + profile.seed,
        )
        return PretrainPlan(kind="stills", backbones=backbones, stills=stills, seeds=profile.seeds)
    if profile.images == "imagenet":
        files = {name: weights / f"{name}.pth" for name in sorted(backbones)}
        sizes = {name: f.stat().st_size if f.is_file() else None for name, f in files.items()}
        return PretrainPlan(kind="imagenet", backbones=backbones, local_bytes=sizes)
    if backbones:
        raise ManifestError(
            "images: none, but rows start from images",
            where=profile.where,
            do="give the profile images, or let the rows start from scratch",
        )
    return PretrainPlan(kind="none", reason="the profile has no image pre-training")
